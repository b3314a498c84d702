//! A data set whose images become a network's input in another way than the data set's own.

use std::path::Path;
use std::sync::Arc;

use onebit_data::{Dataset, Error, Image, Normalization, Preprocessing, ReadCost};
use onebit_model::Graph;

/// Images of a data set as the file of a network says.
pub(crate) struct Preprocessed {
    dataset: Arc<dyn Dataset>,
    preprocessing: Preprocessing,
}

impl Preprocessed {
    /// The images of `dataset`, as `graph` says where it says anything.
    pub(crate) fn of(graph: &Graph, dataset: Arc<dyn Dataset>) -> Result<Arc<dyn Dataset>, Error> {
        if graph.preprocessing.is_default() {
            return Ok(dataset);
        }
        let preprocessing =
            Preprocessing::new(dataset.shape(), &graph.normalization, graph.preprocessing)?;
        Ok(Arc::new(Preprocessed { dataset, preprocessing }))
    }
}

impl Dataset for Preprocessed {
    fn name(&self) -> &str {
        self.dataset.name()
    }

    fn len(&self) -> usize {
        self.dataset.len()
    }

    fn shape(&self) -> [usize; 3] {
        self.dataset.shape()
    }

    fn classes(&self) -> &[String] {
        self.dataset.classes()
    }

    fn label(&self, i: usize) -> usize {
        self.dataset.label(i)
    }

    fn image_name(&self, i: usize) -> String {
        self.dataset.image_name(i)
    }

    fn read(&self, i: usize, out: &mut [u8]) -> Result<(), Error> {
        out.copy_from_slice(&self.preprocessing.pixels(&self.dataset.original(i)?)?);
        Ok(())
    }

    fn original(&self, i: usize) -> Result<Image, Error> {
        self.dataset.original(i)
    }

    fn normalization(&self) -> Normalization {
        self.dataset.normalization()
    }

    fn warnings(&self) -> &[String] {
        self.dataset.warnings()
    }

    fn root(&self) -> Option<&Path> {
        self.dataset.root()
    }

    fn read_cost(&self) -> ReadCost {
        ReadCost::Decode
    }
}
