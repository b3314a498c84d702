//! The trainer's float arithmetic and the engine with every instruction set compute the same: every method, every
//! option of the blocks, after a few steps of training on the bundled images.
#![cfg(feature = "train")]

use std::sync::Arc;

use onebit_data::{Batch, Loader, LoaderConfig, OpenOptions, Share, Split};
use onebit_engine::{Engine, Isa, Options};
use onebit_model::arch::{
    self, Config, Downsample, HyperConfig, Method, Nonlinearity, NonlinearityPosition, Sharing,
    Stem, Task,
};
use onebit_model::file::{Weights, read_model, write_model};
use onebit_model::{
    Graph, Model, Normalization, PadValue, Precision, Statistics, Verified, WeightScale,
};
use onebit_pack::{Agreement, Observed};
use onebit_train::optim::{AdamConfig, Optimizer, Rule};
use onebit_train::{Net, NetConfig};

const BATCH: usize = 24;
const STEPS: usize = 6;
const LEARNING_RATE: f64 = 1e-2;
/// Images that are compared after training.
const COMPARED: usize = 2 * BATCH;

#[test]
fn the_engine_agrees_with_the_trainer_on_every_network() {
    let (images, task) = images();
    for (name, config) in networks().into_iter().chain(families()) {
        let graph = arch::build(&config, &task).expect("a network");
        let mut net = trained(&graph, &images);
        let trainer = observe_trainer(&mut net, &images);
        let weights = Verified::<Weights>::new(net.weights()).expect("weights");
        let model = packed(&weights);
        for isa in Isa::available() {
            let mut agreement = Agreement::new(&weights.graph).expect("shapes");
            let engine = observe_engine(&model, isa, &images);
            trainer.iter().zip(&engine).for_each(|(t, e)| agreement.image(t, e));
            let report = agreement.verdict().unwrap_or_else(|e| panic!("{name}, {isa}: {e}"));
            assert_eq!(report.images, COMPARED as u64, "{name}, {isa}");
            assert!(report.logit_deviation > 0.0, "{name}, {isa}: all logits are equal");
        }
    }
}

fn networks() -> Vec<(&'static str, Config)> {
    let network = |method, change: fn(&mut Config)| {
        let mut config = Config::new("resnet-small", method);
        config.widths = Some(vec![8, 16]);
        config.blocks = Some(vec![1, 2]);
        change(&mut config);
        config
    };
    vec![
        ("Bi-Real Net", network(Method::Bireal, |_| {})),
        ("ReActNet", network(Method::Reactnet, |_| {})),
        ("FTBNN", network(Method::Ftbnn, |_| {})),
        ("DyBNN", network(Method::Dybnn, |_| {})),
        (
            "a trunk for each block, float hyper functions",
            network(Method::Dybnn, |c| {
                (c.hyper.sharing, c.hyper.precision) = (Sharing::Block, Precision::F32);
                c.downsample = Some(Downsample::Binary);
            }),
        ),
        ("groups and shuffle", network(Method::Ftbnn, |c| c.groups = Some(2))),
        (
            "binary downsampling",
            network(Method::Dybnn, |c| c.downsample = Some(Downsample::Binary)),
        ),
        (
            "duplicate downsampling",
            network(Method::Reactnet, |c| c.downsample = Some(Downsample::Duplicate)),
        ),
        (
            "module before BN",
            network(Method::Reactnet, |c| {
                c.nonlinearity_position = NonlinearityPosition::BeforeBn;
            }),
        ),
        (
            "dynamic module before BN",
            network(Method::Dybnn, |c| c.nonlinearity_position = NonlinearityPosition::BeforeBn),
        ),
        (
            "module before the sum",
            network(Method::Ftbnn, |c| c.nonlinearity_position = NonlinearityPosition::BeforeAdd),
        ),
        ("one-padding", network(Method::Reactnet, |c| c.padding = PadValue::One)),
        (
            "grouped with one-padding and a learned scale",
            network(Method::Ftbnn, |c| {
                (c.groups, c.padding) = (Some(4), PadValue::One);
                c.weight_scale = WeightScale::Learned;
            }),
        ),
        (
            "no weight scale, means and deviations, FPReLU's slopes",
            network(Method::Dybnn, |c| {
                c.weight_scale = WeightScale::None;
                c.hyper = HyperConfig { statistics: Statistics::MeanStd, ..HyperConfig::default() };
                c.nonlinearity = Some(Nonlinearity::Frprelu);
            }),
        ),
    ]
}

/// Every family and stem, at a size that these images take.
fn families() -> Vec<(&'static str, Config)> {
    let network = |arch, widths: &[usize], change: fn(&mut Config)| {
        let mut config = Config::named(arch);
        config.widths = Some(widths.to_vec());
        change(&mut config);
        config
    };
    let stem = |stem| {
        let mut config = network("reactnet18", &[16], |c| c.blocks = Some(vec![1]));
        config.stem = Some(stem);
        config
    };
    vec![
        (
            "a trunk for each half block of ReActNet-A's layout",
            network("dybnn-a-cifar", &[8, 16, 16, 32], |c| c.hyper.sharing = Sharing::Block),
        ),
        ("DyBNN in ReActNet-A's layout", network("dybnn-a-cifar", &[8, 16, 16, 32], |_| {})),
        (
            "groups in ReActNet-A's layout",
            network("ftbnn-a-cifar", &[8, 16, 16, 32], |c| c.groups = Some(2)),
        ),
        ("ReActNet-B", network("reactnet-b", &[8, 16, 32], |c| c.stem = Some(Stem::Small))),
        (
            "ReActNet-C, module before the sums",
            network("reactnet-c", &[8, 16, 32], |c| {
                c.stem = Some(Stem::Strided);
                c.nonlinearity_position = NonlinearityPosition::BeforeAdd;
            }),
        ),
        ("VGG-small", network("vgg-small", &[8, 8, 16, 16], |_| {})),
        (
            "VGG-small, dynamic module before BN",
            network("vgg-small", &[8, 8, 16], |c| {
                c.method = Some(Method::Dybnn);
                c.nonlinearity_position = NonlinearityPosition::BeforeBn;
            }),
        ),
        ("FINN's perceptron", network("lfc", &[70, 40], |_| {})),
        ("FINN's convolutions and 1-bit layers", network("cnv", &[8, 16, 24], |_| {})),
        (
            "1-bit layers with dynamic thresholds",
            network("cnv", &[8, 8], |c| c.method = Some(Method::Dybnn)),
        ),
        ("7x7 stem", stem(Stem::Full)),
        ("3x3 stem and maximum", stem(Stem::Conv3x3)),
        ("grouped stem", stem(Stem::Grouped)),
        ("quick stem", stem(Stem::Quick)),
    ]
}

/// The first training images, in order, and what they ask of a network.
fn images() -> (Vec<Batch>, Task) {
    let options = OpenOptions { limit: Some(BATCH * STEPS), ..OpenOptions::default() };
    let dataset = onebit_data::open("fashion-mnist-sample", Split::Train, &options);
    let dataset = dataset.expect("the bundled sample");
    let normalization = dataset.normalization();
    let task = Task {
        input: dataset.shape(),
        classes: dataset.classes().to_vec(),
        normalization: Normalization {
            mean: normalization.mean.clone(),
            std: normalization.std.clone(),
        },
    };
    let config = LoaderConfig {
        batch: BATCH,
        normalization,
        augment: None,
        seed: 0,
        shuffle: false,
        drop_last: true,
        share: Share::WHOLE,
    };
    let loader = Loader::new(Arc::from(dataset), config).expect("a loader");
    let batches = loader.epoch(0, 0).map(|batch| batch.expect("images"));
    (batches.collect(), task)
}

fn trained(graph: &Verified<Graph>, images: &[Batch]) -> Net {
    let mut net = Net::new(graph.clone(), NetConfig::new(BATCH), 5).expect("a trainable graph");
    let mut optimizer = Optimizer::new(Rule::Adam(AdamConfig::default()), &net.params);
    for batch in images {
        net.step(&batch.images, &batch.labels, 0.0);
        optimizer.step(&mut net.params, LEARNING_RATE, |_| 0.0).expect("finite gradients");
    }
    net
}

fn packed(weights: &Verified<Weights>) -> Verified<Model> {
    let model = onebit_pack::lower(weights).expect("lowers");
    read_model(&write_model(&model).expect("a file")).expect("the same file")
}

fn observe_trainer(net: &mut Net, images: &[Batch]) -> Vec<Observed> {
    let pixels = compared(images);
    let mut observed = vec![Observed::default(); COMPARED];
    let logits = net.predict_observed(&pixels, &mut |image, node, bits| {
        observed[image].signs.push((node.to_owned(), bits.to_vec()));
    });
    let rows = logits.chunks_exact(logits.len() / COMPARED);
    observed.iter_mut().zip(rows).for_each(|(o, row)| o.logits = row.to_vec());
    observed
}

fn observe_engine(model: &Verified<Model>, isa: Isa, images: &[Batch]) -> Vec<Observed> {
    let options = Options { isa: Some(isa), ..Options::default() };
    let engine = Engine::new(model, options).expect("an engine");
    let mut scratch = engine.scratch().expect("memory");
    let observe = |image: &[f32]| {
        let mut observed = Observed { logits: vec![0.0; engine.classes()], signs: Vec::new() };
        let Observed { logits, signs } = &mut observed;
        let mut note = |node: &str, bits: &[u64]| signs.push((node.to_owned(), bits.to_vec()));
        engine.run_observed(image, logits, &mut scratch, &mut note).expect("an image that fits");
        observed
    };
    let len = engine.input_shape().iter().product();
    compared(images).chunks_exact(len).map(observe).collect()
}

fn compared(images: &[Batch]) -> Vec<f32> {
    images[..COMPARED / BATCH].iter().flat_map(|batch| batch.images.iter().copied()).collect()
}
