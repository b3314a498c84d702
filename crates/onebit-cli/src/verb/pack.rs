//! `onebit pack`: the packed file of a trained network.

use std::fs;
use std::path::{Path, PathBuf};

use onebit::expectation::{self, Expected};
use onebit::{Model, hardware_threads};
use onebit_model::Verified;
use onebit_model::file::Weights;
use onebit_pack::PackError;
use onebit_pack::agreement::Report;
use onebit_pack::import::{Checkpoint, DescribedWeights};
use onebit_pack::int8_layers::{Bounds, Layers};
use serde::Serialize;

use crate::arguments::Format;
use crate::arrays::{self, Images};
use crate::class_names;
use crate::description;
use crate::failure::Failure;
use crate::int8_option;
use crate::model_file::{self, Packed, is_packed};
use crate::origin_options::OriginOptions;
use crate::output::{self, Align, Table, bytes, count, thousands};
use crate::target::Target;
use crate::training;

const EXAMPLES: &str = "\
Examples:
  onebit pack runs/a -o a.onebit                                 the run's best checkpoint
  onebit pack runs/a/checkpoints/epoch-00005 -o a.onebit         this checkpoint
  onebit pack runs/a -o a.onebit --verify fashion-mnist-sample   and prove that it computes the same
  onebit pack runs/a -o a8.onebit --int8 fashion-mnist-sample    with 8-bit first and last layers
  onebit pack a.onebit -o a8.onebit --int8 folder:~/photos       the same from a packed file
  onebit pack net.safetensors --graph net.json -o net.onebit \\
    --expect x.npy y.npy --licence Apache-2.0                    a network of your own

--graph describes any network of the operations in docs/format.md: docs/bring-your-own.md goes
through a ResNet, a network of FINN's form and a perceptron, --json-schema helps an editor. Binary
weights are +-1 or any real numbers, of which the sign is taken; batch normalization, biases and
scales are folded. What is missing, extra or misshaped is said all at once.

--licence, --source and the like replace what a packed file says of itself; what is not given stays.

--verify runs trainer and engine on every image, compares all signs and logits, and writes the file
only if they agree (exit code 65 if not).

--int8 stores the convolutions of the image and the classifier as 8-bit integers, which is smaller
and faster, and no longer computes exactly what was trained. The classifier's input is measured on
up to 1,024 images of the data; then all of its images are predicted with and without, and the file
is written only if the right answers are not fewer by more than 1% of the images (--int8-max-lost),
one always being allowed. Rounding the first layer flips signs behind it, so that undecided images
change their class; --int8-max-changed bounds those, --int8-layers last keeps the layer as it was.";

/// Makes the packed file of a trained network
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Run folder, checkpoint folder or weights.safetensors; with --graph any .safetensors or PyTorch checkpoint; with --int8
    /// or --licence also a packed file (.onebit)
    #[arg(value_name = "RUN|CHECKPOINT|WEIGHTS", required_unless_present = "json_schema")]
    from: Option<PathBuf>,
    /// The file to write
    #[arg(short, long, value_name = "FILE", required_unless_present = "json_schema")]
    output: Option<PathBuf>,
    /// The network whose weights these are, described in JSON
    #[arg(long, value_name = "GRAPH.json")]
    graph: Option<PathBuf>,
    /// Names of the classes, one on each line; those of the graph unless given
    #[arg(long, value_name = "FILE", requires = "graph")]
    classes: Option<PathBuf>,
    /// Write the file only if the network gives these logits [N, classes] for these normalised images [N, channels,
    /// height, width], both float32
    #[arg(long, num_args = 2, action = clap::ArgAction::Set, value_names = ["X.npy", "Y.npy"])]
    expect: Option<Vec<PathBuf>>,
    /// Share of an image's largest logit by which logits may differ from the expected ones
    #[arg(long, value_name = "SHARE", requires = "expect", default_value_t = expectation::TOLERANCE)]
    #[arg(value_parser = parse_tolerance, allow_hyphen_values = true)]
    tolerance: f32,
    /// Print the JSON schema of --graph, for editors
    #[arg(long, exclusive = true)]
    json_schema: bool,
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
    /// Share of the images whose right answers 8-bit layers may lose [default: 0.01, or any with --int8-max-changed]
    #[arg(long, value_name = "SHARE", requires = "int8", value_parser = int8_option::parse_share)]
    int8_max_lost: Option<f64>,
    /// Share of the predictions that 8-bit layers may change, right or wrong [default: any]
    #[arg(long, value_name = "SHARE", requires = "int8", value_parser = int8_option::parse_share)]
    int8_max_changed: Option<f64>,
    #[command(flatten)]
    origin: OriginOptions,
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
    /// How close the logits are to those that were expected.
    pub(crate) expected: Option<Expected>,
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
    if args.json_schema {
        let schema = onebit_model::description::schema();
        return output::text(&format!("{}\n", serde_json::to_string_pretty(&schema)?));
    }
    let format = args.format;
    let done = pack(args)?;
    format.print(&done, Done::table)
}

fn pack(args: Args) -> anyhow::Result<Done> {
    let (Some(from), Some(output)) = (&args.from, &args.output) else {
        return Err(Failure::usage("what to pack and -o FILE are needed; `onebit pack --help`"));
    };
    let hint = "`onebit export` makes other formats of the packed file";
    let expect = args.expect.as_deref().unwrap_or_default();
    let read = [Some(from), args.graph.as_ref(), args.classes.as_ref()].into_iter().flatten();
    let read: Vec<&Path> = read.chain(expect).map(PathBuf::as_path).collect();
    let target = Target::new(output, &["onebit"], hint, &read)?;
    let origin = args.origin.clone().read()?;
    let is_packed = is_packed(from);
    if is_packed && args.int8.is_none() && origin.is_empty() && model_file::read(from).is_ok() {
        return Err(Failure::bad_data(format!(
            "{}: is packed already, expected a run or a checkpoint; --int8 SPEC stores its first and last layers in 8 bits, \
             --licence and the like say where it comes from",
            from.display()
        )));
    }
    let input = match &args.graph {
        Some(graph) => described(&args, from, graph)?,
        None if is_packed => packed(&args, from)?,
        None => trained(&args, from)?,
    };
    target.differs_from(&[&input.path])?;
    let origin = origin.over(input.model.origin().clone());
    let mut model = input.model.with_origin(origin)?;
    let expected = match expect {
        [images, logits] => Some(compare(&input.path, &model, images, logits, args.tolerance)?),
        _ => None,
    };
    let mut int8 = None;
    if let Some(spec) = &args.int8 {
        let bounds = Bounds::new(args.int8_max_lost, args.int8_max_changed);
        let (rounded, report) =
            int8_option::quantize(&input.path, &model, spec, args.int8_layers, bounds)?;
        let bytes_saved = model.to_bytes()?.len() as i64 - rounded.to_bytes()?.len() as i64;
        int8 = Some(int8_option::Saved { report, bytes_saved });
        model = rounded;
    }
    let content = model.to_bytes()?;
    let replaced = target.write(&content)?;
    Ok(Done {
        output: output.clone(),
        replaced,
        weights: input.path,
        weights_bytes: input.bytes,
        file_bytes: content.len() as u64,
        agreement: input.agreement,
        expected,
        int8,
    })
}

/// A packed file, in which only layers can be rounded.
fn packed(args: &Args, from: &Path) -> anyhow::Result<PackInput> {
    if args.verify.is_some() {
        return Err(Failure::usage(
            "--verify compares with the trainer and needs a run or a checkpoint, not a packed file",
        ));
    }
    let Packed { model, bytes } = model_file::read(from)?;
    Ok(PackInput { model, path: from.to_owned(), bytes, agreement: None })
}

/// The network of a run or checkpoint, lowered, and compared with the trainer if that is asked for.
fn trained(args: &Args, from: &Path) -> anyhow::Result<PackInput> {
    let loaded = model_file::load_weights(from).map_err(|error| match from.is_file() {
        true => error.context(format!(
            "{} is no file of onebit's trainer; --graph GRAPH.json says what network its tensors are of",
            from.display()
        )),
        false => error,
    })?;
    let bytes = fs::metadata(&loaded.path).map_err(onebit_files::Error::read(&loaded.path))?.len();
    lowered(args, &loaded.weights, loaded.path, bytes)
}

/// The network that `graph` describes, with the tensors of a file.
fn described(args: &Args, from: &Path, graph: &Path) -> anyhow::Result<PackInput> {
    let mut description = description::read(graph)?;
    if let Some(names) = &args.classes {
        let classes = description.graph.classes.len();
        description = description.with_classes(class_names::read(names, classes, "the graph")?)?;
    }
    if from.is_dir() {
        return Err(Failure::usage(format!(
            "{}: --graph is for a file of tensors; a run knows its own graph and is packed without",
            from.display()
        )));
    }
    let content = onebit_pack::read_checkpoint_file(from)?;
    let failed = |source| PackError::Import { path: from.to_owned(), source };
    let described = Checkpoint::parse_for(&content, &description.graph)
        .and_then(|tensors| tensors.described(&description));
    let DescribedWeights { weights, ties, notes, .. } = described.map_err(failed)?;
    notes.iter().for_each(|note| output::note(&format!("warning: {note}")));
    output::warn_of_ties(ties, "; `\"sign_of_zero\": \"plus\"` in the graph makes it +1");
    lowered(args, &weights, from.to_owned(), content.len() as u64)
}

fn lowered(
    args: &Args,
    weights: &Verified<Weights>,
    path: PathBuf,
    bytes: u64,
) -> anyhow::Result<PackInput> {
    let model = onebit::pack(weights)?;
    let verify = args.verify.as_deref();
    let agreement =
        verify.map(|spec| training::agreement(&path, weights, &model, spec)).transpose()?;
    Ok(PackInput { model, path, bytes, agreement })
}

/// Runs the network on images and compares its logits with those of another program.
fn compare(
    path: &Path,
    model: &Model,
    images: &Path,
    logits: &Path,
    tolerance: f32,
) -> anyhow::Result<Expected> {
    let images = Images::read(images, model)?;
    let classes = model.classes();
    let expected = arrays::expected_logits(logits, &images, classes.len())?;
    let mut session = images.session(path, model, hardware_threads(), None)?;
    let found = images.logits(path, &mut session)?;
    expectation::compare(&found, &expected, classes, tolerance).map_err(|error| {
        Failure::bad_data(format!(
            "{error}; nothing is written; --tolerance allows more, docs/bring-your-own.md says where such differences come from"
        ))
    })
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
        if let Some(expected) = &self.expected {
            text += &format!(
                "logits of {} as expected: within {:.1e} of the largest (allowed: {:.1e})\n",
                count(expected.images, "image"),
                expected.max_difference,
                expected.tolerance,
            );
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

/// A tolerance on the command line.
fn parse_tolerance(text: &str) -> Result<f32, String> {
    match text.parse() {
        Ok(share @ 0.0..=1.0) => Ok(share),
        _ => Err("expected a share of 0 to 1".to_owned()),
    }
}
