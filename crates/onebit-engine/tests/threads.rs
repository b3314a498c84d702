//! One image computed by several threads: the same bits as by one.

#![cfg(not(target_family = "wasm"))]
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use common::{Random, isas, lowered};
use onebit_engine::{Engine, Isa, Options, ThreadPool};
use onebit_model::arch::{self, Config, Downsample, Method, Task};
use onebit_model::{Graph, Model, Verified};

fn build(name: &str, method: Method, change: impl FnOnce(&mut Config)) -> Verified<Graph> {
    let mut config = Config::new(name, method);
    change(&mut config);
    arch::build(&config, &Task::unnamed([3, 64, 64], 10)).unwrap()
}

fn logits(model: &Verified<Model>, isa: Isa, image: &[f32], pool: Option<&ThreadPool>) -> Vec<f32> {
    let engine = Engine::new(model, Options { isa: Some(isa), ..Options::default() }).unwrap();
    let mut logits = vec![0.0; engine.classes()];
    match pool {
        None => engine.run(image, &mut logits, &mut engine.scratch().unwrap()).unwrap(),
        Some(pool) => {
            let mut scratch = engine.scratch_for(pool.threads()).unwrap();
            for _ in 0..2 {
                engine.run_with(image, &mut logits, &mut scratch, pool).unwrap();
            }
        }
    }
    logits
}

#[test]
fn threads_that_share_an_image_give_the_logits_of_one() {
    let pools = [2, 3, 40].map(|threads| ThreadPool::new(threads).unwrap());
    let graphs = [
        build("resnet-small", Method::Reactnet, |config| config.widths = Some(vec![64, 72, 256])),
        build("resnet-small", Method::Dybnn, |config| config.widths = Some(vec![64, 72, 256])),
        build("resnet-small", Method::Ftbnn, |config| {
            (config.groups, config.widths) = (Some(4), Some(vec![80, 144, 160]));
            config.downsample = Some(Downsample::Binary);
        }),
        build("birealnet18", Method::Bireal, |_| {}),
        build("dybnn-a", Method::Dybnn, |_| {}),
        build("ftbnn18-compressed", Method::Ftbnn, |_| {}),
    ];
    for (seed, graph) in graphs.iter().enumerate() {
        let random = &mut Random(1000 + seed as u64);
        let model = lowered(graph, random);
        let image = random.floats(3 * 64 * 64, -1.5, 1.5);
        for isa in isas().into_iter().filter(|&isa| isa != Isa::Reference) {
            let expected = logits(&model, isa, &image, None);
            for pool in &pools {
                let found = logits(&model, isa, &image, Some(pool));
                let threads = pool.threads();
                assert_eq!(found, expected, "{}, {isa}, {threads} threads", graph.arch);
            }
        }
    }
}

#[test]
fn a_scratch_for_one_thread_serves_a_team() {
    let graph = build("resnet-small", Method::Reactnet, |_| {});
    let random = &mut Random(1);
    let model = lowered(&graph, random);
    let image = random.floats(3 * 64 * 64, -1.5, 1.5);
    let engine = Engine::new(&model, Options::default()).unwrap();
    let [mut alone, mut together] = [[0.0; 10]; 2];
    engine.run(&image, &mut alone, &mut engine.scratch().unwrap()).unwrap();
    let pool = ThreadPool::new(2).unwrap();
    engine.run_with(&image, &mut together, &mut engine.scratch().unwrap(), &pool).unwrap();
    assert_eq!(alone, together);
}

/// Runs itself with little memory; in an emulator a program cannot be started by its path.
#[test]
#[cfg(all(target_os = "linux", target_arch = "x86_64", not(miri)))]
fn a_thread_for_which_there_is_no_memory_is_an_error() {
    const CHILD: &str = "ONEBIT_TEST_LITTLE_MEMORY";
    if std::env::var_os(CHILD).is_some() {
        let mut taken = Vec::with_capacity(1 << 16);
        let mut piece = Vec::<u8>::new();
        while piece.try_reserve_exact(8 << 20).is_ok() {
            taken.push(std::hint::black_box(std::mem::take(&mut piece)));
        }
        let refused = ThreadPool::new(2).map(drop).map_err(|error| error.kind());
        drop(taken);
        assert_eq!(refused, Err(std::io::ErrorKind::OutOfMemory));
        assert_eq!(ThreadPool::new(2).map(|pool| pool.threads()).ok(), Some(2));
        return;
    }
    let child = std::process::Command::new("sh")
        .args([
            "-c",
            "ulimit -v 1000000; exec \"$0\" --exact a_thread_for_which_there_is_no_memory_is_an_error",
        ])
        .arg(std::env::current_exe().unwrap())
        .env(CHILD, "1")
        .output()
        .unwrap();
    let output = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success() && output.contains("1 passed"), "{child:?}");
}
