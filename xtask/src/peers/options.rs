//! What the command line asks for.

use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use super::default_folder;
use super::rival::Rival;

const USAGE: &str = "cargo xtask bench peers [--rounds N] [--only openvino|onnxruntime|tract|larq|onebit]... [--out FOLDER]";
const ROUNDS: usize = 5;
const MAX_ROUNDS: usize = 1000;
/// `--only` with this name measures our own networks against each other.
const OURSELVES: &str = "onebit";

#[derive(Debug, PartialEq)]
pub(super) struct Options {
    /// Rounds that count.
    pub(super) rounds: usize,
    /// Folder of the results.
    pub(super) out: PathBuf,
    /// Names of rivals; all where there are none.
    only: Vec<String>,
}

impl Options {
    pub(super) fn parse(arguments: &[OsString]) -> Result<Self> {
        let mut options = Options { rounds: ROUNDS, out: default_folder(), only: Vec::new() };
        let mut rest = arguments.iter();
        while let Some(flag) = rest.next() {
            let mut value = || rest.next().with_context(|| format!("a value is missing: {USAGE}"));
            match flag.to_str() {
                Some("--out") => options.out = value()?.into(),
                Some("--rounds") => options.rounds = parse_rounds(&value()?.to_string_lossy())?,
                Some("--only") => options.only.push(parse_name(&value()?.to_string_lossy())?),
                _ => bail!("`{}` is no option: {USAGE}", flag.display()),
            }
        }
        Ok(options)
    }

    /// Whether a rival takes part.
    pub(super) fn wants(&self, rival: Rival) -> bool {
        self.only.is_empty() || self.only.iter().any(|name| name == rival.name())
    }

    /// The command that gives these figures again.
    pub(super) fn command(&self) -> String {
        let only: String = self.only.iter().map(|name| format!(" --only {name}")).collect();
        format!("cargo xtask bench peers --rounds {}{only}", self.rounds)
    }
}

fn parse_rounds(text: &str) -> Result<usize> {
    match text.parse() {
        Ok(rounds @ 1..=MAX_ROUNDS) => Ok(rounds),
        _ => bail!("--rounds takes 1 to {MAX_ROUNDS}, found `{text}`"),
    }
}

fn parse_name(text: &str) -> Result<String> {
    let mut names = Rival::ALL.iter().map(|rival| rival.name()).chain([OURSELVES]);
    match names.any(|name| name == text) {
        true => Ok(text.to_owned()),
        false => bail!("`{text}` is no rival: {USAGE}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options> {
        let words: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        Options::parse(&words)
    }

    #[test]
    fn without_arguments_everybody_takes_part() {
        let options = parse("").unwrap();
        assert!(options.rounds == ROUNDS && Rival::ALL.iter().all(|&rival| options.wants(rival)));
        assert_eq!(options.command(), "cargo xtask bench peers --rounds 5");
    }

    #[test]
    fn arguments_choose() {
        let options = parse("--only larq --rounds 9 --only tract --out docs/bench").unwrap();
        assert!(options.wants(Rival::Larq) && options.wants(Rival::Tract));
        assert!(!options.wants(Rival::OpenVino));
        assert_eq!((options.rounds, options.out.to_str()), (9, Some("docs/bench")));
        let command = "cargo xtask bench peers --rounds 9 --only larq --only tract";
        assert_eq!(options.command(), command);
        let ourselves = parse("--only onebit").unwrap();
        assert!(!Rival::ALL.iter().any(|&rival| ourselves.wants(rival)));
    }

    #[test]
    fn wrong_arguments_are_named() {
        let cases = [
            ("--rounds 0", "1 to 1000, found `0`"),
            ("--only tflite", "`tflite` is no rival"),
            ("--out", "a value is missing"),
            ("--quick", "`--quick` is no option"),
        ];
        for (line, expected) in cases {
            let error = parse(line).unwrap_err().to_string();
            assert!(error.contains(expected), "{line}: {error}");
        }
    }
}
