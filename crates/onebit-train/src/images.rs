//! The training and test images of a run.

use std::path::Path;
use std::sync::Arc;

use onebit_data::{
    Dataset, Loader, LoaderConfig, OpenOptions, Share, Split, Subset, open, same_images,
};
use onebit_model::arch::Task;

use crate::{Recipe, TrainError};

/// The images of a run.
pub(crate) struct Images {
    /// Batches to learn from.
    pub(crate) train: Loader,
    /// Batches to measure with, normalised like those.
    pub(crate) test: Loader,
    /// What the network is for.
    pub(crate) task: Task,
    /// What was passed over or left out, and whether both sets are the same images. One sentence each.
    pub(crate) warnings: Vec<String>,
    test_config: LoaderConfig,
}

impl Images {
    /// Opens both sets of a recipe and checks that they belong together.
    pub(crate) fn open(recipe: &Recipe, data_dir: Option<&Path>) -> Result<Self, TrainError> {
        let data = &recipe.data;
        let options = |limit| OpenOptions {
            image_size: data.image_size.map(|[height, width]| (height, width)),
            limit,
            skip_bad: data.skip_bad,
            data_dir: data_dir.map(Path::to_owned),
        };
        let train = open(&data.train, Split::Train, &options(data.train_limit))?;
        let test = open(&data.test, Split::Test, &options(data.test_limit))?;
        check_image_size(recipe, &*train)?;
        check(recipe, "images of", shape(&*train), shape(&*test))?;
        check(recipe, "the classes", train.classes().join(", "), test.classes().join(", "))?;
        check_sizes(recipe, &*train)?;
        let warnings = warnings(&*train, &*test);
        let normalization = train.normalization();
        let task = Task {
            input: train.shape(),
            classes: train.classes().to_vec(),
            normalization: normalization.clone(),
        };
        let test_config = LoaderConfig {
            batch: recipe.train.batch,
            normalization,
            augment: None,
            seed: recipe.train.seed,
            shuffle: false,
            drop_last: false,
            share: Share::WHOLE,
        };
        let test = Loader::new(Arc::from(test), test_config.clone())?;
        let augment = recipe.train.augmentation.augment();
        let config =
            LoaderConfig { augment, shuffle: true, drop_last: true, ..test_config.clone() };
        let train = Loader::new(Arc::from(train), config)?;
        Ok(Images { train, test, task, warnings, test_config })
    }

    /// At most `limit` test images, spread evenly over all.
    pub(crate) fn test_sample(&self, limit: usize) -> Result<Loader, TrainError> {
        let sample = Subset::new(Arc::clone(self.test.dataset()), limit)?;
        Ok(Loader::new(Arc::new(sample), self.test_config.clone())?)
    }

    /// Number of training images.
    pub(crate) fn count(&self) -> usize {
        self.train.dataset().len()
    }
}

/// The warnings of both sets, each once.
fn warnings(train: &dyn Dataset, test: &dyn Dataset) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    let same = same_images(train, test);
    for warning in train.warnings().iter().chain(test.warnings()).chain(&same) {
        if !all.contains(warning) {
            all.push(warning.clone());
        }
    }
    all
}

/// Refuses a size for images that have another one of their own: only those of a folder are brought to a size.
fn check_image_size(recipe: &Recipe, train: &dyn Dataset) -> Result<(), TrainError> {
    let [_, height, width] = train.shape();
    match recipe.data.image_size {
        Some([h, w]) if [h, w] != [height, width] => Err(TrainError::Setting {
            origin: "recipe".into(),
            key: "data.image_size",
            value: format!("[{h}, {w}]"),
            expected: format!(
                "[{height}, {width}], the size of the images of `{}`, or no such key: only images of a folder are \
                 brought to another size",
                recipe.data.train
            ),
        }),
        _ => Ok(()),
    }
}

/// Refuses a batch with more images than there are, and a crop that can miss the image.
fn check_sizes(recipe: &Recipe, train: &dyn Dataset) -> Result<(), TrainError> {
    let images = train.len();
    if recipe.train.batch > images {
        let expected = format!("1 to {images}, the number of training images");
        return Err(setting("train.batch", recipe.train.batch, expected));
    }
    let [_, height, width] = train.shape();
    let (padding, most) = (recipe.train.augmentation.crop_padding, height.min(width));
    if padding > most {
        let expected = format!("0 to {most}, the shorter side of the images");
        return Err(setting("train.augmentation.crop_padding", padding, expected));
    }
    Ok(())
}

fn setting(key: &'static str, value: usize, expected: String) -> TrainError {
    TrainError::Setting { origin: "recipe".into(), key, value: value.to_string(), expected }
}

fn shape(dataset: &dyn Dataset) -> String {
    let [channels, height, width] = dataset.shape();
    format!("{channels} x {height} x {width}")
}

fn check(
    recipe: &Recipe,
    property: &'static str,
    expected: String,
    found: String,
) -> Result<(), TrainError> {
    if found == expected {
        return Ok(());
    }
    let (train, test) = (recipe.data.train.clone(), recipe.data.test.clone());
    Err(TrainError::SplitsDiffer { test, train, property, found, expected })
}
