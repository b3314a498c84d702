//! `onebit run`: the logits of the images in a NumPy file.

use std::path::{Path, PathBuf};

use onebit::{Isa, Session};
use serde::Serialize;

use crate::arguments::{self, Format, Threads, parse_isa};
use crate::failure::Failure;
use crate::finite;
use crate::memory;
use crate::model_file::{self, Packed};
use crate::output::count;
use crate::progress::Progress;
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
    let (shape, values) = onebit_data::read_npy_f32(&args.input)?;
    let channels = model.input_shape()[0];
    let &[n, c, height, width] = shape.as_slice() else {
        return Err(wrong_shape(&args, &shape, channels));
    };
    if c != channels || values.is_empty() {
        return Err(wrong_shape(&args, &shape, channels));
    }
    let mut session = model.session().input_size([height, width]);
    session = session.threads(args.threads.count());
    if let Some(isa) = args.isa {
        session = session.isa(isa);
    }
    let mut session = arguments::build(&args.file, session)?;
    let (classes, isa) = (session.engine().classes(), session.engine().isa().name());
    let name = |image| format!("image {image} (counted from 0) of {}", args.input.display());
    let logits = logits(&args.file, &mut session, &values, [n, c, height * width], name)?;
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

fn wrong_shape(args: &Args, shape: &[usize], channels: usize) -> anyhow::Error {
    Failure::bad_data(format!(
        "{}: the array has the shape {shape:?}, expected [N, {channels}, height, width] with N of at least 1",
        args.input.display()
    ))
}

fn logits(
    path: &Path,
    session: &mut Session,
    values: &[f32],
    [n, channels, pixels]: [usize; 3],
    name: impl Fn(usize) -> String,
) -> anyhow::Result<Vec<f32>> {
    let (classes, batch) = (session.engine().classes(), session.batch());
    let image = channels * pixels;
    let mut logits = memory::zeros(n * classes, "the logits")?;
    let mut nhwc = memory::zeros(batch.min(n) * image, "a batch of images")?;
    let mut progress = Progress::new("images", n as u64);
    let (mut done, chunks) = (0, values.chunks(batch * image));
    for (nchw, logits) in chunks.zip(logits.chunks_mut(batch * classes)) {
        for (from, to) in nchw.chunks_exact(image).zip(nhwc.chunks_exact_mut(image)) {
            channels_last(from, to, channels);
        }
        session.run(&nhwc[..nchw.len()], logits)?;
        finite::check(path, logits, classes, |image| name(done + image))?;
        done += nchw.len() / image;
        progress.at(done as u64, "");
    }
    Ok(logits)
}

fn channels_last(chw: &[f32], hwc: &mut [f32], channels: usize) {
    let pixels = chw.len() / channels;
    for (channel, plane) in chw.chunks_exact(pixels).enumerate() {
        for (pixel, &value) in hwc.chunks_exact_mut(channels).zip(plane) {
            pixel[channel] = value;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::channels_last;

    #[test]
    fn channels_go_innermost() {
        let mut hwc = [0.0; 6];
        channels_last(&[1.0, 2.0, 3.0, 10.0, 20.0, 30.0], &mut hwc, 2);
        assert_eq!(hwc, [1.0, 10.0, 2.0, 20.0, 3.0, 30.0]);
    }
}
