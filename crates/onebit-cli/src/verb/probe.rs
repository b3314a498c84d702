//! `onebit probe`: how linear the binary convolutions and blocks of checkpoints are.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use onebit_model::Verified;
use onebit_model::file::Weights;
use onebit_train::checkpoint::{self, MANIFEST, TrainingStage, WEIGHTS};
use onebit_train::probe::{ProbedLayer, Probe};
use onebit_train::{RunPaths, TrainError, check_folder};
use rayon::ThreadPool;
use serde::Serialize;

use crate::dataset;
use crate::failure::Failure;
use crate::output::{self, count};
use crate::picture;
use crate::plain;
use crate::probed::{Means, Probed, csv, means_table};
use crate::progress::Progress;
use crate::target::Target;
use crate::arguments::{Format, Threads};

const EXAMPLES: &str = "\
Examples:
  onebit train recipes/demo.toml --out runs/a --set train.keep_checkpoints=100
  onebit probe runs/a --data fashion-mnist-sample                    every checkpoint of the run
  onebit probe runs/a --data fashion-mnist-sample --epochs 1,5,10    these
  onebit probe runs/a/checkpoints/epoch-00010 --data fashion-mnist-sample --limit 1000 --json

QE: quantization error of weights and activations, the share of their squares that signs with the
best scale lose. R2: the share of the variance of a binary convolution's output that the best
affine map of the real convolution's output explains. Before module, after module, block: the
share of the variance of these maps that the best affine map of the block's input explains, pixel
by pixel. FTBNN's abstract, on linearity and quantization error, is the reason for these measures;
the paper's own is not public, and these are ours (docs/probe.md).

The test images are used unless the spec ends in :train.";

const LEGEND: &str = "QE: quantization error; R2: of the binary on the real convolution; before and after the \
    module, block: linearity in the block's input; constant: channels left out of R2.\n";
const BATCH: usize = 64;
/// Most characters of the name of the data in the title of a picture.
const TITLE_CHARS: usize = 80;
/// Pixels for each channel that a fit should have.
const FIT_PIXELS: usize = 10;

/// Measures how linear binary convolutions and blocks are, and their quantization error
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
#[command(mut_arg("threads", |threads| threads.help("Threads [default: all]; the result does not depend on it")))]
pub(crate) struct Args {
    /// Run folder, checkpoint folder or weights.safetensors
    #[arg(value_name = "RUN|CHECKPOINT")]
    network: PathBuf,
    /// Images the network has not learned from: NAME or NAME:SPLIT, folder:PATH, cifar:PATH or idx:PATH
    #[arg(long, value_name = "SPEC")]
    data: String,
    /// Use only N images, spread evenly over the set
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = dataset::parse_limit)]
    limit: usize,
    /// Only these epochs of a run, such as 1,5,10 [default: all whose checkpoints it has kept]
    #[arg(long, value_name = "EPOCHS", value_delimiter = ',')]
    epochs: Vec<usize>,
    /// Folder for probe.csv, probe.svg and probe.png [default: RUN/probe, without a run: probe]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    #[command(flatten)]
    threads: Threads,
    #[command(flatten)]
    format: Format,
}

#[derive(Serialize)]
struct Done {
    network: PathBuf,
    arch: String,
    data: String,
    images: usize,
    checkpoints: Vec<Probed>,
    files: Vec<PathBuf>,
}

/// A checkpoint that is read when its turn comes.
struct CheckpointFile {
    path: PathBuf,
    /// Of a run, in which a damaged checkpoint is passed over.
    of_run: bool,
}

struct Loaded {
    weights: Verified<Weights>,
    epoch: Option<usize>,
    stage: TrainingStage,
}

pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let files = checkpoints_to_probe(&args)?;
    let out = match &args.out {
        Some(out) => out.clone(),
        None if files.iter().any(|file| file.of_run) => args.network.join("probe"),
        None => PathBuf::from("probe"),
    };
    check_folder(&out)?;
    let mut done = measure(&args, &files)?;
    done.files = write(&done, &out)?;
    args.format.print(&done, Done::text)
}

/// The checkpoints to measure, oldest first.
fn checkpoints_to_probe(args: &Args) -> anyhow::Result<Vec<CheckpointFile>> {
    let path = &args.network;
    let is_run = path.is_dir() && !path.join(WEIGHTS).exists() && !path.join(MANIFEST).exists();
    if !is_run {
        if !args.epochs.is_empty() {
            let message = format!("--epochs is for a run, and {} is none", path.display());
            return Err(Failure::usage(message));
        }
        return Ok(vec![CheckpointFile { path: path.clone(), of_run: false }]);
    }
    let found = checkpoint::of_epochs(&RunPaths::new(path).checkpoints())?;
    if found.is_empty() {
        return Err(onebit_files::Error::NoCheckpoint { path: path.clone() }.into());
    }
    let has = |wanted: usize| found.iter().any(|&(epoch, _)| epoch == wanted);
    if let Some(missing) = args.epochs.iter().find(|epoch| !has(**epoch)) {
        let epochs: Vec<String> = found.iter().map(|(epoch, _)| epoch.to_string()).collect();
        return Err(Failure::usage(format!(
            "{} has no checkpoint of epoch {missing}, only of {}; train.keep_checkpoints says how many stay",
            path.display(),
            epochs.join(", ")
        )));
    }
    let wanted = |epoch: usize| args.epochs.is_empty() || args.epochs.contains(&epoch);
    let found = found.into_iter().filter(|&(epoch, _)| wanted(epoch));
    Ok(found.map(|(_, path)| CheckpointFile { path, of_run: true }).collect())
}

fn measure(args: &Args, files: &[CheckpointFile]) -> anyhow::Result<Done> {
    let pool = onebit::thread_pool(args.threads.count())?;
    let (mut arch, mut images, mut checkpoints) = (String::new(), 0, Vec::new());
    let mut damaged = Vec::new();
    for CheckpointFile { path, of_run } in files {
        let loaded = match load(path) {
            Ok(loaded) => loaded,
            Err(error) if *of_run => {
                output::note(&format!("warning: {} is skipped: {error}", path.display()));
                damaged.push(error.to_string());
                continue;
            }
            Err(error) => return Err(error),
        };
        let (number, layers) = measure_one(args, path, &loaded, &pool)?;
        images = number;
        arch.clone_from(&loaded.weights.graph.arch);
        checkpoints.push(Probed {
            path: path.clone(),
            epoch: loaded.epoch,
            stage: loaded.stage.name(),
            mean: Means::of(&layers),
            layers,
        });
    }
    if checkpoints.is_empty() {
        let (path, reasons) = (args.network.clone(), damaged.join("; "));
        return Err(onebit_files::Error::NoIntactCheckpoint { path, reasons }.into());
    }
    let (network, data) = (args.network.clone(), args.data.clone());
    Ok(Done { network, arch, data, images, checkpoints, files: Vec::new() })
}

fn load(path: &Path) -> anyhow::Result<Loaded> {
    if !path.is_dir() {
        let weights = onebit_pack::load_weights(path)?.weights;
        return Ok(Loaded { weights, epoch: None, stage: TrainingStage::BinaryWeights });
    }
    let (weights, state) = checkpoint::load_weights(path)?;
    Ok(Loaded { weights, epoch: Some(state.epoch), stage: state.stage })
}

/// The number of images and what they show.
fn measure_one(
    args: &Args,
    path: &Path,
    loaded: &Loaded,
    pool: &ThreadPool,
) -> anyhow::Result<(usize, Vec<ProbedLayer>)> {
    let graph = &loaded.weights.graph;
    let data = dataset::open(graph, &args.data, Some(args.limit))?;
    let images = data.images.len();
    let mut probe = Probe::new(&loaded.weights, loaded.stage)?;
    let name = loaded.epoch.map_or("images".to_owned(), |epoch| format!("epoch {epoch}"));
    let mut progress = Progress::new(name, images as u64);
    let mut seen = 0;
    for batch in onebit::loader(graph, Arc::clone(&data.images), BATCH)?.epoch(0, 0) {
        let batch = batch?;
        pool.install(|| probe.add(&batch.images));
        let checked = onebit::check_logits(&*data.images, &batch.indices, probe.logits());
        checked.with_context(|| path.display().to_string())?;
        seen += batch.labels.len();
        progress.at(seen as u64, "");
    }
    let layers = pool.install(|| probe.layers());
    if layers.is_empty() {
        let message = format!("{} has no binary convolution to measure", args.network.display());
        return Err(Failure::bad_data(message));
    }
    Ok((images, layers))
}

fn write(done: &Done, out: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let failed = |source| TrainError::Write { path: out.to_path_buf(), source };
    fs::create_dir_all(out).map_err(failed)?;
    let images = count(done.images as u64, "image");
    let title = format!("{}, {images} of {}", done.arch, plain::cut(&done.data, TITLE_CHARS));
    let title = plain::line(&title);
    let [table, svg, png] = ["probe.csv", "probe.svg", "probe.png"].map(|name| out.join(name));
    Target::of(&table, &[])?.write(csv(&done.checkpoints).as_bytes())?;
    Target::of(&svg, &[])?.write_by(|path| picture::probe_svg(path, &title, &done.checkpoints))?;
    Target::of(&png, &[])?.write_by(|path| picture::probe_png(path, &title, &done.checkpoints))?;
    Ok(vec![table, svg, png])
}

impl Done {
    fn text(&self) -> String {
        let Some(last) = self.checkpoints.last() else { return String::new() };
        let mut text = last.table();
        if self.checkpoints.len() > 1 {
            text += &format!("\n{}", means_table(&self.checkpoints));
        }
        let images = count(self.images as u64, "image");
        text += &format!("\n{images} of {}. {LEGEND}", self.data);
        let fits = last.layers.iter().filter_map(|layer| layer.linearity);
        let few = fits.filter(|fit| fit.pixels < FIT_PIXELS * fit.features).count();
        if few > 0 {
            text += &format!(
                "blocks with fewer than {FIT_PIXELS} pixels for each input channel: {few}; their linearity is too large or \
                 absent, more images (--limit) mend that\n"
            );
        }
        for file in &self.files {
            text += &format!("{}\n", file.display());
        }
        text
    }
}
