//! Data sets opened by what names them: a published set, or a scheme and a path.

use std::path::{Path, PathBuf};

use crate::sets::{SETS, Set};
use crate::{Dataset, Error, Folder, OpenOptions, Split, Subset, data_dir, read_cifar10, read_idx};
use onebit_files::shown;

type OpenPath = fn(&Path, Part<'_>, &OpenOptions) -> Result<Box<dyn Dataset>, Error>;

const SCHEMES: [(&str, OpenPath); 3] = [
    ("folder:", |path, part, options| {
        let folder = Folder::list(path, part)?;
        let open = if options.skip_bad { Folder::readable } else { Folder::regular };
        Ok(Box::new(open(folder, options.image_size)?))
    }),
    ("cifar:", |path, part, _| Ok(Box::new(read_cifar10(path, part.split)?))),
    ("idx:", |path, part, _| Ok(Box::new(read_idx(path, part.split)?))),
];

/// A split, and the word that names it in a spec, if one does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part<'a> {
    pub(crate) split: Split,
    pub(crate) named: Option<&'a str>,
}

impl From<Split> for Part<'_> {
    fn from(split: Split) -> Self {
        Part { split, named: None }
    }
}

/// Opens the data set that `spec` names.
///
/// A spec is the name of a published set (`fashion-mnist-sample`, which is part of the program, or
/// a fetched one), or `folder:PATH` (see [`Folder::open`]), `cifar:PATH` (see [`read_cifar10`]) or
/// `idx:PATH` (see [`read_idx`]), where a leading `~/` stands for the home folder. It may end in `:train`, `:test` or `:val`; without that,
/// `default_split` is opened. `:val` is `:test` by another word, but in a folder that holds both.
///
/// # Errors
///
/// If the spec names nothing known, the set has not been fetched, or its files are missing or
/// damaged.
pub fn open(
    spec: &str,
    default_split: Split,
    options: &OpenOptions,
) -> Result<Box<dyn Dataset>, Error> {
    let scheme = SCHEMES.iter().find_map(|(prefix, open)| Some((spec.strip_prefix(prefix)?, open)));
    let (place, part) = part_of(scheme.map_or(spec, |(path, _)| path), default_split);
    let dataset = match scheme {
        Some((_, open)) => open(&expanded(spec, place)?, part, options)?,
        None => open_named(spec, place, part.split, options)?,
    };
    match options.limit {
        Some(limit) => Ok(Box::new(Subset::new(dataset, limit)?)),
        None => Ok(dataset),
    }
}

/// A split to check.
pub(crate) struct ToCheck {
    pub(crate) split: Split,
    /// Whether the other split is the same images.
    pub(crate) one_for_both: bool,
    pub(crate) dataset: Box<dyn Dataset>,
}

/// The splits that `spec` stands for: the one that it names, or both, but no images twice. Folders are listed without a
/// look into their files; the files of a fetched set are compared with their checksums.
pub(crate) fn open_to_check(spec: &str, data_dir: Option<&Path>) -> Result<Vec<ToCheck>, Error> {
    let options = OpenOptions { data_dir: data_dir.map(Path::to_owned), ..OpenOptions::default() };
    let named = [Split::Train, Split::Test].map(|default| part_of(spec, default).1.split);
    let splits = if named[0] == named[1] { &named[..1] } else { &named[..] };
    let name = part_of(spec, Split::Train).0;
    let set = SETS.iter().find(|set| set.name == name);
    if let Some((set, plan)) = set.and_then(|set| Some((set, set.download_plan?))) {
        plan.verify(&set_folder(set, data_dir)?)?;
    }
    let mut opened: Vec<ToCheck> = Vec::new();
    for &split in splits {
        let found = if let Some(path) = spec.strip_prefix("folder:") {
            let (place, part) = part_of(path, split);
            let folder = Folder::list(&expanded(spec, place)?, part)?;
            ToCheck { split, one_for_both: folder.one_for_both(), dataset: Box::new(folder) }
        } else {
            ToCheck { split, one_for_both: false, dataset: open(spec, split, &options)? }
        };
        let last = found.one_for_both;
        opened.push(found);
        if last {
            break;
        }
    }
    Ok(opened)
}

/// The path in a spec, `~/` at its start made the home folder: behind a colon, no shell does that.
fn expanded(spec: &str, place: &str) -> Result<PathBuf, Error> {
    if place.is_empty() {
        return Err(bad_spec(spec, "no path is given after the colon"));
    }
    let below = match place {
        "~" => "",
        _ => match place.strip_prefix("~/") {
            Some(below) => below,
            None => return Ok(PathBuf::from(place)),
        },
    };
    match std::env::home_dir().filter(|home| !home.as_os_str().is_empty()) {
        Some(home) => Ok(home.join(below)),
        None => Err(bad_spec(spec, "the home folder that ~ stands for is not known")),
    }
}

/// The folder of the published set `name` in [`data_dir`], whether or not it has been fetched.
///
/// # Errors
///
/// If `name` is not the name of a set that can be fetched, or [`data_dir`] is not known.
pub fn path(name: &str) -> Result<PathBuf, Error> {
    match SETS.iter().find(|set| set.name == name) {
        Some(set) if set.bundled() => {
            Err(bad_spec(name, "this set is part of the program and has no folder"))
        }
        Some(set) => Ok(data_dir()?.join(set.name)),
        None => Err(unknown(name)),
    }
}

fn open_named(
    spec: &str,
    name: &str,
    split: Split,
    options: &OpenOptions,
) -> Result<Box<dyn Dataset>, Error> {
    let set = SETS.iter().find(|set| set.name == name).ok_or_else(|| unknown(spec))?;
    if set.bundled() {
        return (set.open)(Path::new(""), split);
    }
    (set.open)(&set_folder(set, options.data_dir.as_deref())?, split)
}

/// The folder of a set, which must be there.
fn set_folder(set: &Set, folder: Option<&Path>) -> Result<PathBuf, Error> {
    let folder = match folder {
        Some(folder) => folder.join(set.name),
        None => data_dir()?.join(set.name),
    };
    if folder.is_dir() {
        return Ok(folder);
    }
    Err(Error::NotFetched { name: set.name.to_owned(), path: folder })
}

fn part_of(spec: &str, default_split: Split) -> (&str, Part<'_>) {
    let last = spec.rsplit_once(':');
    match last.and_then(|(place, word)| Some((place, word, word.parse().ok()?))) {
        Some((place, word, split)) => (place, Part { split, named: Some(word) }),
        None => (spec, default_split.into()),
    }
}

fn unknown(spec: &str) -> Error {
    let names: Vec<&str> = SETS.iter().map(|set| set.name).collect();
    let known = names.join(", ");
    bad_spec(
        spec,
        &format!(
            "expected one of {known}, or folder:PATH, cifar:PATH or idx:PATH, with :train or :test at the end if wanted"
        ),
    )
}

fn bad_spec(spec: &str, reason: &str) -> Error {
    Error::Spec { spec: shown(spec), reason: reason.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_split_at_the_end_of_a_spec_wins_over_the_default() {
        for (spec, default, place, split, named) in [
            ("mnist", Split::Test, "mnist", Split::Test, None),
            ("mnist:train", Split::Test, "mnist", Split::Train, Some("train")),
            ("/a:val", Split::Train, "/a", Split::Test, Some("val")),
            ("C:/a", Split::Train, "C:/a", Split::Train, None),
            ("test", Split::Train, "test", Split::Train, None),
        ] {
            assert_eq!(part_of(spec, default), (place, Part { split, named }));
        }
    }

    #[test]
    fn every_set_has_a_name_of_its_own_and_sound_checksums() {
        for (i, set) in SETS.iter().enumerate() {
            assert!(SETS.iter().skip(i + 1).all(|other| other.name != set.name));
            let Some(plan) = set.download_plan else { continue };
            assert_eq!(plan.name, set.name);
            assert!(plan.base.starts_with("http://"));
            for content in plan.contents() {
                assert_eq!(content.sha256.len(), 64);
                assert!(content.sha256.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f')));
            }
        }
    }
}
