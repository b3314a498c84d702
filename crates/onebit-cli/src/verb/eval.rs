//! `onebit eval`: the accuracy of a network on a data set.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context;
use onebit::{Error, Evaluation};

use crate::arguments::{self, Format, Threads};
use crate::dataset;
use crate::model_file::{self, Packed};
use crate::output::{Align, Table, thousands};
use crate::progress::Progress;
use crate::training;

const EXAMPLES: &str = "\
Examples:
  onebit eval a.onebit --data fashion-mnist-sample       the packed file, by the engine
  onebit eval runs/a --data fashion-mnist-sample         the run's best checkpoint, by the trainer
  onebit eval a.onebit --data folder:~/photos --limit 500 --json

The test images are used unless the spec ends in :train.

Labels are compared by the names of their classes, in whatever order. Data with some of the
network's classes is evaluated as it is, the network choosing among all of its classes, and
`classes_evaluated` counts them; data with other classes is refused (exit code 65). Where the
classes of the network or of the data are named by their numbers, 0 and up, and both have as many,
numbers are compared.";

/// Measures accuracy on a data set
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Run folder, checkpoint folder or packed model
    #[arg(value_name = "RUN|FILE")]
    network: PathBuf,
    /// Data: NAME or NAME:SPLIT, folder:PATH, cifar:PATH or idx:PATH
    #[arg(long, value_name = "SPEC")]
    data: String,
    /// Use only N images, spread evenly over the set
    #[arg(long, value_name = "N", value_parser = dataset::parse_limit)]
    limit: Option<usize>,
    #[command(flatten)]
    threads: Threads,
    #[command(flatten)]
    format: Format,
}

pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let started = Instant::now();
    let measured = match args.network.is_dir() {
        true => training::eval(&args.network, &args.data, args.limit, args.threads.count())?,
        false => eval_file(&args.network, &args)?,
    };
    let measured = Evaluation { seconds: started.elapsed().as_secs_f64(), ..measured };
    args.format.print(&measured, table)
}

/// Accuracy of a packed file.
fn eval_file(path: &Path, args: &Args) -> anyhow::Result<Evaluation> {
    let Packed { model, .. } = model_file::read(path)?;
    let data = dataset::open_labelled(model.graph(), &args.data, args.limit)?;
    let mut session = arguments::session(path, &model, args.threads.count(), None)?;
    let mut progress = Progress::new("images", data.images.len() as u64);
    let measured = onebit::evaluate(&mut session, &data, &mut |accuracy| {
        progress.at(accuracy.images(), "");
    });
    match measured {
        Err(Error::NotFinite { .. }) => measured.with_context(|| path.display().to_string()),
        measured => Ok(measured?),
    }
}

fn table(measured: &Evaluation) -> String {
    let mut table = Table::new([
        ("images", Align::Right),
        ("top-1", Align::Right),
        ("top-5", Align::Right),
        ("classes", Align::Right),
        ("seconds", Align::Right),
        ("images/s", Align::Right),
    ]);
    table.row([
        thousands(measured.n),
        format!("{:.2}%", 100.0 * measured.top1),
        format!("{:.2}%", 100.0 * measured.top5),
        thousands(measured.classes_evaluated as u64),
        format!("{:.2}", measured.seconds),
        thousands((measured.n as f64 / measured.seconds.max(1e-9)) as u64),
    ]);
    table.render()
}
