//! What can go wrong, in one sentence that says what to do.

use std::path::PathBuf;

use onebit_engine::EngineError;
use onebit_files::count;
use onebit_model::file::FileError;

/// Why a model cannot be opened or run, or an image or a data set not be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file that cannot be read, or is refused.
    #[error(transparent)]
    Files(#[from] onebit_files::Error),
    /// A file that is no packed model, but something else that is known.
    #[error("{}: this is {found}, expected a packed model (.onebit)", path.display())]
    OtherFile {
        /// The file.
        path: PathBuf,
        /// What it is.
        found: &'static str,
    },
    /// Bytes that are no packed model.
    #[error(transparent)]
    Model(#[from] FileError),
    /// A model that cannot be run, or input of the wrong size.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// Logits that are not all finite numbers.
    #[error("the network's logits are not finite numbers for {image}")]
    NotFinite {
        /// What the image is called.
        image: String,
    },
    /// Less memory than is needed.
    #[error("there is not enough memory for {what}: {bytes} bytes are needed")]
    OutOfMemory {
        /// What it is needed for.
        what: &'static str,
        /// How much is needed.
        bytes: u64,
    },
    /// Threads that the system does not start.
    #[error("{} cannot be started: {reason}", count(*threads, "thread"))]
    Threads {
        /// How many.
        threads: usize,
        /// Why not.
        reason: String,
    },
    /// An image or a data set that cannot be read.
    #[cfg(feature = "decode")]
    #[error(transparent)]
    Data(#[from] onebit_data::Error),
    /// Images of another size than the network takes.
    #[cfg(feature = "data")]
    #[error(
        "data `{spec}` has {} images of {classes} classes, but the network takes {} images of {network_classes} classes",
        size(found),
        size(expected)
    )]
    OtherImages {
        /// The data.
        spec: String,
        /// Channels, height and width of its images.
        found: [usize; 3],
        /// Its classes.
        classes: usize,
        /// Channels, height and width that the network takes.
        expected: [usize; 3],
        /// The network's classes.
        network_classes: usize,
    },
    /// Images of classes that the network does not have.
    #[cfg(feature = "data")]
    #[error("data `{spec}` {reason}")]
    OtherClasses {
        /// The data.
        spec: String,
        /// Which.
        reason: String,
    },
    /// Weights that cannot be packed, or layers that cannot be rounded.
    #[cfg(feature = "pack")]
    #[error(transparent)]
    Pack(#[from] onebit_pack::PackError),
    /// Not one name for each class.
    #[cfg(feature = "pack")]
    #[error("the checkpoint has {}, and {names} are named", count(*classes, "class"))]
    ClassNames {
        /// Names.
        names: usize,
        /// Classes.
        classes: usize,
    },
    /// A network that cannot be.
    #[cfg(feature = "pack")]
    #[error(transparent)]
    Arch(#[from] onebit_model::arch::ArchError),
    /// A packed network that does not compute what was trained.
    #[cfg(feature = "train")]
    #[error(transparent)]
    Disagreement(#[from] onebit_pack::Disagreement),
    /// Weights that the trainer does not take.
    #[cfg(feature = "train")]
    #[error(transparent)]
    Train(#[from] onebit_train::TrainError),
}

#[cfg(feature = "data")]
fn size([channels, height, width]: &[usize; 3]) -> String {
    format!("{channels}x{height}x{width}")
}
