//! Exit codes: what went wrong decides the code, and one sentence says it.

use std::fmt;
use std::io;
use std::panic::{self, UnwindSafe};
use std::process::ExitCode;

use onebit_data::ErrorKind;
use onebit_engine::EngineError;
use onebit_model::arch::ArchError;
use onebit_model::file::FileError;
use onebit_pack::{Disagreement, PackError};

use crate::output;
use crate::plain;

/// Exit codes, those of sysexits.h and that of an interrupted command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    /// The command line asks for something that cannot be.
    Usage = 64,
    /// A file holds something else than expected, or takes more memory or threads than the system gives.
    BadData = 65,
    /// A file that is read does not exist.
    MissingInput = 66,
    /// This build does not have the part that was asked for.
    #[cfg(not(feature = "train"))]
    Unavailable = 69,
    /// A bug.
    Software = 70,
    /// Reading or writing failed.
    Io = 74,
    /// Stopped by Ctrl-C.
    #[cfg(feature = "train")]
    Interrupted = 130,
}

/// An error of the command line itself.
#[derive(Debug)]
pub(crate) struct Failure {
    code: Code,
    message: String,
}

impl Failure {
    pub(crate) fn with(code: Code, message: impl Into<String>) -> anyhow::Error {
        Failure { code, message: message.into() }.into()
    }

    pub(crate) fn usage(message: impl Into<String>) -> anyhow::Error {
        Failure::with(Code::Usage, message)
    }

    pub(crate) fn bad_data(message: impl Into<String>) -> anyhow::Error {
        Failure::with(Code::BadData, message)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// Prints help and version; anything else that clap reports is a usage error.
pub(crate) fn from_arguments(error: &clap::Error) -> anyhow::Result<()> {
    if !error.use_stderr() {
        return output::text(&error.render().to_string());
    }
    #[cfg(not(feature = "train"))]
    if let Some(verb @ ("train" | "demo" | "probe")) = unknown_verb(error) {
        return Err(crate::training::missing(verb));
    }
    let rendered = error.render().to_string();
    let help =
        rendered.lines().any(|line| line.starts_with("Usage:") && line.ends_with("<COMMAND>"));
    if help && !rendered.starts_with("error:") {
        return Err(Failure::usage("no command is given; `onebit --help` lists them"));
    }
    let paragraphs = rendered.split("\n\n").take_while(|paragraph| {
        !paragraph.starts_with("Usage:") && !paragraph.starts_with("For more information")
    });
    let paragraphs = paragraphs.map(|text| text.split_whitespace().collect::<Vec<_>>().join(" "));
    let sentence = paragraphs.collect::<Vec<_>>().join("; ");
    Err(Failure::usage(in_plain_words(sentence.strip_prefix("error: ").unwrap_or(&sentence))))
}

/// What Rust says of a number that it cannot read, and what a user needs to know.
const NUMBERS: [(&str, &str); 6] = [
    ("invalid digit found in string", "expected a whole number of 0 or more"),
    ("cannot parse integer from empty string", "expected a whole number of 0 or more"),
    ("number too large to fit in target type", "the number is too large"),
    ("number too small to fit in target type", "the number is too small"),
    ("invalid float literal", "expected a number"),
    ("cannot parse float from empty string", "expected a number"),
];

/// The sentence of a refused argument, the reason at its end in plain words.
fn in_plain_words(sentence: &str) -> String {
    for (said, meant) in NUMBERS {
        if let Some(start) = sentence.strip_suffix(said) {
            return format!("{start}{meant}");
        }
    }
    let range = sentence.rsplit_once(" is not in ").and_then(|(start, range)| {
        let ((start, _), (least, most)) = (start.rsplit_once(": ")?, range.split_once("..=")?);
        let has_end = most.parse::<u64>().is_ok_and(|most| most < u32::MAX.into());
        Some(match has_end {
            true => format!("{start}: expected {least} to {most}"),
            false => format!("{start}: expected {least} or more"),
        })
    });
    range.unwrap_or_else(|| sentence.to_owned())
}

#[cfg(not(feature = "train"))]
fn unknown_verb(error: &clap::Error) -> Option<&str> {
    use clap::error::{ContextKind, ContextValue};
    match error.get(ContextKind::InvalidSubcommand) {
        Some(ContextValue::String(verb)) => Some(verb),
        _ => None,
    }
}

/// Runs a command and gives its exit code; a panic is a bug of ours, said in one sentence.
pub(crate) fn catch_panics(command: impl FnOnce() -> anyhow::Result<()> + UnwindSafe) -> ExitCode {
    panic::set_hook(Box::new(|info| {
        let place = info.location().map_or_else(String::new, |at| format!(" at {at}"));
        let message = info.payload_as_str().unwrap_or("no message").replace('\n', " ");
        output::note(&format!("error: a bug in onebit{place}: {message}; please report it"));
    }));
    match panic::catch_unwind(command) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(error)) => report(&error),
        Err(_) => ExitCode::from(Code::Software as u8),
    }
}

/// Prints the error as one line and gives its exit code. A reader that went away is not an error.
fn report(error: &anyhow::Error) -> ExitCode {
    if error.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe) {
        return ExitCode::SUCCESS;
    }
    output::note(&format!("error: {}", sentence(error)));
    ExitCode::from(code(error) as u8)
}

/// Most characters of each cause in a sentence.
const CAUSE: usize = 1000;

/// The error and its causes in one line, each said once.
pub(crate) fn sentence(error: &anyhow::Error) -> String {
    let mut said: Vec<String> = Vec::new();
    for cause in error.chain() {
        let text = plain::cut(cause.to_string().trim_end(), CAUSE).replace('\n', " ");
        if !said.iter().any(|earlier| earlier.contains(&text)) {
            said.push(text);
        }
    }
    let mut sentence = said.join(": ");
    if let Some(advice) = advice(error) {
        sentence = format!("{sentence}; {advice}");
    }
    plain::cut(&plain::line(&sentence), output::NOTE).into_owned()
}

/// What to do about an error, in terms of the command line.
fn advice(error: &anyhow::Error) -> Option<String> {
    #[cfg(feature = "train")]
    if let Some(error) = error.downcast_ref::<onebit_train::TrainError>() {
        return training_advice(error);
    }
    data_advice(error.downcast_ref()?)
}

fn data_advice(error: &onebit_data::Error) -> Option<String> {
    use onebit_data::Error::{Download, NotFetched};
    match error {
        NotFetched { name, .. } => Some(format!(
            "run `onebit data fetch {name}`, or `onebit data fetch {name} --from DIR` if you have its files"
        )),
        Download { .. } => {
            Some("`onebit data fetch NAME --from DIR` takes files that you have".into())
        }
        _ => None,
    }
}

#[cfg(feature = "train")]
fn training_advice(error: &onebit_train::TrainError) -> Option<String> {
    use onebit_train::TrainError;
    let advice = match error {
        TrainError::Data(error) => return data_advice(error),
        TrainError::RunExists { .. } => "continue it with --resume, or choose another --out",
        TrainError::OtherRecipe { .. } => {
            "use its own recipe.toml with --resume, or choose another --out"
        }
        TrainError::NotARun { .. } => "choose another --out",
        TrainError::NoRun { .. } => "leave out --resume to start one",
        TrainError::InUse { .. } => "wait for it, or choose another --out",
        TrainError::NoWholeCheckpoint { .. } => "start again with another --out",
        TrainError::OtherTeacher { .. } => "give that one, or start again with another --out",
        TrainError::NotFinite { checkpoint: Some(_), .. } => "start again with another --out",
        _ => return None,
    };
    Some(advice.into())
}

/// The exit code of an error.
pub(crate) fn code(error: &anyhow::Error) -> Code {
    if let Some(failure) = error.downcast_ref::<Failure>() {
        return failure.code;
    }
    if let Some(data) = error.downcast_ref::<onebit_data::Error>() {
        return of_kind(data.kind());
    }
    if let Some(library) = error.downcast_ref::<onebit::Error>() {
        return of_library(library);
    }
    #[cfg(feature = "train")]
    if let Some(train) = error.downcast_ref::<onebit_train::TrainError>() {
        return of_training(train);
    }
    if let Some(files) = error.downcast_ref::<onebit_files::Error>() {
        return of_kind(files.kind());
    }
    if let Some(pack) = error.downcast_ref::<PackError>() {
        return of_packing(pack);
    }
    if error.is::<ArchError>() {
        return Code::Usage;
    }
    if error.is::<Disagreement>() || error.is::<FileError>() {
        return Code::BadData;
    }
    if let Some(engine) = error.downcast_ref::<EngineError>() {
        return of_engine(engine);
    }
    match error.downcast_ref::<io::Error>() {
        Some(e) => of_kind(e.into()),
        None => Code::Software,
    }
}

fn of_library(error: &onebit::Error) -> Code {
    match error {
        onebit::Error::Files(files) => of_kind(files.kind()),
        onebit::Error::Data(data) => of_kind(data.kind()),
        onebit::Error::Engine(engine) => of_engine(engine),
        onebit::Error::Pack(pack) => of_packing(pack),
        onebit::Error::Arch(_) => Code::Usage,
        #[cfg(feature = "train")]
        onebit::Error::Train(train) => of_training(train),
        _ => Code::BadData,
    }
}

fn of_engine(error: &EngineError) -> Code {
    match error {
        EngineError::MissingIsa { .. } => Code::Usage,
        _ => Code::BadData,
    }
}

fn of_packing(error: &PackError) -> Code {
    match error {
        PackError::Files(files) => of_kind(files.kind()),
        _ => Code::BadData,
    }
}

#[cfg(feature = "train")]
fn of_training(error: &onebit_train::TrainError) -> Code {
    match error {
        onebit_train::TrainError::Arch(_) => Code::BadData,
        train => of_kind(train.kind()),
    }
}

fn of_kind(kind: ErrorKind) -> Code {
    match kind {
        ErrorKind::Usage => Code::Usage,
        ErrorKind::BadData => Code::BadData,
        ErrorKind::MissingInput => Code::MissingInput,
        ErrorKind::Io => Code::Io,
    }
}
