//! `onebit completions`: what a shell completes.

use clap_complete::{Shell, generate};

use crate::output;

const EXAMPLES: &str = "\
Examples:
  onebit completions bash > ~/.local/share/bash-completion/completions/onebit
  onebit completions zsh > ~/.zfunc/_onebit                    with ~/.zfunc in fpath
  onebit completions fish > ~/.config/fish/completions/onebit.fish";

/// Prints what a shell needs to complete commands and options
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Shell
    shell: Shell,
}

pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let mut command = crate::command();
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    generate(args.shell, &mut command, name, &mut script);
    output::own(&script)
}
