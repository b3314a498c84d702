//! `onebit summary`: what a network costs, layer by layer.

use std::path::Path;

use onebit_model::arch::{self, ARCHITECTURES, Task};
use onebit::Summary;
use onebit_model::cost::Cost;
use onebit_model::Graph;

use crate::architectures;
use crate::arguments::Format;
use crate::description;
use crate::failure::Failure;
use crate::layers::real_layers_table;
use crate::model_file;
use crate::output::{Align, Table, bytes, thousands};
use crate::set::{self, Set};
use crate::size::InputSize;

const EXAMPLES: &str = "\
Examples:
  onebit summary                                     lists the architectures
  onebit summary resnet20                            for 3x32x32 images of 10 classes
  onebit summary reactnet-a                          for 3x224x224 images of 1,000 classes
  onebit summary resnet20 --set method=ftbnn         with FTBNN's blocks
  onebit summary resnet-small --input 1x28x28 --set widths=[16,32] --set blocks=[2,2]
  onebit summary a.onebit --json | jq .ops           of a packed file

OPs = FLOPs + BOPs / 64; one multiply-accumulate is one operation.";

/// Counts what a network costs: parameters, bytes, operations, layer by layer
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Name of an architecture, a packed file, or a graph in JSON as `onebit pack --graph` takes it; without one the
    /// architectures are listed
    #[arg(value_name = "ARCH|FILE|GRAPH.json")]
    network: Option<String>,
    /// Channels, height and width of an image [default: 3x32x32 for small-image networks, else 3x224x224]
    #[arg(long, value_name = "CxHxW", requires = "network")]
    input: Option<InputSize>,
    /// Number of classes [default: 10 for small-image networks, else 1000]
    #[arg(long, value_name = "N", requires = "network", value_parser = clap::value_parser!(u32).range(1..=65_536))]
    classes: Option<u32>,
    /// A network option, as in the network section of a recipe; may be repeated
    #[arg(long, value_name = "KEY=VALUE", requires = "network")]
    set: Vec<Set>,
    #[command(flatten)]
    format: Format,
}

pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let Some(network) = &args.network else { return architectures::list(args.format) };
    let graph = graph(network, &args)?;
    let input = args.input.map_or(graph.input_shape(), |size| size.0);
    let cost = Cost::of(&graph, input).map_err(|e| Failure::usage(e.to_string()))?;
    let summary = Summary::new(&graph, input, &cost);
    args.format.print(&summary, |summary| {
        table(summary) + &totals(summary) + "\n" + &real_layers_table(&cost)
    })
}

fn graph(network: &str, args: &Args) -> anyhow::Result<Graph> {
    if ARCHITECTURES.iter().any(|a| a.name == network) {
        return from_name(network, args);
    }
    let path = Path::new(network);
    let names_a_file = network.contains(['/', '\\']) || path.extension().is_some();
    if !names_a_file && !path.exists() {
        return from_name(network, args);
    }
    if args.classes.is_some() || !args.set.is_empty() {
        let message = "--classes and --set are for architectures; a file has its own classes and options";
        return Err(Failure::usage(message));
    }
    match description::is_description(path) {
        true => Ok(description::read(path)?.graph.into_inner()),
        false => Ok(model_file::read(path)?.model.graph().clone()),
    }
}

fn from_name(network: &str, args: &Args) -> anyhow::Result<Graph> {
    let architecture = arch::find(network)?;
    let input = args.input.map_or(architecture.input, |size| size.0);
    let classes = args.classes.map_or(architecture.classes, |n| n as usize);
    let config = set::network(network, &args.set)?;
    Ok(arch::build(&config, &Task::unnamed(input, classes))?.into_inner())
}

fn table(summary: &Summary) -> String {
        use Align::{Left, Right};
        let mut table = Table::new([
            ("layer", Left),
            ("op", Left),
            ("output", Left),
            ("parameters", Right),
            ("bits", Right),
            ("FLOPs", Right),
            ("BOPs", Right),
        ]);
        for layer in &summary.layers {
            table.row([
                layer.name.clone(),
                layer.op.to_owned(),
                layer.output.clone(),
                count(layer.params as u64),
                count(u64::from(layer.bits)),
                count(layer.flops),
                count(layer.bops),
            ]);
        }
        table.row([const { String::new() }; 7]);
        table.row([
            "total".to_owned(),
            String::new(),
            String::new(),
            thousands(summary.params.total as u64),
            String::new(),
            thousands(summary.flops),
            thousands(summary.bops),
        ]);
        table.render()
    }

fn totals(summary: &Summary) -> String {
        let Summary { arch, input, params, bytes: packed, .. } = summary;
        let (ops, float_file) = (thousands(summary.ops.round() as u64), 4 * params.total as u64);
        let ratio = float_file as f64 / packed.total.max(1) as f64;
        format!(
            "\n{arch} for an input of {input}: {ops} OPs (FLOPs + BOPs / 64)\n\
             parameters   {} real, {} binary\n\
             as floats    {}\n\
             packed       {} ({} real, {} bits), {ratio:.1} times smaller\n",
            thousands(params.float as u64),
            thousands(params.binary as u64),
            bytes(float_file),
            bytes(packed.total as u64),
            bytes(packed.float as u64),
            bytes(packed.binary as u64),
        )
    }

fn count(n: u64) -> String {
    if n == 0 { "-".to_owned() } else { thousands(n) }
}
