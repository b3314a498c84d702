//! `onebit import` of a network in ONNX.

use std::io::Read;
use std::path::{Path, PathBuf};

use onebit::{Error, OnnxOptions};
use onebit_model::Normalization;
use onebit_pack::PackError;
use onebit_pack::import::{ImportError, NOT_NORMALISED};
use serde::Serialize;

use crate::arguments::check_channels;
use crate::class_names;
use crate::failure::Failure;
use crate::origin_options::OriginOptions;
use crate::output::{self, Align, Table, bytes, count, thousands};
use crate::progress::Progress;
use crate::target::Target;

/// What to import, and what the file does not say or says otherwise.
pub(crate) struct Request {
    pub(crate) network: PathBuf,
    pub(crate) output: PathBuf,
    pub(crate) arch: Option<String>,
    pub(crate) input: Option<[usize; 3]>,
    pub(crate) classes: Option<PathBuf>,
    pub(crate) mean: Option<Vec<f32>>,
    pub(crate) std: Option<Vec<f32>>,
    pub(crate) origin: OriginOptions,
}

/// What importing made.
#[derive(Serialize)]
pub(crate) struct Done {
    arch: String,
    classes: usize,
    network: PathBuf,
    output: PathBuf,
    /// Whether a file of that name was there before.
    replaced: bool,
    packed: bool,
    bytes_in: u64,
    bytes_out: u64,
    #[serde(flatten)]
    report: onebit::OnnxReport,
}

/// Most bytes of an ONNX file: protobuf's limit.
const MAX_BYTES: u64 = onebit_pack::export::MAX_ONNX_BYTES;

/// Whether a file is a network in ONNX, by its name or its first bytes: a version of the format, and no header of safetensors.
pub(crate) fn is_onnx(path: &Path) -> bool {
    let named = path.extension().is_some_and(|found| found.eq_ignore_ascii_case("onnx"));
    named
        || start(path).is_ok_and(|start| {
            matches!(start[..], [8, 1..=0x1f, ..]) && start.get(8) != Some(&b'{')
        })
}

fn start(path: &Path) -> anyhow::Result<Vec<u8>> {
    let mut start = vec![];
    onebit_files::open_regular(path)?.take(9).read_to_end(&mut start)?;
    Ok(start)
}

/// Reads, compares and packs the network.
pub(crate) fn import(request: Request) -> anyhow::Result<Done> {
    let Request { network, output, arch, input, classes, mean, std, origin } = request;
    let normalization = match (mean, std) {
        (None, None) => None,
        (Some(mean), Some(std)) => {
            check_channels("--mean", &mean, mean.len(), "a finite number", f32::is_finite)?;
            let positive = |std: f32| std.is_finite() && std > 0.0;
            check_channels("--std", &std, std.len(), "a finite number above 0", positive)?;
            Some(Normalization { mean, std })
        }
        _ => return Err(Failure::usage("--mean and --std are only given together")),
    };
    let hint = "a network in ONNX is packed at once; `onebit export` makes other formats of the packed file";
    let read: Vec<&Path> = [network.as_path()].into_iter().chain(classes.as_deref()).collect();
    let target = Target::new(&output, &["onebit"], hint, &read)?;
    let origin = origin.read()?;
    let content = onebit_files::read_regular(&network, MAX_BYTES)
        .map_err(|error| error.expecting("a network in ONNX"))?;
    let options = OnnxOptions { input, normalization, classes: None, arch };
    let mut shown = None;
    let mut progress = |done: usize, all: usize| {
        let progress = shown.get_or_insert_with(|| Progress::new("evaluations", all as u64));
        progress.at(done as u64, "");
    };
    let imported = onebit::import_onnx(&content, &network, options, &mut progress);
    let (mut model, report) = imported.map_err(|error| match error {
        Error::Pack(PackError::Import { source: ImportError::Images(_), .. }) => {
            Failure::bad_data(format!("{error}; --input CxHxW gives their size"))
        }
        error => error.into(),
    })?;
    drop(shown);
    if let Some(names) = &classes {
        model =
            model.with_classes(class_names::read(names, model.classes().len(), "the network")?)?;
    }
    model = model.with_origin(origin.over(model.origin().clone()))?;
    let written = model.to_bytes()?;
    let replaced = target.write(&written)?;
    for note in &report.notes {
        let advice = if note == NOT_NORMALISED { "; --mean and --std say otherwise" } else { "" };
        output::note(&format!("{note}{advice}"));
    }
    Ok(Done {
        arch: model.arch().to_owned(),
        classes: model.classes().len(),
        network,
        output,
        replaced,
        packed: true,
        bytes_in: content.len() as u64,
        bytes_out: written.len() as u64,
        report,
    })
}

impl Done {
    pub(crate) fn table(&self) -> String {
        let mut table =
            Table::new([("", Align::Left), ("bytes", Align::Right), ("file", Align::Left)]);
        for (name, size, path) in
            [("network", self.bytes_in, &self.network), ("packed", self.bytes_out, &self.output)]
        {
            table.row([name.to_owned(), thousands(size), path.display().to_string()]);
        }
        let report = &self.report;
        let mut text = table.render();
        let ratio = self.bytes_in as f64 / self.bytes_out.max(1) as f64;
        text += &format!("{ratio:.1} times smaller ({})\n", bytes(self.bytes_out));
        text += &format!(
            "{} of {}: {} read; on {} of noise the signs are those of the ONNX graph but for {} on their thresholds, the \
             logits within {:.1e} of the largest\n",
            self.arch,
            count(self.classes as u64, "class"),
            count(report.operators as u64, "operator"),
            count(report.images as u64, "image"),
            report.flipped_signs,
            report.max_difference,
        );
        text
    }
}
