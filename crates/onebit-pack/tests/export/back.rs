//! An exported network that is imported again gives the same logits, bit for bit.

use onebit_engine::{Engine, Options};
use onebit_model::Verified;
use onebit_model::{ChannelOrder, Interpolation, Model, Op, Preprocessing, Resize};
use onebit_pack::export::to_onnx;
use onebit_pack::import::{OnnxOptions, read_onnx};
use onebit_pack::lower;
use onebit_testing::{Random, random_seed};

use crate::balanced;
use crate::networks::{INPUT, configs};

fn logits(model: &Verified<Model>, image: &[f32]) -> Vec<f32> {
    let engine = Engine::new(model, Options::default()).unwrap();
    let mut logits = vec![0.0; engine.classes()];
    engine.run(image, &mut logits, &mut engine.scratch().unwrap()).unwrap();
    logits
}

#[test]
fn every_network_comes_back() {
    let mut random = Random(random_seed());
    for config in configs() {
        let model = balanced(&config, &mut random);
        let file = to_onnx(&model, None).unwrap();
        let imported = read_onnx(&file.bytes, OnnxOptions::default());
        let imported = imported.unwrap_or_else(|error| panic!("{error}\n{config:?}"));
        let back = lower(&imported.weights).unwrap();
        assert_eq!(back.graph.arch, model.graph.arch);
        assert_eq!(back.graph.normalization, model.graph.normalization);
        assert_eq!(back.graph.classes, model.graph.classes);
        let count = |model: &Model| {
            model.graph.nodes.iter().filter(|node| !matches!(node.op, Op::Affine)).count()
        };
        assert_eq!(count(&back), count(&model), "{config:?}");
        for _ in 0..3 {
            let image: Vec<f32> = random.floats(INPUT.iter().product(), -1.7, 1.7);
            assert_eq!(logits(&back, &image), logits(&model, &image), "{config:?}");
        }
    }
}

/// No comparison of logits sees how photographs are prepared.
#[test]
fn the_preprocessing_comes_back() {
    let preprocessing = Preprocessing {
        resize: Resize::Exact([48, 50]),
        interpolation: Interpolation::Bicubic,
        channel_order: ChannelOrder::Bgr,
        ..Preprocessing::default()
    };
    let mut model = balanced(&configs()[0], &mut Random(random_seed())).into_inner();
    model.graph.preprocessing = preprocessing;
    let model = Verified::<Model>::new(model).unwrap();
    let [channels, height, width] = INPUT;
    for (input, expected) in [
        (None, preprocessing),
        (Some([channels, height + 8, width + 8]), preprocessing),
        (Some([channels, 64, 64]), Preprocessing::default()),
    ] {
        let file = to_onnx(&model, input).unwrap();
        let imported = read_onnx(&file.bytes, OnnxOptions::default()).unwrap();
        assert_eq!(imported.weights.graph.preprocessing, expected);
        let is_said = imported.notes.iter().any(|note| {
            note.contains("`preprocessing` is left out: preprocessing: resize.exact is 48x50")
        });
        assert_eq!(is_said, expected.is_default(), "{:?}", imported.notes);
    }
}
