//! What a packed file says of where its network comes from.

use onebit_files::read_text;
use onebit_model::Origin;
use onebit_model::limits::MAX_ORIGIN_BYTES;

use crate::failure::Failure;

const HEADING: &str = "Where the network comes from";

/// Texts for people, which `onebit inspect` shows; `@FILE` takes the text from a file.
#[derive(Clone, Default, clap::Args)]
pub(crate) struct OriginOptions {
    /// Its licence, a name or the whole text with the notices that it asks for; @FILE reads it
    #[arg(long, value_name = "TEXT", help_heading = HEADING)]
    licence: Option<String>,
    /// Where it was taken from: an address, a paper, a commit
    #[arg(long, value_name = "TEXT", help_heading = HEADING)]
    source: Option<String>,
    /// Who made it
    #[arg(long, value_name = "TEXT", help_heading = HEADING)]
    authors: Option<String>,
    /// What it is and what it is for
    #[arg(long, value_name = "TEXT", help_heading = HEADING)]
    description: Option<String>,
    /// What was measured, on what
    #[arg(long, value_name = "TEXT", help_heading = HEADING)]
    metrics: Option<String>,
}

impl OriginOptions {
    /// The texts, those of files read.
    pub(crate) fn read(self) -> anyhow::Result<Origin> {
        let OriginOptions { licence, source, authors, description, metrics } = self;
        Ok(Origin {
            licence: text("--licence", licence)?,
            source: text("--source", source)?,
            authors: text("--authors", authors)?,
            description: text("--description", description)?,
            metrics: text("--metrics", metrics)?,
        })
    }
}

fn text(flag: &str, given: Option<String>) -> anyhow::Result<Option<String>> {
    let Some(given) = given else { return Ok(None) };
    let text = match given.strip_prefix('@') {
        None => given.clone(),
        Some(path) => read_text(path.as_ref(), MAX_ORIGIN_BYTES as u64)
            .map_err(|error| error.expecting(&format!("the text for {flag}")))?,
    };
    let text = text.replace("\r\n", "\n").trim_end().to_owned();
    if !Origin::is_text(&text) {
        return Err(Failure::usage(format!(
            "{flag}: expected a text of 1 to {MAX_ORIGIN_BYTES} bytes without control characters"
        )));
    }
    Ok(Some(text))
}
