//! The engine runs lowered networks as the trained ones are defined.

use onebit_engine::{Engine, Isa, Options};
use onebit_model::file::Weights;
use onebit_model::{Model, Verified, bits};
use onebit_pack::{Agreement, Observed, lower};
use onebit_testing::{Random, random_seed};

use super::networks::{build, configs, random_weights};
use super::trained;

const IMAGES: usize = 4;

#[test]
fn the_engine_agrees_with_every_trained_network() {
    let mut random = Random(random_seed());
    for config in configs(&mut random) {
        let weights = random_weights(build(&config), &mut random);
        let model = lower(&weights).unwrap();
        let images: Vec<Vec<f32>> =
            (0..IMAGES).map(|_| (0..2 * 8 * 8).map(|_| random.float()).collect()).collect();
        for isa in Isa::available() {
            let options = Options { isa: Some(isa), ..Options::default() };
            let engine = Engine::new(&model, options).unwrap();
            let mut agreement = Agreement::new(&weights.graph).unwrap();
            for image in &images {
                agreement.image(&trainer(&weights, &model, image), &run(&engine, image));
            }
            if let Err(error) = agreement.verdict() {
                panic!("{error}\n{isa:?} {config:?}\n{:?}", agreement.report());
            }
        }
    }
}

fn trainer(weights: &Verified<Weights>, model: &Verified<Model>, image: &[f32]) -> Observed {
    let image: Vec<f64> = image.iter().map(|&x| f64::from(x)).collect();
    let (logits, patterns) = trained(weights, &image);
    let shapes = onebit_model::infer::shapes(&model.graph).unwrap();
    let channels = |name: &str| {
        let position = model.graph.nodes.iter().position(|node| node.name == name);
        shapes[position.unwrap()].channels
    };
    let signs = patterns.into_iter().map(|(name, pattern)| {
        let channels = channels(&name);
        let pixels = pattern.chunks(channels).flat_map(|pixel| {
            let values: Vec<f32> = pixel.iter().map(|&p| if p { 1.0 } else { -1.0 }).collect();
            let mut words = vec![0; bits::words(channels)];
            bits::pack(&values, &mut words);
            words
        });
        let words = pixels.collect();
        (name, words)
    });
    let signs = signs.collect();
    Observed { logits: logits.into_iter().map(|l| l as f32).collect(), signs }
}

fn run(engine: &Engine, image: &[f32]) -> Observed {
    let mut scratch = engine.scratch().unwrap();
    let mut observed = Observed { logits: vec![0.0; engine.classes()], signs: Vec::new() };
    let signs = &mut observed.signs;
    let mut observer = |node: &str, bits: &[u64]| signs.push((node.to_string(), bits.to_vec()));
    engine.run_observed(image, &mut observed.logits, &mut scratch, &mut observer).unwrap();
    observed
}
