//! `onebit inspect`: what is inside a packed model.

use std::path::PathBuf;

use onebit_model::{ChannelOrder, Gray, Interpolation, Preprocessing, Resize};
use onebit_pack::Inspection;

use crate::arguments::Format;
use crate::model_file;
use crate::output::{Align, Table, bytes, thousands};
use crate::size::show;

const EXAMPLES: &str = "\
Examples:
  onebit inspect a.onebit
  onebit inspect a.onebit --json | jq '.layers[] | select(.bits > 1)'

`onebit summary FILE` shows what each layer costs.";

const NAMES_SHOWN: usize = 20;

/// Shows what is inside a packed model, and which layers are not 1-bit and why
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Packed model
    file: PathBuf,
    #[command(flatten)]
    format: Format,
}

pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let packed = model_file::read(&args.file)?;
    let inspection = packed.model.inspect()?;
    let name = args.file.display().to_string();
    let text = |inside: &Inspection| facts(&name, inside) + "\n" + &layers(inside);
    args.format.print(&inspection, text)
}

fn facts(name: &str, inside: &Inspection) -> String {
    let mut table = Table::new([(name, Align::Left), ("", Align::Left)]);
    let mut row = |name: &str, value: String| table.row([name.to_owned(), value]);
    row("architecture", inside.arch.clone());
    row("image", show(inside.input));
    row("mean", format!("{:?}", inside.mean));
    row("std", format!("{:?}", inside.std));
    row("classes", names(&inside.classes));
    row(
        "weights",
        format!(
            "{} real, {} binary ({:.1}%)",
            thousands(inside.weights.float as u64),
            thousands(inside.weights.binary as u64),
            100.0 * inside.binary_share
        ),
    );
    row(
        "bytes",
        format!(
            "{} real, {} bits, {} in all with the header",
            thousands(inside.bytes.float as u64),
            thousands(inside.bytes.binary as u64),
            bytes(inside.file_bytes as u64)
        ),
    );
    row("format", format!("version {}", inside.version));
    row("preprocessing", preprocessing(&inside.preprocessing));
    for (name, text) in inside.origin.fields() {
        row(name, text.replace('\n', " "));
    }
    table.render()
}

fn layers(inside: &Inspection) -> String {
    use Align::{Left, Right};
    let mut table = Table::new([
        ("layer", Left),
        ("op", Left),
        ("output", Left),
        ("bits", Right),
        ("weights", Right),
        ("bytes", Right),
        ("why not 1-bit", Left),
    ]);
    for layer in &inside.layers {
        table.row([
            layer.name.clone(),
            layer.op.to_owned(),
            layer.output.clone(),
            layer.bits.to_string(),
            thousands(layer.weights as u64),
            thousands(layer.bytes as u64),
            layer.reason.unwrap_or_default().to_owned(),
        ]);
    }
    table.render()
}

/// What is done to an image, in words.
fn preprocessing(of: &Preprocessing) -> String {
    let size = match of.resize {
        Resize::Imagenet => "scaled to cover 256/224 of the input".to_owned(),
        Resize::ShorterSide(n) => format!("shorter side scaled to {n}"),
        Resize::Exact([height, width]) => format!("scaled to {width}x{height}"),
    };
    let filter = match of.interpolation {
        Interpolation::Bilinear => "bilinear",
        Interpolation::Bicubic => "bicubic",
    };
    let order = match of.channel_order {
        ChannelOrder::Rgb => "",
        ChannelOrder::Bgr => ", blue first",
    };
    let gray = match of.gray {
        Gray::Luma => "",
        Gray::Mean => ", grey as the mean of the channels",
    };
    format!("{size} ({filter}), centre{order}{gray}")
}

fn names(classes: &[String]) -> String {
    let shown = classes.iter().take(NAMES_SHOWN).map(String::as_str).collect::<Vec<_>>();
    let more = if classes.len() > NAMES_SHOWN { ", ..." } else { "" };
    format!("{}: {}{more}", classes.len(), shown.join(", "))
}
