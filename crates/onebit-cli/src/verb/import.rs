//! `onebit import`: a checkpoint of PyTorch turned into a trained or a packed model.

use std::path::{Path, PathBuf};

use onebit::CheckpointOptions;
use onebit_model::arch;
use onebit_model::file;
use onebit_model::Normalization;
use onebit_pack::import::Imported;
use serde::Serialize;

use crate::arguments::{Format, check_channels};
use crate::class_names;
use crate::failure::Failure;
use crate::import_onnx;
use crate::origin_options::OriginOptions;
use crate::output::{self, Align, Table, bytes, count, thousands};
use crate::set::{self, Set};
use crate::size::InputSize;
use crate::target::Target;

const EXAMPLES: &str = "\
Examples:
  onebit import checkpoint.pth.tar --arch reactnet-a -o reactnet-a.onebit
  onebit import model_best.pth.tar --arch birealnet18 --classes imagenet.txt -o a.onebit
  onebit import step1.pth.tar --arch reactnet18 -o weights.safetensors
  onebit import small.pth --arch resnet-small --set widths=[16,32] --set blocks=[2,2] -o a.onebit
  onebit import net.onnx -o net.onebit --mean 0.5,0.5,0.5 --std 0.5,0.5,0.5

NET.onnx is any network whose convolutions and layers of 1-bit values have weights of +-1, times a
number for each output: signs as Sign, Where of a comparison, QONNX's BipolarQuant, MultiThreshold
(docs/bring-your-own.md lists the operators). Unknown operators are all named at once, and so are
then all places where known ones are used in ways that cannot be read.
Before the file is written, all signs and the logits are compared with those of the ONNX graph.

CHECKPOINT is what the official PyTorch code of Bi-Real Net and ReActNet saves (its ResNets and
ReActNet-A): a state dict, or a dictionary with one under `state_dict`, `model`, `net` or the like;
in PyTorch's zip container, in the one before PyTorch 1.6, or as .safetensors; binary weights as
`weight` [O,I,k,k] or `weights` [N,1]. What wrappers put before all names (`module.`, `_orig_mod.`,
`model.`) is left out. What the file is, its content says, not its name. Nothing in it is run.

Other architectures have no official names. Their tensors, saved by torch.save or as .safetensors,
need the names and shapes that they have in a run's weights.safetensors: NODE.SUFFIX with the nodes
of `onebit summary NAME` and the suffixes and shapes of docs/format.md, sections 2 and 4, kernels
[O,k,k,I/groups], or all of them in PyTorch's order, [O,I/groups,k,k], as onebit.torch has them.

FILE.onebit is the packed network. FILE.safetensors keeps the real values, to train on with or
for `onebit pack`. That is what a checkpoint of the first of ReActNet's two training steps is
for: its binary convolutions had real weights, so that packing it gives a network that nobody
has trained. (The official second step loses these weights of ReActNet-A, because it calls them
`weights` where the first has `weight`.)";

/// Reads a network in ONNX, or a PyTorch checkpoint: of Bi-Real Net's or ReActNet's code, or with our names
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// .pth, .pth.tar, .pt or .safetensors, or a network in ONNX (.onnx)
    #[arg(value_name = "CHECKPOINT|NET.onnx")]
    checkpoint: PathBuf,
    /// The architecture of a checkpoint; birealnet18, birealnet34, reactnet18, reactnet34, reactnet-a and those with their
    /// blocks have official names. Of an ONNX file only the name
    #[arg(long, value_name = "NAME")]
    arch: Option<String>,
    /// The file to write: packed, or the real values if it ends in .safetensors
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// A network option, as in the network section of a recipe; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<Set>,
    /// Channels, height and width of an image [default: the architecture's]
    #[arg(long, value_name = "CxHxW")]
    input: Option<InputSize>,
    /// Names of the classes, one on each line [default: their numbers]
    #[arg(long, value_name = "FILE")]
    classes: Option<PathBuf>,
    /// Mean of each channel of the training images, whose pixels are 0 to 1, or one number for all [default: ImageNet's; what an ONNX file of
    /// `onebit export` says, else 0]
    #[arg(long, value_name = "M,M,M", value_delimiter = ',', allow_hyphen_values = true)]
    mean: Option<Vec<f32>>,
    /// Standard deviation of each channel, or one number for all [default: ImageNet's; what an ONNX file of `onebit export` says, else 1]
    #[arg(long, value_name = "S,S,S", value_delimiter = ',', allow_hyphen_values = true)]
    std: Option<Vec<f32>>,
    #[command(flatten)]
    origin: OriginOptions,
    #[command(flatten)]
    format: Format,
}

/// What importing made.
#[derive(Serialize)]
struct Done {
    arch: String,
    classes: usize,
    checkpoint: PathBuf,
    output: PathBuf,
    /// Whether a file of that name was there before.
    replaced: bool,
    packed: bool,
    tensors: usize,
    /// The keys that lead to the state dict, joined by dots; absent where it was saved alone.
    state_dict: Option<String>,
    /// What was left out at the start of names, several of them in a list with commas; absent where nothing was.
    stripped_prefix: Option<String>,
    ignored: Ignored,
    ties: usize,
    bytes_in: u64,
    /// The tensors that were read, as 32-bit floats.
    bytes_f32: u64,
    bytes_out: u64,
    /// `bytes_f32 / bytes_out`: what else is in the checkpoint does not count.
    ratio: f64,
}

/// Most entries beside the state dict that the table names.
const MAX_ENTRIES_NAMED: usize = 20;

/// What was in the checkpoint but not read.
#[derive(Serialize)]
struct Ignored {
    num_batches_tracked: usize,
    entries: Vec<String>,
}

pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let format = args.format;
    if import_onnx::is_onnx(&args.checkpoint) {
        let Args { checkpoint: network, arch, output, input, classes, mean, std, origin, .. } = args;
        if !args.set.is_empty() {
            let message = "--set is for architectures; an ONNX file has its own operators";
            return Err(Failure::usage(message));
        }
        let input = input.map(|size| size.0);
        let request = import_onnx::Request { network, arch, output, input, classes, mean, std, origin };
        return format.print(&import_onnx::import(request)?, import_onnx::Done::table);
    }
    let done = import(args)?;
    output::warn_of_ties(done.ties, "");
    format.print(&done, Done::table)
}

fn import(args: Args) -> anyhow::Result<Done> {
    let Some(name) = &args.arch else {
        return Err(Failure::usage("--arch NAME says which architecture the checkpoint is of"));
    };
    let architecture = arch::find(name)?;
    let channels = args.input.as_ref().map_or(architecture.input, |size| size.0)[0];
    let Normalization { mean, std } = normalization(&args, channels);
    check_channels("--mean", &mean, channels, "a finite number", f32::is_finite)?;
    let positive = |std: f32| std.is_finite() && std > 0.0;
    check_channels("--std", &std, channels, "a finite number above 0", positive)?;
    let hint = "`onebit export` makes other formats of the packed file";
    let read: Vec<&Path> =
        [args.checkpoint.as_path()].into_iter().chain(args.classes.as_deref()).collect();
    let target = Target::new(&args.output, &["onebit", "safetensors"], hint, &read)?;
    let content = onebit_pack::read_checkpoint_file(&args.checkpoint)?;
    let options = CheckpointOptions {
        network: set::network(name, &args.set)?,
        input: args.input.map(|size| size.0),
        normalization: Normalization { mean, std },
    };
    let names = |classes| match &args.classes {
        Some(path) => class_names::read(path, classes, "the checkpoint"),
        None => Ok((0..classes).map(|class| class.to_string()).collect()),
    };
    let imported = onebit::import_checkpoint(&content, &args.checkpoint, &options, names)?;
    let Imported { weights, read, counters, found, ties } = imported;
    let origin = args.origin.clone().read()?;
    let packed = !has_ending(&args.output, "safetensors");
    if !packed && !origin.is_empty() {
        return Err(Failure::usage(
            "--licence and the like stand in packed files; give them to `onebit pack` afterwards",
        ));
    }
    let written = match packed {
        true => onebit::pack(&weights)?.with_origin(origin)?.to_bytes()?,
        false => file::write_weights(&weights)?,
    };
    let replaced = target.write(&written)?;
    let elements: usize = weights.tensors.values().map(|tensor| tensor.data.len()).sum();
    let bytes_f32 = 4 * elements as u64;
    Ok(Done {
        arch: name.clone(),
        classes: weights.graph.classes.len(),
        checkpoint: args.checkpoint,
        output: args.output,
        replaced,
        packed,
        tensors: read,
        state_dict: joined(found.path, "."),
        stripped_prefix: joined(found.prefixes, ", "),
        ignored: Ignored { num_batches_tracked: counters, entries: found.others },
        ties,
        bytes_in: content.len() as u64,
        bytes_f32,
        bytes_out: written.len() as u64,
        ratio: bytes_f32 as f64 / written.len() as f64,
    })
}

/// How the training images were normalised, ImageNet's way unless it is said.
fn normalization(args: &Args, channels: usize) -> Normalization {
    let usual = Normalization::imagenet();
    let given = Normalization {
        mean: args.mean.clone().unwrap_or(usual.mean),
        std: args.std.clone().unwrap_or(usual.std),
    };
    given.spread(channels)
}

fn has_ending(path: &Path, ending: &str) -> bool {
    path.extension().is_some_and(|found| found.eq_ignore_ascii_case(ending))
}

fn joined(parts: impl IntoIterator<Item = String>, between: &str) -> Option<String> {
    let parts: Vec<_> = parts.into_iter().collect();
    (!parts.is_empty()).then(|| parts.join(between))
}

impl Done {
    fn table(&self) -> String {
        let mut table =
            Table::new([("", Align::Left), ("bytes", Align::Right), ("file", Align::Left)]);
        let mut row = |name: &str, size: u64, path: &Path| {
            table.row([name.to_owned(), thousands(size), path.display().to_string()]);
        };
        row("checkpoint", self.bytes_in, &self.checkpoint);
        row(if self.packed { "packed" } else { "weights" }, self.bytes_out, &self.output);
        let ignored = match &self.ignored {
            Ignored { num_batches_tracked: 0, entries } if entries.is_empty() => String::new(),
            Ignored { num_batches_tracked, entries } => {
                let counters = count(*num_batches_tracked as u64, "counter") + " (num_batches_tracked)";
                let named = entries.iter().take(MAX_ENTRIES_NAMED).cloned();
                let more = entries.len().saturating_sub(MAX_ENTRIES_NAMED);
                let more = (more > 0).then(|| format!("{more} more"));
                let parts = [counters].into_iter().chain(named).chain(more);
                format!("; ignored: {}", parts.collect::<Vec<_>>().join(", "))
            }
        };
        let mut text = table.render();
        if self.packed {
            let size = bytes(self.bytes_out);
            text += &format!("{:.1} times smaller than its tensors as floats ({size})\n", self.ratio);
        }
        let Done { arch, classes, tensors, .. } = self;
        let (classes, tensors) = (count(*classes as u64, "class"), count(*tensors as u64, "tensor"));
        text += &format!("{arch} of {classes}: {tensors} read{ignored}\n");
        if let Some(entry) = &self.state_dict {
            text += &format!("read from the entry `{entry}`\n");
        }
        if let Some(prefix) = &self.stripped_prefix {
            text += &format!("left out at the start of names: {prefix}\n");
        }
        text
    }
}
