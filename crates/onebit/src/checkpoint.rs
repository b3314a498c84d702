//! Checkpoints of PyTorch as trained weights.

use std::path::Path;

use onebit_model::arch::{self, Config, Task};
use onebit_model::{Graph, Normalization, Verified};
use onebit_pack::PackError;
use onebit_pack::import::{Checkpoint, Imported};

use crate::Error;

/// What a checkpoint does not say of its network.
#[derive(Clone, Debug)]
pub struct CheckpointOptions {
    /// The architecture and its options.
    pub network: Config,
    /// Channels, height and width of an image; the architecture's unless it is said.
    pub input: Option<[usize; 3]>,
    /// How the training images were normalised.
    pub normalization: Normalization,
}

/// Reads the weights of a checkpoint from the bytes of its file, which errors call `path`.
///
/// `names` gets the number of classes and gives their names.
///
/// # Errors
/// No checkpoint, that of another network, a network that cannot be, or not one name for each class; and what `names`
/// returns.
pub fn import_checkpoint<E: From<Error>>(
    bytes: &[u8],
    path: &Path,
    options: &CheckpointOptions,
    names: impl FnOnce(usize) -> Result<Vec<String>, E>,
) -> Result<Imported, E> {
    let failed = |source| Error::from(PackError::Import { path: path.to_owned(), source });
    let architecture = arch::find(&options.network.arch).map_err(Error::from)?;
    let graph = |input, classes| -> Result<Verified<Graph>, Error> {
        let normalization = options.normalization.clone();
        Ok(arch::build(&options.network, &Task { input, classes, normalization })?)
    };
    let input = options.input.unwrap_or(architecture.input);
    let checkpoint = Checkpoint::parse(bytes).map_err(failed)?;
    // Whether there are names for the network's tensors does not depend on the number of classes.
    let numbered = (0..architecture.classes).map(|class| class.to_string()).collect();
    checkpoint.check_names(&graph(input, numbered)?).map_err(failed)?;
    let classes = checkpoint.classes().map_err(failed)?;
    let names = names(classes)?;
    if names.len() != classes {
        return Err(Error::ClassNames { names: names.len(), classes }.into());
    }
    Ok(checkpoint.weights(graph(input, names)?).map_err(failed)?)
}
