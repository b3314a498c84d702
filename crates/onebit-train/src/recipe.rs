//! Recipes: everything that decides a run, in one TOML file.

mod keys;
mod overrides;
mod parse;
mod schema;
mod validate;

use std::path::{Path, PathBuf};

use onebit_data::Augment;
use onebit_model::{arch, hex};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub use self::keys::{Choice, Key, Section, sections};
pub use self::overrides::Override;
pub use self::schema::schema;
use self::validate::{MAX_BATCH, MAX_EPOCHS, MAX_SEED, MAX_SIDE};
use crate::TrainError;
use crate::binarize::{Estimator, WeightEstimator};
use crate::optim::{AdamConfig, Kind, Rule};
use crate::schedule::{Granularity, Schedule};

/// A recipe is some kilobytes of text; what is longer is something else.
const MAX_RECIPE_BYTES: u64 = 1 << 20;

/// A recipe. The same recipe and images give the same network, bit for bit, on the same kind of CPU.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// The images.
    pub data: Data,
    /// The network: an architecture and its options. An option that is absent has the architecture's own value; `method`
    /// sets `sign`, `nonlinearity` and `dyprelu` together, and each can be set apart from it.
    pub network: arch::Config,
    /// How it is trained.
    pub train: Train,
}

/// The `[data]` section: which images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Data {
    /// The images to learn from, as a data spec: `NAME:train`, `folder:PATH`, `cifar:PATH`, `idx:PATH`.
    #[schemars(length(min = 1))]
    pub train: String,
    /// The images to measure with after each epoch, as a data spec.
    #[schemars(length(min = 1))]
    pub test: String,
    /// Height and width that the images of a folder are brought to; other sets have a size of their own, and another one
    /// is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(inner(range(min = 1, max = MAX_SIDE)))]
    pub image_size: Option<[usize; 2]>,
    /// Learn from only this many images, spread evenly over the set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub train_limit: Option<usize>,
    /// Measure with only this many images, spread evenly over the set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub test_limit: Option<usize>,
    /// Leave out images of a folder that cannot be decoded, with a warning, instead of ending the run when one is
    /// reached. All images are decoded once at the start to find them, so the same files give the same batches.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub skip_bad: bool,
}

/// The `[train]` section: stages, optimizer, schedule, loss, estimators, augmentation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Train {
    /// Passes over the images with binary weights and activations.
    #[schemars(range(min = 1, max = MAX_EPOCHS))]
    pub epochs: usize,
    /// Images in a step. A last batch that would be smaller is left out of the epoch.
    #[schemars(range(min = 1, max = MAX_BATCH))]
    pub batch: usize,
    /// Decides initial weights, order of the images and augmentation.
    #[serde(default)]
    #[schemars(range(min = 0, max = MAX_SEED))]
    pub seed: u64,
    /// Trained weights to begin with instead of random ones: a run folder, a checkpoint folder or a
    /// `weights.safetensors`, relative to the working directory. They are matched by name and shape, and are the start
    /// of the first stage: with `stages = "one"`, weights of a stage with real weights make the run ReActNet's second
    /// step. They may lack DyBNN's hyper functions, which leave a network as it was until they are trained, and a
    /// classifier for another number of classes starts anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", length(min = 1))]
    pub init: Option<PathBuf>,
    /// Whether a stage with real weights comes first.
    #[serde(default)]
    pub stages: Stages,
    /// Passes over the images in the stage with real weights; only with `stages = "two"`.
    #[serde(default)]
    #[schemars(range(min = 0, max = MAX_EPOCHS))]
    pub real_weight_epochs: usize,
    /// The optimizer.
    #[serde(default)]
    pub optimizer: Kind,
    /// The first learning rate of each stage.
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub lr: f64,
    /// Decay rates of Adam's moments.
    #[serde(default = "default_betas")]
    #[schemars(inner(range(min = 0, max = 1)))]
    pub betas: [f64; 2],
    /// Added to the root of Adam's second moment.
    #[serde(default = "default_eps")]
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub eps: f64,
    /// L2 penalty in the first stage (or the only one): the second of two stages has none, as in ReActNet. Latent
    /// binary weights are never decayed.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub weight_decay: f64,
    /// What the penalty is on.
    #[serde(default)]
    pub weight_decay_on: Decayed,
    /// How the learning rate changes within each stage.
    #[serde(default)]
    pub schedule: Schedule,
    /// How often a linear schedule changes the learning rate.
    #[serde(default)]
    pub granularity: Granularity,
    /// Decay of an average of all weights and running statistics over the steps, such as 0.9999, which then stands for
    /// them: it is what is measured, kept as the best, packed, and what the second stage begins with. Training itself
    /// goes on as without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("exclusiveMinimum" = 0, "exclusiveMaximum" = 1))]
    pub ema: Option<f64>,
    /// Share of the target that is spread over all classes.
    #[serde(default)]
    #[schemars(range(min = 0), extend("exclusiveMaximum" = 1))]
    pub label_smoothing: f64,
    /// A checkpoint is written after this many epochs (and at the end).
    #[serde(default = "default_save_every")]
    #[schemars(range(min = 1))]
    pub save_every: usize,
    /// This many of the newest checkpoints stay, besides the best weights; `onebit probe` reads them all.
    #[serde(default = "default_keep_checkpoints")]
    #[schemars(range(min = 1))]
    pub keep_checkpoints: usize,
    /// What stands for the derivative of the activations' sign.
    #[serde(default)]
    pub activation_estimator: Estimator,
    /// What stands for the derivative of the weights' sign.
    #[serde(default)]
    pub weight_estimator: WeightEstimator,
    /// Random changes to the training images.
    #[serde(default)]
    pub augmentation: Augmentation,
    /// A network whose outputs are learned in place of the labels, which then only count correct answers: the
    /// distributional loss of ReActNet (section 4.3).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub teacher: Option<Teacher>,
}

/// The `[train.teacher]` section.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Teacher {
    /// An ONNX classifier (`.onnx`), or a run folder, checkpoint folder or `weights.safetensors` with binary weights,
    /// relative to the working directory.
    #[schemars(with = "String", length(min = 1))]
    pub path: PathBuf,
    /// Which of its outputs belong to the classes of the data, in their order; all of them if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub columns: Option<Vec<usize>>,
    /// Mean of each channel, of pixels from 0 to 1, with which an ONNX classifier was trained; ImageNet's if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mean: Option<Vec<f32>>,
    /// Standard deviation of each channel, likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub std: Option<Vec<f32>>,
    /// The order of an ONNX classifier's input; `nchw` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layout: Option<Layout>,
    /// What an ONNX classifier gives. If absent, it is taken for logits, and refused where those of some test images look
    /// like probabilities.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outputs: Option<Outputs>,
}

/// What the outputs of a classifier are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outputs {
    /// Logits, whose softmax is learned.
    Logits,
    /// Probabilities, as behind a softmax, which are learned as they are, made to sum to 1 over the chosen columns.
    Probabilities,
}

/// The order of the dimensions of a batch of images.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Layout {
    /// Images, channels, height, width.
    Nchw,
    /// Images, height, width, channels.
    Nhwc,
}

/// Whether a stage with real weights comes before the stage with binary weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Stages {
    /// Weights and activations are binary from the start (Bi-Real Net's PyTorch code).
    #[default]
    One,
    /// First `real_weight_epochs` with binary activations and real weights, then `epochs` with binary weights
    /// from those, with a fresh optimizer and schedule (ReActNet, section 4.4).
    Two,
}

/// Which parameters weight decay is on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Decayed {
    /// The convolution weights that are real.
    #[default]
    Convolutions,
    /// Those and the thresholds and shifts of the activations: what ReActNet's published code decays, which takes every
    /// tensor of four dimensions, and whose learned biases are `[1, C, 1, 1]`.
    Reactnet,
}

/// Random changes to training images: a crop of one kind, then a mirror.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Augmentation {
    /// Least and greatest share of the area of the original image that is cut out, at a ratio from 3/4 to 4/3, and
    /// scaled to the size of the set: torchvision's `RandomResizedCrop`. `[0.08, 1.0]` for ImageNet.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(inner(range(min = 0, max = 1)))]
    pub random_resized_crop: Option<[f64; 2]>,
    /// Rows and columns of black on each side, of which a window of the original size is kept.
    pub crop_padding: usize,
    /// Mirror half of the images left to right.
    pub horizontal_flip: bool,
}

impl Recipe {
    /// Reads and checks a recipe.
    ///
    /// # Errors
    /// A file that cannot be read, is not TOML, lacks a key or has an unknown one, or a value that is not allowed;
    /// each names the key.
    pub fn load(path: &Path) -> Result<Self, TrainError> {
        Self::load_with(path, &[])
    }

    /// Reads and checks the text of a recipe; `origin` is what errors call it.
    ///
    /// # Errors
    /// As [`Recipe::load`].
    pub fn from_toml(text: &str, origin: &str) -> Result<Self, TrainError> {
        let recipe = parse::recipe(parse::table(text, origin)?, origin)?;
        recipe.validate(origin)?;
        Ok(recipe)
    }

    /// The recipe as TOML, defaults included: what a run keeps as its `recipe.toml`.
    ///
    /// # Errors
    /// A seed that TOML cannot hold.
    pub fn to_toml(&self) -> Result<String, TrainError> {
        toml::to_string(self).map_err(|e| parse::unwritable(&e))
    }

    /// Epochs of all stages.
    #[must_use]
    pub fn total_epochs(&self) -> usize {
        self.train.real_weight_epochs + self.train.epochs
    }

    /// SHA-256, in hexadecimal, of what decides the numbers of a run: all but `train.save_every`, `train.keep_checkpoints`
    /// and the places of the images, of the initial weights and of the teacher.
    ///
    /// # Errors
    /// As [`Recipe::to_toml`].
    pub fn fingerprint(&self) -> Result<String, TrainError> {
        let text = self.comparable().to_toml()?;
        Ok(hex(&Sha256::digest(text.as_bytes())))
    }

    /// The first key whose value differs and decides the numbers of a run, with the values here and in `other`.
    ///
    /// # Errors
    /// As [`Recipe::to_toml`].
    pub fn difference(
        &self,
        other: &Recipe,
    ) -> Result<Option<(String, String, String)>, TrainError> {
        let ours = parse::to_table(&self.comparable())?;
        let theirs = parse::to_table(&other.comparable())?;
        Ok(parse::difference("", &ours, &theirs))
    }

    fn comparable(&self) -> Self {
        let mut recipe = self.clone();
        recipe.data.train.clear();
        recipe.data.test.clear();
        recipe.train.save_every = 1;
        recipe.train.keep_checkpoints = default_keep_checkpoints();
        recipe.train.init = recipe.train.init.map(|_| PathBuf::new());
        if let Some(teacher) = &mut recipe.train.teacher {
            teacher.path.clear();
        }
        recipe
    }
}

impl Train {
    /// The optimizer with its constants.
    #[must_use]
    pub fn rule(&self) -> Rule {
        match self.optimizer {
            Kind::Adam => Rule::Adam(AdamConfig { betas: self.betas, eps: self.eps }),
        }
    }
}

impl Augmentation {
    /// For a loader; `None` if nothing is changed.
    #[must_use]
    pub fn augment(self) -> Option<Augment> {
        let Augmentation { random_resized_crop, crop_padding, horizontal_flip } = self;
        let augment = Augment { crop_padding, random_resized_crop, horizontal_flip };
        (self != Self::default()).then_some(augment)
    }
}

fn default_betas() -> [f64; 2] {
    AdamConfig::default().betas
}

fn default_eps() -> f64 {
    AdamConfig::default().eps
}

fn default_save_every() -> usize {
    1
}

fn default_keep_checkpoints() -> usize {
    2
}
