//! Images and logits in NumPy files.

use std::path::Path;

use onebit::{Isa, Model, Session, channels_last};

use crate::arguments;
use crate::failure::Failure;
use crate::finite;
use crate::memory;
use crate::output::count;
use crate::progress::Progress;

/// Normalised images `[N, channels, height, width]`, of any size that the network takes.
pub(crate) struct Images<'a> {
    path: &'a Path,
    shape: [usize; 4],
    values: Vec<f32>,
}

impl<'a> Images<'a> {
    /// Reads images for a network.
    pub(crate) fn read(path: &'a Path, model: &Model) -> anyhow::Result<Self> {
        let channels = model.input_shape()[0];
        let (shape, values) = onebit_data::read_npy_f32(path)?;
        match shape[..] {
            [n, c, height, width] if c == channels && !values.is_empty() => {
                check_finite(path, "values", &values, values.len() / n)?;
                Ok(Images { path, shape: [n, c, height, width], values })
            }
            _ => Err(Failure::bad_data(format!(
                "{}: the array has the shape {shape:?}, expected [N, {channels}, height, width] with N of at least 1",
                path.display()
            ))),
        }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.shape[0]
    }

    /// A session of the network from the file `path`, for images of this size.
    pub(crate) fn session(
        &self,
        path: &Path,
        model: &Model,
        threads: usize,
        isa: Option<Isa>,
    ) -> anyhow::Result<Session> {
        let [_, _, height, width] = self.shape;
        let mut session = model.session().input_size([height, width]).threads(threads);
        if let Some(isa) = isa {
            session = session.isa(isa);
        }
        arguments::build(path, session)
    }

    /// Their logits `[N, classes]`, by the network from the file `path`.
    pub(crate) fn logits(&self, path: &Path, session: &mut Session) -> anyhow::Result<Vec<f32>> {
        let [n, channels, height, width] = self.shape;
        let (classes, batch) = (session.engine().classes(), session.batch());
        let name = |image| format!("image {image} (counted from 0) of {}", self.path.display());
        let image = channels * height * width;
        let mut logits = memory::zeros(n * classes, "the logits")?;
        let mut nhwc = memory::zeros(batch.min(n) * image, "a batch of images")?;
        let mut progress = Progress::new("images", n as u64);
        let (mut done, chunks) = (0, self.values.chunks(batch * image));
        for (nchw, logits) in chunks.zip(logits.chunks_mut(batch * classes)) {
            for (from, to) in nchw.chunks_exact(image).zip(nhwc.chunks_exact_mut(image)) {
                channels_last(from, channels, to);
            }
            session.run(&nhwc[..nchw.len()], logits)?;
            finite::check(path, logits, classes, |image| name(done + image))?;
            done += nchw.len() / image;
            progress.at(done as u64, "");
        }
        Ok(logits)
    }
}

/// Reads the logits `[N, classes]` that are expected of `images`.
pub(crate) fn expected_logits(
    path: &Path,
    images: &Images<'_>,
    classes: usize,
) -> anyhow::Result<Vec<f32>> {
    let (shape, values) = onebit_data::read_npy_f32(path)?;
    if shape != [images.len(), classes] {
        return Err(Failure::bad_data(format!(
            "{}: the array has the shape {shape:?}, expected [{}, {classes}]: the logits of {} in {}",
            path.display(),
            images.len(),
            count(images.len() as u64, "image"),
            images.path.display()
        )));
    }
    check_finite(path, "logits", &values, classes)?;
    Ok(values)
}

/// Refuses an array with `of_each` values for each image if any is not a finite number.
fn check_finite(path: &Path, what: &str, values: &[f32], of_each: usize) -> anyhow::Result<()> {
    match values.iter().position(|value| !value.is_finite()) {
        None => Ok(()),
        Some(at) => Err(Failure::bad_data(format!(
            "{}: the {what} of image {} (counted from 0) are not finite numbers",
            path.display(),
            at / of_each
        ))),
    }
}
