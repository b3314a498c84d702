//! Whole networks against PyTorch (scripts/fixtures/net.py), and determinism.

use std::collections::BTreeMap;
use std::path::PathBuf;

use onebit_model::arch::{self, Builder, Config, Method, Task};
use onebit_model::{
    Geometry, Graph, HyperRange, NodeId, Op, PadValue, Shift, Slope, Statistics, Threshold,
    Verified, WeightScale,
};
use onebit_train::{Net, NetConfig};
use safetensors::SafeTensors;

/// Largest difference to PyTorch's float64 gradients, relative to the largest value of a tensor;
/// PyTorch's own float32 differs by up to 1.2e-5.
const TOLERANCE: f32 = 5e-5;

struct Fixture {
    tensors: BTreeMap<String, Vec<f32>>,
    metadata: BTreeMap<String, String>,
}

impl Fixture {
    fn load(variant: &str) -> Self {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
            .join(format!("tests/fixtures/net/net_{variant}.safetensors"));
        let bytes = std::fs::read(path).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let floats = |data: &[u8]| {
            data.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect::<Vec<_>>()
        };
        let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
        Fixture {
            tensors: file.tensors().into_iter().map(|(n, t)| (n, floats(t.data()))).collect(),
            metadata: header.metadata().clone().unwrap().into_iter().collect(),
        }
    }

    fn lambda(&self, name: &str) -> f32 {
        self.metadata.get(name).map_or(1.0, |v| v.parse().unwrap())
    }

    fn threshold(&self) -> Threshold {
        match self.metadata["sign"].as_str() {
            "zero" => Threshold::Zero,
            "static" => Threshold::Static,
            "dynamic" => Threshold::Dynamic,
            other => panic!("sign {other}"),
        }
    }

    fn module(&self) -> Option<(Slope, Shift)> {
        let slope = match self.metadata["slope"].as_str() {
            "none" => return None,
            "prelu" => Slope::Negative,
            "fprelu" => Slope::Both,
            other => panic!("slope {other}"),
        };
        let shift = match self.metadata["shift"].as_str() {
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
            let range = HyperRange::Sigmoid { lambda: self.lambda("lambda_threshold") };
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
            let range = HyperRange::Sigmoid { lambda: self.lambda("lambda_shift") };
            inputs.push(hyper(b, &format!("{name}.act.hyper"), y, 2 * out, range));
        }
        b.add(&format!("{name}.act"), Op::Prelu { slope, shift }, &inputs)
    }
}

fn geometry(out_channels: usize, kernel: usize, stride: usize) -> Geometry {
    Geometry { out_channels, kernel, stride, padding: kernel / 2, groups: 1 }
}

fn hyper(b: &mut Builder, name: &str, x: NodeId, outputs: usize, range: HyperRange) -> NodeId {
    let op = Op::Hyper { statistics: Statistics::Mean, hidden: 8, outputs, range };
    b.add(name, op, &[x])
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
    for variant in ["bireal", "reactnet", "ftbnn", "dybnn"] {
        let f = Fixture::load(variant);
        let mut net = Net::new(f.graph(), NetConfig::new(4), 1).unwrap();
        for entry in &mut net.params.entries {
            let name = [format!("param.{}", entry.name), format!("buffer.{}", entry.name)];
            let value = name.iter().find_map(|n| f.tensors.get(n));
            entry.value.copy_from_slice(value.unwrap_or_else(|| panic!("{}", entry.name)));
        }
        let labels: Vec<u32> = f.tensors["labels"].iter().map(|&l| l as u32).collect();
        let smoothing = f.metadata["label_smoothing"].parse().unwrap();
        let loss = net.step(&f.tensors["x"], &labels, smoothing);
        assert_close("loss", &[loss.value as f32], &f.tensors["loss"]);
        let mut compared = 0;
        for entry in &net.params.entries {
            if let Some(grad) = f.tensors.get(&format!("grad.{}", entry.name)) {
                assert_close(&format!("{variant}: gradient of {}", entry.name), &entry.grad, grad);
                compared += 1;
            } else {
                let after = &f.tensors[&format!("buffer_after.{}", entry.name)];
                assert_close(&format!("{variant}: {}", entry.name), &entry.value, after);
            }
        }
        assert_eq!(compared, f.tensors.keys().filter(|k| k.starts_with("grad.")).count());
        let logits = net.predict(&f.tensors["x"]);
        assert_close("evaluation logits", &logits, &f.tensors["logits_eval"]);
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
