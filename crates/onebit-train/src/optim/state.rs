//! What an optimizer keeps from one step to the next, in memory and in a checkpoint.

use std::collections::BTreeMap;

use onebit_model::file::{Container, FileError, Kind, container};
use onebit_model::{Data, Tensor};

use crate::{Parameter, Params};

const STEPS_KEY: &str = "steps";

/// Steps made, and values for each trained one.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct State {
    pub(super) steps: u64,
    /// For each parameter, for each name that the optimizer gives; empty for running statistics.
    pub(super) slots: Vec<Vec<Vec<f32>>>,
}

impl State {
    /// Zeros.
    pub(super) fn new(names: &[&str], params: &Params) -> Self {
        let zeros = |p: &Parameter| vec![vec![0.0; p.grad.len()]; names.len()];
        State { steps: 0, slots: params.entries.iter().map(zeros).collect() }
    }

    /// The bytes of `optimizer.safetensors`: tensors `<parameter>.<name>`.
    pub(super) fn to_bytes(&self, names: &[&str], params: &Params) -> Result<Vec<u8>, FileError> {
        let mut tensors = BTreeMap::new();
        for (parameter, slots) in params.entries.iter().zip(&self.slots) {
            for (name, values) in names.iter().zip(slots).filter(|(_, values)| !values.is_empty()) {
                let data = Data::F32(values.clone());
                let tensor = Tensor { shape: parameter.shape.clone(), data };
                tensors.insert(format!("{}.{name}", parameter.name), tensor);
            }
        }
        let metadata = BTreeMap::from([(STEPS_KEY.to_owned(), self.steps.to_string())]);
        container::write(Kind::Optimizer, 1, &metadata, &tensors)
    }

    /// Reads the bytes of [`State::to_bytes`].
    pub(super) fn from_bytes(
        names: &[&str],
        params: &Params,
        bytes: &[u8],
    ) -> Result<Self, String> {
        let Container { mut metadata, mut tensors, .. } =
            container::read(Kind::Optimizer, bytes).map_err(|e| e.to_string())?;
        let steps = metadata.remove(STEPS_KEY).and_then(|steps| steps.parse().ok());
        let steps = steps.ok_or("metadata `steps` is missing or no number")?;
        let mut state = State { steps, ..State::new(names, params) };
        for (parameter, slots) in params.entries.iter().zip(&mut state.slots) {
            for (name, values) in names.iter().zip(slots).filter(|(_, values)| !values.is_empty()) {
                let name = format!("{}.{name}", parameter.name);
                match tensors.remove(&name) {
                    Some(Tensor { shape, data: Data::F32(data) }) if shape == parameter.shape => {
                        *values = data;
                    }
                    _ => return Err(format!("tensor `{name}` is missing or of another shape")),
                }
            }
        }
        match tensors.keys().next() {
            Some(name) => Err(format!("tensor `{name}` belongs to no parameter of the network")),
            None => Ok(state),
        }
    }
}
