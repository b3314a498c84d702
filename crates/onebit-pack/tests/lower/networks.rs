//! Networks with random weights, batch normalizations of every kind among them.

use std::collections::BTreeMap;

use onebit_model::arch::{
    self, Config, Downsample, HyperConfig, Method, Nonlinearity, NonlinearityPosition, Range,
    Sharing, SignKind, Task,
};
use onebit_model::file::Weights;
use onebit_model::op::Param;
use onebit_model::{
    Data, Graph, Op, PadValue, Precision, Statistics, Tensor, Verified, WeightScale, infer,
};
use onebit_testing::Random;

/// Every value of every option, one after another, then random combinations.
pub(crate) fn configs(random: &mut Random) -> Vec<Config> {
    let methods = [Method::Bireal, Method::Reactnet, Method::Ftbnn, Method::Dybnn];
    let mut configs: Vec<Config> = methods.into_iter().map(base).collect();
    let vary = |configs: &mut Vec<Config>, f: &dyn Fn(&mut Config)| {
        for method in methods {
            let mut config = base(method);
            f(&mut config);
            configs.push(config);
        }
    };
    for position in POSITIONS {
        vary(&mut configs, &|c| c.nonlinearity_position = position);
    }
    for downsample in DOWNSAMPLES {
        vary(&mut configs, &|c| c.downsample = Some(downsample));
    }
    for scale in SCALES {
        vary(&mut configs, &|c| c.weight_scale = scale);
    }
    for statistics in STATISTICS {
        vary(&mut configs, &|c| c.hyper.statistics = statistics);
    }
    for nonlinearity in NONLINEARITIES {
        vary(&mut configs, &|c| {
            c.nonlinearity = Some(nonlinearity);
            c.dyprelu = Some(false);
        });
    }
    vary(&mut configs, &|c| c.padding = PadValue::One);
    vary(&mut configs, &|c| c.groups = Some(2));
    vary(&mut configs, &|c| c.widths = Some(vec![64, 130]));
    vary(&mut configs, &|c| c.hyper.range = Range::Raw);
    vary(&mut configs, &|c| c.hyper.precision = Precision::F32);
    vary(&mut configs, &|c| c.hyper.sharing = Sharing::Block);
    configs.extend((0..20).map(|_| random_config(random)));
    configs
}

const POSITIONS: [NonlinearityPosition; 3] = [
    NonlinearityPosition::AfterAdd,
    NonlinearityPosition::BeforeAdd,
    NonlinearityPosition::BeforeBn,
];
const DOWNSAMPLES: [Downsample; 3] = [Downsample::Float, Downsample::Binary, Downsample::Duplicate];
const SCALES: [WeightScale; 4] =
    [WeightScale::None, WeightScale::L1Detached, WeightScale::L1Grad, WeightScale::Learned];
const STATISTICS: [Statistics; 3] = [Statistics::Mean, Statistics::MeanStd, Statistics::MeanThird];
const NONLINEARITIES: [Nonlinearity; 6] = [
    Nonlinearity::None,
    Nonlinearity::Relu,
    Nonlinearity::Prelu,
    Nonlinearity::Rprelu,
    Nonlinearity::Fprelu,
    Nonlinearity::Frprelu,
];

fn base(method: Method) -> Config {
    let mut config = Config::new("resnet-small", method);
    config.widths = Some(vec![6, 12]);
    config.blocks = Some(vec![1, 2]);
    config
}

fn random_config(random: &mut Random) -> Config {
    let signs = [SignKind::Plain, SignKind::Rsign, SignKind::Dysign];
    let nonlinearity = random.choose(&NONLINEARITIES);
    Config {
        groups: Some(random.choose(&[1, 2, 3])),
        sign: Some(random.choose(&signs)),
        nonlinearity: Some(nonlinearity),
        dyprelu: Some(nonlinearity != Nonlinearity::None && random.next().is_multiple_of(2)),
        nonlinearity_position: random.choose(&POSITIONS),
        downsample: Some(random.choose(&DOWNSAMPLES)),
        padding: random.choose(&[PadValue::Zero, PadValue::One]),
        weight_scale: random.choose(&SCALES),
        hyper: HyperConfig {
            statistics: random.choose(&STATISTICS),
            sharing: random.choose(&[Sharing::None, Sharing::Block]),
            ..HyperConfig::default()
        },
        ..base(Method::Reactnet)
    }
}

pub(crate) fn build(config: &Config) -> Verified<Graph> {
    arch::build(config, &Task::unnamed([2, 8, 8], 5)).unwrap()
}

/// Weights between -1 and 1; factors of batch normalizations and learned scales negative, zero and tiny too.
pub(crate) fn random_weights(graph: Verified<Graph>, random: &mut Random) -> Verified<Weights> {
    let shapes = infer::shapes(&graph).unwrap();
    let mut tensors = BTreeMap::new();
    for (id, node) in graph.ids().zip(&graph.nodes) {
        for param in graph.params(id, &shapes) {
            let values = values(&node.op, &param, random);
            let tensor = Tensor { shape: param.shape, data: Data::F32(values) };
            tensors.insert(node.param_name(param.suffix), tensor);
        }
    }
    Verified::<Weights>::new(Weights { graph: graph.into_inner(), tensors }).unwrap()
}

fn values(op: &Op, param: &Param, random: &mut Random) -> Vec<f32> {
    let factor = match (op, param.suffix) {
        (Op::BatchNorm { .. }, "weight") | (Op::ConvBin { .. }, "scale") => true,
        (Op::BatchNorm { .. }, "running_var") => {
            return (0..param.len()).map(|_| random.float().abs() * 4.0).collect();
        }
        _ => false,
    };
    let value = |i: usize, random: &mut Random| match i % 6 {
        1 if factor => 0.0,
        2 if factor => 1e-13 * random.float(),
        _ => random.float(),
    };
    (0..param.len()).map(|i| value(i, random)).collect()
}
