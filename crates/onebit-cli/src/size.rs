//! Sizes on the command line: `3x224x224`.

use std::str::FromStr;

/// Channels, height and width.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct InputSize(pub(crate) [usize; 3]);

impl FromStr for InputSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let sides: Option<Vec<usize>> = text.split('x').map(|side| side.parse().ok()).collect();
        match sides.as_deref() {
            Some(&[c, h, w]) if c > 0 && h > 0 && w > 0 => Ok(InputSize([c, h, w])),
            _ => Err("expected CHANNELSxHEIGHTxWIDTH, such as 3x224x224".to_owned()),
        }
    }
}

/// `CxHxW`, the inverse of [`InputSize::from_str`].
pub(crate) fn show([c, h, w]: [usize; 3]) -> String {
    format!("{c}x{h}x{w}")
}
