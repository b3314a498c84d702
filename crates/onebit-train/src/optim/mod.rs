//! Optimizers: what moves the parameters against their gradients.
//!
//! A new optimizer is one file here (its constants, its update of a tensor, what its state must be like), a variant of
//! [`Kind`] and [`Rule`], and its line in each `match` below.

mod adam;
mod state;

use onebit_model::file::FileError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use adam::AdamConfig;

use crate::{Parameter, Params};
use state::State;

/// The optimizers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Adam with coupled weight decay.
    #[default]
    Adam,
}

/// An optimizer with its constants.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Rule {
    /// Adam with coupled weight decay, which is added to the gradient as in PyTorch's `Adam`.
    Adam(AdamConfig),
}

impl Rule {
    /// Names of the values that it keeps for each trained one, as in a checkpoint: `<parameter>.<name>`.
    fn slots(&self) -> &'static [&'static str] {
        match self {
            Rule::Adam(_) => &adam::SLOTS,
        }
    }

    /// What is wrong with values that were kept, if anything is.
    fn fault(&self, slots: &[Vec<f32>]) -> Option<&'static str> {
        match self {
            Rule::Adam(_) => adam::fault(slots),
        }
    }
}

/// An optimizer with its state.
#[derive(Clone, Debug, PartialEq)]
pub struct Optimizer {
    rule: Rule,
    state: State,
}

impl Optimizer {
    /// An optimizer that has made no step.
    #[must_use]
    pub fn new(rule: Rule, params: &Params) -> Self {
        Optimizer { rule, state: State::new(rule.slots(), params) }
    }

    /// Moves all parameters against their gradients; `weight_decay` gives the penalty of each.
    ///
    /// Every element is computed on its own, so the result does not depend on the number of threads.
    ///
    /// # Errors
    /// The name of the first parameter whose gradient is not finite; the parameters are then spoilt.
    ///
    /// # Panics
    /// If `params` are not those that the optimizer was made for.
    pub fn step(
        &mut self,
        params: &mut Params,
        lr: f64,
        weight_decay: impl Fn(&Parameter) -> f64,
    ) -> Result<(), String> {
        let State { steps, slots } = &mut self.state;
        assert_eq!(slots.len(), params.entries.len(), "state for each parameter");
        *steps += 1;
        let mut bad = None;
        for (parameter, slots) in params.entries.iter_mut().zip(slots) {
            if parameter.grad.is_empty() {
                continue;
            }
            let decay = weight_decay(parameter);
            let (value, gradient) = (&mut parameter.value, &parameter.grad);
            let finite = match &self.rule {
                Rule::Adam(config) => {
                    adam::AdamUpdate::new(config, *steps, lr, decay).update(value, gradient, slots)
                }
            };
            if !finite && bad.is_none() {
                bad = Some(parameter.name.clone());
            }
        }
        bad.map_or(Ok(()), Err)
    }

    /// Steps made.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.state.steps
    }

    /// The state as the bytes of a checkpoint's `optimizer.safetensors`.
    ///
    /// # Errors
    /// More parameters than the file's limits allow.
    pub fn to_bytes(&self, params: &Params) -> Result<Vec<u8>, FileError> {
        self.state.to_bytes(self.rule.slots(), params)
    }

    /// Reads the bytes of [`Optimizer::to_bytes`] for the same parameters.
    ///
    /// # Errors
    /// What is wrong with the file, in words: not such a file, damaged, or of another network or optimizer.
    pub fn from_bytes(rule: Rule, params: &Params, bytes: &[u8]) -> Result<Self, String> {
        let state = State::from_bytes(rule.slots(), params, bytes)?;
        for (parameter, slots) in params.entries.iter().zip(&state.slots) {
            if let Some(fault) = rule.fault(slots) {
                return Err(format!("the state of `{}` {fault}", parameter.name));
            }
        }
        Ok(Optimizer { rule, state })
    }
}
