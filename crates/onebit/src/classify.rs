//! Classifying photographs.

use std::path::Path;

use onebit_data::{Image, Preprocessing};
use rayon::prelude::*;

use crate::{Classification, Error, Session, memory};

impl Session {
    /// What the network says about an image of any size.
    ///
    /// # Errors
    /// An image that cannot be brought to the network's input, or logits that are not finite numbers.
    pub fn classify(&mut self, image: &Image) -> Result<Classification, Error> {
        let input = self.preprocessing()?.apply(image)?;
        let logits = self.logits(&input)?;
        Classification::new(self.model(), logits)
    }

    /// What the network says about image files, which all threads read and decode; hand over [`Session::batch`] of them
    /// at a time.
    ///
    /// # Errors
    /// Not enough memory. What is wrong with one image stands in its place.
    pub fn classify_files<P: AsRef<Path> + Sync>(
        &mut self,
        paths: &[P],
    ) -> Result<Vec<Result<Classification, Error>>, Error> {
        let seen = self.logits_of(paths, |path| Image::open(path.as_ref()))?;
        let outcome = |(path, logits): (&P, Result<Vec<f32>, Error>)| {
            Classification::new(self.model(), logits?).map_err(|error| match error {
                Error::NotFinite { .. } => {
                    Error::NotFinite { image: path.as_ref().display().to_string() }
                }
                error => error,
            })
        };
        Ok(paths.iter().zip(seen).map(outcome).collect())
    }

    /// The logits of images that `open` gives, which all threads call; hand over [`Session::batch`] of them at a time.
    ///
    /// # Errors
    /// Not enough memory. What is wrong with one image stands in its place.
    pub fn logits_of<T: Sync>(
        &mut self,
        images: &[T],
        open: impl Fn(&T) -> Result<Image, onebit_data::Error> + Sync,
    ) -> Result<Vec<Result<Vec<f32>, Error>>, Error> {
        let preprocessing = self.preprocessing()?;
        let read = |image: &T| preprocessing.apply(&open(image)?);
        let read: Vec<_> = self.pool().install(|| images.par_iter().map(read).collect());
        let mut inputs = Vec::new();
        let good = read.iter().flatten().count();
        memory::grow(&mut inputs, good * self.image_len(), "the images")?;
        let places = inputs.chunks_exact_mut(self.image_len());
        places.zip(read.iter().flatten()).for_each(|(place, input)| place.copy_from_slice(input));
        let logits = self.logits(&inputs)?;
        let mut logits = logits.chunks_exact(self.engine().classes());
        let outcome = |read: Result<Vec<f32>, onebit_data::Error>| {
            Ok(read.map(|_| logits.next().unwrap_or_default().to_vec())?)
        };
        Ok(read.into_iter().map(outcome).collect())
    }

    /// How photographs become the input.
    ///
    /// # Errors
    /// A network that takes no photographs: neither 1 nor 3 channels.
    pub fn preprocessing(&self) -> Result<Preprocessing, Error> {
        let (shape, graph) = (self.engine().input_shape(), self.model().graph());
        Ok(Preprocessing::new(shape, &graph.normalization, graph.preprocessing)?)
    }
}
