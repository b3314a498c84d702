//! The list of architectures.

use onebit_model::arch::{self, ARCHITECTURES, Architecture, Config, Task};
use onebit_model::cost::Cost;
use serde::Serialize;

use crate::arguments::Format;
use crate::output::{Align, Table, thousands};
use crate::size::show;

const HOW_TO_GO_ON: &str = "
onebit summary NAME shows the layers of one; with --set KEY=VALUE, such as --set method=ftbnn, it shows
what an option changes. `arch = \"NAME\"` in the [network] section of a recipe trains it.
";

#[derive(Serialize)]
struct List {
    architectures: Vec<Entry>,
}

#[derive(Serialize)]
struct Entry {
    arch: &'static str,
    about: &'static str,
    /// The images that it is made for; it takes others too.
    input: String,
    classes: usize,
    params: usize,
    flops: u64,
    bops: u64,
    ops: f64,
}

/// Prints all architectures, each for the images that it is made for.
pub(crate) fn list(format: Format) -> anyhow::Result<()> {
    let entries: anyhow::Result<Vec<Entry>> = ARCHITECTURES.iter().map(Entry::new).collect();
    let list = List { architectures: entries? };
    format.print(&list, |list| list.table() + HOW_TO_GO_ON)
}

impl Entry {
    fn new(architecture: &'static Architecture) -> anyhow::Result<Self> {
        let Architecture { name, about, input, classes, .. } = *architecture;
        let graph = arch::build(&Config::named(name), &Task::unnamed(input, classes))?;
        let cost = Cost::of(&graph, input)?;
        let (float, binary) = cost.params();
        Ok(Entry {
            arch: name,
            about,
            input: show(input),
            classes,
            params: float + binary,
            flops: cost.flops(),
            bops: cost.bops(),
            ops: cost.ops(),
        })
    }
}

impl List {
    fn table(&self) -> String {
        use Align::{Left, Right};
        let mut table = Table::new([
            ("architecture", Left),
            ("images", Left),
            ("classes", Right),
            ("parameters", Right),
            ("OPs", Right),
            ("", Left),
        ]);
        for entry in &self.architectures {
            table.row([
                entry.arch.to_owned(),
                entry.input.clone(),
                thousands(entry.classes as u64),
                thousands(entry.params as u64),
                thousands(entry.ops.round() as u64),
                entry.about.to_owned(),
            ]);
        }
        table.render()
    }
}
