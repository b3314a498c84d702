//! The trained weights that a run begins with.

use std::path::{Path, PathBuf};

use onebit_model::file::{Weights, write_weights};
use onebit_model::{Data, Graph, Op, Tensor, Verified, hex, infer};
use sha2::{Digest, Sha256};

use crate::{Params, TrainError};

/// Trained weights that fit a network.
pub(crate) struct Init {
    /// The file they were read from.
    pub(crate) path: PathBuf,
    /// SHA-256 of that file.
    pub(crate) sha256: String,
    /// Whether the classifier keeps its random values, because it is for another number of classes.
    pub(crate) classifier_anew: bool,
    /// Hyper functions of the network that the weights lack.
    pub(crate) hyper_functions: usize,
    /// What is wrong with weights that would have been preferred.
    pub(crate) skipped: Vec<String>,
    weights: Verified<Weights>,
}

impl Init {
    /// Reads a run folder, a checkpoint folder or a `weights.safetensors`, and matches it with `graph` by name and
    /// shape. Only two differences are allowed: hyper functions that the weights lack, and a classifier for another
    /// number of classes.
    ///
    /// # Errors
    /// Nothing there that can be read, or the first tensor that is missing, too many or of another shape.
    pub(crate) fn read(path: &Path, graph: &Verified<Graph>) -> Result<Self, TrainError> {
        let loaded =
            onebit_files::load_weights(path).map_err(|error| TrainError::Init(Box::new(error)))?;
        let bytes = write_weights(&loaded.weights)
            .map_err(|error| TrainError::damaged(&loaded.path, error))?;
        let mut init = Init {
            path: loaded.path,
            sha256: hex(&Sha256::digest(bytes)),
            classifier_anew: loaded.weights.graph.classes.len() != graph.classes.len(),
            hyper_functions: 0,
            skipped: loaded.skipped.into_iter().map(|skipped| skipped.reason).collect(),
            weights: loaded.weights,
        };
        init.match_with(graph)?;
        Ok(init)
    }

    /// Copies the weights; what they lack stays as it is.
    pub(crate) fn apply(&self, params: &mut Params) {
        for entry in &mut params.entries {
            if let Some(Tensor { shape, data: Data::F32(values) }) =
                self.weights.tensors.get(&entry.name)
                && *shape == entry.shape
            {
                entry.value.copy_from_slice(values);
            }
        }
    }

    fn match_with(&mut self, graph: &Verified<Graph>) -> Result<(), TrainError> {
        let shapes = infer::shapes(graph)?;
        let mut unused: Vec<&String> = self.weights.tensors.keys().collect();
        for (id, node) in graph.ids().zip(&graph.nodes) {
            let mut lacking = false;
            for param in graph.params(id, &shapes) {
                let name = node.param_name(param.suffix);
                let found = self.weights.tensors.get(&name).map(|tensor| &tensor.shape);
                lacking |= found.is_none();
                let allowed = match found {
                    Some(shape) if *shape == param.shape => true,
                    Some(shape) => {
                        let classifier = id.0 + 1 == graph.nodes.len();
                        let same_features = shape.get(1..) == param.shape.get(1..);
                        classifier && self.classifier_anew && same_features
                    }
                    None => matches!(node.op, Op::HyperTrunk { .. } | Op::HyperHead { .. }),
                };
                if !allowed {
                    let found = found.map_or("missing".into(), |shape| format!("{shape:?}"));
                    return Err(self.misfit(&name, found, format!("{:?}", param.shape)));
                }
                unused.retain(|unused| **unused != name);
            }
            let hyper_function = matches!(node.op, Op::HyperHead { .. });
            self.hyper_functions += usize::from(lacking && hyper_function);
        }
        match unused.first() {
            Some(name) => {
                let found = format!("{:?}", self.weights.tensors[*name].shape);
                Err(self.misfit(name, found, "no tensor of this name".into()))
            }
            None => Ok(()),
        }
    }

    fn misfit(&self, tensor: &str, found: String, expected: String) -> TrainError {
        let (path, tensor) = (self.path.clone(), tensor.to_owned());
        TrainError::Misfit { path, tensor, found, expected }
    }
}
