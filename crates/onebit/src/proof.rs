//! The proof that a packed model computes what another program, which trained it, computed.

use onebit_engine::{Engine, Options, Scratch};
use onebit_model::Graph;
use onebit_pack::agreement::Report;
use onebit_pack::{Agreement, Disagreement, Observed, PackError};
use rayon::prelude::*;

use crate::{Error, Model, start_shared_pool};

/// A packed model and its comparison with what the other program computed, some images at a time.
#[derive(Debug)]
pub struct Proof {
    engine: Engine,
    agreement: Agreement,
}

impl Proof {
    /// Nothing compared yet; `trained` is the graph of the other program.
    ///
    /// # Errors
    /// A model that cannot be run here, or threads that the system does not start.
    pub fn new(trained: &Graph, model: &Model) -> Result<Self, Error> {
        start_shared_pool()?;
        let engine = Engine::new(model.verified(), Options::default())?;
        let agreement = Agreement::new(trained).map_err(PackError::from)?;
        Ok(Proof { engine, agreement })
    }

    /// Runs the model on normalised images `[N, height, width, channels]` and compares every sign and the logits with what
    /// the other program computed for each; returns the model's logits.
    ///
    /// # Errors
    /// Not enough memory, or images that are not whole.
    pub fn images(&mut self, images: &[f32], trained: &[Observed]) -> Result<Vec<f32>, Error> {
        let observed = self.observe(images)?;
        for (trained, engine) in trained.iter().zip(&observed) {
            self.agreement.image(trained, engine);
        }
        Ok(observed.into_iter().flat_map(|image| image.logits).collect())
    }

    /// The numbers so far.
    #[must_use]
    pub fn report(&self) -> Report {
        self.agreement.report()
    }

    /// The numbers, if they prove it.
    ///
    /// # Errors
    /// More than rounding explains, or nothing was compared.
    pub fn verdict(&self) -> Result<Report, Disagreement> {
        self.agreement.verdict()
    }

    fn observe(&self, images: &[f32]) -> Result<Vec<Observed>, Error> {
        let engine = &self.engine;
        let observe = |scratch: &mut Scratch, image: &[f32]| {
            let mut signs = Vec::new();
            let mut logits = vec![0.0; engine.classes()];
            engine.run_observed(image, &mut logits, scratch, &mut |node, bits| {
                signs.push((node.to_owned(), bits.to_vec()));
            })?;
            Ok(Observed { logits, signs })
        };
        let threads = rayon::current_num_threads();
        let images: Vec<&[f32]> = images.chunks(engine.input_shape().iter().product()).collect();
        let share = images.len().div_ceil(threads).max(1);
        let shares = images.par_chunks(share).zip(engine.scratches(threads)?);
        let observed = shares.map(|(images, mut scratch)| {
            let images = images.iter().map(|image| observe(&mut scratch, image));
            images.collect::<Result<Vec<_>, Error>>()
        });
        Ok(observed.collect::<Result<Vec<_>, Error>>()?.into_iter().flatten().collect())
    }
}
