//! Packed models: opened from files or bytes, shared by sessions.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use onebit_files::{ModelFile, read_model_file};
use onebit_model::file::FileError;
use onebit_model::{Graph, Normalization, Origin, Verified, file};

use crate::{Error, SessionBuilder};

/// A packed model, verified. Copies share the weights.
#[derive(Clone, Debug)]
pub struct Model {
    inner: Arc<Verified<onebit_model::Model>>,
    /// Version and length of the file that it was read from.
    file: Option<(u32, u64)>,
}

impl Model {
    /// Reads and verifies a `.onebit` file.
    ///
    /// # Errors
    /// A file that cannot be read, is no packed model, is damaged, or breaks a rule of the format.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        match read_model_file(path) {
            Ok(ModelFile { model, version, bytes }) => {
                Ok(Model { inner: Arc::new(model), file: Some((version, bytes)) })
            }
            Err(error) => Err(explained(path, error)),
        }
    }

    /// Verifies the bytes of a `.onebit` file.
    ///
    /// # Errors
    /// Bytes that are no packed model, are damaged, or break a rule of the format.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        let (model, version) = file::read_versioned_from(bytes)?;
        Ok(Model { inner: Arc::new(model), file: Some((version, bytes.len() as u64)) })
    }

    /// The bytes of its `.onebit` file.
    ///
    /// # Errors
    /// A network beyond the limits of the format.
    pub fn to_bytes(&self) -> Result<Vec<u8>, Error> {
        Ok(file::write_model(&self.inner)?)
    }

    /// Version of the format of the file that it was read from, or of the one that [`Model::to_bytes`] makes.
    ///
    /// # Errors
    /// Like [`Model::to_bytes`].
    pub fn format_version(&self) -> Result<u32, Error> {
        match self.file {
            Some((version, _)) => Ok(version),
            None => Ok(file::version_of(&self.inner)?),
        }
    }

    /// Length of the file that it was read from; none if it was made.
    #[must_use]
    pub fn file_bytes(&self) -> Option<u64> {
        self.file.map(|(_, bytes)| bytes)
    }

    /// Length of the file that it was read from, or of the one that [`Model::to_bytes`] makes.
    ///
    /// # Errors
    /// Like [`Model::to_bytes`].
    pub fn file_length(&self) -> Result<u64, Error> {
        match self.file {
            Some((_, bytes)) => Ok(bytes),
            None => Ok(self.to_bytes()?.len() as u64),
        }
    }

    /// What is inside: tensors, sizes, and why some layers are not 1-bit.
    ///
    /// # Errors
    /// Like [`Model::to_bytes`].
    #[cfg(feature = "pack")]
    pub fn inspect(&self) -> Result<onebit_pack::Inspection, Error> {
        let (version, bytes) = (self.format_version()?, self.file_length()?);
        let inspection = onebit_pack::Inspection::of(self.verified(), version, bytes as usize);
        Ok(inspection.map_err(onebit_pack::PackError::from)?)
    }

    /// Where it comes from: licence, source, authors, description, metrics.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        &self.inner.origin
    }

    /// The same network with other words on where it comes from.
    ///
    /// # Errors
    /// A text that is empty, too long, or has control characters.
    pub fn with_origin(&self, origin: Origin) -> Result<Self, Error> {
        let model = onebit_model::Model { origin, ..self.inner.as_ref().clone().into_inner() };
        let model = Verified::<onebit_model::Model>::new(model).map_err(FileError::from)?;
        Ok(Model::from(model))
    }

    /// The same network with other names of classes.
    ///
    /// # Errors
    /// Not one valid name for each logit.
    pub fn with_classes(&self, classes: Vec<String>) -> Result<Self, Error> {
        let mut model = self.inner.as_ref().clone().into_inner();
        model.graph.classes = classes;
        let model = Verified::<onebit_model::Model>::new(model).map_err(FileError::from)?;
        Ok(Model::from(model))
    }

    /// Prepares to run it.
    pub fn session(&self) -> SessionBuilder {
        SessionBuilder::new(self.clone())
    }

    /// Name of its architecture.
    #[must_use]
    pub fn arch(&self) -> &str {
        &self.graph().arch
    }

    /// Names of its classes, in the order of the logits.
    #[must_use]
    pub fn classes(&self) -> &[String] {
        &self.graph().classes
    }

    /// `[channels, height, width]` of the images that it takes.
    #[must_use]
    pub fn input_shape(&self) -> [usize; 3] {
        self.graph().input_shape()
    }

    /// Mean and standard deviation of each channel, with which pixels of 0 to 1 are normalised.
    #[must_use]
    pub fn normalization(&self) -> &Normalization {
        &self.graph().normalization
    }

    /// Its operations.
    #[must_use]
    pub fn graph(&self) -> &Graph {
        &self.inner.graph
    }

    /// Graph and tensors, for the engine and the packer.
    #[must_use]
    pub fn verified(&self) -> &Verified<onebit_model::Model> {
        &self.inner
    }
}

impl From<Verified<onebit_model::Model>> for Model {
    fn from(model: Verified<onebit_model::Model>) -> Self {
        Model { inner: Arc::new(model), file: None }
    }
}

/// The error, or what the file is instead of a model if its first bytes tell.
fn explained(path: &Path, error: onebit_files::Error) -> Error {
    let is_refused = matches!(error, onebit_files::Error::Format { .. });
    match kind(path).filter(|_| is_refused) {
        Some(found) => Error::OtherFile { path: path.to_owned(), found },
        None => error.into(),
    }
}

/// What a file is that people give in place of a packed model, by its first bytes; none for what begins as one does,
/// with the length of a JSON header.
fn kind(path: &Path) -> Option<&'static str> {
    if !fs::metadata(path).ok()?.is_file() {
        return None;
    }
    let mut start = Vec::new();
    fs::File::open(path).ok()?.take(16).read_to_end(&mut start).ok()?;
    if start.get(8) == Some(&b'{') {
        return None;
    }
    KINDS.iter().find(|(bytes, _)| start.starts_with(bytes)).map(|(_, kind)| *kind)
}

const KINDS: [(&[u8], &str); 8] = [
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"\x89PNG\r\n", "a PNG image"),
    (b"GIF8", "a GIF image"),
    (b"RIFF", "a WebP image"),
    (b"BM", "a BMP image"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"PK\x03\x04", "a zip container, such as a PyTorch checkpoint, which `onebit import` reads"),
    (b"\x08", "an ONNX network"),
];
