//! `onebit train`: a network trained from a recipe.

use std::path::{Path, PathBuf};

use onebit_train::checkpoint::Best;
use onebit_train::recipe::{self, Override, Section};
use onebit_train::{Checked, Recipe, RunPaths, TrainError};
use onebit_files::shown;
use serde::Serialize;

use crate::failure::{self, Failure};
use crate::output::{self, bytes, count, thousands};
use crate::recipe_keys;
use crate::run_training::{self, best_text, duration};
use crate::arguments::{Format, Threads};
use crate::set::Set;
use crate::size::show;

const EXAMPLES: &str = "\
Examples:
  onebit train recipes/demo.toml --out runs/a
  onebit train recipes/demo.toml --out runs/a --resume         go on after an interruption
  onebit train --resume --out runs/a --epochs 20               go on to 20 epochs
  onebit train recipes/demo.toml --out runs/b --epochs 3 --seed 1 --set network.method=ftbnn
  onebit train recipes/demo.toml --out runs/c --data fashion-mnist
  onebit train recipes/demo.toml --out runs/d --set train.init=runs/a    start from trained weights
  onebit train --check recipes/demo.toml                       is it valid, and how large is it
  onebit train --keys                                          what can stand in a recipe
  onebit train --keys --json-schema > recipe.schema.json       the same for editors

The run's folder gets recipe.toml (with the overrides), metrics.csv, curve.svg, curve.png,
checkpoints/ and best/. The same recipe and seed give the same weights, bit for bit, on any number
of threads and however often the run is interrupted. Ctrl-C writes a checkpoint and ends with exit
code 130; a second Ctrl-C ends at once. A run that goes on to another number of epochs than it was
planned for ends with other weights than one that was planned so, unless its learning rate is
constant. A run that fails in its first epoch is not in the way of the same command. --resume gives
damaged checkpoints and best weights a name that begins with damaged-, and replaces best weights
only by better ones. All overrides are applied before the recipe is checked.";

/// Trains a network from a recipe
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
#[command(mut_arg("threads", |threads| threads.help("Threads [default: all]; the result does not depend on it")))]
pub(crate) struct Args {
    /// Recipe: data, network and training in TOML; with --resume that of the run if left out
    #[arg(value_name = "RECIPE.toml", required_unless_present_any = ["resume", "keys"])]
    recipe: Option<PathBuf>,
    /// Other data than the recipe's: NAME, folder:PATH, cifar:PATH or idx:PATH
    #[arg(long, value_name = "SPEC")]
    data: Option<String>,
    /// The run's folder [default: runs/RECIPE]
    #[arg(long, value_name = "RUN")]
    out: Option<PathBuf>,
    /// Continue the run in that folder from its newest checkpoint
    #[arg(long)]
    resume: bool,
    /// Another seed than the recipe's
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(0..))]
    seed: Option<i64>,
    /// Another number of epochs (with binary weights) than the recipe's or, with --resume, than the run's
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(0..))]
    epochs: Option<i64>,
    /// Where to train: this program does it on the cpu
    #[arg(long, value_name = "DEVICE", default_value = "cpu")]
    device: String,
    /// Another value of the recipe, such as train.lr=1e-3; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<Set>,
    #[command(flatten)]
    threads: Threads,
    /// Check the recipe, with its overrides, and train nothing
    #[arg(long, conflicts_with_all = ["resume", "keys"])]
    check: bool,
    /// Print all keys of recipes: type, default, allowed values, meaning
    #[arg(long, conflicts_with = "resume")]
    keys: bool,
    /// With --keys: print the JSON schema
    #[arg(long, requires = "keys", conflicts_with = "json")]
    json_schema: bool,
    /// With --keys: print the page docs/recipes.md
    #[arg(long, requires = "keys", conflicts_with_all = ["json", "json_schema"])]
    markdown: bool,
    #[command(flatten)]
    format: Format,
}

#[derive(Serialize)]
struct Done {
    out: PathBuf,
    epochs: usize,
    best: Option<Best>,
    checkpoint: Option<PathBuf>,
    curves: Vec<PathBuf>,
    seconds: f64,
}

#[derive(Serialize)]
struct Keys {
    sections: Vec<Section>,
}

/// What `--check` tells of a valid recipe.
#[derive(Serialize)]
struct Valid {
    recipe: PathBuf,
    valid: bool,
    arch: String,
    input: String,
    classes: usize,
    parameters: u64,
    epochs: usize,
    batch: usize,
    memory_bytes: u64,
    /// Memory and swap of this machine; null where the system does not tell.
    machine_bytes: Option<u64>,
    /// Images to learn from, to test with, and steps of an epoch; null if the data is not there.
    images: Option<usize>,
    test_images: Option<usize>,
    steps: Option<usize>,
    /// What is not there.
    missing: Vec<String>,
    /// What was not checked, as it is not there or belongs to data that is not.
    unchecked: Vec<&'static str>,
}

pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    if args.keys {
        return keys(&args);
    }
    check_device(&args.device)?;
    let (path, out) = places(&args)?;
    let overrides = overrides(&args)?;
    let recipe = Recipe::load_with(&path, &overrides)?;
    if args.check {
        return check(&args, path, &recipe);
    }
    let change_epochs = args.resume && overrides.iter().any(|set| set.sets("train.epochs"));
    let method = recipe.network.method.map_or_else(String::new, |method| format!(" {method:?}"));
    let title = format!("{}{method}", recipe.network.arch).to_lowercase();
    let mode = run_training::Mode { resume: args.resume, change_epochs };
    let summary = run_training::run(recipe, &out, mode, args.threads.count())?;
    let curves = run_training::draw_curves(&out, &title)?;
    if summary.interrupted {
        let how = format!("go on with: onebit train --resume --out {}", out.display());
        return Err(run_training::interrupted(&summary, &how));
    }
    let done = Done {
        out,
        epochs: summary.epochs,
        best: summary.best,
        checkpoint: summary.checkpoint,
        curves,
        seconds: summary.seconds,
    };
    args.format.print(&done, Done::text)
}

fn keys(args: &Args) -> anyhow::Result<()> {
    if args.json_schema {
        return output::text(&(serde_json::to_string_pretty(&recipe::schema())? + "\n"));
    }
    let sections = recipe::sections();
    let text = if args.markdown { recipe_keys::markdown } else { recipe_keys::text };
    args.format.print(&Keys { sections }, |keys| text(&keys.sections))
}

fn check(args: &Args, path: PathBuf, recipe: &Recipe) -> anyhow::Result<()> {
    onebit::start_shared_pool()?;
    let checked = onebit_train::check(recipe, None)?;
    for warning in &checked.warnings {
        output::note(&format!("warning: {warning}"));
    }
    let valid = Valid::new(path, recipe, checked);
    for missing in &valid.missing {
        output::note(&format!("not checked: {missing}"));
    }
    args.format.print(&valid, Valid::text)
}

fn check_device(device: &str) -> anyhow::Result<()> {
    match device {
        "cpu" => Ok(()),
        _ => Err(Failure::usage(format!(
            "--device {}: this program trains on the CPU and has no GPU support; leave the option out, or say cpu",
            shown(device)
        ))),
    }
}

/// The recipe's file and the run's folder.
fn places(args: &Args) -> anyhow::Result<(PathBuf, PathBuf)> {
    match (&args.recipe, &args.out) {
        (Some(recipe), Some(out)) => Ok((recipe.clone(), out.clone())),
        (Some(recipe), None) => Ok((recipe.clone(), default_out(recipe))),
        (None, Some(out)) => {
            let run = RunPaths::new(out);
            if run.recipe_is_lost()? {
                return Err(TrainError::RecipeLost { path: out.clone() }.into());
            }
            if !run.recipe().exists() {
                return Err(TrainError::NoRun { path: out.clone() }.into());
            }
            Ok((run.recipe(), out.clone()))
        }
        (None, None) => Err(Failure::usage("--resume needs a run: --out RUN, or its RECIPE.toml")),
    }
}

fn default_out(recipe: &Path) -> PathBuf {
    let stem = recipe.file_stem().unwrap_or(recipe.as_os_str());
    Path::new("runs").join(stem)
}

/// The changes to the recipe; `--seed` and `--epochs` come after `--set`.
fn overrides(args: &Args) -> anyhow::Result<Vec<Override>> {
    let mut overrides = Vec::new();
    if let Some(spec) = &args.data {
        overrides.push(Override::data(spec, format!("--data {spec}"))?);
    }
    for Set { text, key, value } in &args.set {
        overrides.push(Override::set(key, value.clone(), format!("--set {text}")));
    }
    if let Some(seed) = args.seed {
        overrides.push(Override::set("train.seed", seed, format!("--seed {seed}")));
    }
    if let Some(n) = args.epochs {
        overrides.push(Override::set("train.epochs", n, format!("--epochs {n}")));
    }
    Ok(overrides)
}

impl Done {
    fn text(&self) -> String {
        let mut text = format!(
            "{} in {} ({})\nrun       {}\n",
            best_text(self.best),
            duration(self.seconds),
            count(self.epochs as u64, "epoch"),
            self.out.display()
        );
        for curve in &self.curves {
            text += &format!("curves    {}\n", curve.display());
        }
        text += &format!("next      onebit pack {run} -o {run}/model.onebit\n", run = self.out.display());
        text
    }
}

impl Valid {
    fn new(path: PathBuf, recipe: &Recipe, checked: Checked) -> Self {
        Valid {
            recipe: path,
            valid: true,
            arch: recipe.network.arch.clone(),
            input: show(checked.input),
            classes: checked.classes,
            parameters: checked.parameters,
            epochs: recipe.total_epochs(),
            batch: recipe.train.batch,
            memory_bytes: checked.memory,
            machine_bytes: checked.machine_memory,
            images: checked.images.map(|images| images.train),
            test_images: checked.images.map(|images| images.test),
            steps: checked.images.map(|images| images.steps),
            missing: checked.missing.into_iter().map(|e| failure::sentence(&e.into())).collect(),
            unchecked: checked.unchecked,
        }
    }

    /// What the word `valid` does not hold for, where not all was there.
    fn reservation(&self) -> String {
        if self.unchecked.is_empty() {
            return String::new();
        }
        let lacking = if self.images.is_none() { "its data" } else { "a file that it names" };
        format!(", but {lacking} was not found; not checked: {}", self.unchecked.join(", "))
    }

    fn text(&self) -> String {
        let Valid { arch, input, .. } = self;
        let number = |n: usize| n as u64;
        let mut text = format!(
            "{}: valid{}\nnetwork   {arch} for images of {input} and {}, {}\n",
            self.recipe.display(),
            self.reservation(),
            count(number(self.classes), "class"),
            count(self.parameters, "parameter"),
        );
        if let (Some(images), Some(test), Some(steps)) = (self.images, self.test_images, self.steps) {
            text += &format!(
                "data      {} to learn from, {} to test with\n",
                count(number(images), "image"),
                thousands(number(test))
            );
            text += &format!(
                "training  {} of {} of {}\n",
                count(number(self.epochs), "epoch"),
                count(number(steps), "step"),
                count(number(self.batch), "image")
            );
        }
        let more = match self.machine_bytes {
            Some(there) if there < self.memory_bytes => {
                format!(", more than the {} of this machine: it cannot be trained here", bytes(there))
            }
            _ => String::new(),
        };
        text + &format!("memory    about {}{more}\n", bytes(self.memory_bytes))
    }
}
