use std::path::PathBuf;

use onebit_engine::Isa;
use serde::Serialize;

use super::data::state_name;
use crate::machine;
use crate::output::{self, Align, Table, bytes};

/// Shows what this machine offers: CPU features and kernel, memory, threads, data sets, optional parts
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  onebit doctor\n  onebit doctor --json | jq .kernel")]
pub(crate) struct Args {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    version: &'static str,
    cpu: String,
    features: Vec<Feature>,
    kernel: &'static str,
    kernels: Vec<&'static str>,
    threads: usize,
    memory_bytes: Option<u64>,
    memory_available_bytes: Option<u64>,
    data_folder: Option<PathBuf>,
    data_sets: Vec<DataSet>,
    parts: Vec<Part>,
}

#[derive(Serialize)]
struct Feature {
    name: &'static str,
    present: bool,
}

#[derive(Serialize)]
struct DataSet {
    name: &'static str,
    state: &'static str,
}

#[derive(Serialize)]
struct Part {
    name: &'static str,
    present: bool,
    note: &'static str,
}

pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let report = report();
    if args.json { output::json(&report) } else { output::text(&report.text()) }
}

fn report() -> Report {
    let features = machine::features().into_iter();
    let memory = machine::memory();
    let data_folder = onebit_data::data_dir().ok();
    let listings = data_folder.as_deref().map(onebit_data::list).unwrap_or_default();
    let kernels: Vec<_> = Isa::available().iter().map(|isa| isa.name()).collect();
    Report {
        version: env!("CARGO_PKG_VERSION"),
        cpu: machine::cpu(),
        features: features.map(|(name, present)| Feature { name, present }).collect(),
        kernel: kernels.last().copied().unwrap_or_default(),
        kernels,
        threads: machine::threads(),
        memory_bytes: memory.map(|(total, _)| total),
        memory_available_bytes: memory.map(|(_, available)| available),
        data_folder,
        data_sets: listings
            .iter()
            .map(|set| DataSet { name: set.name, state: state_name(&set.state) })
            .collect(),
        parts: parts(),
    }
}

fn parts() -> Vec<Part> {
    let train = cfg!(feature = "train");
    let note = if train {
        "train, demo, eval of a run, pack --verify"
    } else {
        "build onebit without --no-default-features to get it"
    };
    vec![
        Part { name: "training", present: train, note },
        Part { name: "gpu", present: false, note: "this version trains on the CPU only" },
    ]
}

impl Report {
    fn text(&self) -> String {
        let mut table = Table::new([("onebit", Align::Left), (self.version, Align::Left)]);
        let mut row = |name: &str, value: String| table.row([name.to_owned(), value]);
        row("CPU", self.cpu.clone());
        row("features", join(self.features.iter().filter(|f| f.present).map(|f| f.name)));
        let missing: Vec<_> = self.features.iter().filter(|f| !f.present).map(|f| f.name).collect();
        if !missing.is_empty() {
            row("not present", missing.join(" "));
        }
        row("kernel", format!("{} (chosen), all that run here: {}", self.kernel, self.kernels.join(" ")));
        row("threads", self.threads.to_string());
        if let (Some(total), Some(free)) = (self.memory_bytes, self.memory_available_bytes) {
            row("memory", format!("{}, {} available", bytes(total), bytes(free)));
        }
        match &self.data_folder {
            Some(folder) => row("data folder", folder.display().to_string()),
            None => row("data folder", "unknown: set ONEBIT_DATA to a folder".to_owned()),
        }
        for set in &self.data_sets {
            let state = match set.state {
                "absent" => format!("not here: onebit data fetch {}", set.name),
                state => state.to_owned(),
            };
            row(&format!("  {}", set.name), state);
        }
        for part in &self.parts {
            let state = if part.present { "yes" } else { "not built" };
            row(part.name, format!("{state}: {}", part.note));
        }
        table.render()
    }
}

fn join(names: impl Iterator<Item = &'static str>) -> String {
    names.collect::<Vec<_>>().join(" ")
}
