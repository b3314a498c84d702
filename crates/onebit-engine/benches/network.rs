//! Time of every step of the body of an 18-layer residual network (four stages of 64 to 512 channels from
//! 56x56 pixels, ReActNet's ResNet-18 without its 7x7 stem), for the instruction set named by the first
//! argument or the fastest, with any method named by the second.
#![allow(clippy::print_stdout, clippy::unwrap_used)]

#[path = "../tests/common/mod.rs"]
mod common;

use std::time::Instant;

use common::{Random, lowered, run};
use onebit_engine::{Engine, Isa, Options};
use onebit_model::arch::{self, Config, Method, Task};

/// Largest difference of a logit from the reference kernels, unless a sign flipped.
const LOGIT_TOLERANCE: f32 = 1e-4;
const RUNS: usize = 50;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
    let isa = arguments.first().map(|name| Isa::from_name(name).unwrap());
    let method = match arguments.get(1).map(String::as_str) {
        Some("bireal") => Method::Bireal,
        Some("ftbnn") => Method::Ftbnn,
        Some("dybnn") => Method::Dybnn,
        _ => Method::Reactnet,
    };
    let mut config = Config::new("resnet-small", method);
    (config.widths, config.blocks) = (Some(vec![64, 128, 256, 512]), Some(vec![4; 4]));
    let graph = arch::build(&config, &Task::unnamed([3, 56, 56], 1000)).unwrap();
    let model = lowered(&graph, &mut Random(1));
    let image = Random(2).floats(3 * 56 * 56, -1.0, 1.0);
    let engine = Engine::new(&model, Options { isa, ..Options::default() }).unwrap();
    check(&engine, &model, &image);

    let mut best = vec![u64::MAX; engine.steps().len()];
    let mut times = best.clone();
    let (mut scratch, mut logits) = (engine.scratch().unwrap(), vec![0.0; 1000]);
    let start = Instant::now();
    let mut clock = || u64::try_from(start.elapsed().as_nanos()).unwrap();
    let mut fastest = u64::MAX;
    for _ in 0..RUNS {
        engine.run_profiled(&image, &mut logits, &mut scratch, &mut clock, &mut times).unwrap();
        fastest = fastest.min(times.iter().sum());
        best.iter_mut().zip(&times).for_each(|(best, &time)| *best = time.min(*best));
    }
    for (step, time) in engine.steps().iter().zip(&best) {
        let rate = (step.flops + step.bops) as f64 / *time as f64;
        let (time, ops) = (*time as f64 / 1e3, step.ops.join("+"));
        println!("{:18} {:28} {time:8.1} us {rate:8.1} G MAC/s  {ops}", step.name, step.kernel);
    }
    println!("{} {:?}: {:.3} ms", engine.isa(), engine.memory(), fastest as f64 / 1e6);
}

fn check(engine: &Engine, model: &onebit_model::Verified<onebit_model::Model>, image: &[f32]) {
    if engine.isa() == Isa::Portable {
        return;
    }
    let expected = run(&common::engine(model, Isa::Portable), image);
    let found = run(engine, image);
    let agree = found.iter().zip(&expected).filter(|(a, b)| (*a - *b).abs() <= LOGIT_TOLERANCE);
    println!("{} of {} logits equal those of the portable kernels", agree.count(), found.len());
}
