//! A recipe as it would be trained, without training.

use std::path::Path;

use onebit_data::ErrorKind;
use onebit_model::arch::{self, Task};

use crate::feasible::{Needs, check_norms, machine_memory};
use crate::images::Images;
use crate::init::Init;
use crate::teacher::Teacher;
use crate::{Recipe, TrainError};

/// What a recipe comes to.
#[derive(Debug)]
pub struct Checked {
    /// `[channels, height, width]` of the images: those of the data or, if these are not there, those that the
    /// architecture is made for.
    pub input: [usize; 3],
    /// Number of classes, likewise.
    pub classes: usize,
    /// Trained values.
    pub parameters: u64,
    /// Memory that training takes, in bytes: parameters, activations of a batch, optimizer, batches that are
    /// read ahead.
    pub memory: u64,
    /// Memory and swap of this machine, in bytes, where the system tells. Training on it is refused if that is less.
    pub machine_memory: Option<u64>,
    /// What the data sets hold; `None` if they are not there.
    pub images: Option<Counts>,
    /// What is not there.
    pub missing: Vec<TrainError>,
    /// What was not checked, as it is not there or belongs to images that are not: `data`, `train.init`,
    /// `train.teacher`.
    pub unchecked: Vec<&'static str>,
    /// What whoever trains should know of the images, of the initial weights and of the teacher, a sentence each.
    pub warnings: Vec<String>,
}

/// Sizes of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    /// Training images.
    pub train: usize,
    /// Test images.
    pub test: usize,
    /// Steps of an epoch.
    pub steps: usize,
}

/// Checks a recipe as [`crate::train`] does before the first step. Data, initial weights and a teacher that are not
/// there are left out, and the memory of this machine is not asked for: a recipe may be written on another machine than
/// the one that trains.
///
/// `data_dir` is the folder of fetched data sets, instead of [`onebit_data::data_dir`].
///
/// # Errors
/// As [`crate::train`], but for files that are missing and for the run's folder.
pub fn check(recipe: &Recipe, data_dir: Option<&Path>) -> Result<Checked, TrainError> {
    recipe.validate("recipe")?;
    let mut missing = Vec::new();
    let images = if_there(Images::open(recipe, data_dir), &mut missing)?;
    let task = match &images {
        Some(images) => images.task.clone(),
        None => own_task(recipe)?,
    };
    let mut warnings = images.as_ref().map_or_else(Vec::new, |images| images.warnings.clone());
    let graph = arch::build(&recipe.network, &task)?;
    check_norms(&graph, recipe.train.batch)?;
    let needs = Needs::of(recipe, &graph)?;
    let mut unchecked = Vec::new();
    if images.is_none() {
        unchecked.push("data");
    }
    if let Some(path) = &recipe.train.init {
        let mut read = || if_there(Init::read(path, &graph), &mut missing);
        match images.as_ref().map_or(Ok(None), |_| read())? {
            Some(init) => warnings.extend(init.skipped),
            None => unchecked.push("train.init"),
        }
    }
    if let Some(teacher) = &recipe.train.teacher {
        let mut open = || if_there(Teacher::open(teacher, &task, recipe.train.batch), &mut missing);
        match images.as_ref().map_or(Ok(None), |_| open())? {
            Some(teacher) => warnings.extend(teacher.skipped),
            None => unchecked.push("train.teacher"),
        }
    }
    Ok(Checked {
        input: task.input,
        classes: task.classes.len(),
        parameters: needs.parameters,
        memory: needs.bytes(),
        machine_memory: machine_memory(),
        images: images.map(|images| Counts {
            train: images.count(),
            test: images.test.dataset().len(),
            steps: images.train.batches(),
        }),
        missing,
        unchecked,
        warnings,
    })
}

/// What was read; if it is not there, `None` and the reason in `missing`.
fn if_there<T>(
    read: Result<T, TrainError>,
    missing: &mut Vec<TrainError>,
) -> Result<Option<T>, TrainError> {
    match read {
        Ok(there) => Ok(Some(there)),
        Err(error) if error.kind() == ErrorKind::MissingInput => {
            missing.push(error);
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// The images that the architecture is made for, in the size that the recipe gives.
fn own_task(recipe: &Recipe) -> Result<Task, TrainError> {
    let architecture = arch::find(&recipe.network.arch)?;
    let [channels, height, width] = architecture.input;
    let [height, width] = recipe.data.image_size.unwrap_or([height, width]);
    Ok(Task::unnamed([channels, height, width], architecture.classes))
}
