//! Every convolution kernel as a fraction of a peak of its instruction set, measured in the same process.
//!
//! ```text
//! cargo bench --package onebit-engine --bench conv_bin                    all: minutes
//! cargo bench --package onebit-engine --bench conv_bin -- 'avx512 step'   those whose name a regular expression fits
//! cargo bench --package onebit-engine --bench conv_bin -- 'CIFAR.*sums'
//! ```
//!
//! Criterion compares each with its run before (or one kept by `--save-baseline`); the table at the end has the best
//! runs. Multiply-accumulates are nominal: padded taps count. `sums` are the integer sums of one binary convolution
//! alone; `step` is the fused step of a ReActNet block: convolution, affine, shortcut, rectifier, next sign. Results are
//! compared with those of the reference kernels first.
#![allow(missing_docs, clippy::print_stdout, clippy::unwrap_used)]

#[path = "../tests/common/mod.rs"]
mod common;
mod peak;

use std::cell::LazyCell;
use std::fmt;
use std::hint::black_box;
use std::time::{Duration, Instant};

use common::{Random, engine, graph, isas, lowered, run};
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, SamplingMode, Throughput};
use onebit_engine::{BinaryConvolution, Engine, Isa, Scratch, Workspace};
use onebit_model::{
    Geometry, Graph, Op, PadValue, Shape, Shift, Slope, Threshold, WeightScale, bits,
};
use peak::{Factors, Peaks};

/// Largest difference of an average of real sums that are rounded once or twice for each term.
const ROUNDING_TOLERANCE: f32 = 1e-4;
/// Channels of the convolution that reads the signs of a block.
const READER_CHANNELS: usize = 8;

/// A square convolution of a square map.
#[derive(Clone, Copy)]
struct Layer {
    network: &'static str,
    channels: usize,
    size: usize,
    geometry: Geometry,
}

const fn layer(network: &'static str, kernel: usize, channels: usize, size: usize) -> Layer {
    strided(network, kernel, 1, channels, size)
}

const fn strided(
    network: &'static str,
    kernel: usize,
    stride: usize,
    channels: usize,
    size: usize,
) -> Layer {
    let geometry = Geometry::same(channels, kernel, stride, 1);
    Layer { network, channels, size, geometry }
}

const fn real(kernel: usize, stride: usize, channels: [usize; 2], size: usize) -> Layer {
    let [channels, out_channels] = channels;
    let geometry = Geometry::same(out_channels, kernel, stride, 1);
    Layer { network: "real", channels, size, geometry }
}

/// Convolutions of bits.
const BINARY: [Layer; 29] = [
    layer("ReActNet-18", 3, 64, 56),
    layer("ReActNet-18", 3, 128, 28),
    layer("ReActNet-18", 3, 256, 14),
    layer("ReActNet-18", 3, 512, 7),
    layer("ReActNet-A", 3, 32, 112),
    strided("ReActNet-A", 3, 2, 64, 112),
    layer("ReActNet-A", 3, 128, 56),
    strided("ReActNet-A", 3, 2, 128, 56),
    layer("ReActNet-A", 3, 256, 28),
    strided("ReActNet-A", 3, 2, 256, 28),
    layer("ReActNet-A", 3, 512, 14),
    strided("ReActNet-A", 3, 2, 512, 14),
    layer("ReActNet-A", 3, 1024, 7),
    layer("ReActNet-A", 1, 32, 112),
    layer("ReActNet-A", 1, 64, 56),
    layer("ReActNet-A", 1, 128, 56),
    layer("ReActNet-A", 1, 128, 28),
    layer("ReActNet-A", 1, 256, 28),
    layer("ReActNet-A", 1, 256, 14),
    layer("ReActNet-A", 1, 512, 14),
    layer("ReActNet-A", 1, 512, 7),
    layer("ReActNet-A", 1, 1024, 7),
    layer("CIFAR", 3, 16, 32),
    layer("CIFAR", 3, 32, 16),
    layer("CIFAR", 3, 64, 8),
    layer("other", 5, 64, 28),
    layer("other", 3, 96, 28),
    Layer { network: "other", channels: 128, size: 28, geometry: Geometry::same(128, 3, 1, 2) },
    Layer { network: "other", channels: 256, size: 28, geometry: Geometry::same(256, 3, 1, 8) },
];

/// Convolutions of floats: the first layers of networks, and a shortcut that changes resolution.
const REAL: [Layer; 4] = [
    real(3, 1, [3, 16], 32),
    real(3, 2, [3, 32], 224),
    real(7, 2, [3, 64], 224),
    real(1, 1, [64, 128], 28),
];

/// The best times of one layer by one instruction set, in nanoseconds.
struct Row {
    layer: Layer,
    isa: Isa,
    factors: &'static [Factors],
    /// Infinite where a filter left it out, or nothing measures it.
    sums: f64,
    /// Infinite where a filter left it out.
    step: f64,
}

fn main() {
    let mut peaks = Peaks::measure();
    let mut criterion = Criterion::default()
        .sample_size(10)
        .nresamples(2000)
        .warm_up_time(Duration::from_millis(50))
        .measurement_time(Duration::from_millis(200))
        .without_plots()
        .configure_from_args();
    let mut rows = Vec::new();
    for layer in BINARY {
        let mut group = group(&mut criterion, layer);
        let mut measured =
            steps(&mut group, layer, &block(layer), &[Factors::Bits, Factors::Nibbles]);
        sums(&mut group, layer, &mut measured);
        rows.extend(measured);
    }
    for layer in REAL {
        let mut group = group(&mut criterion, layer);
        rows.extend(steps(&mut group, layer, &real_convolution(layer), &[Factors::Floats]));
    }
    criterion.final_summary();
    peaks.measure_again();
    println!("\n{peaks}");
    rows.retain(|row| row.sums.min(row.step).is_finite());
    rows.sort_by_key(|row| row.isa);
    print_table(&rows, &peaks);
}

fn group(criterion: &mut Criterion, layer: Layer) -> BenchmarkGroup<'_, WallTime> {
    let mut group = criterion.benchmark_group(format!("{} {layer}", layer.network));
    group.throughput(Throughput::Elements(layer.macs())).sampling_mode(SamplingMode::Flat);
    group
}

/// Measures the step `conv` of a graph by every instruction set.
fn steps(
    group: &mut BenchmarkGroup<'_, WallTime>,
    layer: Layer,
    graph: &Graph,
    factors: &'static [Factors],
) -> Vec<Row> {
    let image = Random(2).floats(layer.channels * layer.size * layer.size, -1.0, 1.0);
    let model = LazyCell::new(|| lowered(graph, &mut Random(1)));
    let expected = LazyCell::new(|| run(&engine(&model, Isa::Reference), &image));
    let mut rows = Vec::new();
    for isa in isas().into_iter().filter(|&isa| isa != Isa::Reference) {
        let mut row = Row { layer, isa, factors, sums: f64::INFINITY, step: f64::INFINITY };
        let mut profile = None;
        group.bench_function(format!("{isa} step"), |bencher| {
            let profile = profile.get_or_insert_with(|| {
                let engine = engine(&model, isa);
                check(&run(&engine, &image), &expected, layer, isa);
                Profile::new(engine)
            });
            bencher
                .iter_custom(|runs| repeat(runs, &mut row.step, || profile.time(&image, "conv")));
        });
        rows.push(row);
    }
    rows
}

/// Measures the integer sums of a binary convolution by the instruction sets of `rows`.
fn sums(group: &mut BenchmarkGroup<'_, WallTime>, layer: Layer, rows: &mut [Row]) {
    let Layer { channels, size, geometry, .. } = layer;
    let taps = geometry.out_channels * geometry.kernel * geometry.kernel;
    let weight = random_bits(taps, channels / geometry.groups);
    let x = random_bits(size * size, channels);
    let convolution = |isa| {
        let map = Shape::float(channels, size, size);
        BinaryConvolution::new(&weight, geometry, PadValue::Zero, map, Some(isa)).unwrap()
    };
    let (mut workspace, mut y) = (Workspace::default(), vec![0.0; layer.output().len()]);
    let expected = LazyCell::new(|| {
        let mut y = vec![0.0; layer.output().len()];
        convolution(Isa::Reference).run(&x, &mut Workspace::default(), &mut y).unwrap();
        y
    });
    for row in rows {
        let mut checked = None;
        group.bench_function(format!("{} sums", row.isa), |bencher| {
            let convolution = checked.get_or_insert_with(|| {
                let convolution = convolution(row.isa);
                convolution.run(&x, &mut workspace, &mut y).unwrap();
                assert!(y == *expected, "{layer}: wrong sums by {}", row.isa);
                convolution
            });
            bencher.iter_custom(|runs| {
                repeat(runs, &mut row.sums, || {
                    let start = Instant::now();
                    convolution.run(black_box(&x), &mut workspace, black_box(&mut y)).unwrap();
                    start.elapsed()
                })
            });
        });
    }
}

/// Total time of `runs`; the best is kept.
fn repeat(runs: u64, best: &mut f64, mut run: impl FnMut() -> Duration) -> Duration {
    let mut total = Duration::ZERO;
    for _ in 0..runs {
        let time = run();
        total += time;
        *best = best.min(time.as_nanos() as f64);
    }
    total
}

/// An engine and what a profiled run of it needs.
struct Profile {
    engine: Engine,
    scratch: Scratch,
    logits: Vec<f32>,
    times: Vec<u64>,
    start: Instant,
}

impl Profile {
    fn new(engine: Engine) -> Profile {
        let (scratch, logits) = (engine.scratch().unwrap(), vec![0.0; engine.classes()]);
        let times = vec![0; engine.steps().len()];
        Profile { engine, scratch, logits, times, start: Instant::now() }
    }

    /// Time of the step `name` in a run of all.
    fn time(&mut self, image: &[f32], name: &str) -> Duration {
        let Profile { engine, scratch, logits, times, start } = self;
        let mut clock = || u64::try_from(start.elapsed().as_nanos()).unwrap();
        engine.run_profiled(image, logits, scratch, &mut clock, times).unwrap();
        let step = engine.steps().iter().position(|step| step.name == name).unwrap();
        Duration::from_nanos(times[step])
    }
}

/// A block of ReActNet whose signs and values are both read: the logits are means of the values last.
fn block(layer: Layer) -> Graph {
    let Layer { channels, size, geometry, .. } = layer;
    let reader = Geometry::same(READER_CHANNELS, 1, 1, 1);
    let conv = |geometry| Op::ConvBin { geometry, pad: PadValue::Zero, scale: WeightScale::None };
    let sign = |threshold| Op::Sign { threshold };
    graph(vec![
        ("input", Op::Input { channels, height: size, width: size }, &[]),
        ("shortcut", Op::AvgPool { kernel: geometry.stride, stride: geometry.stride }, &[0]),
        ("sign", sign(Threshold::Static), &[0]),
        ("conv", conv(geometry), &[2]),
        ("affine", Op::Affine, &[3]),
        ("add", Op::Add, &[4, 1]),
        ("prelu", Op::Prelu { slope: Slope::Negative, shift: Shift::Static }, &[5]),
        ("next", sign(Threshold::Static), &[6]),
        ("reader", conv(reader), &[7]),
        ("both", Op::Concat, &[8, 6]),
        ("pool", Op::GlobalAvgPool, &[9]),
    ])
}

fn real_convolution(layer: Layer) -> Graph {
    let Layer { channels, size, geometry, .. } = layer;
    graph(vec![
        ("input", Op::Input { channels, height: size, width: size }, &[]),
        ("conv", Op::Conv { geometry }, &[0]),
        ("pool", Op::GlobalAvgPool, &[1]),
    ])
}

/// Compares all means but those of signs, of which one may flip where rounding differs.
fn check(found: &[f32], expected: &[f32], layer: Layer, isa: Isa) {
    let values = layer.geometry.out_channels;
    for (found, expected) in found.iter().zip(expected).rev().take(values) {
        let tolerance = ROUNDING_TOLERANCE * expected.abs().max(1.0);
        assert!((found - expected).abs() <= tolerance, "{layer}, {isa}: {found}, {expected}");
    }
}

fn random_bits(pixels: usize, channels: usize) -> Vec<u64> {
    let mut random = Random(3);
    let mut words: Vec<u64> = (0..pixels * bits::words(channels)).map(|_| random.next()).collect();
    for pixel in words.chunks_mut(bits::words(channels)) {
        *pixel.last_mut().unwrap() &= bits::tail_mask(channels);
    }
    words
}

fn print_table(rows: &[Row], peaks: &Peaks) {
    println!(
        "{:9} {:11} {:18} {:>9} {:>8} {:>6}  {:>9} {:>8} {:>6}",
        "isa", "network", "layer", "sums us", "G MAC/s", "peak", "step us", "G MAC/s", "peak"
    );
    for Row { layer, isa, factors, sums, step } in rows {
        let peak = peaks.of(isa.name(), factors);
        let cells = |nanos: f64| {
            if nanos.is_infinite() {
                return format!("{:>9} {:>8} {:>6}", "", "", "");
            }
            let rate = layer.macs() as f64 / nanos;
            let fraction =
                peak.map_or(String::new(), |peak| format!("{:.0}%", 100.0 * rate / peak));
            format!("{:9.1} {rate:8.1} {fraction:>6}", nanos / 1e3)
        };
        let (isa, name) = (isa.name(), layer.to_string());
        println!("{isa:9} {:11} {name:18} {}  {}", layer.network, cells(*sums), cells(*step));
    }
}

impl Layer {
    fn output(&self) -> Shape {
        let side = self.geometry.output_extent(self.size).unwrap();
        Shape::float(self.geometry.out_channels, side, side)
    }

    fn macs(&self) -> u64 {
        self.geometry.macs(Shape::float(self.channels, self.size, self.size), self.output())
    }
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Geometry { out_channels, kernel, stride, groups, .. } = self.geometry;
        write!(f, "{kernel}x{kernel} {}", self.channels)?;
        if out_channels != self.channels {
            write!(f, "->{out_channels}")?;
        }
        write!(f, "@{}", self.size)?;
        if stride > 1 {
            write!(f, " s{stride}")?;
        }
        if groups > 1 {
            write!(f, " g{groups}")?;
        }
        Ok(())
    }
}
