//! `onebit predict`: the classes of photographs.

use std::path::{Path, PathBuf};

use anyhow::Context;
use onebit::{Guess, Session};
use serde::Serialize;

use crate::arguments::{self, Format, Threads};
use crate::failure::{self, Failure};
use crate::model_file::{self, Packed, is_packed};
use crate::output::{self, Align, Table, count, thousands};
use crate::progress::Progress;

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
#[command(mut_arg("json", |json| json.help("Print one JSON array")))]
pub(crate) struct Args {
    /// Packed model
    file: PathBuf,
    /// JPEG, PNG, WebP or BMP files, and folders of them
    #[arg(value_name = "IMAGE|FOLDER", required = true)]
    images: Vec<PathBuf>,
    /// Classes to show for each image
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    top: u32,
    #[command(flatten)]
    threads: Threads,
    #[command(flatten)]
    format: Format,
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
    let mut session = arguments::session(&args.file, &model, args.threads.count(), None)?;
    let top = args.top as usize;
    if images.len() == 1 && images == args.images {
        let predictions: anyhow::Result<Vec<_>> = predict(&mut session, &images, top)?.into_iter().collect();
        return args.format.print(&predictions?, |all| table(all));
    }
    let mut progress = Progress::new("images", images.len() as u64);
    let mut predictions = Vec::new();
    for images in images.chunks(session.batch()) {
        for (path, outcome) in images.iter().zip(predict(&mut session, images, top)?) {
            predictions.push(outcome.unwrap_or_else(|error| failed(path, &error)));
        }
        progress.at(predictions.len() as u64, "");
    }
    drop(progress);
    args.format.print(&predictions, |all| table(all))?;
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

/// What the network says about each of so many images as fit in memory together.
fn predict(
    session: &mut Session,
    paths: &[PathBuf],
    top: usize,
) -> anyhow::Result<Vec<anyhow::Result<Prediction>>> {
    let images: Vec<&PathBuf> = paths.iter().filter(|path| !is_packed(path)).collect();
    let mut seen = session.classify_files(&images)?.into_iter();
    let outcome = |path: &PathBuf| {
        if is_packed(path) {
            return Err(Failure::bad_data(format!(
                "{}: this is a packed model, expected an image; the model is named first",
                path.display()
            )));
        }
        let classification = seen.next().context("an image has no logits")??;
        let path = path.display().to_string();
        Ok(Prediction::Seen { path, top: classification.top(top).map(Choice::of).collect() })
    };
    Ok(paths.iter().map(outcome).collect())
}

impl Choice {
    fn of(guess: Guess<'_>) -> Self {
        let Guess { index, label, probability } = guess;
        Choice { class: index, label: label.to_owned(), probability }
    }
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
