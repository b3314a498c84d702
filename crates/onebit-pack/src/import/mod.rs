//! Checkpoints of PyTorch: those of the official code of Bi-Real Net and ReActNet, and of any network whose tensors have
//! our names and shapes.
//!
//! [`Checkpoint::parse`] reads what `torch.save` writes, in its zip container and in the one before PyTorch 1.6, or a
//! safetensors file, without running anything of a pickle (docs/decisions/008 says why by code of our own, and 017 what of
//! it is read);
//! [`Checkpoint::weights`] gives its tensors our names, layout and signs. The result is packed or trained on like
//! weights of one's own.

mod container;
mod described;
mod error;
mod names;
mod official;
mod onnx;
mod pickle;
mod state_dict;
mod tensor;
#[cfg(test)]
mod tests;
mod zip;

use std::collections::{BTreeMap, BTreeSet};

use onebit_model::arch::{self, ARCHITECTURES, Config, Task};
use onebit_model::file::Weights;
use onebit_model::limits::MAX_CLASSES;
use onebit_model::op::{Param, Role};
use onebit_model::{Data, Graph, ModelError, Tensor, Verified, infer};

use onebit_files::shown;

pub use described::{DescribedWeights, Problems};
pub use error::ImportError;
pub use onnx::{Comparison, ImportedOnnx, Mismatch, NOT_NORMALISED, OnnxOptions, read_onnx};

pub(crate) use container::{START_BYTES, is_start};

use container::Contents;
use official::{Family, Form, Official};
use tensor::{Dtype, Stored};

/// The classifier, officially and here.
const CLASSIFIER: &str = "fc.weight";

/// End of the names of counters of training steps; nothing needs them.
const COUNTER: &str = ".num_batches_tracked";

/// A checkpoint, its tensors still in the bytes of the file.
#[derive(Debug)]
pub struct Checkpoint<'a> {
    tensors: BTreeMap<String, Stored<'a>>,
    /// Classes of what is no tensor.
    objects: BTreeMap<String, String>,
    found: Found,
}

/// Where and how the state dict was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The keys that lead to it, such as `state_dict`; none where it was saved alone.
    pub path: Vec<String>,
    /// What was taken from the start of its names, such as `module.`, each once.
    pub prefixes: BTreeSet<String>,
    /// Names of the entries beside it, such as `epoch` and `optimizer`; they were not read.
    pub others: Vec<String>,
}

/// What a checkpoint became.
#[derive(Clone, Debug)]
pub struct Imported {
    /// The network and its weights, under our names.
    pub weights: Verified<Weights>,
    /// Tensors that were read.
    pub read: usize,
    /// Counters of training steps that were not.
    pub counters: usize,
    /// Where and how they were found, and what was not read.
    pub found: Found,
    /// Binary weights that are exactly 0: PyTorch's sign of them is 0, here they are -1, so that the network may
    /// compute something else.
    pub ties: usize,
}

impl<'a> Checkpoint<'a> {
    /// Reads a checkpoint from the bytes of its file; what kind of file it is, the bytes say.
    ///
    /// # Errors
    /// No checkpoint, a damaged one, or a pickle that wants anything but tensors.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ImportError> {
        Checkpoint::parse_known(bytes, &BTreeSet::new())
    }

    /// [`Checkpoint::parse`] for a described graph: a tensor that has the name of one of the graph's keeps it, even if it begins as
    /// those do that wrappers have changed.
    ///
    /// # Errors
    /// As [`Checkpoint::parse`].
    pub fn parse_for(bytes: &'a [u8], graph: &Graph) -> Result<Self, ImportError> {
        let shapes = infer::shapes(graph).map_err(ModelError::from)?;
        let names = graph.ids().zip(&graph.nodes).flat_map(|(id, node)| {
            let suffixes = graph.params(id, &shapes).into_iter().map(|param| param.suffix);
            suffixes.chain(["bias"]).map(|suffix| node.param_name(suffix))
        });
        Checkpoint::parse_known(bytes, &names.collect())
    }

    fn parse_known(bytes: &'a [u8], known: &BTreeSet<String>) -> Result<Self, ImportError> {
        let Contents { tensors, objects, path, prefixes, others } = container::read(bytes, known)?;
        Ok(Checkpoint { tensors, objects, found: Found { path, prefixes, others } })
    }

    /// Whether the tensors of `graph` can have names in a checkpoint: official ones, or in this one our own.
    ///
    /// # Errors
    /// The first tensor that has none.
    pub fn check_names(&self, graph: &Verified<Graph>) -> Result<(), ImportError> {
        self.wanted(graph).map(drop)
    }

    /// Number of classes, which is the number of rows of `fc.weight`.
    ///
    /// # Errors
    /// There is no such tensor, it is no matrix, or its rows are too many or none.
    pub fn classes(&self) -> Result<usize, ImportError> {
        let name = CLASSIFIER.to_owned();
        match self.tensors.get(&name).map(|fc| fc.shape.as_slice()) {
            Some(&[classes, features]) if (1..=MAX_CLASSES).contains(&classes) && features > 0 => {
                Ok(classes)
            }
            Some(other) => Err(ImportError::NotClassifier { name, found: other.to_vec() }),
            None => Err(self.missing(name)),
        }
    }

    /// The tensors as weights of `graph`, whose classes are as many as [`Checkpoint::classes`].
    ///
    /// # Errors
    /// A tensor that is missing, not needed, wrongly shaped or not finite; the checkpoint of another architecture; or
    /// a network that official checkpoints cannot hold.
    pub fn weights(&self, graph: Verified<Graph>) -> Result<Imported, ImportError> {
        let sources = self.sources(&graph).map_err(|error| self.explained(error, &graph.arch))?;
        let mut tensors = BTreeMap::new();
        let mut ties = 0;
        for source in &sources {
            let values = source.values()?;
            if source.param.role == Role::Binary {
                ties += values.iter().filter(|&&value| value == 0.0).count();
            }
            let shape = source.param.shape.clone();
            tensors.insert(source.ours.clone(), Tensor { shape, data: Data::F32(values) });
        }
        Ok(Imported {
            weights: Verified::<Weights>::new(Weights { graph: graph.into_inner(), tensors })?,
            read: sources.len(),
            counters: self.tensors.len() - sources.len(),
            found: self.found.clone(),
            ties,
        })
    }

    /// For each tensor of the graph the one it is made of. All others are counters.
    fn sources(&self, graph: &Verified<Graph>) -> Result<Vec<TensorSource<'_>>, ImportError> {
        let wanted = self.wanted(graph)?.into_iter();
        let sources = wanted.map(|wanted| self.source(wanted)).collect::<Result<Vec<_>, _>>()?;
        let used: BTreeSet<&str> = sources.iter().map(|source| source.name).collect();
        let unused = |name: &&String| !used.contains(name.as_str()) && !name.ends_with(COUNTER);
        match self.tensors.keys().find(unused) {
            Some(extra) => Err(ImportError::Extra(shown(extra))),
            None => Ok(sources),
        }
    }

    fn source(&self, wanted: Wanted) -> Result<TensorSource<'_>, ImportError> {
        let Wanted { ours, param, official: Official { name, form } } = wanted;
        let mut expected = form.shape(&param.shape);
        let mut entry = self.tensors.get_key_value(&name);
        if form == Form::BinaryKernel && entry.is_none() {
            entry = self.tensors.get_key_value(&format!("{name}s"));
            expected = if entry.is_some() { vec![param.len(), 1] } else { expected };
        }
        let (name, stored) = entry.ok_or_else(|| self.missing(name))?;
        if stored.shape != expected {
            let found = stored.shape.clone();
            return Err(ImportError::WrongShape { name: name.clone(), found, expected });
        }
        Ok(TensorSource { ours, param, name, stored, form })
    }

    fn missing(&self, name: String) -> ImportError {
        match self.objects.get(&name) {
            Some(class) => ImportError::NotTensor { name, class: class.clone() },
            None => ImportError::Missing(name),
        }
    }

    /// The tensors of a graph with the names that they have here: official ones, or our own where most of these are there.
    fn wanted(&self, graph: &Verified<Graph>) -> Result<Vec<Wanted>, ImportError> {
        let shapes = infer::shapes(graph).map_err(ModelError::from)?;
        let params = graph.ids().zip(&graph.nodes).flat_map(|(id, node)| {
            let params = graph.params(id, &shapes).into_iter();
            params.map(|param| (node.param_name(param.suffix), param))
        });
        let params: Vec<_> = params.collect();
        let ours = params.iter().filter(|(name, _)| self.tensors.contains_key(name)).count();
        let is_ours = ours > params.len() / 2;
        let are_of_torch = params.iter().any(|(name, param)| self.is_of_torch(name, param));
        let family = Family::of(graph);
        let wanted = params.into_iter().map(|(ours, param)| {
            let official = match is_ours {
                true => {
                    let is_kernel = are_of_torch && param.shape.len() == 4;
                    let form = if is_kernel { Form::Kernel } else { Form::Same };
                    Some(Official { name: ours.clone(), form })
                }
                false => family.official(&ours, &param),
            };
            match official {
                Some(official) => Ok(Wanted { ours, param, official }),
                None => Err(ImportError::NoOfficialName { arch: graph.arch.clone(), tensor: ours }),
            }
        });
        wanted.collect()
    }

    /// Whether a kernel under our name can only be one in PyTorch's order of axes, `[O, I/groups, k, k]`.
    fn is_of_torch(&self, name: &str, param: &Param) -> bool {
        let found = self.tensors.get(name).map(|stored| &stored.shape);
        let of_torch = Form::Kernel.shape(&param.shape);
        param.shape.len() == 4 && found == Some(&of_torch) && of_torch != param.shape
    }

    /// Where tensors do not fit the network: the architecture whose they are, if there is one.
    fn explained(&self, error: ImportError, arch: &str) -> ImportError {
        let mismatch = matches!(
            error,
            ImportError::Missing(_) | ImportError::Extra(_) | ImportError::WrongShape { .. }
        );
        let found = self.classes().ok().filter(|_| mismatch).and_then(|classes| {
            ARCHITECTURES.iter().find(|architecture| {
                let task = Task::unnamed(architecture.input, classes);
                let graph = arch::build(&Config::named(architecture.name), &task);
                graph.is_ok_and(|graph| self.sources(&graph).is_ok())
            })
        });
        match found {
            Some(found) if found.name != arch => {
                let (misfit, expected) = (Box::new(error), arch.to_owned());
                ImportError::AnotherArchitecture { misfit, found: found.name, expected }
            }
            _ => error,
        }
    }
}

/// A tensor of a graph, and the official one that it is made of.
struct Wanted {
    ours: String,
    param: Param,
    official: Official,
}

/// A tensor of a graph and the one of the checkpoint that it is made of.
struct TensorSource<'c> {
    ours: String,
    param: Param,
    name: &'c str,
    stored: &'c Stored<'c>,
    form: Form,
}

impl TensorSource<'_> {
    fn values(&self) -> Result<Vec<f32>, ImportError> {
        if let Dtype::Other(_) = self.stored.dtype {
            return Err(ImportError::NotFloat(self.name.to_owned()));
        }
        let values = self.stored.values();
        match values.iter().all(|value| value.is_finite()) {
            true => Ok(self.form.convert(values, &self.param.shape)),
            false => Err(ImportError::NotFinite(self.name.to_owned())),
        }
    }
}
