use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use onebit_data::InMemory;
use onebit_engine::Options;
use onebit_model::Graph;
use rayon::prelude::*;
use serde::Serialize;

use crate::accuracy::{ranking, softmax};
use crate::dataset;
use crate::failure::{self, Failure};
use crate::finite;
use crate::memory;
use crate::model_file::{self, Packed, is_packed};
use crate::output::{self, Align, Table, count, thousands};
use crate::progress::Progress;
use crate::runner::{Runner, parse_threads};

const EXAMPLES: &str = "\
Examples:
  onebit predict a.onebit photo.jpg
  onebit predict a.onebit ~/photos
  onebit predict a.onebit *.png --json | jq -r '.[] | .path, (.top[0].label // .error)'

JPEG, PNG, WebP and BMP files of any size, turned as their Exif data say, scaled and centre-cropped
to the network's input. Of a folder, all images in it and in the folders below it are taken.

Where there are several images, one that cannot be read, or for which the network's logits are not
finite numbers, does not stop the others: stderr says why, the JSON has {path, error} in its place,
and the exit code is 65.";

/// Says what is in images
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Packed model
    file: PathBuf,
    /// JPEG, PNG, WebP or BMP files, and folders of them
    #[arg(value_name = "IMAGE|FOLDER", required = true)]
    images: Vec<PathBuf>,
    /// Classes to show for each image
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    top: u32,
    /// Threads [default: all]
    #[arg(long, value_name = "N", value_parser = parse_threads)]
    threads: Option<usize>,
    /// Print one JSON array
    #[arg(long)]
    json: bool,
}

/// What a network says about an image, or why it says nothing.
#[derive(Serialize)]
#[serde(untagged)]
enum Prediction {
    Seen { path: String, top: Vec<Choice> },
    Failed { path: String, error: String },
}

#[derive(Serialize)]
struct Choice {
    class: usize,
    label: String,
    probability: f64,
}

pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let Packed { model, .. } = model_file::read(&args.file)?;
    let images = images(&args.images)?;
    let mut predictor = Predictor {
        runner: Runner::new(&args.file, &model, Options::default(), args.threads)?,
        graph: &model.graph,
        top: args.top as usize,
    };
    if images.len() == 1 && images == args.images {
        let predictions: anyhow::Result<Vec<_>> = predictor.predict(&images)?.into_iter().collect();
        return print(&predictions?, args.json);
    }
    let mut progress = Progress::new("images", images.len() as u64);
    let mut predictions = Vec::new();
    for images in images.chunks(predictor.runner.batch()) {
        for (path, outcome) in images.iter().zip(predictor.predict(images)?) {
            predictions.push(outcome.unwrap_or_else(|error| failed(path, &error)));
        }
        progress.at(predictions.len() as u64, "");
    }
    drop(progress);
    print(&predictions, args.json)?;
    let failed = |prediction: &&Prediction| matches!(prediction, Prediction::Failed { .. });
    match predictions.iter().filter(failed).count() {
        0 => Ok(()),
        failed => {
            let have = if failed == 1 { "has" } else { "have" };
            let (failed, all) = (thousands(failed as u64), count(images.len() as u64, "image"));
            Err(Failure::bad_data(format!("{failed} of {all} {have} no prediction")))
        }
    }
}

/// The images that are named, with those of the folders that are named in their place.
fn images(named: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    let mut images = Vec::new();
    for path in named {
        if path.is_dir() {
            images.extend(images_of_folder(path)?);
        } else {
            images.push(path.clone());
        }
    }
    Ok(images)
}

/// The images of a folder; what else is in it is said on stderr.
fn images_of_folder(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let list = onebit_data::list_images(folder)?;
    let passed_over = list.passed_over_in_words();
    if list.paths.is_empty() {
        let found = passed_over.map_or_else(String::new, |others| format!(", only {others}"));
        let message = format!("{}: there is no image in this folder{found}", folder.display());
        return Err(Failure::bad_data(message));
    }
    if let Some(others) = passed_over {
        output::note(&format!("note: files of {} that are passed over: {others}", folder.display()));
    }
    Ok(list.paths)
}

fn failed(path: &Path, error: &anyhow::Error) -> Prediction {
    let error = failure::sentence(error);
    output::note(&format!("error: {error}"));
    Prediction::Failed { path: path.display().to_string(), error }
}

struct Predictor<'a> {
    runner: Runner,
    graph: &'a Graph,
    /// Classes to name for each image.
    top: usize,
}

impl Predictor<'_> {
    /// What the network says about each of so many images as fit in memory together.
    fn predict(
        &mut self,
        paths: &[PathBuf],
    ) -> anyhow::Result<Vec<anyhow::Result<Prediction>>> {
        let [channels, height, width] = self.graph.input_shape();
        let read = |path: &PathBuf| match is_packed(path) {
            true => Err(Failure::bad_data(format!(
                "{}: this is a packed model, expected an image; the model is named first",
                path.display()
            ))),
            false => Ok(onebit_data::load_for_network(path, channels, height, width)?),
        };
        let read: Vec<_> =
            self.runner.pool().install(|| paths.par_iter().map(read).collect());
        let good: Vec<&[u8]> = read.iter().flatten().map(Vec::as_slice).collect();
        let (logits, not_finite) = self.logits(&good)?;
        let mut logits = logits.chunks_exact(self.graph.classes.len()).enumerate();
        let outcome = |(path, read): (&PathBuf, anyhow::Result<Vec<u8>>)| {
            read?;
            let (image, logits) = logits.next().context("an image has no logits")?;
            if not_finite.contains(&image) {
                let message = format!("{}: {}", path.display(), finite::SENTENCE);
                return Err(Failure::bad_data(message));
            }
            let path = path.display().to_string();
            Ok(Prediction::Seen { path, top: self.top(logits) })
        };
        Ok(paths.iter().zip(read).map(outcome).collect())
    }

    /// The logits of images, and the positions of those that have some which are not finite.
    fn logits(&mut self, images: &[&[u8]]) -> anyhow::Result<(Vec<f32>, Vec<usize>)> {
        if images.is_empty() {
            return Ok(Default::default());
        }
        let graph = self.graph;
        let (shape, labels) = (graph.input_shape(), vec![0; images.len()]);
        let normalization = Some(dataset::normalization(graph));
        let classes = graph.classes.clone();
        let pixels = memory::joined(images, "the images")?;
        let set = InMemory::new("images", shape, classes, labels, pixels, normalization)?;
        let mut logits = memory::zeros(images.len() * graph.classes.len(), "the logits")?;
        let batch = dataset::loader(graph, Arc::new(set), images.len())?.epoch(0, 0).next();
        let batch = batch.context("no batch of images")??;
        let not_finite = self.runner.run_each(&batch.images, &mut logits)?;
        Ok((logits, not_finite))
    }

    fn top(&self, logits: &[f32]) -> Vec<Choice> {
        let probabilities = softmax(logits);
        let best = ranking(logits).take(self.top);
        best.map(|class| Choice {
            class,
            label: self.graph.classes[class].clone(),
            probability: probabilities[class],
        })
        .collect()
    }
}

fn print(predictions: &[Prediction], json: bool) -> anyhow::Result<()> {
    if json { output::json(&predictions) } else { output::text(&table(predictions)) }
}

/// The predictions there are; nothing where there are none.
fn table(predictions: &[Prediction]) -> String {
    let mut table =
        Table::new([("image", Align::Left), ("probability", Align::Right), ("class", Align::Left)]);
    let mut rows = 0;
    for prediction in predictions {
        let Prediction::Seen { path, top } = prediction else { continue };
        for (rank, choice) in top.iter().enumerate() {
            let path = if rank == 0 { path.clone() } else { String::new() };
            let probability = format!("{:.1}%", 100.0 * choice.probability);
            table.row([path, probability, choice.label.clone()]);
            rows += 1;
        }
    }
    if rows == 0 { String::new() } else { table.render() }
}
