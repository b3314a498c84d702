//! Small networks of every architecture family, every method and every option that changes the graph.

use onebit_model::arch::{
    self, Config, Downsample, Method, Nonlinearity, NonlinearityPosition, Range, Sharing, Stem,
    Task,
};
use onebit_model::{Graph, PadValue, Precision, Statistics, Verified, WeightScale};

pub(crate) const INPUT: [usize; 3] = [3, 16, 16];

pub(crate) fn build(config: &Config) -> Verified<Graph> {
    arch::build(config, &Task::unnamed(INPUT, 7)).unwrap()
}

pub(crate) fn configs() -> Vec<Config> {
    let mut configs = Vec::new();
    for method in [Method::Bireal, Method::Reactnet, Method::Ftbnn, Method::Dybnn] {
        configs.extend([mobilenet(method), vgg(method), lfc(method), cnv(method)]);
        options(method, &mut configs);
    }
    configs
}

fn options(method: Method, configs: &mut Vec<Config>) {
    let mut vary = |f: &dyn Fn(&mut Config)| {
        let mut config = resnet(method);
        f(&mut config);
        configs.push(config);
    };
    vary(&|_| {});
    for stem in [Stem::Full, Stem::Strided, Stem::Small, Stem::Conv3x3, Stem::Grouped, Stem::Quick]
    {
        vary(&|c| c.stem = Some(stem));
    }
    for position in [NonlinearityPosition::BeforeAdd, NonlinearityPosition::BeforeBn] {
        vary(&|c| c.nonlinearity_position = position);
    }
    for downsample in [Downsample::FloatGrouped, Downsample::Binary, Downsample::Duplicate] {
        vary(&|c| c.downsample = Some(downsample));
    }
    for scale in [WeightScale::None, WeightScale::Learned] {
        vary(&|c| c.weight_scale = scale);
    }
    for nonlinearity in [
        Nonlinearity::None,
        Nonlinearity::Relu,
        Nonlinearity::Prelu,
        Nonlinearity::Rprelu,
        Nonlinearity::Fprelu,
        Nonlinearity::Frprelu,
    ] {
        vary(&|c| {
            c.nonlinearity = Some(nonlinearity);
            c.dyprelu = Some(method == Method::Dybnn && nonlinearity != Nonlinearity::None);
        });
    }
    for statistics in [Statistics::Mean, Statistics::MeanStd, Statistics::MeanThird] {
        for range in [Range::Sigmoid, Range::Raw] {
            vary(&|c| (c.hyper.statistics, c.hyper.range) = (statistics, range));
        }
    }
    vary(&|c| (c.hyper.sharing, c.hyper.precision) = (Sharing::Block, Precision::F32));
    vary(&|c| c.padding = PadValue::One);
    vary(&|c| c.groups = Some(2));
    vary(&|c| (c.groups, c.padding) = (Some(4), PadValue::One));
}

fn resnet(method: Method) -> Config {
    let mut config = Config::new("resnet-small", method);
    config.widths = Some(vec![16, 32]);
    config.blocks = Some(vec![1, 2]);
    config
}

fn mobilenet(method: Method) -> Config {
    Config { widths: Some(vec![8, 16, 16, 32]), ..Config::new("reactnet-a-cifar", method) }
}

fn lfc(method: Method) -> Config {
    Config { widths: Some(vec![40, 70]), ..Config::new("lfc", method) }
}

fn cnv(method: Method) -> Config {
    Config { widths: Some(vec![8, 16, 70]), ..Config::new("cnv", method) }
}

fn vgg(method: Method) -> Config {
    Config { widths: Some(vec![8, 16, 24, 72]), ..Config::new("vgg-small", method) }
}
