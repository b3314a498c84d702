//! The `onebit` command: trains, packs and runs 1-bit convolutional networks.

#![forbid(unsafe_code)]

mod architectures;
mod arguments;
mod arrays;
mod class_names;
mod dataset;
mod description;
mod failure;
mod finite;
mod import_onnx;
mod int8_option;
mod kernel_speed;
mod layers;
mod machine;
mod memory;
mod model_file;
mod origin_options;
mod output;
#[cfg(feature = "train")]
mod picture;
mod plain;
#[cfg(feature = "train")]
mod probed;
mod profile;
mod progress;
#[cfg(feature = "train")]
mod recipe_keys;
#[cfg(feature = "train")]
mod remarks;
#[cfg(feature = "train")]
mod run_training;
mod set;
mod size;
mod target;
#[cfg(feature = "train")]
mod training;
#[cfg(not(feature = "train"))]
#[path = "without_training.rs"]
mod training;
mod verb;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use verb::Verb;

const EXAMPLES: &str = "\
Start here:
  onebit demo                                   train, pack, verify and use a network, in minutes
  onebit summary                                the networks there are
  onebit summary resnet20                       what one costs, layer by layer
  onebit train recipes/demo.toml --out runs/a   train a network
  onebit pack runs/a -o a.onebit                make the file that is deployed
  onebit predict a.onebit photo.png             use it

Exit codes: 0 done, 64 wrong usage, 65 bad data, or more than there is memory or threads for,
66 missing input, 69 not in this build, 70 a bug in onebit, 74 reading or writing failed,
130 interrupted.";

/// Of the package, with the commit it was built from where that is known, and its features.
pub(crate) const VERSION: &str = env!("ONEBIT_VERSION");

/// Trains, packs and runs 1-bit convolutional networks.
#[derive(Parser)]
#[command(name = "onebit", version = VERSION, after_help = EXAMPLES, max_term_width = 110)]
struct Command {
    #[command(subcommand)]
    verb: Verb,
}

/// All verbs and their arguments.
pub(crate) fn command() -> clap::Command {
    Command::command()
}

fn main() -> ExitCode {
    failure::catch_panics(|| match Command::try_parse() {
        Ok(command) => command.verb.run(),
        Err(error) => failure::from_arguments(&error),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Columns of help that is piped.
    const WIDTH: usize = 100;

    fn check(command: &clap::Command) {
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let wide = help.lines().find(|line| line.chars().count() > WIDTH);
        assert_eq!(wide, None, "{} would be wrapped in the middle", command.get_name());
        command.get_subcommands().for_each(check);
    }

    #[test]
    fn help_is_wrapped_by_hand() {
        check(&command());
    }
}
