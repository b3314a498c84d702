//! Whole networks against PyTorch (scripts/fixtures/net.py), and determinism.

#![allow(clippy::unwrap_used)]

mod common;

use common::Fixture;
use onebit_model::arch::{self, Builder, Config, Method, Task};
use onebit_model::{
    Geometry, Graph, HyperRange, NodeId, Op, PadValue, Precision, Shift, Slope, Statistics,
    Threshold, Verified, WeightScale,
};
use onebit_train::{Net, NetConfig};

/// Largest difference to PyTorch's float64 gradients, relative to the largest value of a tensor;
/// PyTorch's own float32 differs by up to 1.2e-5.
const TOLERANCE: f32 = 5e-5;

struct Variant {
    name: &'static str,
    fixture: Fixture,
}

impl Variant {
    fn load(name: &'static str) -> Self {
        Variant { name, fixture: Fixture::read(&format!("net/net_{name}")) }
    }

    /// Largest output of a hyper function.
    fn range(&self, lambda: &str) -> HyperRange {
        HyperRange::Sigmoid { lambda: self.fixture.number(lambda) as f32 }
    }

    fn threshold(&self) -> Threshold {
        match self.fixture.word("sign") {
            "zero" => Threshold::Zero,
            "static" => Threshold::Static,
            "dynamic" => Threshold::Dynamic,
            other => panic!("sign {other}"),
        }
    }

    fn module(&self) -> Option<(Slope, Shift)> {
        let slope = match self.fixture.word("slope") {
            "none" => return None,
            "prelu" => Slope::Negative,
            "fprelu" => Slope::Both,
            other => panic!("slope {other}"),
        };
        let shift = match self.fixture.word("shift") {
            "none" => Shift::None,
            "static" => Shift::Static,
            "dynamic" => Shift::Dynamic,
            other => panic!("shift {other}"),
        };
        Some((slope, shift))
    }

    fn graph(&self) -> Verified<Graph> {
        let task = Task::unnamed([3, 8, 8], 4);
        let (mut b, input) = Builder::new("fixture", &task);
        let mut x = b.conv_bn("stem", input, geometry(8, 3, 1));
        for (i, (channels, out, stride)) in [(8, 8, 1), (8, 16, 2), (16, 16, 1)].iter().enumerate()
        {
            x = self.block(&mut b, &format!("blocks.{i}"), x, (*channels, *out, *stride));
        }
        Verified::<Graph>::new(b.classifier(x)).unwrap()
    }

    fn assert_close(&self, tensor: &str, found: &[f32]) {
        let what = format!("{}: {tensor}", self.name);
        assert_close(&what, found, &self.fixture.tensor(tensor));
    }

    fn block(
        &self,
        b: &mut Builder,
        name: &str,
        x: NodeId,
        (channels, out, stride): (usize, usize, usize),
    ) -> NodeId {
        let threshold = self.threshold();
        let mut inputs = vec![x];
        if threshold == Threshold::Dynamic {
            let range = self.range("lambda_threshold");
            inputs.push(hyper(b, &format!("{name}.sign.hyper"), x, channels, range));
        }
        let bits = b.add(&format!("{name}.sign"), Op::Sign { threshold }, &inputs);
        let scale = WeightScale::L1Detached;
        let y = b.conv_bin(name, bits, geometry(out, 3, stride), PadValue::Zero, scale);
        let y = b.batch_norm(name, y);
        let shortcut = if stride == 1 {
            x
        } else {
            let pool = Op::AvgPool { kernel: 2, stride: 2 };
            let pooled = b.add(&format!("{name}.shortcut.pool"), pool, &[x]);
            b.conv_bn(&format!("{name}.shortcut"), pooled, geometry(out, 1, 1))
        };
        let y = b.add(&format!("{name}.add"), Op::Add, &[y, shortcut]);
        let Some((slope, shift)) = self.module() else { return y };
        let mut inputs = vec![y];
        if shift == Shift::Dynamic {
            let range = self.range("lambda_shift");
            inputs.push(hyper(b, &format!("{name}.act.hyper"), y, 2 * out, range));
        }
        b.add(&format!("{name}.act"), Op::Prelu { slope, shift }, &inputs)
    }
}

fn geometry(out_channels: usize, kernel: usize, stride: usize) -> Geometry {
    Geometry { out_channels, kernel, stride, padding: kernel / 2, groups: 1 }
}

fn hyper(b: &mut Builder, name: &str, x: NodeId, outputs: usize, range: HyperRange) -> NodeId {
    let precision = Precision::F32;
    let trunk = Op::HyperTrunk { statistics: Statistics::Mean, hidden: 8, precision };
    let trunk = b.add(&format!("{name}.trunk"), trunk, &[x]);
    b.add(name, Op::HyperHead { outputs, range, precision }, &[trunk])
}

/// What the fixtures call a parameter.
fn fixture_name(name: &str) -> String {
    let renamed =
        name.replace("hyper.trunk.weight", "hyper.w1").replace("hyper.trunk.bias", "hyper.b1");
    renamed.replace("hyper.weight", "hyper.w2").replace("hyper.bias", "hyper.b2")
}

fn assert_close(what: &str, found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len(), "length of {what}");
    let scale = expected.iter().fold(1e-3f32, |m, v| m.max(v.abs()));
    for (i, (f, e)) in found.iter().zip(expected).enumerate() {
        assert!((f - e).abs() <= TOLERANCE * scale, "{what}[{i}] is {f}, not {e}");
    }
}

#[test]
fn loss_and_every_gradient_equal_pytorch() {
    for name in ["bireal", "reactnet", "ftbnn", "dybnn"] {
        let variant = Variant::load(name);
        let f = &variant.fixture;
        let mut net = Net::new(variant.graph(), NetConfig::new(4), 1).unwrap();
        for entry in &mut net.params.entries {
            let trained = f.find(&format!("param.{}", fixture_name(&entry.name)));
            let value = trained.unwrap_or_else(|| f.tensor(&format!("buffer.{}", entry.name)));
            entry.value.copy_from_slice(&value);
        }
        let x = f.tensor("x");
        let labels: Vec<u32> = f.tensor("labels").iter().map(|&l| l as u32).collect();
        let loss = net.step(&x, &labels, f.number("label_smoothing") as f32);
        variant.assert_close("loss", &[loss.value as f32]);
        let mut compared = 0;
        for entry in &net.params.entries {
            if entry.grad.is_empty() {
                variant.assert_close(&format!("buffer_after.{}", entry.name), &entry.value);
            } else {
                variant.assert_close(&format!("grad.{}", fixture_name(&entry.name)), &entry.grad);
                compared += 1;
            }
        }
        assert_eq!(compared, f.names().iter().filter(|name| name.starts_with("grad.")).count());
        variant.assert_close("logits_eval", &net.predict(&x));
    }
}

fn images(count: usize, len: usize) -> Vec<f32> {
    (0..count * len)
        .map(|i| ((i as f32 * 0.37).sin() * 1.7 + (i as f32 * 0.011).cos()) * 0.8)
        .collect()
}

fn network(method: Method, batch: usize) -> Net {
    let mut config = Config::new("resnet-small", method);
    config.widths = Some(vec![8, 16]);
    config.blocks = Some(vec![2, 2]);
    let graph = arch::build(&config, &Task::unnamed([1, 12, 12], 3)).unwrap();
    Net::new(graph, NetConfig::new(batch), 7).unwrap()
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    let x = images(21, 144);
    let labels: Vec<u32> = (0..21).map(|i| i % 3).collect();
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let mut net = network(Method::Dybnn, 21);
            let loss = net.step(&x, &labels, 0.1);
            (loss, net.params, net_predict(&x))
        })
    };
    let one = run(1);
    for threads in [2, 3, 8] {
        assert_eq!(run(threads), one, "{threads} threads");
    }
}

fn net_predict(x: &[f32]) -> Vec<f32> {
    network(Method::Dybnn, 8).predict(x)
}

#[test]
fn a_hyper_network_at_its_zero_start_is_bit_identical_to_reactnet() {
    let x = images(5, 144);
    let mut dynamic = network(Method::Dybnn, 5);
    let mut fixed = network(Method::Reactnet, 5);
    for entry in &mut fixed.params.entries {
        let same = dynamic.params.entries.iter().find(|e| e.name == entry.name).unwrap();
        entry.value.copy_from_slice(&same.value);
    }
    assert_eq!(dynamic.predict(&x), fixed.predict(&x));
    let labels = [0, 1, 2, 0, 1];
    assert_eq!(dynamic.step(&x, &labels, 0.0), fixed.step(&x, &labels, 0.0));
}

#[test]
fn gradients_do_not_depend_on_how_the_batch_is_split() {
    let x = images(16, 144);
    let labels: Vec<u32> = (0..16).map(|i| i % 3).collect();
    let grads = |batch: usize| {
        let mut net = network(Method::Ftbnn, batch);
        net.step(&x, &labels, 0.0);
        net.params
    };
    let (whole, split) = (grads(16), grads(64));
    for (a, b) in whole.entries.iter().zip(&split.entries) {
        assert_close(&a.name, &a.grad, &b.grad);
    }
}
