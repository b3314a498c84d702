//! `onebit export`: a packed model written as a float network in ONNX.

use std::path::PathBuf;

use anyhow::Context;
use onebit_pack::export::{OPSET, to_onnx};
use serde::Serialize;

use crate::arguments::Format;
use crate::model_file::{self, Packed};
use crate::output::{Align, Table, count, thousands};
use crate::size::InputSize;
use crate::target::Target;

const EXAMPLES: &str = "\
Examples:
  onebit export a.onebit -o a.onnx                       for images of the size it was trained with
  onebit export a.onebit -o a.onnx --input 3x320x320     for larger ones

The ONNX network takes what `onebit run` takes and gives the same logits:
  session = onnxruntime.InferenceSession(\"a.onnx\")
  logits = session.run(None, {\"input\": x})[0]
with x float32 [N, channels, height, width], normalised. Its metadata holds mean and std of the
normalization and the class names, as JSON. Its weights are +1 and -1 as 32-bit floats: it is
larger and slower than the packed file.";

/// Writes a packed model as a float network in the ONNX format, for other programs
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Packed model
    file: PathBuf,
    /// The ONNX file to write
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Channels, height and width of the images [default: those of the model]
    #[arg(long, value_name = "CxHxW")]
    input: Option<InputSize>,
    #[command(flatten)]
    format: Format,
}

#[derive(Serialize)]
struct Done {
    output: PathBuf,
    /// Whether a file of that name was there before.
    replaced: bool,
    bytes: u64,
    opset: i64,
    nodes: usize,
}

pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let hint = "ONNX is the only format that is written";
    let target = Target::new(&args.output, &["onnx"], hint, &[&args.file])?;
    let Packed { model, bytes } = model_file::read(&args.file)?;
    let onnx = to_onnx(model.verified(), args.input.map(|size| size.0))
        .with_context(|| args.file.display().to_string())?;
    let replaced = target.write(&onnx.bytes)?;
    let (output, nodes) = (args.output, onnx.nodes);
    let done = Done { output, replaced, bytes: onnx.bytes.len() as u64, opset: OPSET, nodes };
    args.format.print(&done, |done| {
        let header = [("", Align::Left), ("bytes", Align::Right), ("file", Align::Left)];
        let mut table = Table::new(header);
        for (name, size, path) in [("packed", bytes, &args.file), ("ONNX", done.bytes, &done.output)] {
            table.row([name.to_owned(), thousands(size), path.display().to_string()]);
        }
        let (path, [c, h, w]) = (done.output.display(), onnx.input);
        format!(
            "{}{} of opset {OPSET}, float32: input [N, {c}, {h}, {w}], logits [N, {classes}]\n\
             run it: onnxruntime.InferenceSession(\"{path}\").run(None, {{\"input\": x}}) with the x of `onebit run`\n",
            table.render(),
            count(nodes as u64, "node"),
            classes = model.classes().len(),
        )
    })
}
