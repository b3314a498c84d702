//! A folder of images with one subfolder for each class, as a data set.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use onebit_files::count;

use crate::check::{find_bad, left_out};
use crate::decode::{DecodeLimits, check_size, decode_image, image_size as image_size_of};
use crate::files::open_regular;
use onebit_files::shown;

use crate::images::{IMAGES, Kind, entries, extension, hidden_folders, in_words, is_image, walk};
use crate::memory::{check_read, out_of_range};
use crate::registry::Part;
use crate::{Dataset, Error, Image, Normalization, ReadCost, Split};

const CHANNELS: usize = 3;
const MAX_CLASSES: usize = 65_536;
const MAX_IMAGES: usize = 1 << 28;
const CLASS_FOLDERS: &str = "a folder with one subfolder of images per class";
/// Most names in a warning.
const NAMED: usize = 3;
const TRAIN: &str = "train";
const TEST: [&str; 2] = ["val", "test"];
/// Names of folders that are meant as parts of a set, not as classes.
const PARTS: [&str; 6] = ["train", "training", "val", "valid", "validation", "test"];

/// A folder of images, one subfolder per class, decoded when they are read.
#[derive(Debug, Clone)]
pub struct Folder {
    name: String,
    root: PathBuf,
    size: (usize, usize),
    classes: Vec<String>,
    images: Vec<(PathBuf, u32)>,
    irregular: Vec<PathBuf>,
    warnings: Vec<String>,
    one_for_both: bool,
}

impl Folder {
    /// Lists `folder`: each subfolder is a class, named after it, in alphabetical order, and its images are those of
    /// [`crate::list_images`], in that order, as torchvision's `ImageFolder` has them. What is not read, by its name, is
    /// counted in [`Dataset::warnings`].
    ///
    /// Where `folder` holds `train` and also `val` or `test`, `split` picks the one to list: `val` where both are there,
    /// which [`Dataset::warnings`] says. Without them, both splits are
    /// the whole folder; where there is only one of them and no other, both are that one. Images become RGB of `image_size`
    /// (height, width) by [`crate::Image::fit`]; without an `image_size`, the size of the first image is taken.
    ///
    /// # Errors
    ///
    /// If the folder is missing, holds no class, has a class without images, holds an image that is no regular file, or
    /// the first image is needed for its size and is not an image.
    pub fn open(
        folder: &Path,
        split: Split,
        image_size: Option<(usize, usize)>,
    ) -> Result<Self, Error> {
        Self::list(folder, split.into())?.regular(image_size)
    }

    /// As [`Folder::open`], but all images are decoded once, on all threads, and those that cannot be are left out, which
    /// [`Dataset::warnings`] says. Which ones are kept depends on the files alone.
    ///
    /// # Errors
    ///
    /// As [`Folder::open`], or if no image of a class can be decoded.
    pub fn open_readable(
        folder: &Path,
        split: Split,
        image_size: Option<(usize, usize)>,
    ) -> Result<Self, Error> {
        Self::list(folder, split.into())?.readable(image_size)
    }

    /// As [`Folder::open`], of a folder that is listed.
    pub(crate) fn regular(self, image_size: Option<(usize, usize)>) -> Result<Self, Error> {
        if let Some(path) = self.irregular.first() {
            open_regular(path, "an image")?;
        }
        self.sized(image_size)
    }

    /// As [`Folder::open_readable`], of a folder that is listed.
    pub(crate) fn readable(self, image_size: Option<(usize, usize)>) -> Result<Self, Error> {
        let mut folder = self;
        let bad = find_bad(&folder, &|_| ());
        if bad.is_empty() {
            return folder.sized(image_size);
        }
        folder.warnings.push(left_out(&folder, &bad));
        let mut indices = bad.iter().map(|bad| bad.index).peekable();
        let mut i = 0;
        folder.images.retain(|_| {
            let keep = indices.next_if_eq(&i).is_none();
            i += 1;
            keep
        });
        let mut empty = vec![true; folder.classes.len()];
        for &(_, class) in &folder.images {
            empty[class as usize] = false;
        }
        match folder.classes.iter().zip(empty).find(|(_, empty)| *empty) {
            Some((class, _)) => Err(Error::format(
                &folder.root.join(class),
                "class folder",
                "without an image that can be decoded",
                "at least one",
            )),
            None => folder.sized(image_size),
        }
    }

    /// Lists a folder without a look into any file; its images have no size yet.
    pub(crate) fn list(folder: &Path, part: Part<'_>) -> Result<Self, Error> {
        let SplitFolder { root, one_for_both, warning } = split_folder(folder, part)?;
        let mut listed = Self {
            name: format!("folder:{}", folder.display()),
            root: root.canonicalize().unwrap_or_else(|_| root.clone()),
            size: (0, 0),
            classes: Vec::new(),
            images: Vec::new(),
            irregular: Vec::new(),
            warnings: warning.into_iter().collect(),
            one_for_both,
        };
        let mut passed_over = BTreeMap::new();
        let (mut beside, mut deep) = (0, Vec::new());
        for entry in entries(&root, CLASS_FOLDERS)? {
            if entry.kind == Kind::Folder {
                if !entry.leads_back(&root)
                    && !listed.add_class(entry.name.clone(), &entry.path, &mut passed_over)?
                {
                    deep.push(entry.name);
                }
            } else if is_image(&entry.path) {
                beside += 1;
            } else {
                *passed_over.entry(extension(&entry.path)).or_default() += 1;
            }
        }
        if let Some(part) = deep.iter().find(|name| PARTS.contains(&name.to_lowercase().as_str())) {
            return Err(Error::format(
                &root,
                format!("class `{part}`"),
                "a folder of folders of images",
                "folders `train` and `val` (or `test`), or one folder of images per class",
            ));
        }
        let hidden = hidden_in_words(&hidden_folders(&root, CLASS_FOLDERS)?);
        listed.check_classes(&root, hidden.as_deref())?;
        if let Some(hidden) = hidden {
            listed.warnings.push(format!("{}: {hidden}", root.display()));
        }
        if beside > 0 {
            listed.warnings.push(format!(
                "{}: {} beside the class folders, of no class, {} passed over",
                root.display(),
                count(beside, "image"),
                if beside == 1 { "is" } else { "are" }
            ));
        }
        if let Some(counts) = in_words(&passed_over) {
            listed.warnings.push(format!(
                "{}: files that are not read were passed over: {counts}; {IMAGES} are read",
                root.display()
            ));
        }
        Ok(listed)
    }

    /// Adds a class with its images; says whether some of them lie in its folder itself.
    fn add_class(
        &mut self,
        name: String,
        path: &Path,
        passed_over: &mut BTreeMap<String, usize>,
    ) -> Result<bool, Error> {
        if path.file_name().is_some_and(|name| name.to_str().is_none()) {
            return Err(Error::format(path, "name of the class folder", "not UTF-8", "text"));
        }
        let found = walk(path, CLASS_FOLDERS)?;
        if found.list.paths.is_empty() {
            let others = found.list.passed_over_in_words();
            return Err(Error::format(
                path,
                "class folder",
                others.map_or("without images".to_owned(), |n| format!("without images ({n})")),
                format!("at least one of {IMAGES}"),
            ));
        }
        let class = self.classes.len() as u32;
        self.classes.push(name);
        self.images.extend(found.list.paths.into_iter().map(|path| (path, class)));
        self.irregular.extend(found.irregular);
        for (extension, count) in found.list.passed_over {
            *passed_over.entry(extension).or_default() += count;
        }
        if self.images.len() > MAX_IMAGES {
            return Err(Error::limit(path, "number of images", self.images.len(), MAX_IMAGES));
        }
        Ok(found.shallow)
    }

    fn check_classes(&self, root: &Path, hidden: Option<&str>) -> Result<(), Error> {
        if self.classes.is_empty() {
            let hidden = hidden.map_or_else(String::new, |hidden| format!(" ({hidden})"));
            return Err(Error::format(
                root,
                "folder",
                format!("without subfolders{hidden}"),
                "one subfolder of images per class",
            ));
        }
        if self.classes.len() > MAX_CLASSES {
            return Err(Error::limit(root, "number of classes", self.classes.len(), MAX_CLASSES));
        }
        Ok(())
    }

    fn sized(mut self, image_size: Option<(usize, usize)>) -> Result<Self, Error> {
        self.size = match (image_size, self.images.first()) {
            (None, Some((path, _))) => image_size_of(path, &DecodeLimits::default())?,
            (wanted, _) => wanted.unwrap_or_default(),
        };
        check_size(self.size.0, self.size.1)?;
        Ok(self)
    }

    /// Whether both splits are the same images.
    pub(crate) fn one_for_both(&self) -> bool {
        self.one_for_both
    }

    /// The file of image `i`, if there is one.
    #[must_use]
    pub fn path(&self, i: usize) -> Option<&Path> {
        self.images.get(i).map(|(path, _)| path.as_path())
    }
}

impl Dataset for Folder {
    fn name(&self) -> &str {
        &self.name
    }

    fn len(&self) -> usize {
        self.images.len()
    }

    fn shape(&self) -> [usize; 3] {
        [CHANNELS, self.size.0, self.size.1]
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn label(&self, i: usize) -> usize {
        self.images.get(i).map_or(0, |&(_, class)| class as usize)
    }

    fn image_name(&self, i: usize) -> String {
        match self.path(i) {
            Some(path) => path.display().to_string(),
            None => format!("image {i} (counted from 0) of {}", self.name),
        }
    }

    fn read(&self, i: usize, out: &mut [u8]) -> Result<(), Error> {
        let size = CHANNELS * self.size.0 * self.size.1;
        check_read(&self.name, self.len(), size, i, out.len())?;
        out.copy_from_slice(&self.original(i)?.fit(self.size.0, self.size.1)?.pixels);
        Ok(())
    }

    fn original(&self, i: usize) -> Result<Image, Error> {
        let Some((path, _)) = self.images.get(i) else {
            return Err(out_of_range(&self.name, self.len(), i));
        };
        decode_image(path, &DecodeLimits::default())?.to_channels(CHANNELS)
    }

    fn normalization(&self) -> Normalization {
        Normalization::imagenet()
    }

    fn warnings(&self) -> &[String] {
        &self.warnings
    }

    fn root(&self) -> Option<&Path> {
        Some(&self.root)
    }

    fn read_cost(&self) -> ReadCost {
        ReadCost::Decode
    }
}

/// Which folders that could be classes are passed over for their names, if there are any.
fn hidden_in_words(names: &[String]) -> Option<String> {
    let mut named: Vec<String> = names.iter().take(NAMED).map(|name| shown(name)).collect();
    if names.len() > NAMED {
        named.push(format!("and {} more", names.len() - NAMED));
    }
    let folders = if names.len() == 1 { "1 folder" } else { &format!("{} folders", names.len()) };
    let why = "passed over, as a dot at the start of a name hides it";
    (!names.is_empty()).then(|| format!("{folders} {why}: {}", named.join(", ")))
}

/// The folder of a split.
struct SplitFolder {
    root: PathBuf,
    /// Whether it is that of the other split too.
    one_for_both: bool,
    /// Which folders beside it are of no split.
    warning: Option<String>,
}

fn split_folder(folder: &Path, part: Part<'_>) -> Result<SplitFolder, Error> {
    let mut names = entries(folder, CLASS_FOLDERS)?;
    names.retain(|entry| entry.kind == Kind::Folder);
    let names: Vec<&str> = names.iter().map(|entry| entry.name.as_str()).collect();
    let is_named = |name: &&str| part.named.is_none_or(|named| named == *name);
    let tests: Vec<&str> = TEST.into_iter().filter(|name| names.contains(name)).collect();
    let test = tests.iter().copied().find(is_named).or(tests.first().copied());
    let whole = |name: &str, one_for_both| {
        Ok(SplitFolder { root: folder.join(name), one_for_both, warning: None })
    };
    match (part.split, names.contains(&TRAIN), test) {
        (Split::Train, true, Some(_)) => whole(TRAIN, false),
        (Split::Test, true, Some(test)) => {
            let named = part.named.is_some();
            let used = |name: &str| [TRAIN, test].contains(&name) || named && tests.contains(&name);
            let unused: Vec<&str> = names.into_iter().filter(|name| !used(name)).collect();
            let warning = unused_in_words(folder, &unused, test);
            Ok(SplitFolder { root: folder.join(test), one_for_both: false, warning })
        }
        (_, true, None) if names.len() == 1 => whole(TRAIN, true),
        (_, false, Some(test)) if names.len() == 1 => whole(test, true),
        _ => Ok(SplitFolder { root: folder.to_owned(), one_for_both: true, warning: None }),
    }
}

/// Which folders beside those of the splits are not used, if there are any.
fn unused_in_words(folder: &Path, unused: &[&str], test: &str) -> Option<String> {
    let mut named: Vec<String> =
        unused.iter().take(NAMED).map(|name| format!("`{}`", shown(name))).collect();
    if unused.len() > NAMED {
        named.push(format!("{} more", unused.len() - NAMED));
    }
    let (folders, are) = if unused.len() == 1 { ("folder", "is") } else { ("folders", "are") };
    let other = TEST.into_iter().find(|name| unused.contains(name));
    let other =
        other.map_or_else(String::new, |name| format!(" (`{name}` is with :{name} at the end)"));
    (!unused.is_empty()).then(|| {
        format!(
            "{}: {folders} {} {are} not used beside `{TRAIN}` and `{test}`{other}",
            folder.display(),
            named.join(", ")
        )
    })
}

/// What to say of two splits that are the same images, if they are; other sets than folders of images are not looked at.
#[must_use]
pub fn same_images(train: &dyn Dataset, test: &dyn Dataset) -> Option<String> {
    let root = train.root().filter(|&root| test.root() == Some(root))?;
    Some(format!(
        "{}: the same images are used to learn from and to measure with, so that the accuracy says little of new ones; \
         put them into folders `train` and `val`",
        root.display()
    ))
}
