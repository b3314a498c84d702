//! Where a network comes from, in words.

use alloc::string::String;

use serde::{Deserialize, Serialize};

use crate::limits;

/// Free text about a network, for people: what a licence demands with every copy, and what one would like to know.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Origin {
    /// The licence: its name, or its whole text with the notices that it asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub licence: Option<String>,
    /// Where the network was taken from: an address, a paper, a commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Who made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authors: Option<String>,
    /// What it is and what it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// What was measured, on what.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics: Option<String>,
}

impl Origin {
    /// The fields that are there with their names, in the order of a file.
    pub fn fields(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let fields = [
            ("licence", &self.licence),
            ("source", &self.source),
            ("authors", &self.authors),
            ("description", &self.description),
            ("metrics", &self.metrics),
        ];
        fields.into_iter().filter_map(|(name, text)| Some((name, text.as_deref()?)))
    }

    /// These texts, and where there is none that of `earlier`.
    #[must_use]
    pub fn over(self, earlier: Origin) -> Self {
        Origin {
            licence: self.licence.or(earlier.licence),
            source: self.source.or(earlier.source),
            authors: self.authors.or(earlier.authors),
            description: self.description.or(earlier.description),
            metrics: self.metrics.or(earlier.metrics),
        }
    }

    /// Whether nothing is said.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.fields().next().is_none()
    }

    /// The first field that is no [`Origin::is_text`].
    pub(crate) fn defect(&self) -> Option<&'static str> {
        self.fields().find(|(_, text)| !Self::is_text(text)).map(|(name, _)| name)
    }

    /// Whether a text can be one of the fields: 1 to [`limits::MAX_ORIGIN_BYTES`] bytes, without control characters other than
    /// tabs and ends of lines.
    #[must_use]
    pub fn is_text(text: &str) -> bool {
        let control = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
        (1..=limits::MAX_ORIGIN_BYTES).contains(&text.len()) && !text.contains(control)
    }
}
