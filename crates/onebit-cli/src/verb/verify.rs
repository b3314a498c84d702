//! `onebit verify`: a packed model checked without running it.

use std::path::PathBuf;

use serde::Serialize;

use crate::arguments::Format;
use crate::model_file;
use crate::output::{bytes, count};
use crate::size::show;

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

#[derive(Serialize)]
struct Verified {
    ok: bool,
    path: String,
    version: u32,
    arch: String,
    input: String,
    classes: usize,
    nodes: usize,
    tensors: usize,
    file_bytes: u64,
}

pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let packed = model_file::read(&args.file)?;
    let graph = packed.model.graph();
    let verified = Verified {
        ok: true,
        path: args.file.display().to_string(),
        version: packed.model.format_version()?,
        arch: graph.arch.clone(),
        input: show(graph.input_shape()),
        classes: graph.classes.len(),
        nodes: graph.nodes.len(),
        tensors: packed.model.verified().tensors.len(),
        file_bytes: packed.bytes,
    };
    args.format.print(&verified, Verified::text)
}

impl Verified {
    fn text(&self) -> String {
        let Verified { path, version, arch, input, .. } = self;
        let [classes, nodes, tensors] =
            [(self.classes, "class"), (self.nodes, "node"), (self.tensors, "tensor")]
                .map(|(n, of)| count(n as u64, of));
        let size = bytes(self.file_bytes);
        format!(
            "{path}: ok\n{arch} for images of {input} and {classes}, {nodes}, {tensors}, \
             {size}, format version {version}\n"
        )
    }
}
