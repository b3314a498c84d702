use std::path::PathBuf;
use std::sync::Arc;

use onebit_data::InMemory;
use onebit_engine::Options;
use onebit_model::Graph;
use serde::Serialize;

use crate::accuracy::{ranking, softmax};
use crate::model_file::{self, Packed};
use crate::output::{self, Align, Table};
use crate::runner::{Runner, parse_threads};

const EXAMPLES: &str = "\
Examples:
  onebit predict a.onebit photo.jpg
  onebit predict a.onebit *.png --top 1 --json | jq -r '.[] | .path + \" \" + .top[0].label'

JPEG and PNG files of any size: scaled and centre-cropped to the network's input.";

/// Says what is in images
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Packed model
    file: PathBuf,
    /// JPEG or PNG files
    #[arg(value_name = "IMAGE", required = true)]
    images: Vec<PathBuf>,
    /// Classes to show for each image
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    top: u32,
    /// Threads [default: all]
    #[arg(long, value_name = "N", value_parser = parse_threads)]
    threads: Option<usize>,
    /// Print one JSON array
    #[arg(long)]
    json: bool,
}

/// What a network says about an image.
#[derive(Serialize)]
struct Prediction {
    path: String,
    top: Vec<Choice>,
}

#[derive(Serialize)]
struct Choice {
    class: usize,
    label: String,
    probability: f64,
}

pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let Packed { model, .. } = model_file::read(&args.file)?;
    let graph = &model.graph;
    let images = read_images(&args.images, graph)?;
    let mut runner = Runner::new(&args.file, &model, Options::default(), args.threads)?;
    let mut predictions = Vec::new();
    runner.run_all(Arc::new(images), graph, &mut |labels, logits| {
        let classes = logits.len() / labels.len();
        for logits in logits.chunks_exact(classes) {
            let path = args.images[predictions.len()].display().to_string();
            predictions.push(Prediction { path, top: top(graph, logits, args.top as usize) });
        }
    })?;
    if args.json { output::json(&predictions) } else { output::text(&table(&predictions)) }
}

fn read_images(paths: &[PathBuf], graph: &Graph) -> anyhow::Result<InMemory> {
    let shape @ [channels, height, width] = graph.input_shape();
    let mut pixels = Vec::new();
    for path in paths {
        pixels.extend(onebit_data::load_for_network(path, channels, height, width)?);
    }
    let labels = vec![0; paths.len()];
    Ok(InMemory::new("images", shape, graph.classes.clone(), labels, pixels, None)?)
}

fn top(graph: &Graph, logits: &[f32], count: usize) -> Vec<Choice> {
    let probabilities = softmax(logits);
    let best = ranking(logits).take(count);
    best.map(|class| Choice {
        class,
        label: graph.classes[class].clone(),
        probability: probabilities[class],
    })
    .collect()
}

fn table(predictions: &[Prediction]) -> String {
    let mut table =
        Table::new([("image", Align::Left), ("probability", Align::Right), ("class", Align::Left)]);
    for Prediction { path, top } in predictions {
        for (rank, choice) in top.iter().enumerate() {
            let path = if rank == 0 { path.clone() } else { String::new() };
            let probability = format!("{:.1}%", 100.0 * choice.probability);
            table.row([path, probability, choice.label.clone()]);
        }
    }
    table.render()
}
