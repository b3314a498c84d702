//! Which values a recipe may have.

use std::fmt::{Display, LowerExp};

use onebit_model::arch::ARCHITECTURES;

use super::{Recipe, Stages, Train};
use crate::TrainError;
use crate::binarize::BadSetting;
use crate::schedule::{Granularity, Schedule};
use onebit_model::quote::{number, shown};

pub(super) const MAX_EPOCHS: usize = 100_000;
pub(super) const MAX_BATCH: usize = 65_536;
pub(super) const MAX_SEED: u64 = i64::MAX as u64;
/// Largest height or width to which images are brought.
pub(super) const MAX_SIDE: usize = 8192;

impl Recipe {
    /// Checks every value; `origin` is what errors call the recipe.
    ///
    /// # Errors
    /// The first value that is not allowed. Whether the network can be built depends on the images and is checked
    /// when they are known.
    pub fn validate(&self, origin: &str) -> Result<(), TrainError> {
        let check = Check { origin };
        check.data(self)?;
        check.network(self)?;
        check.stages(self)?;
        check.optimizer(self)?;
        check.estimators(self)?;
        check.augmentation(self)?;
        check.teacher(self)
    }
}

struct Check<'a> {
    origin: &'a str,
}

impl Check<'_> {
    fn require(
        &self,
        allowed: bool,
        key: &'static str,
        value: impl Display,
        expected: impl Display,
    ) -> Result<(), TrainError> {
        if allowed {
            return Ok(());
        }
        let value = value.to_string();
        Err(TrainError::Setting {
            origin: self.origin.to_owned(),
            key,
            value: if value.is_empty() { "\"\"".into() } else { shown(&value) },
            expected: expected.to_string(),
        })
    }

    fn data(&self, recipe: &Recipe) -> Result<(), TrainError> {
        let data = &recipe.data;
        let spec = "a data spec such as fashion-mnist-sample:train";
        self.require(!data.train.is_empty(), "data.train", "", spec)?;
        self.require(!data.test.is_empty(), "data.test", "", spec)?;
        if let Some([height, width]) = data.image_size {
            let allowed = [height, width].iter().all(|side| (1..=MAX_SIDE).contains(side));
            let value = format!("[{height}, {width}]");
            let expected = format!("a height and a width of 1 to {MAX_SIDE}");
            self.require(allowed, "data.image_size", value, expected)?;
        }
        for (key, limit) in
            [("data.train_limit", data.train_limit), ("data.test_limit", data.test_limit)]
        {
            self.require(limit != Some(0), key, 0, "1 or more")?;
        }
        Ok(())
    }

    fn network(&self, recipe: &Recipe) -> Result<(), TrainError> {
        let arch = &recipe.network.arch;
        let names: Vec<&str> = ARCHITECTURES.iter().map(|known| known.name).collect();
        let expected = format!("one of {}", names.join(", "));
        self.require(names.contains(&arch.as_str()), "network.arch", arch, expected)
    }

    fn stages(&self, recipe: &Recipe) -> Result<(), TrainError> {
        let train = &recipe.train;
        let least = match (train.schedule, train.granularity) {
            (Schedule::Linear, Granularity::Epoch) => 2,
            _ => 1,
        };
        let epochs = least..=MAX_EPOCHS;
        let expected = match least {
            1 => format!("1 to {MAX_EPOCHS}"),
            _ => format!(
                "2 to {MAX_EPOCHS}: a linear schedule per epoch runs the last epoch at learning rate 0"
            ),
        };
        self.require(epochs.contains(&train.epochs), "train.epochs", train.epochs, &expected)?;
        let real = train.real_weight_epochs;
        let (allowed, expected) = match train.stages {
            Stages::One => (real == 0, "0 where train.stages is `one`".to_owned()),
            Stages::Two => {
                (epochs.contains(&real), format!("{expected} where train.stages is `two`"))
            }
        };
        self.require(allowed, "train.real_weight_epochs", real, expected)?;
        let batch = train.batch;
        let expected = format!("1 to {MAX_BATCH}");
        self.require((1..=MAX_BATCH).contains(&batch), "train.batch", batch, expected)?;
        let empty = train.init.as_ref().is_some_and(|path| path.as_os_str().is_empty());
        self.require(!empty, "train.init", "", "the path of a run, checkpoint or weights file")?;
        self.require(train.save_every > 0, "train.save_every", 0, "1 or more epochs")?;
        let kept = train.keep_checkpoints;
        self.require(kept > 0, "train.keep_checkpoints", kept, "1 or more")?;
        let expected = format!("0 to {MAX_SEED}");
        self.require(train.seed <= MAX_SEED, "train.seed", train.seed, expected)
    }

    fn optimizer(&self, recipe: &Recipe) -> Result<(), TrainError> {
        let train = &recipe.train;
        let positive = |x: f64| x.is_finite() && x > 0.0;
        self.require(positive(train.lr), "train.lr", number(train.lr), "a number above 0")?;
        let betas = train.betas.iter().all(|beta| (0.0..1.0).contains(beta));
        let value = list(train.betas);
        self.require(betas, "train.betas", value, "two numbers from 0 up to, but not, 1")?;
        self.require(positive(train.eps), "train.eps", number(train.eps), "a number above 0")?;
        let decay = train.weight_decay;
        let allowed = decay.is_finite() && decay >= 0.0;
        self.require(allowed, "train.weight_decay", number(decay), "a number of 0 or more")?;
        let average = train.ema.unwrap_or(0.5);
        let allowed = average > 0.0 && average < 1.0;
        self.require(allowed, "train.ema", number(average), "a number above 0 and below 1")?;
        let smoothing = train.label_smoothing;
        let allowed = (0.0..1.0).contains(&smoothing);
        let expected = "a number from 0 up to, but not, 1";
        self.require(allowed, "train.label_smoothing", number(smoothing), expected)
    }

    fn augmentation(&self, recipe: &Recipe) -> Result<(), TrainError> {
        let augmentation = &recipe.train.augmentation;
        let Some([least, greatest]) = augmentation.random_resized_crop else { return Ok(()) };
        let allowed = least > 0.0 && least <= greatest && greatest <= 1.0;
        let key = "train.augmentation.random_resized_crop";
        let expected = "two shares of the area above 0 and up to 1, the smaller one first";
        self.require(allowed, key, list([least, greatest]), expected)?;
        let padding = augmentation.crop_padding;
        let expected = "0 where train.augmentation.random_resized_crop is set";
        self.require(padding == 0, "train.augmentation.crop_padding", padding, expected)
    }

    fn teacher(&self, recipe: &Recipe) -> Result<(), TrainError> {
        let Some(teacher) = &recipe.train.teacher else { return Ok(()) };
        let empty = teacher.path.as_os_str().is_empty();
        let expected = "the path of an ONNX file, run, checkpoint or weights file";
        self.require(!empty, "train.teacher.path", "", expected)?;
        let empty = teacher.columns.as_ref().is_some_and(Vec::is_empty);
        self.require(!empty, "train.teacher.columns", "[]", "an output for each class")?;
        let finite = teacher.mean.iter().flatten().all(|value| value.is_finite());
        let value = list(teacher.mean.iter().flatten().copied());
        self.require(finite, "train.teacher.mean", value, "finite numbers")?;
        let positive = teacher.std.iter().flatten().all(|&std| std.is_finite() && std > 0.0);
        let value = list(teacher.std.iter().flatten().copied());
        self.require(positive, "train.teacher.std", value, "numbers above 0")?;
        let smoothing = recipe.train.label_smoothing;
        let expected = "0 where [train.teacher] takes the place of the labels";
        self.require(smoothing == 0.0, "train.label_smoothing", number(smoothing), expected)
    }

    fn estimators(&self, recipe: &Recipe) -> Result<(), TrainError> {
        let Train { activation_estimator, weight_estimator, .. } = &recipe.train;
        for (key, checked) in [
            ("train.activation_estimator", activation_estimator.surrogate().validate()),
            ("train.weight_estimator", weight_estimator.binarizer().validate()),
        ] {
            if let Err(BadSetting { value, expected }) = checked {
                self.require(false, key, value, expected)?;
            }
        }
        Ok(())
    }
}

/// Numbers as TOML has them.
fn list<F>(values: impl IntoIterator<Item = F>) -> String
where
    F: Copy + Display + LowerExp + Into<f64>,
{
    let values: Vec<String> = values.into_iter().map(number).collect();
    format!("[{}]", values.join(", "))
}
