//! `onebit verify`: a packed model checked without running it.

use std::path::PathBuf;

use onebit::Verification;

use crate::arguments::Format;
use crate::model_file;
use crate::output::{bytes, count};

const EXAMPLES: &str = "\
Example:
  onebit verify a.onebit && cp a.onebit /srv/models/

Checks the lengths, every checksum, that the file is written in the only form allowed, and the
graph. Nothing is run. Exit code 65 if anything is wrong.";

/// Checks a packed model without running it
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Packed model
    file: PathBuf,
    #[command(flatten)]
    format: Format,
}

pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let packed = model_file::read(&args.file)?;
    args.format.print(&Verification::of(&args.file, &packed.model)?, text)
}

fn text(verification: &Verification) -> String {
        let Verification { path, version, arch, input, .. } = verification;
        let [classes, nodes, tensors] =
            [(verification.classes, "class"), (verification.nodes, "node"), (verification.tensors, "tensor")]
                .map(|(n, of)| count(n as u64, of));
        let size = bytes(verification.file_bytes);
        format!(
            "{path}: ok\n{arch} for images of {input} and {classes}, {nodes}, {tensors}, \
             {size}, format version {version}\n"
        )
    }
