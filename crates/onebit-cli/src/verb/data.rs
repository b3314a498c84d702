//! `onebit data`: data sets listed, fetched and checked.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use clap::Subcommand;
use onebit_data::{Checked, Listing, SetState, Source, Split};
use onebit::quoted_names;
use serde::Serialize;

use crate::arguments::Format;
use crate::failure::Failure;
use crate::output::{Align, Table, bytes, count, thousands};
use crate::progress::Progress;
use crate::size::show;

/// Rows of classes in a table.
const MAX_SHOWN_CLASSES: usize = 40;

const EXAMPLES: &str = "\
Examples:
  onebit data list
  onebit data fetch fashion-mnist                   over http from the official address
  onebit data fetch cifar10 --from ~/downloads      from files that you have
  ls \"$(onebit data path fashion-mnist)\"
  onebit data check folder:~/photos                 decodes every image, lists those that cannot be

Data sets are kept in $ONEBIT_DATA, else $XDG_DATA_HOME/onebit, else ~/.local/share/onebit.
Your own images need no set: --data folder:PATH, cifar:PATH or idx:PATH.";

/// Lists, fetches and checks data sets
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Shows the known data sets, and which are here
    List {
        #[command(flatten)]
        format: Format,
    },
    /// Brings a data set into the data folder and checks its content
    Fetch {
        /// Name of the set
        name: String,
        /// A folder that holds the set's files, or another http address
        #[arg(long, value_name = "DIR|URL")]
        from: Option<String>,
        #[command(flatten)]
        format: Format,
    },
    /// Decodes every image of a data set and lists those that cannot be read
    ///
    /// Both splits are checked unless SPEC names one. The exit code is 65 if an image is bad, which training with
    /// `data.skip_bad = true` leaves out, or if the splits have other classes or a class has a name that no network can
    /// have, which cannot be trained.
    Check {
        /// NAME, folder:PATH, cifar:PATH or idx:PATH, with :train or :test at the end for one split
        spec: String,
        #[command(flatten)]
        format: Format,
    },
    /// Prints the folder of a data set
    Path {
        /// Name of the set
        name: String,
        #[command(flatten)]
        format: Format,
    },
}

#[derive(Serialize)]
struct List {
    folder: PathBuf,
    sets: Vec<Set>,
}

#[derive(Serialize)]
struct Set {
    name: &'static str,
    state: &'static str,
    shape: String,
    classes: usize,
    train: usize,
    test: usize,
    bytes: u64,
    licence: &'static str,
}

#[derive(Serialize)]
struct Place<'a> {
    name: &'a str,
    path: PathBuf,
}

pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    match args.action {
        Action::List { format } => list(format),
        Action::Fetch { name, from, format } => fetch(&name, from, format),
        Action::Check { spec, format } => check(&spec, format),
        Action::Path { name, format } => {
            let path = onebit_data::path(&name)?;
            format.print(&Place { name: &name, path }, Place::text)
        }
    }
}

fn list(format: Format) -> anyhow::Result<()> {
    let folder = onebit_data::data_dir()?;
    let listings = onebit_data::list(&folder);
    let list = List { folder, sets: listings.iter().map(Set::new).collect() };
    format.print(&list, |list| {
        format!("{}\ndata folder: {}\n", table(&listings), list.folder.display())
    })
}

fn table(listings: &[Listing]) -> String {
    use Align::{Left, Right};
    let mut table = Table::new([
        ("set", Left),
        ("image", Left),
        ("classes", Right),
        ("train", Right),
        ("test", Right),
        ("on disk", Right),
        ("state", Left),
        ("licence", Left),
    ]);
    for set in listings {
        let state = match &set.state {
            SetState::Bundled => "part of onebit".to_owned(),
            SetState::Present(_) => "here".to_owned(),
            SetState::Absent { how } => how.clone(),
        };
        table.row([
            set.name.to_owned(),
            show(set.shape),
            set.classes.to_string(),
            thousands(set.train as u64),
            thousands(set.test as u64),
            if set.bytes == 0 { "-".to_owned() } else { bytes(set.bytes) },
            state,
            set.licence.to_owned(),
        ]);
    }
    table.render()
}

impl Set {
    fn new(listing: &Listing) -> Self {
        Set {
            name: listing.name,
            state: state_name(&listing.state),
            shape: show(listing.shape),
            classes: listing.classes,
            train: listing.train,
            test: listing.test,
            bytes: listing.bytes,
            licence: listing.licence,
        }
    }
}

/// `bundled`, `present` or `absent`.
pub(super) fn state_name(state: &SetState) -> &'static str {
    match state {
        SetState::Bundled => "bundled",
        SetState::Present(_) => "present",
        SetState::Absent { .. } => "absent",
    }
}

fn fetch(name: &str, from: Option<String>, format: Format) -> anyhow::Result<()> {
    let source = match from {
        None => Source::Official,
        Some(place) if place.is_empty() => {
            return Err(Failure::usage("--from is empty, expected a folder or an http address"));
        }
        Some(url) if url.contains("://") => Source::Url(url),
        Some(folder) => Source::Dir(PathBuf::from(folder)),
    };
    let mut shown: Option<(String, Progress)> = None;
    let path = onebit_data::fetch(name, &onebit_data::data_dir()?, &source, &mut |file, done, total| {
        if shown.as_ref().is_none_or(|(name, _)| name != file) {
            shown = Some((file.to_owned(), Progress::new(file, total.unwrap_or(0))));
        }
        if let Some((_, progress)) = &mut shown {
            progress.at(done, "bytes");
        }
    })?;
    drop(shown);
    format.print(&Place { name, path }, Place::text)
}

#[derive(Serialize)]
struct Report<'a> {
    spec: &'a str,
    images: usize,
    bad: usize,
    /// Whether a class of one split is none of the other.
    classes_differ: bool,
    splits: Vec<CheckedSplit>,
}

#[derive(Serialize)]
struct CheckedSplit {
    split: &'static str,
    images: usize,
    classes: Vec<Class>,
    bad: Vec<Bad>,
    warnings: Vec<String>,
}

#[derive(Serialize)]
struct Class {
    class: String,
    images: usize,
    bad: usize,
}

#[derive(Serialize)]
struct Bad {
    path: String,
    class: String,
    error: String,
}

fn check(spec: &str, format: Format) -> anyhow::Result<()> {
    onebit::start_shared_pool()?;
    let shown: Mutex<Option<(Split, Progress)>> = Mutex::new(None);
    let checked = onebit_data::check(spec, None, &|split, done, total| {
        let mut shown = shown.lock().unwrap_or_else(PoisonError::into_inner);
        if shown.as_ref().is_none_or(|(current, _)| *current != split) {
            *shown = Some((split, Progress::new(format!("check {}", split.name()), total)));
        }
        if let Some((_, progress)) = &mut *shown {
            progress.at(done, "images");
        }
    })?;
    drop(shown);
    // Both splits have the same classes, or that is a fault of its own.
    let refused_names = checked.iter().map(|split| &split.refused_names).find(|names| !names.is_empty());
    let refused_names = refused_names.cloned().unwrap_or_default();
    let splits: Vec<CheckedSplit> = checked.into_iter().map(CheckedSplit::new).collect();
    let images = splits.iter().map(|split| split.images).sum();
    let bad: usize = splits.iter().map(|split| split.bad.len()).sum();
    let unreadable = (bad > 0).then(|| {
        format!(
            "{bad} of {} cannot be read, expected whole images; data.skip_bad = true in a recipe leaves them out",
            count(images as u64, "image")
        )
    });
    let differing = differing_classes(&splits);
    let classes_differ = differing.is_some();
    let faults: Vec<String> = differing.into_iter().chain(refused_names).chain(unreadable).collect();
    let report = Report { spec, images, bad, classes_differ, splits };
    format.print(&report, |report| report.splits.iter().map(CheckedSplit::text).collect())?;
    if faults.is_empty() {
        return Ok(());
    }
    Err(Failure::bad_data(format!("data `{spec}`: {}", faults.join("; "))))
}

/// Which classes one split has and the other has not, if there are any.
fn differing_classes(splits: &[CheckedSplit]) -> Option<String> {
    let [one, other] = splits else { return None };
    let only = |has: &CheckedSplit, lacks: &CheckedSplit| {
        let names: BTreeSet<&String> = lacks.classes.iter().map(|class| &class.class).collect();
        let only = has.classes.iter().map(|class| &class.class);
        let only: Vec<&String> = only.filter(|name| !names.contains(name)).collect();
        (!only.is_empty()).then(|| format!("only {} has {}", has.split, quoted_names(&only)))
    };
    let differing: Vec<String> = only(one, other).into_iter().chain(only(other, one)).collect();
    (!differing.is_empty())
        .then(|| format!("{}, expected the same classes in both splits", differing.join(" and ")))
}

impl CheckedSplit {
    fn new(checked: Checked) -> Self {
        let images = checked.images();
        let name = |label: usize| checked.classes.get(label).map_or("", |(name, ..)| name);
        let bad = checked.bad.iter().map(|bad| Bad {
            path: bad.image.clone(),
            class: name(bad.label).to_owned(),
            error: bad.error.to_string(),
        });
        let bad = bad.collect();
        let classes = checked.classes.into_iter();
        CheckedSplit {
            split: if checked.one_for_both { "train and test" } else { checked.split.name() },
            images,
            classes: classes.map(|(class, images, bad)| Class { class, images, bad }).collect(),
            bad,
            warnings: checked.warnings,
        }
    }

    /// Warnings, bad images, and a row for each class, up to as many as a screen holds.
    fn text(&self) -> String {
        use Align::{Left, Right};
        let mut text = String::new();
        for warning in &self.warnings {
            text += &format!("warning: {warning}\n");
        }
        for bad in &self.bad {
            text += &format!("bad: {}\n", bad.error);
        }
        let mut table = Table::new([(self.split, Left), ("images", Right), ("bad", Right)]);
        let (shown, all) = (self.classes.iter().take(MAX_SHOWN_CLASSES), self.classes.len());
        for class in shown {
            table.row([class.class.clone(), thousands(class.images as u64), thousands(class.bad as u64)]);
        }
        if all > MAX_SHOWN_CLASSES {
            let rest = &self.classes[MAX_SHOWN_CLASSES..];
            let sum = |of: fn(&Class) -> usize| thousands(rest.iter().map(of).sum::<usize>() as u64);
            table.row([format!("{} more", rest.len()), sum(|c| c.images), sum(|c| c.bad)]);
        }
        table.row([const { String::new() }; 3]);
        table.row([
            format!("{} {}", thousands(all as u64), if all == 1 { "class" } else { "classes" }),
            thousands(self.images as u64),
            thousands(self.bad.len() as u64),
        ]);
        text + &table.render() + "\n"
    }
}

impl Place<'_> {
    fn text(&self) -> String {
        format!("{}\n", self.path.display())
    }
}
