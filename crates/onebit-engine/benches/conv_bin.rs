//! Speed of the convolution kernels for each instruction set, in G multiply-accumulates per second.
//! Outputs are checked against the reference kernels first.
#![allow(clippy::print_stdout, clippy::unwrap_used)]

#[path = "../tests/common/mod.rs"]
mod common;

use std::time::Instant;

use common::{Random, engine, graph, isas, lowered, run};
use onebit_engine::Isa;
use onebit_model::{Geometry, Model, Op, PadValue, Threshold, Verified, WeightScale};

/// Largest difference of an average of real sums that are rounded once or twice for each term.
const ROUNDING_TOLERANCE: f32 = 1e-4;
const RUNS: usize = 40;

fn main() {
    let binary = [
        (3, 64, 64, 56),
        (3, 128, 128, 28),
        (3, 256, 256, 14),
        (3, 512, 512, 7),
        (1, 64, 128, 56),
        (1, 256, 256, 14),
        (1, 1024, 1024, 7),
        (3, 16, 16, 32),
        (3, 32, 32, 16),
    ];
    for (kernel, channels, out_channels, size) in binary {
        let geometry = Geometry { out_channels, kernel, stride: 1, padding: kernel / 2, groups: 1 };
        let conv = Op::ConvBin { geometry, pad: PadValue::Zero, scale: WeightScale::None };
        let nodes = vec![
            ("input", Op::Input { channels, height: size, width: size }, &[][..]),
            ("sign", Op::Sign { threshold: Threshold::Zero }, &[0][..]),
            ("conv", conv, &[1][..]),
            ("pool", Op::GlobalAvgPool, &[2][..]),
        ];
        measure(&lowered(&graph(nodes), &mut Random(1)), channels * size * size);
    }
    for (kernel, stride, channels, out_channels, size) in
        [(3, 1, 3, 16, 32), (3, 2, 3, 32, 224), (7, 2, 3, 64, 224), (1, 1, 64, 128, 28)]
    {
        let geometry = Geometry { out_channels, kernel, stride, padding: kernel / 2, groups: 1 };
        let nodes = vec![
            ("input", Op::Input { channels, height: size, width: size }, &[][..]),
            ("conv", Op::Conv { geometry }, &[0][..]),
            ("pool", Op::GlobalAvgPool, &[1][..]),
        ];
        measure(&lowered(&graph(nodes), &mut Random(1)), channels * size * size);
    }
}

/// Prints the best of some runs of the convolution step.
fn measure(model: &Verified<Model>, pixels: usize) {
    let image = Random(2).floats(pixels, -1.0, 1.0);
    let expected = run(&engine(model, Isa::Reference), &image);
    let start = Instant::now();
    let mut clock = || u64::try_from(start.elapsed().as_nanos()).unwrap();
    for isa in isas().into_iter().filter(|&isa| isa != Isa::Reference) {
        let engine = engine(model, isa);
        let mut scratch = engine.scratch();
        let mut logits = vec![0.0; engine.classes()];
        let mut times = vec![0; engine.steps().len()];
        let conv = engine.steps().iter().position(|step| step.flops + step.bops > 0).unwrap();
        let mut best = u64::MAX;
        for _ in 0..RUNS {
            engine.run_profiled(&image, &mut logits, &mut scratch, &mut clock, &mut times).unwrap();
            best = best.min(times[conv]);
        }
        for (found, expected) in logits.iter().zip(&expected) {
            let tolerance = ROUNDING_TOLERANCE * expected.abs().max(1.0);
            assert!((found - expected).abs() <= tolerance, "{isa}: {found}, {expected}");
        }
        let step = &engine.steps()[conv];
        let [channels, height, width] = engine.input_shape();
        let rate = (step.flops + step.bops) as f64 / best as f64;
        let shape = format!("{channels}x{height}x{width} -> {}", step.output);
        println!("{:28} {shape:32} {rate:9.1} G MAC/s {:9.1} us", step.kernel, best as f64 / 1e3);
    }
}
