//! `onebit run`: the logits of the images in a NumPy file.

use std::path::{Path, PathBuf};

use onebit::Isa;
use serde::Serialize;

use crate::arguments::{Format, Threads, parse_isa};
use crate::arrays::Images;
use crate::model_file::{self, Packed};
use crate::output::count;
use crate::target::Target;

const EXAMPLES: &str = "\
Example:
  onebit run a.onebit --input x.npy --output y.npy

x.npy: float32 [N, channels, height, width], already normalised, of any size that the network takes.
y.npy: float32 [N, classes], the logits.";

/// Computes the logits of the images in a NumPy file
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Packed model
    file: PathBuf,
    /// Images: .npy, float32, [N, channels, height, width]
    #[arg(long, value_name = "X.npy")]
    input: PathBuf,
    /// Where the logits go: .npy, float32, [N, classes]
    #[arg(long, value_name = "Y.npy")]
    output: PathBuf,
    /// Kernels to use [default: the fastest that this CPU has]
    #[arg(long, value_name = "NAME", value_parser = parse_isa)]
    isa: Option<Isa>,
    #[command(flatten)]
    threads: Threads,
    #[command(flatten)]
    format: Format,
}

#[derive(Serialize)]
struct Done {
    n: usize,
    classes: usize,
    isa: &'static str,
    output: PathBuf,
    /// Whether a file was there before.
    replaced: bool,
}

pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let target = Target::of(&args.output, &[&args.file, &args.input])?;
    let Packed { model, .. } = model_file::read(&args.file)?;
    let images = Images::read(&args.input, &model)?;
    let mut session = images.session(&args.file, &model, args.threads.count(), args.isa)?;
    let logits = images.logits(&args.file, &mut session)?;
    let (n, classes, isa) = (images.len(), session.engine().classes(), session.isa().name());
    let write = |path: &Path| Ok(onebit_data::write_npy_f32(path, &[n, classes], &logits)?);
    let replaced = target.write_by(write)?;
    let done = Done { n, classes, isa, output: args.output, replaced };
    args.format.print(&done, |done| {
        format!(
            "{} -> {}: logits [{n}, {classes}] ({isa} kernels)\n",
            count(n as u64, "image"),
            done.output.display()
        )
    })
}
