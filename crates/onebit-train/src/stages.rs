//! The stages of a run, and what they decay.

use onebit_model::op::Role;

use crate::checkpoint::TrainingStage;
use crate::recipe::Decayed;
use crate::{Parameter, Recipe};

/// The stage of an epoch, counted from 0.
pub(crate) fn stage_of(recipe: &Recipe, epoch: usize) -> TrainingStage {
    if epoch < recipe.train.real_weight_epochs {
        TrainingStage::RealWeights
    } else {
        TrainingStage::BinaryWeights
    }
}

/// First epoch of a stage and how many it has.
pub(crate) fn epochs_of(recipe: &Recipe, stage: TrainingStage) -> (usize, usize) {
    let real = recipe.train.real_weight_epochs;
    match stage {
        TrainingStage::RealWeights => (0, real),
        TrainingStage::BinaryWeights => (real, recipe.train.epochs),
    }
}

/// The L2 penalty of a parameter in a stage; see [`Decayed`].
pub(crate) fn weight_decay(recipe: &Recipe, stage: TrainingStage, parameter: &Parameter) -> f64 {
    let real = parameter.role == Role::Float || stage == TrainingStage::RealWeights;
    let convolution = parameter.shape.len() == 4;
    let suffix = parameter.name.rsplit('.').next().unwrap_or_default();
    let shift = ["threshold", "shift_x", "shift_y"].contains(&suffix);
    let decayed = match recipe.train.weight_decay_on {
        Decayed::Convolutions => convolution,
        Decayed::Reactnet => convolution || shift,
    };
    if real && decayed && stage == stage_of(recipe, 0) { recipe.train.weight_decay } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use onebit_model::arch::{Task, build};

    use super::*;
    use crate::recipe::{Stages, Train};
    use crate::{Net, NetConfig};

    const RECIPE: &str = r#"
[data]
train = "fashion-mnist"
test = "fashion-mnist"
[network]
arch = "resnet-small"
method = "dybnn"
nonlinearity = "frprelu"
widths = [8, 16]
blocks = [1, 1]
[train]
stages = "two"
real_weight_epochs = 2
epochs = 2
batch = 1
lr = 1e-3
weight_decay = 1e-5
"#;

    /// The suffixes of the decayed parameters, and those of the others, binary weights apart.
    fn groups(change: impl Fn(&mut Train), stage: TrainingStage) -> (Vec<String>, Vec<String>) {
        let mut recipe = Recipe::from_toml(RECIPE, "test").unwrap();
        change(&mut recipe.train);
        let graph = build(&recipe.network, &Task::unnamed([1, 28, 28], 10)).unwrap();
        let net = Net::new(graph, NetConfig::new(1), 0).unwrap();
        let (mut decayed, mut others) = (Vec::new(), Vec::new());
        for parameter in net.params.entries.iter().filter(|p| p.role != Role::Statistic) {
            let suffix = parameter.name.rsplit('.').next().unwrap();
            let kind = match parameter.shape.len() {
                4 if parameter.role == Role::Binary => "binary",
                4 => "real",
                2 if parameter.role == Role::Int8 => "hyper",
                _ => suffix,
            };
            let decay = weight_decay(&recipe, stage, parameter);
            assert!(decay == 0.0 || decay == recipe.train.weight_decay);
            if decay > 0.0 { &mut decayed } else { &mut others }.push(kind.to_owned());
        }
        for group in [&mut decayed, &mut others] {
            group.sort();
            group.dedup();
        }
        (decayed, others)
    }

    #[test]
    fn the_first_stage_decays_convolutions_or_what_reactnets_code_decays() {
        let (decayed, others) = groups(|_| {}, TrainingStage::RealWeights);
        assert_eq!(decayed, ["binary", "real"]);
        assert!(["threshold", "shift_x", "shift_y"].iter().all(|s| others.contains(&(*s).into())));
        let reactnet = |train: &mut Train| train.weight_decay_on = Decayed::Reactnet;
        let (decayed, others) = groups(reactnet, TrainingStage::RealWeights);
        assert_eq!(decayed, ["binary", "real", "shift_x", "shift_y", "threshold"]);
        assert_eq!(others.iter().filter(|s| s.starts_with("slope")).count(), 2);
        assert!(["bias", "weight", "hyper"].iter().all(|s| others.contains(&(*s).into())));
        assert!(groups(reactnet, TrainingStage::BinaryWeights).0.is_empty(), "the second stage");
    }

    #[test]
    fn binary_weights_are_never_decayed() {
        let one = |train: &mut Train| {
            train.stages = Stages::One;
            train.real_weight_epochs = 0;
            train.weight_decay_on = Decayed::Reactnet;
        };
        let (decayed, others) = groups(one, TrainingStage::BinaryWeights);
        assert_eq!(decayed, ["real", "shift_x", "shift_y", "threshold"]);
        assert!(others.contains(&"binary".into()));
    }
}
