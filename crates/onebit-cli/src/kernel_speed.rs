//! How fast the kernels of each instruction set are on this machine.

use std::hint::black_box;
use std::time::{Duration, Instant};

use onebit_engine::{BinaryConvolution, Isa, Workspace};
use onebit_model::{Geometry, PadValue, Shape, bits, packed_shape};
use serde::Serialize;

/// Kernel, channels in and out, and side of the map: two of ReActNet-18, one of ReActNet-A, one of a network for
/// small images.
const CONVOLUTIONS: [(usize, usize, usize); 4] =
    [(3, 64, 56), (3, 256, 14), (1, 256, 14), (3, 16, 32)];
const MEASURED: Duration = Duration::from_millis(300);
const MIN_ROUNDS: usize = 5;
/// The first of them brings the data into the caches.
const RUNS_IN_A_ROW: usize = 3;

/// Speed of one instruction set on one thread.
#[derive(Serialize)]
pub(crate) struct Speed {
    pub(crate) isa: &'static str,
    /// Binary multiply-accumulates of all convolutions in their best times, in 10^9 per second.
    pub(crate) gmacs_per_second: f64,
    pub(crate) convolutions: Vec<ConvolutionSpeed>,
}

/// Speed at one convolution.
#[derive(Serialize)]
pub(crate) struct ConvolutionSpeed {
    /// Such as `3x3 64@56`: kernel, channels, side of the map.
    convolution: String,
    gmacs_per_second: f64,
}

/// One convolution by the kernels of one instruction set.
struct Trial {
    name: String,
    convolution: BinaryConvolution,
    workspace: Workspace,
    macs: u64,
    x: Vec<u64>,
    y: Vec<f32>,
    best: Duration,
}

/// Times a fixed set of binary convolutions by every instruction set but the reference, in turn: the best of many
/// short runs, in a third of a second.
pub(crate) fn measure() -> anyhow::Result<Vec<Speed>> {
    let mut candidates = Vec::new();
    for isa in Isa::available().into_iter().filter(|&isa| isa != Isa::Reference) {
        let trials = CONVOLUTIONS.iter().map(|&convolution| Trial::new(isa, convolution));
        candidates.push((isa, trials.collect::<anyhow::Result<Vec<_>>>()?));
    }
    let started = Instant::now();
    let mut rounds = 0;
    while rounds < MIN_ROUNDS || started.elapsed() < MEASURED {
        for convolution in 0..CONVOLUTIONS.len() {
            for (_, trials) in &mut candidates {
                trials[convolution].run()?;
            }
        }
        rounds += 1;
    }
    Ok(candidates.into_iter().map(|(isa, trials)| Speed::of(isa, &trials)).collect())
}

impl Trial {
    fn new(isa: Isa, (kernel, channels, size): (usize, usize, usize)) -> anyhow::Result<Trial> {
        let geometry = Geometry::same(channels, kernel, 1, 1);
        let shape = Shape::float(channels, size, size);
        let words = packed_shape(&geometry.weight_shape(channels)).iter().product();
        let weight = made_up_bits(words, channels);
        let pad = PadValue::Zero;
        Ok(Trial {
            name: format!("{kernel}x{kernel} {channels}@{size}"),
            convolution: BinaryConvolution::new(&weight, geometry, pad, shape, Some(isa))?,
            workspace: Workspace::default(),
            macs: geometry.macs(shape, shape),
            x: made_up_bits(size * size * bits::words(channels), channels),
            y: vec![0.0; shape.len()],
            best: Duration::MAX,
        })
    }

    fn run(&mut self) -> anyhow::Result<()> {
        for _ in 0..RUNS_IN_A_ROW {
            let before = Instant::now();
            let (x, y) = (black_box(&self.x), black_box(&mut self.y));
            self.convolution.run(x, &mut self.workspace, y)?;
            self.best = self.best.min(before.elapsed());
        }
        Ok(())
    }
}

impl Speed {
    fn of(isa: Isa, trials: &[Trial]) -> Speed {
        let rate = |macs: u64, time: Duration| macs as f64 / time.as_nanos().max(1) as f64;
        let convolutions = trials.iter().map(|trial| ConvolutionSpeed {
            convolution: trial.name.clone(),
            gmacs_per_second: rate(trial.macs, trial.best),
        });
        Speed {
            isa: isa.name(),
            gmacs_per_second: rate(
                trials.iter().map(|trial| trial.macs).sum(),
                trials.iter().map(|trial| trial.best).sum(),
            ),
            convolutions: convolutions.collect(),
        }
    }
}

/// Words of pixels or taps of so many channels.
fn made_up_bits(words: usize, channels: usize) -> Vec<u64> {
    let last = bits::words(channels) - 1;
    let mask = |i: usize| if i % (last + 1) == last { bits::tail_mask(channels) } else { u64::MAX };
    (0..words).map(|i| (i as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) & mask(i)).collect()
}
