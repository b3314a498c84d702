//! `onebit pack`: the packed file of a trained network.

use std::fs;
use std::path::PathBuf;

use onebit::Model;
use onebit_pack::int8_layers::{Layers, MAX_CHANGED_SHARE};
use onebit_pack::agreement::Report;
use serde::Serialize;

use crate::arguments::Format;
use crate::failure::Failure;
use crate::int8_option;
use crate::model_file::{self, Packed, is_packed};
use crate::output::{Align, Table, bytes, count, thousands};
use crate::target::Target;
use crate::training;

const EXAMPLES: &str = "\
Examples:
  onebit pack runs/a -o a.onebit                                 the run's best checkpoint
  onebit pack runs/a/checkpoints/epoch-00005 -o a.onebit         this checkpoint
  onebit pack runs/a -o a.onebit --verify fashion-mnist-sample   and prove that it computes the same
  onebit pack runs/a -o a8.onebit --int8 fashion-mnist-sample    with 8-bit first and last layers
  onebit pack a.onebit -o a8.onebit --int8 folder:~/photos       the same from a packed file

--verify runs trainer and engine on every image, compares all signs and logits, and writes the file
only if they agree (exit code 65 if not).

--int8 stores the convolutions of the image and the classifier as 8-bit integers, which is smaller
and faster, and no longer computes exactly what was trained. The classifier's input is measured on
up to 1,024 images of the data; then all of its images are predicted with and without, and the file
is written only if no more than 1% of the predictions changed (--int8-max-changed), one always being
allowed. Rounding the first layer flips signs behind it; --int8-layers last keeps it as it was.";

/// Makes the packed file of a trained network
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Run folder, checkpoint folder or weights.safetensors; with --int8 also a packed file (.onebit)
    #[arg(value_name = "RUN|CHECKPOINT")]
    from: PathBuf,
    /// The file to write
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Compare trainer and engine on this data first
    #[arg(long, value_name = "SPEC")]
    verify: Option<String>,
    /// Store the first and last layers in 8 bits, measured and compared on this data
    #[arg(long, value_name = "SPEC")]
    int8: Option<String>,
    /// Which of them: all, first (convolutions of the image) or last (the classifier)
    #[arg(long, value_name = "LAYERS", requires = "int8", default_value = "all")]
    #[arg(value_parser = int8_option::parse_layers)]
    int8_layers: Layers,
    /// Share of the predictions that 8-bit layers may change
    #[arg(long, value_name = "SHARE", requires = "int8", default_value_t = MAX_CHANGED_SHARE)]
    #[arg(value_parser = int8_option::parse_share)]
    int8_max_changed: f64,
    #[command(flatten)]
    format: Format,
}

/// What packing made.
#[derive(Serialize)]
pub(crate) struct Done {
    pub(crate) output: PathBuf,
    /// Whether a file of that name was there before.
    pub(crate) replaced: bool,
    pub(crate) weights: PathBuf,
    pub(crate) weights_bytes: u64,
    pub(crate) file_bytes: u64,
    pub(crate) agreement: Option<Report>,
    pub(crate) int8: Option<int8_option::Saved>,
}

/// A network to pack, as it was read.
struct PackInput {
    model: Model,
    /// Where it was, and how many bytes.
    path: PathBuf,
    bytes: u64,
    agreement: Option<Report>,
}

pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let format = args.format;
    let done = pack(args)?;
    format.print(&done, Done::table)
}

fn pack(args: Args) -> anyhow::Result<Done> {
    let hint = "`onebit export` makes other formats of the packed file";
    let target = Target::new(&args.output, &["onebit"], hint, &[&args.from])?;
    if args.int8.is_none() && is_packed(&args.from) && model_file::read(&args.from).is_ok() {
        return Err(Failure::bad_data(format!(
            "{}: is packed already, expected a run or a checkpoint; --int8 SPEC stores its first and last layers in 8 bits",
            args.from.display()
        )));
    }
    let input = match args.int8 {
        Some(_) if is_packed(&args.from) => packed(&args)?,
        _ => trained(&args)?,
    };
    target.differs_from(&[&input.path])?;
    let mut content = input.model.to_bytes()?;
    let mut int8 = None;
    if let Some(spec) = &args.int8 {
        let (layers, max_changed) = (args.int8_layers, args.int8_max_changed);
        let (model, report) =
            int8_option::quantize(&input.path, &input.model, spec, layers, max_changed)?;
        let float = std::mem::replace(&mut content, model.to_bytes()?);
        let bytes_saved = float.len() as i64 - content.len() as i64;
        int8 = Some(int8_option::Saved { report, bytes_saved });
    }
    let replaced = target.write(&content)?;
    Ok(Done {
        output: args.output,
        replaced,
        weights: input.path,
        weights_bytes: input.bytes,
        file_bytes: content.len() as u64,
        agreement: input.agreement,
        int8,
    })
}

/// A packed file, in which only layers can be rounded.
fn packed(args: &Args) -> anyhow::Result<PackInput> {
    if args.verify.is_some() {
        return Err(Failure::usage(
            "--verify compares with the trainer and needs a run or a checkpoint, not a packed file",
        ));
    }
    let Packed { model, bytes } = model_file::read(&args.from)?;
    Ok(PackInput { model, path: args.from.clone(), bytes, agreement: None })
}

/// The network of a run or checkpoint, lowered, and compared with the trainer if that is asked for.
fn trained(args: &Args) -> anyhow::Result<PackInput> {
    let loaded = model_file::load_weights(&args.from)?;
    let model = onebit::pack(&loaded.weights)?;
    let verify = args.verify.as_deref();
    let agreement =
        verify.map(|spec| training::agreement(&loaded.path, &loaded.weights, &model, spec)).transpose()?;
    let failed = |source| onebit_files::Error::Read { path: loaded.path.clone(), source };
    let bytes = fs::metadata(&loaded.path).map_err(failed)?.len();
    Ok(PackInput { model, path: loaded.path, bytes, agreement })
}

impl Done {
    fn table(&self) -> String {
        let mut table =
            Table::new([("", Align::Left), ("bytes", Align::Right), ("file", Align::Left)]);
        let mut row = |name: &str, size: u64, path: &PathBuf| {
            table.row([name.to_owned(), thousands(size), path.display().to_string()]);
        };
        let is_repacked = is_packed(&self.weights);
        row(if is_repacked { "before" } else { "trained" }, self.weights_bytes, &self.weights);
        row("packed", self.file_bytes, &self.output);
        let ratio = self.weights_bytes as f64 / self.file_bytes.max(1) as f64;
        let mut text = table.render();
        if !is_repacked {
            text += &format!("{ratio:.1} times smaller ({})\n", bytes(self.file_bytes));
        }
        if let Some(report) = &self.agreement {
            text += &agreement_text(report);
        }
        if let Some(report) = &self.int8 {
            text += &report.text();
        }
        text
    }
}

fn agreement_text(report: &Report) -> String {
    format!(
        "verified on {}: {} of the same class, {} with a flipped sign (allowed: {}), \
         logits of the others within {:.1e} of their standard deviation\n",
        count(report.images, "image"),
        thousands(report.top1_agree),
        report.flipped_images,
        report.flipped_images_allowed,
        report.max_logit_difference,
    )
}
