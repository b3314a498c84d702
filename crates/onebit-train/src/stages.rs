//! The stages of a run, and what they decay.

use onebit_model::op::Role;

use crate::checkpoint::Stage;
use crate::{Parameter, Recipe};

/// The stage of an epoch, counted from 0.
pub(crate) fn stage_of(recipe: &Recipe, epoch: usize) -> Stage {
    if epoch < recipe.train.real_weight_epochs { Stage::RealWeights } else { Stage::BinaryWeights }
}

/// First epoch of a stage and how many it has.
pub(crate) fn epochs_of(recipe: &Recipe, stage: Stage) -> (usize, usize) {
    let real = recipe.train.real_weight_epochs;
    match stage {
        Stage::RealWeights => (0, real),
        Stage::BinaryWeights => (real, recipe.train.epochs),
    }
}

/// Convolution weights that are real are decayed, in the first stage.
pub(crate) fn weight_decay(recipe: &Recipe, stage: Stage, parameter: &Parameter) -> f64 {
    let real = parameter.role == Role::Float || stage == Stage::RealWeights;
    let convolution = parameter.shape.len() == 4;
    if real && convolution && stage == stage_of(recipe, 0) {
        recipe.train.weight_decay
    } else {
        0.0
    }
}
