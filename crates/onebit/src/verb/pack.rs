use std::fs;
use std::path::PathBuf;

use onebit_model::file;
use onebit_pack::prove::Report;
use serde::Serialize;

use crate::model_file;
use crate::output::{self, Align, Table, bytes, thousands};
use crate::training;

const EXAMPLES: &str = "\
Examples:
  onebit pack runs/a -o a.onebit                                 the run's best checkpoint
  onebit pack runs/a/checkpoints/epoch-00005 -o a.onebit         this checkpoint
  onebit pack runs/a -o a.onebit --verify fashion-mnist-sample   and prove that it computes the same

--verify runs trainer and engine on every image, compares all signs and logits, and writes the file
only if they agree (exit code 65 if not).";

/// Makes the packed file of a trained network
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Run folder, checkpoint folder or weights.safetensors
    #[arg(value_name = "RUN|CHECKPOINT")]
    from: PathBuf,
    /// The file to write
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Compare trainer and engine on this data first
    #[arg(long, value_name = "SPEC")]
    verify: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// What packing made.
#[derive(Serialize)]
pub(crate) struct Done {
    pub(crate) output: PathBuf,
    pub(crate) weights: PathBuf,
    pub(crate) weights_bytes: u64,
    pub(crate) file_bytes: u64,
    pub(crate) agreement: Option<Report>,
}

pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let json = args.json;
    let done = pack(args)?;
    if json { output::json(&done) } else { output::text(&done.table()) }
}

fn pack(args: Args) -> anyhow::Result<Done> {
    let loaded = model_file::load_weights(&args.from)?;
    let model = onebit_pack::lower(&loaded.weights)?;
    let content = file::write_model(&model)?;
    let model = file::read_model(&content)?;
    let verify = args.verify.as_deref();
    let agreement =
        verify.map(|spec| training::agreement(&loaded.weights, &model, spec)).transpose()?;
    onebit_pack::write_atomic(&args.output, &content)?;
    let failed = |source| onebit_files::Error::Read { path: loaded.path.clone(), source };
    let weights_bytes = fs::metadata(&loaded.path).map_err(failed)?.len();
    Ok(Done {
        output: args.output,
        weights: loaded.path,
        weights_bytes,
        file_bytes: content.len() as u64,
        agreement,
    })
}

impl Done {
    fn table(&self) -> String {
        let mut table =
            Table::new([("", Align::Left), ("bytes", Align::Right), ("file", Align::Left)]);
        let mut row = |name: &str, size: u64, path: &PathBuf| {
            table.row([name.to_owned(), thousands(size), path.display().to_string()]);
        };
        row("trained", self.weights_bytes, &self.weights);
        row("packed", self.file_bytes, &self.output);
        let ratio = self.weights_bytes as f64 / self.file_bytes.max(1) as f64;
        let mut text = table.render();
        text += &format!("{ratio:.1} times smaller ({})\n", bytes(self.file_bytes));
        if let Some(report) = &self.agreement {
            text += &agreement_text(report);
        }
        text
    }
}

fn agreement_text(report: &Report) -> String {
    format!(
        "verified on {} images: {} of the same class, {} with a flipped sign ({} are allowed), \
         logits of the others within {:.1e} of their standard deviation\n",
        thousands(report.images),
        thousands(report.top1_agree),
        report.flipped_images,
        report.flipped_images_allowed,
        report.max_logit_difference,
    )
}
