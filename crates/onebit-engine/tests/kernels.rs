//! Every instruction set against its definition, the reference or the portable kernels, one operation at a time.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use common::{Random, definition, engine, graph, isas, lowered, run};
use onebit_engine::Isa;
use onebit_model::{
    Data, Geometry, HyperRange, Model, Op, PadValue, Precision, Shift, Slope, Statistics,
    Threshold, Verified, WeightScale,
};

/// Largest difference of a real sum rounded once or twice for each of its terms (values of unit size).
const ROUNDING_TOLERANCE: f32 = 2e-5;

const SIZES: [[usize; 2]; 5] = [[1, 1], [9, 7], [2, 5], [7, 9], [4, 12]];

fn image(channels: usize, [height, width]: [usize; 2]) -> Op {
    Op::Input { channels, height, width }
}

/// input, sign, binary convolution.
fn conv_bin(
    channels: usize,
    size: [usize; 2],
    geometry: Geometry,
    pad: PadValue,
) -> onebit_model::Graph {
    graph(vec![
        ("input", image(channels, size), &[]),
        ("sign", Op::Sign { threshold: Threshold::Zero }, &[0]),
        ("conv", Op::ConvBin { geometry, pad, scale: WeightScale::None }, &[1]),
    ])
}

fn assert_equal_to_reference(model: &Verified<Model>, image: &[f32], what: &str) {
    let expected = run(&engine(model, Isa::Reference), image);
    for isa in isas() {
        let found = run(&engine(model, isa), image);
        let bad = found.iter().zip(&expected).position(|(a, b)| a != b);
        if let Some(i) = bad {
            panic!("{isa}, {what}: output {i} is {}, expected {}", found[i], expected[i]);
        }
    }
}

fn assert_equal_to_definition(model: &Verified<Model>, image: &[f32], what: &str) {
    let [expected, rounded_twice] =
        [Isa::Reference, Isa::Portable].map(|isa| run(&engine(model, isa), image));
    for (found, expected) in rounded_twice.iter().zip(&expected) {
        assert!((found - expected).abs() <= ROUNDING_TOLERANCE, "{what}: {found}, {expected}");
    }
    for isa in isas() {
        let definition = definition(isa);
        let expected = if definition == Isa::Portable { &rounded_twice } else { &expected };
        assert_eq!(&run(&engine(model, isa), image), expected, "{isa}, {what}");
    }
}

/// A binary convolution with random bits, then with all bits set on both sides.
fn check_conv_bin(channels: usize, size: [usize; 2], geometry: Geometry, pad: PadValue, seed: u64) {
    let what = format!("{channels} channels, {size:?}, {geometry:?}, {pad:?}, seed {seed}");
    let random = &mut Random(seed);
    let model = lowered(&conv_bin(channels, size, geometry, pad), random);
    let len = channels * size[0] * size[1];
    assert_equal_to_reference(&model, &random.floats(len, -1.0, 1.0), &what);

    let mut ones = model.into_inner();
    let bits = channels / geometry.groups;
    let Some(Data::U64(words)) = ones.tensors.get_mut("conv.weight").map(|t| &mut t.data) else {
        panic!("the weights are bits");
    };
    for tap in words.chunks_mut(onebit_model::bits::words(bits)) {
        tap.fill(u64::MAX);
        *tap.last_mut().unwrap() &= onebit_model::bits::tail_mask(bits);
    }
    let ones = Verified::<Model>::new(ones).unwrap();
    assert_equal_to_reference(&ones, &vec![1.0; len], &format!("all ones, {what}"));
    assert_equal_to_reference(&ones, &vec![-1.0; len], &format!("opposite, {what}"));
    if pad == PadValue::One {
        let all = (geometry.kernel * geometry.kernel * bits) as f32;
        let logits = run(&engine(&ones, isas().pop().unwrap()), &vec![1.0; len]);
        assert!(logits.iter().all(|&v| v == all), "{what}");
    }
}

#[test]
fn conv_bin_over_channels() {
    for channels in [1, 3, 31, 32, 33, 63, 64, 65, 127, 128, 130] {
        for (out_channels, kernel, stride) in [(1, 3, 1), (16, 1, 1), (17, 3, 2), (40, 5, 1)] {
            for pad in [PadValue::Zero, PadValue::One] {
                let geometry =
                    Geometry { out_channels, kernel, stride, padding: kernel / 2, groups: 1 };
                check_conv_bin(channels, [5, 8], geometry, pad, 1000 + channels as u64);
            }
        }
    }
}

#[test]
fn conv_bin_over_output_channels() {
    for out_channels in [1, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 64, 65] {
        for channels in [10, 64, 130] {
            let geometry = Geometry { out_channels, kernel: 3, stride: 1, padding: 1, groups: 1 };
            check_conv_bin(channels, [3, 7], geometry, PadValue::Zero, 2000 + out_channels as u64);
        }
    }
}

#[test]
fn conv_bin_over_windows_and_sizes() {
    let mut seed = 3000;
    for size in SIZES {
        for (kernel, padding) in [(1, 0), (2, 1), (3, 1), (3, 2), (5, 2), (5, 4), (7, 3)] {
            for stride in [1, 2, 3] {
                for pad in [PadValue::Zero, PadValue::One] {
                    let geometry =
                        Geometry { out_channels: 19, kernel, stride, padding, groups: 1 };
                    if size.iter().all(|&extent| geometry.output_extent(extent).is_some()) {
                        check_conv_bin(70, size, geometry, pad, seed);
                        seed += 1;
                    }
                }
            }
        }
    }
}

#[test]
fn conv_bin_over_groups() {
    let mut seed = 4000;
    let groups = [(2, 2), (2, 6), (3, 99), (2, 128), (4, 256), (5, 325), (7, 7), (3, 390)];
    for (groups, channels) in groups {
        for each in [1, 5, 8, 16, 20] {
            for (kernel, stride) in [(1, 1), (3, 1), (3, 2)] {
                for pad in [PadValue::Zero, PadValue::One] {
                    let (out_channels, padding) = (each * groups, kernel / 2);
                    let geometry = Geometry { out_channels, kernel, stride, padding, groups };
                    check_conv_bin(channels, [4, 6], geometry, pad, seed);
                    seed += 1;
                }
            }
        }
    }
}

#[test]
fn conv_bin_with_counts_around_16_bits() {
    for channels in [65_535, 65_536] {
        let geometry = Geometry { out_channels: 17, kernel: 1, stride: 1, padding: 0, groups: 1 };
        check_conv_bin(channels, [1, 1], geometry, PadValue::Zero, 4900);
    }
}

#[test]
fn real_convolutions() {
    let mut seed = 5000;
    for size in SIZES {
        for (channels, out_channels, groups) in
            [(3, 16, 1), (1, 5, 1), (3, 33, 1), (40, 70, 1), (12, 36, 3), (8, 8, 8)]
        {
            for (kernel, stride, padding) in [(1, 1, 0), (3, 1, 1), (3, 2, 1), (7, 2, 3)] {
                let geometry = Geometry { out_channels, kernel, stride, padding, groups };
                if size.iter().any(|&extent| geometry.output_extent(extent).is_none()) {
                    continue;
                }
                let random = &mut Random(seed);
                let graph = graph(vec![
                    ("input", image(channels, size), &[]),
                    ("conv", Op::Conv { geometry }, &[0]),
                ]);
                let model = lowered(&graph, random);
                let x = random.floats(channels * size[0] * size[1], -1.0, 1.0);
                let what = format!("{channels} channels, {size:?}, {geometry:?}, seed {seed}");
                assert_equal_to_definition(&model, &x, &what);
                seed += 1;
            }
        }
    }
}

#[test]
fn real_convolutions_by_minimal_filtering() {
    let mut seed = 5500;
    for (size, padding) in
        [([7, 7], 0), ([1, 2], 6), ([16, 33], 3), ([9, 56], 3), ([12, 63], 2), ([7, 120], 5)]
    {
        for (channels, out_channels) in [(1, 5), (3, 16), (3, 64), (2, 33), (5, 70)] {
            let geometry = Geometry { out_channels, kernel: 7, stride: 2, padding, groups: 1 };
            let random = &mut Random(seed);
            let graph = graph(vec![
                ("input", image(channels, size), &[]),
                ("conv", Op::Conv { geometry }, &[0]),
            ]);
            let model = lowered(&graph, random);
            let x = random.floats(channels * size[0] * size[1], -1.0, 1.0);
            let what = format!("{channels} channels, {size:?}, {geometry:?}, seed {seed}");
            assert_equal_to_definition(&model, &x, &what);
            seed += 1;
        }
    }
}

/// input, 8-bit convolution.
fn conv_i8(channels: usize, size: [usize; 2], geometry: Geometry) -> onebit_model::Graph {
    graph(vec![("input", image(channels, size), &[]), ("conv", Op::ConvI8 { geometry }, &[0])])
}

/// An 8-bit convolution of random values, then of the largest sums of either sign.
fn check_conv_i8(channels: usize, size: [usize; 2], geometry: Geometry, seed: u64) {
    let what = format!("{channels} channels, {size:?}, {geometry:?}, seed {seed}");
    let random = &mut Random(seed);
    let model = lowered(&conv_i8(channels, size, geometry), random);
    let len = channels * size[0] * size[1];
    assert_equal_to_reference(&model, &random.floats(len, -2.5, 2.5), &what);
    for weight in [i8::MIN, -127, i8::MAX] {
        let extreme = with_weights(&model, weight);
        for value in [-1e9, 1e9, f32::NAN, f32::INFINITY] {
            let what = format!("weights {weight}, inputs {value}, {what}");
            assert_equal_to_reference(&extreme, &vec![value; len], &what);
        }
    }
}

/// The same with all 8-bit weights alike.
fn with_weights(model: &Verified<Model>, weight: i8) -> Verified<Model> {
    let mut model = model.clone().into_inner();
    for tensor in model.tensors.values_mut() {
        if let Data::I8(integers) = &mut tensor.data {
            integers.fill(weight);
        }
    }
    Verified::<Model>::new(model).unwrap()
}

#[test]
fn conv_i8_over_channels() {
    for channels in (1..=20).chain([31, 32, 33, 47, 61, 64, 67, 70]) {
        for (out_channels, kernel, stride) in [(1, 3, 1), (16, 1, 1), (17, 3, 2), (40, 5, 1)] {
            let geometry =
                Geometry { out_channels, kernel, stride, padding: kernel / 2, groups: 1 };
            check_conv_i8(channels, [5, 8], geometry, 10_000 + channels as u64);
        }
    }
}

#[test]
fn conv_i8_over_output_channels() {
    for out_channels in 1..=70 {
        let geometry = Geometry { out_channels, kernel: 3, stride: 2, padding: 1, groups: 1 };
        check_conv_i8(3, [6, 27], geometry, 11_000 + out_channels as u64);
    }
}

#[test]
fn conv_i8_over_windows_and_sizes() {
    let mut seed = 12_000;
    for size in SIZES.into_iter().chain([[3, 130]]) {
        for (kernel, padding) in
            [(1, 0), (2, 1), (3, 1), (3, 2), (5, 2), (5, 4), (7, 3), (7, 6), (11, 5)]
        {
            for stride in [1, 2, 3, 8] {
                let geometry = Geometry { out_channels: 19, kernel, stride, padding, groups: 1 };
                if size.iter().all(|&extent| geometry.output_extent(extent).is_some()) {
                    check_conv_i8(3, size, geometry, seed);
                    seed += 1;
                }
            }
        }
    }
}

/// The most products that a sum may have.
#[test]
fn conv_i8_of_the_largest_sums() {
    let geometry = Geometry { out_channels: 33, kernel: 1, stride: 1, padding: 0, groups: 1 };
    check_conv_i8(65_536, [1, 1], geometry, 12_900);
    let geometry = Geometry { out_channels: 5, kernel: 16, stride: 1, padding: 8, groups: 1 };
    check_conv_i8(256, [3, 5], geometry, 12_901);
}

#[test]
fn linear_i8() {
    let mut seed = 13_000;
    for channels in [1, 3, 16, 37, 64, 200] {
        for (size, out_features) in [([1, 1], 10), ([2, 3], 33), ([1, 1], 100), ([4, 1], 1)] {
            let nodes: [(_, _, &[usize]); 3] = [
                ("input", image(channels, size), &[]),
                ("pool", Op::MaxPool { kernel: 1, stride: 1, padding: 0 }, &[0]),
                ("fc", Op::LinearI8 { out_features }, &[1]),
            ];
            let mut of_image = nodes.to_vec();
            of_image.remove(1);
            of_image[1].2 = &[0];
            for nodes in [nodes.to_vec(), of_image] {
                let random = &mut Random(seed);
                let model = lowered(&graph(nodes), random);
                let what = format!("{channels} channels, {size:?}, {out_features}, seed {seed}");
                let x = random.floats(channels * size[0] * size[1], -2.5, 2.5);
                assert_equal_to_reference(&model, &x, &what);
                let extreme = with_weights(&model, -127);
                assert_equal_to_reference(&extreme, &vec![1e9; x.len()], &what);
                seed += 1;
            }
        }
    }
}

#[test]
fn pooling() {
    let mut seed = 6000;
    for channels in [1, 3, 16, 37, 64] {
        for size in [[7, 9], [8, 8], [3, 3]] {
            for op in [
                Op::AvgPool { kernel: 2, stride: 2 },
                Op::AvgPool { kernel: 3, stride: 1 },
                Op::MaxPool { kernel: 3, stride: 2, padding: 1 },
                Op::MaxPool { kernel: 2, stride: 1, padding: 0 },
                Op::GlobalAvgPool,
            ] {
                let random = &mut Random(seed);
                let what = format!("{op:?}, {channels} channels, {size:?}, seed {seed}");
                let graph = graph(vec![("input", image(channels, size), &[]), ("pool", op, &[0])]);
                let model = lowered(&graph, random);
                let x = random.floats(channels * size[0] * size[1], -1.0, 1.0);
                assert_equal_to_reference(&model, &x, &what);
                seed += 1;
            }
        }
    }
}

#[test]
fn vectors() {
    let mut seed = 7000;
    for channels in [1, 7, 32, 65] {
        for statistics in [Statistics::Mean, Statistics::MeanStd, Statistics::MeanThird] {
            for (range, precision) in [
                (HyperRange::Raw, Precision::F32),
                (HyperRange::Raw, Precision::I8),
                (HyperRange::Sigmoid { lambda: 0.5 }, Precision::I8),
            ] {
                let graph = graph(vec![
                    ("input", image(channels, [3, 5]), &[]),
                    ("trunk", Op::HyperTrunk { statistics, hidden: 9, precision }, &[0]),
                    ("head", Op::HyperHead { outputs: channels, range, precision }, &[1]),
                    ("fc", Op::Linear { out_features: 33 }, &[2]),
                ]);
                let random = &mut Random(seed);
                let model = lowered(&graph, random);
                let x = random.floats(channels * 15, -1.0, 1.0);
                let what =
                    format!("{statistics:?} of {channels}, {range:?}, {precision:?}, seed {seed}");
                assert_equal_to_definition(&model, &x, &what);
                seed += 1;
            }
        }
    }
}

#[test]
fn wide_layers_of_8_bits() {
    let precision = Precision::I8;
    let (statistics, range) = (Statistics::MeanStd, HyperRange::Sigmoid { lambda: 0.5 });
    let sizes = [(150, 16, 32), (40, 144, 128), (129, 300, 384), (16, 600, 80)];
    for (seed, (channels, hidden, outputs)) in (8000..).zip(sizes) {
        let graph = graph(vec![
            ("input", image(channels, [2, 3]), &[]),
            ("trunk", Op::HyperTrunk { statistics, hidden, precision }, &[0]),
            ("head", Op::HyperHead { outputs, range, precision }, &[1]),
        ]);
        let random = &mut Random(seed);
        let model = lowered(&graph, random);
        let x = random.floats(channels * 6, -1.0, 1.0);
        let what = format!("{channels} channels, {hidden} units, {outputs} outputs, seed {seed}");
        assert_equal_to_definition(&model, &x, &what);
    }
}

/// A rectifier that takes the place of its input: read as a map, as the sums of its channels, and by a sign.
#[test]
fn dynamic_rectifiers_and_signs() {
    let precision = Precision::I8;
    let trunk = Op::HyperTrunk { statistics: Statistics::Mean, hidden: 9, precision };
    let range = HyperRange::Sigmoid { lambda: 0.5 };
    let head = |outputs| Op::HyperHead { outputs, range, precision };
    let geometry = Geometry { out_channels: 5, kernel: 1, stride: 1, padding: 0, groups: 1 };
    let conv = Op::ConvBin { geometry, pad: PadValue::Zero, scale: WeightScale::None };
    let mut seed = 9000;
    for channels in [1, 16, 40, 64, 130] {
        for width in [1, 2, 5, 7, 8, 14, 19] {
            let map = vec![
                ("input", image(channels, [3, width]), &[][..]),
                ("bn", Op::Affine, &[0]),
                ("trunk", trunk.clone(), &[1]),
                ("shifts", head(2 * channels), &[2]),
                ("prelu", Op::Prelu { slope: Slope::Both, shift: Shift::Dynamic }, &[1, 3]),
            ];
            let mut sums = map.clone();
            sums.push(("pool", Op::GlobalAvgPool, &[4]));
            let mut signs = map.clone();
            signs.push(("second", trunk.clone(), &[4]));
            signs.push(("offsets", head(channels), &[5]));
            signs.push(("sign", Op::Sign { threshold: Threshold::Dynamic }, &[4, 6]));
            signs.push(("conv", conv.clone(), &[7]));
            for nodes in [map, sums, signs] {
                let random = &mut Random(seed);
                let what =
                    format!("{channels} channels, {width} wide, {}, seed {seed}", nodes.len());
                let model = lowered(&graph(nodes), random);
                let x = random.floats(channels * 3 * width, -1.0, 1.0);
                assert_equal_to_definition(&model, &x, &what);
                seed += 1;
            }
        }
    }
}

#[test]
fn a_value_on_its_threshold_is_minus_one() {
    let geometry = Geometry { out_channels: 1, kernel: 1, stride: 1, padding: 0, groups: 1 };
    for channels in [1, 16, 64, 100] {
        let model = lowered(&conv_bin(channels, [1, 1], geometry, PadValue::Zero), &mut Random(1));
        for isa in isas() {
            let engine = engine(&model, isa);
            for (value, bit) in [(0.0, 0), (-0.0, 0), (f32::MIN_POSITIVE, 1), (f32::NAN, 0)] {
                let (_, signs) = common::observe(&engine, &vec![value; channels]);
                let ones: u32 = signs["sign"].iter().map(|w| w.count_ones()).sum();
                assert_eq!(ones as usize, bit * channels, "{isa}: {value}");
            }
        }
    }
}
