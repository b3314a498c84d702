//! What a run begins with.

use onebit_model::{Graph, Verified};

use crate::checkpoint::{State, Sums, TrainingStage};
use crate::images::Images;
use crate::stages::stage_of;
use crate::teacher::Teacher;
use crate::{Net, NetConfig, Recipe, TrainError};

/// The network of a stage, with initial weights.
pub(super) fn new_net(
    recipe: &Recipe,
    graph: &Verified<Graph>,
    stage: TrainingStage,
) -> Result<Net, TrainError> {
    let config = NetConfig {
        batch: recipe.train.batch,
        activation: recipe.train.activation_estimator,
        weight: recipe.train.weight_estimator,
        binarize_weights: stage == TrainingStage::BinaryWeights,
    };
    Net::new(graph.clone(), config, recipe.train.seed)
}

/// The state of a run that has made no step.
pub(super) fn first_state(
    recipe: &Recipe,
    images: &Images,
    teacher: Option<&Teacher>,
) -> Result<State, TrainError> {
    Ok(State {
        epoch: 0,
        step_in_epoch: 0,
        global_step: 0,
        stage: stage_of(recipe, 0),
        seed: recipe.train.seed,
        images: images.count(),
        recipe_sha256: recipe.fingerprint()?,
        epochs: Some(recipe.train.epochs),
        init_sha256: None,
        teacher_sha256: teacher.map(|teacher| teacher.sha256.clone()),
        best: None,
        sums: Sums::default(),
    })
}
