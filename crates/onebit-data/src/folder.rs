use std::fs;
use std::path::{Path, PathBuf};

use crate::decode::{DecodeLimits, check_size, decode_image, image_size as image_size_of};
use crate::memory::{check_read, out_of_range};
use crate::{Dataset, Error, Image, Normalization, ReadCost, Split};

const CHANNELS: usize = 3;
const EXTENSIONS: [&str; 3] = ["jpg", "jpeg", "png"];
const MAX_CLASSES: usize = 65_536;
const MAX_IMAGES: usize = 1 << 28;

/// A folder of images, one subfolder per class, decoded when they are read.
#[derive(Debug, Clone)]
pub struct Folder {
    name: String,
    size: (usize, usize),
    classes: Vec<String>,
    images: Vec<(PathBuf, u32)>,
}

impl Folder {
    /// Lists `folder`: each subfolder is a class, named after it, in alphabetical order; each file
    /// in it that ends in `.jpg`, `.jpeg` or `.png` (in any case) is an image, in alphabetical
    /// order. Names that begin with a dot and files of other types are passed over.
    ///
    /// Where `folder` holds `train` and also `val` or `test`, `split` picks the one to list.
    /// Without them, both splits are the whole folder. Images become RGB of `image_size` (height,
    /// width) by [`crate::Image::fit`]; without an `image_size`, the size of the first image is
    /// taken.
    ///
    /// # Errors
    ///
    /// If the folder is missing, holds no class, has a class without images, or the first image is
    /// needed for its size and is not an image.
    pub fn open(
        folder: &Path,
        split: Split,
        image_size: Option<(usize, usize)>,
    ) -> Result<Self, Error> {
        let root = split_folder(folder, split);
        let (mut classes, mut images) = (Vec::new(), Vec::new());
        for (class_name, class_path) in entries(&root)? {
            if !class_path.is_dir() {
                continue;
            }
            let before = images.len();
            let class = classes.len() as u32;
            let files = entries(&class_path)?.into_iter().map(|(_, path)| path);
            images.extend(files.filter(|path| is_image(path)).map(|path| (path, class)));
            if images.len() == before {
                return Err(Error::format(
                    &class_path,
                    "class folder",
                    "without images",
                    "at least one .jpg, .jpeg or .png file",
                ));
            }
            classes.push(class_name);
        }
        if classes.is_empty() {
            return Err(Error::format(
                &root,
                "folder",
                "without subfolders",
                "one subfolder of images per class",
            ));
        }
        if classes.len() > MAX_CLASSES {
            return Err(Error::limit(&root, "number of classes", classes.len(), MAX_CLASSES));
        }
        if images.len() > MAX_IMAGES {
            return Err(Error::limit(&root, "number of images", images.len(), MAX_IMAGES));
        }
        let size = match (image_size, images.first()) {
            (None, Some((path, _))) => image_size_of(path, &DecodeLimits::default())?,
            (wanted, _) => wanted.unwrap_or_default(),
        };
        check_size(size.0, size.1)?;
        Ok(Self { name: format!("folder:{}", folder.display()), size, classes, images })
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

    fn read_cost(&self) -> ReadCost {
        ReadCost::Decode
    }
}

fn split_folder(folder: &Path, split: Split) -> PathBuf {
    let train = folder.join("train");
    let test = ["val", "test"].map(|name| folder.join(name)).into_iter().find(|path| path.is_dir());
    match (split, test) {
        (Split::Train, Some(_)) if train.is_dir() => train,
        (Split::Test, Some(test)) if train.is_dir() => test,
        _ => folder.to_owned(),
    }
}

fn entries(folder: &Path) -> Result<Vec<(String, PathBuf)>, Error> {
    let refused =
        |source| Error::read(folder, source, "a folder with one subfolder of images per class");
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(refused)? {
        let entry = entry.map_err(refused)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.starts_with('.') {
            found.push((name, entry.path()));
        }
    }
    found.sort();
    Ok(found)
}

fn is_image(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str());
    extension.is_some_and(|extension| {
        EXTENSIONS.iter().any(|known| known.eq_ignore_ascii_case(extension))
    })
}
