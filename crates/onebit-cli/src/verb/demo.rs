//! `onebit demo`: a network trained, packed, verified, timed and used, with bundled images.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use onebit_model::logits::argmax;
use onebit_data::{InMemory, OpenOptions, Split, Subset};
use onebit::{Session, hardware_threads, softmax};
use onebit_train::{Recipe, RunPaths, check_folder, metrics};
use serde::Serialize;

use super::bench;
use crate::arguments::{self, Format};
use crate::dataset;
use crate::model_file;
use crate::output::{self, Align, Table, thousands};
use crate::picture::{self, Picture};
use crate::run_training::{self, duration};
use crate::training;

const EXAMPLES: &str = "\
Trains recipes/demo.toml on 10,000 images that are part of onebit, packs the network, proves on the
2,000 test images that the packed file computes what was trained, times both, and draws what it
sees. Nothing is downloaded. A few minutes on two cores.

Example:
  onebit demo --out /tmp/demo";

const RECIPE: &str = include_str!("../../assets/demo.toml");
const DATA: &str = "fashion-mnist-sample";
const SHOWN: usize = 64;
const DEFAULT_OUT: &str = "runs/demo";

/// Trains, packs, verifies, times and uses a network, with bundled images
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Folder for everything that is made; goes on with an interrupted demo in it [default: runs/demo, or runs/demo-2 and so on if it exists]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    #[command(flatten)]
    format: Format,
}

#[derive(Serialize)]
struct Done {
    out: PathBuf,
    n: u64,
    trainer: Side,
    packed: Side,
    agree: u64,
    flipped_images: u64,
    isa: &'static str,
    seconds: f64,
    files: Vec<PathBuf>,
}

#[derive(Serialize)]
struct Side {
    top1: f64,
    bytes: u64,
    ms: f64,
}

pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let started = Instant::now();
    let out = args.out.unwrap_or_else(free_folder);
    let run = out.join("run");
    check_folder(&run)?;
    output::note(&format!("demo in {}", out.display()));
    train(&out, &run)?;

    let loaded = model_file::load_weights(&run)?;
    let model = onebit::pack(&loaded.weights)?;
    let content = model.to_bytes()?;
    let report = training::agreement(&loaded.path, &loaded.weights, &model, DATA)?;
    let packed_file = out.join("model.onebit");
    onebit_pack::write_atomic(&packed_file, &content)?;
    output::note("packed and verified; timing one image on one thread");

    let mut session = arguments::session(&packed_file, &model, 1, None)?;
    let times = bench::measure(&packed_file, &mut session, 1, None)?;
    let trainer = Side {
        top1: training::eval(&run, DATA, None, hardware_threads())?.top1,
        bytes: fs::metadata(&loaded.path)?.len(),
        ms: training::milliseconds(&loaded.weights)?,
    };
    let packed =
        Side { top1: top1(&mut session)?, bytes: content.len() as u64, ms: times.median_ms };
    let mut files = vec![packed_file];
    files.extend(pictures(&out, &run, &mut session)?);
    let done = Done {
        out,
        n: report.images,
        trainer,
        packed,
        agree: report.top1_agree,
        flipped_images: report.flipped_images,
        isa: times.isa,
        seconds: started.elapsed().as_secs_f64(),
        files,
    };
    args.format.print(&done, Done::text)
}

/// `runs/demo`, or the first of `runs/demo-2`, `runs/demo-3`, ... that does not exist.
fn free_folder() -> PathBuf {
    let numbered = (2..).map(|n| PathBuf::from(format!("{DEFAULT_OUT}-{n}")));
    let mut candidates = std::iter::once(PathBuf::from(DEFAULT_OUT)).chain(numbered);
    candidates.find(|path| !path.exists()).unwrap_or_else(|| PathBuf::from(DEFAULT_OUT))
}

/// Trains the network, or goes on with a demo that was interrupted.
fn train(out: &Path, run: &Path) -> anyhow::Result<()> {
    let recipe = Recipe::from_toml(RECIPE, "recipes/demo.toml")?;
    let resume = RunPaths::new(run).recipe().exists();
    let mode = run_training::Mode { resume, change_epochs: false };
    let summary = run_training::run(recipe, run, mode, hardware_threads())?;
    if summary.interrupted {
        let how = format!("go on with: onebit demo --out {}", out.display());
        return Err(run_training::interrupted(&summary, &how));
    }
    Ok(())
}

fn top1(session: &mut Session) -> anyhow::Result<f64> {
    let data = dataset::open_labelled(session.model().graph(), DATA, None)?;
    Ok(onebit::evaluate(session, &data, &mut |_| {})?.top1)
}

/// Draws the contact sheet and the learning curve, and saves one test image for `onebit predict`.
fn pictures(
    out: &Path,
    run: &Path,
    session: &mut Session,
) -> anyhow::Result<Vec<PathBuf>> {
    let sheet = out.join("contact-sheet.png");
    let shown = answers(session)?;
    let right = shown.iter().filter(|picture| picture.label == picture.predicted).count();
    let title = format!(
        "{} of {} test images right, by the packed 1-bit network",
        right,
        shown.len()
    );
    picture::contact_sheet(&sheet, &title, &shown)?;
    let curve = out.join("learning-curve.png");
    let rows = metrics::read(&RunPaths::new(run).metrics())?;
    picture::curve_png(&curve, "1-bit network, 10,000 images of Fashion-MNIST", &rows)?;
    let image = out.join("test-image.png");
    if let Some(first) = shown.first() {
        let [channels, height, width] = first.shape;
        let grey = first.pixels.iter().step_by(channels);
        let rgb: Vec<u8> = grey.flat_map(|&value| [value; 3]).collect();
        picture::write_png(&image, &rgb, (width as u32, height as u32))?;
    }
    Ok(vec![sheet, curve, image])
}

/// Test images spread over the set, with the packed network's answers.
fn answers(session: &mut Session) -> anyhow::Result<Vec<Picture>> {
    let all = onebit_data::open(DATA, Split::Test, &OpenOptions::default())?;
    let images = Subset::new(all, SHOWN)?;
    let images: Box<dyn onebit_data::Dataset> = Box::new(images);
    let shape = images.shape();
    let mut pictures = Vec::new();
    let mut pixels = vec![0; shape.iter().product()];
    let mut kept = Vec::new();
    for i in 0..images.len() {
        images.read(i, &mut pixels)?;
        kept.push((pixels.clone(), images.label(i)));
    }
    let all_pixels = kept.iter().flat_map(|(pixels, _)| pixels.clone()).collect();
    let labels = kept.iter().map(|(_, label)| *label as u32).collect();
    let classes = images.classes().to_vec();
    let set = InMemory::new(DATA, shape, classes, labels, all_pixels, None)?;
    let names = session.model().classes().to_vec();
    session.run_all(std::sync::Arc::new(set), &mut |labels, logits| {
        for logits in logits.chunks_exact(logits.len() / labels.len()) {
            let (pixels, label) = kept[pictures.len()].clone();
            let best = argmax(logits).unwrap_or(0);
            pictures.push(Picture {
                pixels,
                shape,
                label: names[label].clone(),
                predicted: names[best].clone(),
                probability: softmax(logits)[best],
            });
        }
    })?;
    Ok(pictures)
}

impl Done {
    fn text(&self) -> String {
        use Align::{Left, Right};
        let Done { trainer, packed, .. } = self;
        let mut table = Table::new([("", Left), ("trained", Right), ("packed", Right), ("", Left)]);
        let mut row = |cells: [String; 4]| table.row(cells);
        let percent = |share: f64| format!("{:.2}%", 100.0 * share);
        let images = thousands(self.n);
        row([
            format!("top-1 on {images} test images"),
            percent(trainer.top1),
            percent(packed.top1),
            format!("{} of {images} predictions agree", thousands(self.agree)),
        ]);
        row([
            "bytes".to_owned(),
            thousands(trainer.bytes),
            thousands(packed.bytes),
            format!("{:.1} times smaller", trainer.bytes as f64 / packed.bytes as f64),
        ]);
        row([
            "ms per image, one thread".to_owned(),
            format!("{:.3}", trainer.ms),
            format!("{:.3}", packed.ms),
            format!("{:.1} times faster ({} kernels)", trainer.ms / packed.ms, self.isa),
        ]);
        let mut text = table.render();
        text += &format!("\ndone in {}; look at\n", duration(self.seconds));
        for file in &self.files {
            text += &format!("  {}\n", file.display());
        }
        let out = self.out.display();
        text += &format!("try\n  onebit predict {out}/model.onebit {out}/test-image.png\n");
        text += &format!("  onebit inspect {out}/model.onebit\n");
        text
    }
}
