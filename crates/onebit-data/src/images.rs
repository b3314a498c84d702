//! The image files in a folder, and what their names end in.

use std::collections::BTreeMap;
use std::fs::{self, DirEntry, FileType};
use std::path::{Path, PathBuf};

use crate::Error;
use onebit_files::shown;

/// What the name of an image file ends in, in any case.
const EXTENSIONS: [&str; 7] = ["jpg", "jpeg", "jpe", "jfif", "png", "webp", "bmp"];
/// [`EXTENSIONS`] in words.
#[cfg(feature = "datasets")]
pub(crate) const IMAGES: &str = ".jpg, .jpeg, .jpe, .jfif, .png, .webp and .bmp";
const MAX_FOLDERS: usize = 1 << 20;
const MAX_IMAGES: usize = 1 << 28;
const MAX_NAMED_EXTENSIONS: usize = 8;

/// The image files in a folder and below it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageList {
    /// The files whose names end in `.jpg`, `.jpeg`, `.jpe`, `.jfif`, `.png`, `.webp` or `.bmp`, in any case.
    pub paths: Vec<PathBuf>,
    /// How many other files there are, by extension: lower case, without the dot, empty where a name has none.
    pub passed_over: BTreeMap<String, usize>,
}

impl ImageList {
    /// How many files were passed over, in words such as `3 .gif, 1 .tif`; none if there were none.
    #[must_use]
    pub fn passed_over_in_words(&self) -> Option<String> {
        in_words(&self.passed_over)
    }
}

/// Lists the image files in `folder` and in the folders below it, in the order of torchvision's `ImageFolder`: folder by
/// folder, sorted by path, the files of each sorted by name.
///
/// Names that begin with a dot are left out. Links to folders are followed, except to one that holds the link.
///
/// # Errors
///
/// If a folder cannot be read, or there are more than 2^28 images or 2^20 folders.
pub fn list_images(folder: &Path) -> Result<ImageList, Error> {
    Ok(walk(folder, "a folder of images")?.list)
}

/// What a walk through a folder finds.
pub(crate) struct Walk {
    pub(crate) list: ImageList,
    /// Those of the paths that are no regular files: pipes, devices, links to those or to nothing.
    pub(crate) irregular: Vec<PathBuf>,
    /// Whether an image lies in the folder itself.
    pub(crate) shallow: bool,
}

/// Walks `folder`, which is `expected` in an error.
pub(crate) fn walk(folder: &Path, expected: &str) -> Result<Walk, Error> {
    let mut found = Walk { list: ImageList::default(), irregular: Vec::new(), shallow: false };
    let mut files: Vec<(String, String, PathBuf)> = Vec::new();
    let mut pending = vec![(String::new(), folder.to_owned())];
    let mut folders = 0;
    while let Some((key, path)) = pending.pop() {
        folders += 1;
        if folders > MAX_FOLDERS {
            return Err(Error::limit(folder, "number of folders", folders, MAX_FOLDERS));
        }
        for entry in entries(&path, expected)? {
            match entry.kind {
                Kind::Folder => {
                    if !entry.leads_back(folder) {
                        pending.push((format!("{key}/{}", entry.name), entry.path));
                    }
                }
                Kind::File | Kind::Other if is_image(&entry.path) => {
                    if entry.kind == Kind::Other {
                        found.irregular.push(entry.path.clone());
                    }
                    found.shallow |= key.is_empty();
                    files.push((key.clone(), entry.name, entry.path));
                }
                Kind::File | Kind::Other => {
                    *found.list.passed_over.entry(extension(&entry.path)).or_default() += 1;
                }
            }
        }
        if files.len() > MAX_IMAGES {
            return Err(Error::limit(folder, "number of images", files.len(), MAX_IMAGES));
        }
    }
    files.sort();
    found.irregular.sort();
    found.list.paths = files.into_iter().map(|(_, _, path)| path).collect();
    Ok(found)
}

/// Something in a folder.
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    pub(crate) kind: Kind,
    link: bool,
}

impl Entry {
    /// Whether it is a link, reached from `root`, to a folder that holds one of those on the way to it.
    pub(crate) fn leads_back(&self, root: &Path) -> bool {
        if !self.link {
            return false;
        }
        let Ok(target) = self.path.canonicalize() else { return true };
        let above = self.path.ancestors().skip(1).take_while(|folder| folder.starts_with(root));
        above.map(Path::canonicalize).any(|folder| folder.is_ok_and(|f| f.starts_with(&target)))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Folder,
    File,
    Other,
}

/// What is in a folder, sorted by name; names that begin with a dot are left out.
pub(crate) fn entries(folder: &Path, expected: &str) -> Result<Vec<Entry>, Error> {
    let refused = |source| Error::list(folder, source, expected);
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(refused)? {
        let entry = entry.map_err(refused)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.starts_with('.') {
            found.push(classify(&entry, name).map_err(refused)?);
        }
    }
    found.sort_by(|a, b| (&a.name, &a.path).cmp(&(&b.name, &b.path)));
    Ok(found)
}

/// The folders in a folder whose names begin with a dot, sorted by name.
#[cfg(feature = "datasets")]
pub(crate) fn hidden_folders(folder: &Path, expected: &str) -> Result<Vec<String>, Error> {
    let refused = |source| Error::list(folder, source, expected);
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(refused)? {
        let entry = entry.map_err(refused)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with('.') && entry.path().is_dir() {
            found.push(name);
        }
    }
    found.sort();
    Ok(found)
}

fn classify(entry: &DirEntry, name: String) -> std::io::Result<Entry> {
    let kind = |found: FileType| match found {
        found if found.is_dir() => Kind::Folder,
        found if found.is_file() => Kind::File,
        _ => Kind::Other,
    };
    let path = entry.path();
    let found = entry.file_type()?;
    let link = found.is_symlink();
    let kind = if link {
        fs::metadata(&path).map_or(Kind::Other, |target| kind(target.file_type()))
    } else {
        kind(found)
    };
    Ok(Entry { name, path, kind, link })
}

pub(crate) fn is_image(path: &Path) -> bool {
    EXTENSIONS.contains(&extension(path).as_str())
}

pub(crate) fn extension(path: &Path) -> String {
    path.extension().unwrap_or_default().to_string_lossy().to_lowercase()
}

/// Numbers of files by extension, the largest first.
pub(crate) fn in_words(passed_over: &BTreeMap<String, usize>) -> Option<String> {
    let mut counts: Vec<(usize, &String)> = passed_over.iter().map(|(e, &n)| (n, e)).collect();
    counts.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(b.1)));
    let named = counts.iter().take(MAX_NAMED_EXTENSIONS).map(|&(count, extension)| {
        if extension.is_empty() {
            format!("{count} without extension")
        } else {
            format!("{count} .{}", shown(extension))
        }
    });
    let mut words: Vec<String> = named.collect();
    let rest: usize = counts.iter().skip(MAX_NAMED_EXTENSIONS).map(|(count, _)| count).sum();
    if rest > 0 {
        words.push(format!("{rest} others"));
    }
    (!words.is_empty()).then(|| words.join(", "))
}
