use std::path::{Path, PathBuf};

use onebit_train::Recipe;
use onebit_train::checkpoint::Best;
use serde::Serialize;

use crate::failure::Failure;
use crate::output;
use crate::run_training::{self, best_text, duration};
use crate::runner::parse_threads;

const EXAMPLES: &str = "\
Examples:
  onebit train recipes/demo.toml --out runs/a
  onebit train recipes/demo.toml --out runs/a --resume         go on after an interruption
  onebit train recipes/demo.toml --out runs/b --epochs 3 --seed 1 --set network.method=ftbnn
  onebit train recipes/demo.toml --out runs/c --data fashion-mnist
  onebit train recipes/demo.toml --out runs/d --set train.init=runs/a    start from trained weights

The run's folder gets recipe.toml (with the overrides), metrics.csv, curve.svg, curve.png,
checkpoints/ and best/. The same recipe and seed give the same weights, bit for bit, on any number
of threads and however often the run is interrupted. Ctrl-C writes a checkpoint and ends with exit
code 130; a second Ctrl-C ends at once.";

/// Trains a network from a recipe
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Recipe: data, network and training in TOML
    #[arg(value_name = "RECIPE.toml")]
    recipe: PathBuf,
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
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Another number of epochs (with binary weights) than the recipe's
    #[arg(long, value_name = "N")]
    epochs: Option<usize>,
    /// Where to train: cpu
    #[arg(long, value_name = "cpu|cuda:0", default_value = "cpu")]
    device: String,
    /// Another value of the recipe, such as train.lr=1e-3; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Threads [default: all]; the result does not depend on it
    #[arg(long, value_name = "N", value_parser = parse_threads)]
    threads: Option<usize>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
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

pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    check_device(&args.device)?;
    let recipe = recipe(&args)?;
    let out = args.out.clone().unwrap_or_else(|| default_out(&args.recipe));
    let method = recipe.network.method.map_or_else(String::new, |method| format!(" {method:?}"));
    let title = format!("{}{method}", recipe.network.arch).to_lowercase();
    let summary = run_training::run(recipe, &out, args.resume, args.threads)?;
    let curves = run_training::draw_curves(&out, &title)?;
    if summary.interrupted {
        let how = format!("go on with the same command and --resume (--out {})", out.display());
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
    if args.json { output::json(&done) } else { output::text(&done.text()) }
}

fn check_device(device: &str) -> anyhow::Result<()> {
    match device {
        "cpu" => Ok(()),
        _ if device == "cuda" || device.starts_with("cuda:") => Err(Failure::usage(format!(
            "--device {device}: this build has no GPU support; leave the option out to train on the CPU"
        ))),
        _ => Err(Failure::usage(format!("--device {device}: there is no such device, expected cpu"))),
    }
}

fn recipe(args: &Args) -> anyhow::Result<Recipe> {
    let mut recipe = Recipe::load(&args.recipe)?;
    if let Some(spec) = &args.data {
        recipe.use_data(spec)?;
    }
    for assignment in &args.set {
        recipe.apply_set(assignment)?;
    }
    if let Some(seed) = args.seed {
        recipe.apply_set(&format!("train.seed={seed}"))?;
    }
    if let Some(epochs) = args.epochs {
        recipe.apply_set(&format!("train.epochs={epochs}"))?;
    }
    Ok(recipe)
}

fn default_out(recipe: &Path) -> PathBuf {
    let stem = recipe.file_stem().unwrap_or(recipe.as_os_str());
    Path::new("runs").join(stem)
}

impl Done {
    fn text(&self) -> String {
        let mut text = format!(
            "{} in {} ({} epochs)\nrun       {}\n",
            best_text(self.best),
            duration(self.seconds),
            self.epochs,
            self.out.display()
        );
        for curve in &self.curves {
            text += &format!("curves    {}\n", curve.display());
        }
        text += &format!("next      onebit pack {run} -o {run}/model.onebit\n", run = self.out.display());
        text
    }
}
