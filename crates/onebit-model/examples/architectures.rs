//! Prints what every architecture costs for the images that it is made for, as a table.
//!
//! `cargo run -p onebit-model --example architectures`

#![allow(clippy::print_stdout)]

use onebit_model::arch::{self, ARCHITECTURES, Config, Task};
use onebit_model::cost::Cost;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("| name | input | FLOPs | BOPs | OPs | real parameters | bits | packed bytes |");
    println!("|---|---|--:|--:|--:|--:|--:|--:|");
    for architecture in ARCHITECTURES {
        let task = Task::unnamed(architecture.input, architecture.classes);
        let graph = arch::build(&Config::named(architecture.name), &task)?;
        let cost = Cost::of(&graph, architecture.input)?;
        let ((float, binary), bytes) = (cost.params(), cost.bytes());
        println!(
            "| {} | {} | {} | {} | {} | {float} | {binary} | {} |",
            architecture.name,
            architecture.input.map(|extent| extent.to_string()).join("x"),
            cost.flops(),
            cost.bops(),
            cost.ops().round(),
            bytes.0 + bytes.1,
        );
    }
    Ok(())
}
