use std::path::PathBuf;

use clap::Subcommand;
use onebit_data::{Listing, SetState, Source};
use serde::Serialize;

use crate::output::{self, Align, Table, bytes, thousands};
use crate::progress::Progress;
use crate::size::show;

const EXAMPLES: &str = "\
Examples:
  onebit data list
  onebit data fetch fashion-mnist                   over http from the official address
  onebit data fetch cifar10 --from ~/downloads      from files that you have
  ls \"$(onebit data path fashion-mnist)\"

Data sets are kept in $ONEBIT_DATA, else $XDG_DATA_HOME/onebit, else ~/.local/share/onebit.
Your own images need no set: --data folder:PATH, cifar:PATH or idx:PATH.";

/// Lists and fetches data sets
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
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Brings a data set into the data folder and checks its content
    Fetch {
        /// Name of the set
        name: String,
        /// A folder that holds the set's files, or another http address
        #[arg(long, value_name = "DIR|URL")]
        from: Option<String>,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Prints the folder of a data set
    Path {
        /// Name of the set
        name: String,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
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
        Action::List { json } => list(json),
        Action::Fetch { name, from, json } => fetch(&name, from, json),
        Action::Path { name, json } => {
            let path = onebit_data::path(&name)?;
            print_place(Place { name: &name, path }, json)
        }
    }
}

fn list(json: bool) -> anyhow::Result<()> {
    let folder = onebit_data::data_dir()?;
    let listings = onebit_data::list(&folder);
    if json {
        return output::json(&List { folder, sets: listings.iter().map(Set::new).collect() });
    }
    let mut text = table(&listings);
    text += &format!("\ndata folder: {}\n", folder.display());
    output::text(&text)
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

fn fetch(name: &str, from: Option<String>, json: bool) -> anyhow::Result<()> {
    let source = match from {
        None => Source::Official,
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
    print_place(Place { name, path }, json)
}

fn print_place(place: Place<'_>, json: bool) -> anyhow::Result<()> {
    if json { output::json(&place) } else { output::text(&format!("{}\n", place.path.display())) }
}
