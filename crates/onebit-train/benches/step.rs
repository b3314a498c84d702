//! A training step of a 48-MMAC binary network on 3x32x32 images, as `scripts/pytorch_step.py` times it in PyTorch, or of the
//! graph in JSON in the file `GRAPH`, as `bindings/python/benches/step.py` does. Environment: `T` threads, `BATCH` images, `SECS`
//! seconds. Prints one line.

#![allow(clippy::print_stdout, reason = "a bench prints what it measured")]

use std::time::Instant;

use onebit_data::random::{Key, Stream};
use onebit_model::arch::{Builder, Task};
use onebit_model::cost::Cost;
use onebit_model::{
    Geometry, Graph, NodeId, Op, PadValue, Shift, Slope, Threshold, Verified, WeightScale,
};
use onebit_train::binarize::{Clip, Estimator};
use onebit_train::optim::{AdamConfig, Optimizer, Rule};
use onebit_train::{Net, NetConfig};

const BLOCKS: [(usize, usize, usize); 6] =
    [(32, 32, 1), (32, 32, 1), (32, 64, 2), (64, 64, 1), (64, 128, 2), (128, 128, 1)];

fn main() {
    let number = |name: &str, default: usize| {
        std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default)
    };
    let (threads, batch) = (number("T", 1), number("BATCH", 64));
    let seconds = number("SECS", 8) as f64;
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
    pool.install(|| measure(threads, batch, seconds));
}

fn measure(threads: usize, batch: usize, seconds: f64) {
    let graph = match std::env::var_os("GRAPH") {
        Some(path) => {
            let text = std::fs::read_to_string(path).expect("the file GRAPH");
            Verified::<Graph>::new(Graph::from_json(&text).expect("a graph")).expect("a graph")
        }
        None => graph(),
    };
    let input = graph.input_shape();
    let macs = Cost::of(&graph, input).map(|c| c.flops() + c.bops()).expect("costs");
    let config =
        NetConfig { activation: Estimator::Clip(Clip { bound: 1.0 }), ..NetConfig::new(batch) };
    let mut net = Net::new(graph, config, 0).expect("network");
    let mut optimizer = Optimizer::new(Rule::Adam(AdamConfig::default()), &net.params);
    let key = Key { seed: 0, epoch: 0, index: 0, stream: Stream::SYNTHETIC };
    let images: Vec<f32> = key.normals().take(batch * input.iter().product::<usize>()).collect();
    let labels: Vec<u32> = (0..batch as u32).map(|i| i * 7 % 10).collect();
    let mut step = || {
        let loss = net.step(&images, &labels, 0.0);
        optimizer.step(&mut net.params, 1e-3, |_| 0.0).expect("finite gradients");
        loss.value
    };
    let losses: Vec<f64> = (0..4).map(|_| step()).collect();
    assert!(losses[3] < losses[0], "the loss does not fall: {losses:?}");
    let (start, mut steps) = (Instant::now(), 0);
    while start.elapsed().as_secs_f64() < seconds {
        step();
        steps += 1;
    }
    let each = start.elapsed().as_secs_f64() / f64::from(steps);
    println!(
        "onebit threads={threads} B={batch} {:.1} img/s ({:.1} ms/step, {:.1} MMAC/image)",
        batch as f64 / each,
        each * 1e3,
        macs as f64 / 1e6,
    );
}

fn graph() -> Verified<Graph> {
    let (mut b, input) = Builder::new("step", &Task::unnamed([3, 32, 32], 10));
    let stem = Geometry { out_channels: 32, kernel: 3, stride: 1, padding: 1, groups: 1 };
    let mut x = b.add("stem", Op::Conv { geometry: stem }, &[input]);
    for (i, &(_, out, stride)) in BLOCKS.iter().enumerate() {
        x = block(&mut b, &format!("blocks.{i}"), x, out, stride);
    }
    Verified::<Graph>::new(b.classifier(x)).expect("graph")
}

fn block(b: &mut Builder, name: &str, x: NodeId, out_channels: usize, stride: usize) -> NodeId {
    let bits = b.add(&format!("{name}.sign"), Op::Sign { threshold: Threshold::Zero }, &[x]);
    let geometry = Geometry { out_channels, kernel: 3, stride, padding: 1, groups: 1 };
    let y = b.conv_bin(name, bits, geometry, PadValue::Zero, WeightScale::L1Detached);
    let y = b.batch_norm(name, y);
    let shortcut = if stride == 1 {
        x
    } else {
        let pool = Op::AvgPool { kernel: 2, stride: 2 };
        let pooled = b.add(&format!("{name}.pool"), pool, &[x]);
        b.add(&format!("{name}.concat"), Op::Concat, &[pooled, pooled])
    };
    let y = b.add(&format!("{name}.add"), Op::Add, &[y, shortcut]);
    let prelu = Op::Prelu { slope: Slope::Negative, shift: Shift::None };
    b.add(&format!("{name}.prelu"), prelu, &[y])
}
