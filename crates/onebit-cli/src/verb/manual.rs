//! `onebit manual`: manual pages.

use clap::Command;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};

use crate::failure::Failure;
use crate::output;

const EXAMPLES: &str = "\
Examples:
  onebit manual | man -l -                                     the program's page
  onebit manual data fetch > ~/.local/share/man/man1/onebit-data-fetch.1";

/// Prints the manual page of the program or of one of its commands
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Command whose page is printed [default: the program]
    command: Vec<String>,
}

pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let mut whole = crate::command();
    whole.build();
    let mut command = &whole;
    for name in &args.command {
        command = command.find_subcommand(name).ok_or_else(|| {
            let words = args.command.join(" ");
            Failure::usage(format!("there is no command `{words}`; `onebit --help` lists them"))
        })?;
    }
    output::own(&page(command.clone())?)
}

/// The page; examples keep their lines.
fn page(command: Command) -> anyhow::Result<Vec<u8>> {
    let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let has_commands = command.has_subcommands();
    let man = Man::new(command).source(format!("onebit {}", crate::VERSION));
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if has_commands {
        man.render_subcommands_section(&mut page)?;
    }
    if !after.is_empty() {
        let mut examples = Roff::new();
        examples.control("SH", ["NOTES"]).control("nf", []);
        for line in after.lines() {
            examples.text([roman(line)]);
        }
        examples.control("fi", []);
        examples.to_writer(&mut page)?;
    }
    Ok(page)
}
