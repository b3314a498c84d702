//! Teachers that are ONNX files, run by rten.

use std::fmt::Display;
use std::sync::Arc;

use onebit_files::{count, shown_within};
use rayon::prelude::*;
use rten::{DataType, Dimension, Model, RunOptions, ThreadPool, ValueType};
use rten_tensor::{AsView, NdTensorView, Tensor};

use crate::recipe::Layout;

/// Most characters of a message of rten's.
const MAX_MESSAGE: usize = 400;

/// An ONNX classifier of single images.
pub(super) struct Onnx {
    model: Model,
    /// Channels, height and width of an image.
    image: [usize; 3],
    layout: Layout,
    /// Pools of one thread, since sums differ in their last bits between numbers of threads.
    pools: Vec<Arc<ThreadPool>>,
}

impl Onnx {
    /// Reads an ONNX file for images of `image` = [channels, height, width]; an error is why it cannot.
    pub(super) fn new(bytes: Vec<u8>, image: [usize; 3], layout: Layout) -> Result<Self, String> {
        let model = Model::load(bytes).map_err(|error| {
            format!("the file is no ONNX model that can be run: {}", quoted(error))
        })?;
        let (inputs, outputs) = (model.input_ids().len(), model.output_ids().len());
        if (inputs, outputs) != (1, 1) {
            return Err(format!(
                "the network has {} and {}, expected one of each",
                count(inputs, "input"),
                count(outputs, "output")
            ));
        }
        let threads = rayon::current_num_threads();
        let pools = (0..threads).map(|_| Arc::new(ThreadPool::with_num_threads(1))).collect();
        let onnx = Onnx { model, image, layout, pools };
        onnx.check_input()?;
        Ok(onnx)
    }

    /// Logits of an image, found by running one.
    pub(super) fn outputs(&self) -> Result<usize, String> {
        let black = vec![0.0; self.image.iter().product()];
        let logits = self.run(&black, self.pools.first())?;
        if logits.is_empty() {
            Err("the network's output is empty".into())
        } else {
            Ok(logits.len())
        }
    }

    /// Logits `[images, outputs]` of images, NHWC.
    pub(super) fn logits(&self, images: &[f32], outputs: usize) -> Result<Vec<f32>, String> {
        let len = self.image.iter().product::<usize>();
        let share = (images.len() / len).div_ceil(self.pools.len()).max(1);
        let mut logits = vec![0.0; images.len() / len * outputs];
        let shares = images.par_chunks(share * len).zip(logits.par_chunks_mut(share * outputs));
        shares.zip(&self.pools).try_for_each(|((images, logits), pool)| {
            images.chunks_exact(len).zip(logits.chunks_exact_mut(outputs)).try_for_each(
                |(image, logits)| {
                    let found = self.run(image, Some(pool))?;
                    if found.len() != outputs {
                        return Err(format!(
                            "gives {}, before {outputs}",
                            count(found.len(), "output")
                        ));
                    }
                    logits.copy_from_slice(&found);
                    Ok(())
                },
            )
        })?;
        Ok(logits)
    }

    fn run(&self, image: &[f32], pool: Option<&Arc<ThreadPool>>) -> Result<Vec<f32>, String> {
        let input = match self.layout {
            Layout::Nhwc => image.to_vec(),
            Layout::Nchw => planes(image, self.image[0]),
        };
        let input = NdTensorView::from_data(self.input_shape(), input.as_slice());
        let options = RunOptions::default().with_thread_pool(pool.cloned());
        let failed = |error: String| format!("the network cannot be run: {error}");
        let output = self.model.run_one(input.into(), Some(options));
        let output = output.map_err(|error| failed(quoted(error)))?;
        let output: Tensor<f32> =
            output.try_into().map_err(|_| failed("its output is not of 32-bit floats".into()))?;
        Ok(output.to_vec())
    }

    fn input_shape(&self) -> [usize; 4] {
        let [channels, height, width] = self.image;
        match self.layout {
            Layout::Nchw => [1, channels, height, width],
            Layout::Nhwc => [1, height, width, channels],
        }
    }

    /// Refuses an input of other elements than floats, or whose fixed dimensions are others than those of one image.
    fn check_input(&self) -> Result<(), String> {
        let input = self.model.input_ids().first().and_then(|&id| self.model.node_info(id));
        match input.and_then(|input| input.dtype()) {
            None | Some(ValueType::Tensor(DataType::Float)) => {}
            Some(other) => {
                return Err(format!(
                    "the network's input is {other}, expected a tensor of 32-bit floats, normalised pixels"
                ));
            }
        }
        let Some(found) = self.model.input_shape(0) else { return Ok(()) };
        let expected = self.input_shape();
        let fits = found.len() == expected.len()
            && found.iter().zip(expected).all(|(found, expected)| match found {
                Dimension::Fixed(size) => *size == expected,
                Dimension::Symbolic(_) => true,
            });
        if fits {
            return Ok(());
        }
        let dimension = |dimension: &Dimension| match dimension {
            Dimension::Fixed(size) => size.to_string(),
            Dimension::Symbolic(_) => "1 or more".to_owned(),
        };
        let found = found.iter().map(dimension).collect::<Vec<_>>().join(", ");
        Err(format!(
            "the network's input is [{found}], expected {expected:?} for an image of the run; see train.teacher.layout \
             and data.image_size"
        ))
    }
}

/// A message of rten's, which quotes names of the file.
fn quoted(error: impl Display) -> String {
    shown_within(&error.to_string(), MAX_MESSAGE)
}

/// From channels innermost to channels outermost.
fn planes(image: &[f32], channels: usize) -> Vec<f32> {
    (0..channels)
        .flat_map(|channel| image.iter().skip(channel).step_by(channels))
        .copied()
        .collect()
}
