//! What the engine promises besides its numbers: errors, sharing between threads, no allocation.

#![allow(unsafe_code, reason = "the counting allocator")]
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use common::{Random, engine, graph, isas, lowered, run};
use onebit_engine::{Engine, EngineError, Isa, Options, Scratch};
use onebit_model::arch::{self, Config, Downsample, Method, Sharing, Task};
use onebit_model::{Geometry, Model, NodeId, Op, Verified};

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|n| n.set(n.get() + 1));
        // SAFETY: the caller's promises are the system's conditions.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are the system's conditions.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn dybnn(input: [usize; 3]) -> Verified<Model> {
    let mut config = Config::new("resnet-small", Method::Dybnn);
    config.widths = Some(vec![24, 48]);
    config.blocks = Some(vec![1, 2]);
    config.groups = Some(2);
    config.downsample = Some(Downsample::Binary);
    let graph = arch::build(&config, &Task::unnamed(input, 10)).unwrap();
    lowered(&graph, &mut Random(1))
}

/// First and last layers of 8 bits.
fn int8(input: [usize; 3]) -> Verified<Model> {
    let [channels, height, width] = input;
    let geometry = Geometry { out_channels: 24, kernel: 3, stride: 2, padding: 1, groups: 1 };
    let nodes: Vec<(&str, Op, &[usize])> = vec![
        ("input", Op::Input { channels, height, width }, &[]),
        ("conv", Op::ConvI8 { geometry }, &[0]),
        ("max", Op::MaxPool { kernel: 3, stride: 2, padding: 1 }, &[1]),
        ("fc", Op::LinearI8 { out_features: 10 }, &[2]),
    ];
    lowered(&graph(nodes), &mut Random(3))
}

#[test]
fn a_run_allocates_nothing() {
    let image = Random(2).floats(3 * 16 * 16, -1.0, 1.0);
    let models = [dybnn([3, 16, 16]), int8([3, 16, 16])];
    for (model, isa) in models.iter().flat_map(|model| isas().into_iter().map(move |i| (model, i)))
    {
        let engine = engine(model, isa);
        let mut scratch = engine.scratch().unwrap();
        let mut logits = vec![0.0; engine.classes()];
        let before = ALLOCATIONS.with(Cell::get);
        engine.run(&image, &mut logits, &mut scratch).unwrap();
        assert_eq!(ALLOCATIONS.with(Cell::get), before, "{isa}");
    }
    let before = ALLOCATIONS.with(Cell::get);
    drop(std::hint::black_box(vec![1u8]));
    assert!(ALLOCATIONS.with(Cell::get) > before, "the allocator counts");
}

#[test]
#[cfg(not(target_family = "wasm"))] // which has no threads
fn threads_share_an_engine() {
    fn shared<T: Send + Sync>(_: &T) {}
    let model = dybnn([3, 16, 16]);
    let engine = Engine::new(&model, Options::default()).unwrap();
    shared(&engine);
    let images: Vec<Vec<f32>> =
        (0..4).map(|seed| Random(seed).floats(3 * 16 * 16, -1.0, 1.0)).collect();
    let expected: Vec<Vec<f32>> = images.iter().map(|image| run(&engine, image)).collect();
    let engine = &engine;
    let found: Vec<Vec<f32>> = std::thread::scope(|scope| {
        let threads: Vec<_> =
            images.iter().map(|image| scope.spawn(move || run(engine, image))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(found, expected);
}

#[test]
fn a_scratch_carries_nothing_from_one_image_to_the_next() {
    let models = [dybnn([3, 16, 16]), int8([3, 16, 16])];
    for (model, isa) in models.iter().flat_map(|model| isas().into_iter().map(move |i| (model, i)))
    {
        let engine = engine(model, isa);
        let mut scratch = engine.scratch().unwrap();
        let mut logits = vec![0.0; 10];
        for seed in 0..3 {
            let image = Random(seed).floats(3 * 16 * 16, -1.0, 1.0);
            engine.run(&image, &mut logits, &mut scratch).unwrap();
            assert_eq!(logits, run(&engine, &image), "{isa}");
        }
    }
}

#[test]
fn wrong_lengths_are_one_clear_error() {
    let model = dybnn([3, 16, 16]);
    let engine = Engine::new(&model, Options::default()).unwrap();
    let try_run = |image: usize, logits: usize, scratch: &mut Scratch| {
        let error = engine.run(&vec![0.0; image], &mut vec![0.0; logits], scratch).unwrap_err();
        error.to_string()
    };
    let mut scratch = engine.scratch().unwrap();
    assert_eq!(
        try_run(767, 10, &mut scratch),
        "the image has 767 values, expected 16x16x3 = 768 (NHWC)"
    );
    assert_eq!(
        try_run(768, 9, &mut scratch),
        "the slice for the logits has 9 places, the network has 10 classes"
    );
    let options = Options { input: Some([8, 8]), ..Options::default() };
    let mut foreign = Engine::new(&model, options).unwrap().scratch().unwrap();
    assert_eq!(
        try_run(768, 10, &mut foreign),
        "the scratch memory belongs to another engine; get it from `scratch()` of this one"
    );
    let (image, mut logits) = ([0.0; 768], [0.0; 10]);
    let error = engine.run_profiled(&image, &mut logits, &mut scratch, &mut || 0, &mut []);
    let steps = engine.steps().len();
    assert_eq!(error, Err(EngineError::TimesLength { found: 0, expected: steps }));
}

#[test]
fn an_output_that_is_no_node_is_refused() {
    let model = dybnn([3, 16, 16]);
    let nodes = model.graph.nodes.len();
    let options = Options { output: Some(NodeId(nodes)), ..Options::default() };
    let error = Engine::new(&model, options).unwrap_err();
    assert_eq!(error, EngineError::NoSuchNode { node: nodes, nodes });
}

#[test]
fn sizes_that_do_not_fit_are_refused() {
    let model = dybnn([3, 16, 16]);
    let refuse = |height, width| {
        let options = Options { input: Some([height, width]), ..Options::default() };
        Engine::new(&model, options).unwrap_err()
    };
    assert!(matches!(refuse(0, 16), EngineError::InputSize { height: 0, width: 16, .. }));
    assert!(matches!(refuse(1, 1), EngineError::InputSize { .. }));
    assert!(matches!(refuse(usize::MAX, usize::MAX), EngineError::InputSize { .. }));
    assert!(matches!(refuse(1 << 16, 1 << 16), EngineError::InputSize { .. }));
    assert!(matches!(refuse(3072, 3072), EngineError::TooLarge { .. }));
}

#[test]
fn a_classifier_of_pixels_keeps_its_image_size() {
    let model = lowered(
        &graph(vec![
            ("input", Op::Input { channels: 2, height: 4, width: 4 }, &[]),
            ("fc", Op::Linear { out_features: 3 }, &[0]),
        ]),
        &mut Random(1),
    );
    assert_eq!(Engine::new(&model, Options::default()).unwrap().classes(), 3);
    let options = Options { input: Some([5, 4]), ..Options::default() };
    assert_eq!(
        Engine::new(&model, options).unwrap_err().to_string(),
        "the network cannot take an image of 5x4: node `fc`: it takes 32 values, of images of 2x5x4 there are 40: this \
         network takes images of its own size"
    );
}

#[test]
fn graphs_at_the_edge() {
    let image = ("input", Op::Input { channels: 2, height: 3, width: 3 }, &[][..]);
    let only_input = lowered(&graph(vec![image.clone()]), &mut Random(1));
    let twice = lowered(
        &graph(vec![image, ("double", Op::Add, &[0, 0]), ("both", Op::Concat, &[1, 1])]),
        &mut Random(1),
    );
    let x: Vec<f32> = (0..18u8).map(f32::from).collect();
    for isa in isas() {
        assert_eq!(run(&engine(&only_input, isa), &x), x);
        let doubled = run(&engine(&twice, isa), &x);
        assert_eq!(doubled[..8], [0.0, 2.0, 0.0, 2.0, 4.0, 6.0, 4.0, 6.0]);
    }
}

#[test]
fn instruction_sets_have_names() {
    for isa in [
        Isa::Reference,
        Isa::Portable,
        Isa::Simd128,
        Isa::Neon,
        Isa::Avx2,
        Isa::Avx512Bw,
        Isa::Avx512,
    ] {
        assert_eq!(Isa::from_name(isa.name()), Some(isa));
        let options = Options { isa: Some(isa), ..Options::default() };
        let engine = Engine::new(&dybnn([3, 16, 16]), options);
        if Isa::available().contains(&isa) {
            assert_eq!(engine.unwrap().isa(), isa);
        } else {
            assert!(matches!(engine, Err(EngineError::MissingIsa { .. })));
        }
    }
    assert_eq!(Isa::from_name("sse9"), None);
    assert_eq!(Isa::available()[..2], [Isa::Reference, Isa::Portable]);
}

/// The engine of a network of two blocks, the second of half the size, and the operations of its steps.
fn two_blocks(method: Method) -> (Engine, Vec<String>) {
    let mut config = Config::new("resnet-small", method);
    config.widths = Some(vec![16, 32]);
    config.blocks = Some(vec![1, 1]);
    let graph = arch::build(&config, &Task::unnamed([3, 8, 8], 10)).unwrap();
    let engine = Engine::new(&lowered(&graph, &mut Random(1)), Options::default()).unwrap();
    let steps = engine.steps().iter().map(|step| step.ops.join("+")).collect();
    (engine, steps)
}

#[test]
fn convolutions_are_fused_with_what_follows_them() {
    let (engine, steps) = two_blocks(Method::Reactnet);
    assert_eq!(
        steps,
        [
            "conv+affine+sign",
            "conv_bin+affine+add+prelu+sign+avg_pool",
            "conv+affine",
            "conv_bin+affine+add+prelu",
            "global_avg_pool",
            "linear"
        ]
    );
    let bops: u64 = engine.steps().iter().map(|step| step.bops).sum();
    assert_eq!(bops, (16 * 16 * 64 + 32 * 16 * 16) * 9);
    assert!(engine.steps()[1].kernel.starts_with("conv_bin_3x3_"));
    let mut times = vec![0; steps.len()];
    let mut ticks = 0;
    let mut clock = || {
        ticks += 7;
        ticks
    };
    let (image, mut logits) = ([0.5; 192], [0.0; 10]);
    let mut scratch = engine.scratch().unwrap();
    engine.run_profiled(&image, &mut logits, &mut scratch, &mut clock, &mut times).unwrap();
    assert_eq!(times, [7; 6]);
    assert_eq!(logits[..], run(&engine, &image));
}

#[test]
fn a_pooling_gives_the_dynamic_sign_of_what_it_reads() {
    let (_, steps) = two_blocks(Method::Dybnn);
    assert_eq!(steps.iter().filter(|&ops| ops == "sign+avg_pool").count(), 1, "{steps:?}");
    assert!(!steps.iter().any(|ops| ops == "avg_pool"), "{steps:?}");
}

/// The hyper functions of a block that share the statistics of its input are computed before its convolutions, which
/// then end with the dynamic rectifier and the dynamic sign of the second half.
#[test]
fn shared_hyper_functions_leave_one_dynamic_sign_of_its_own_to_a_block() {
    let steps = |sharing| {
        let mut config = Config::named("dybnn-a-cifar");
        config.widths = Some(vec![16, 16, 16]);
        config.hyper.sharing = sharing;
        let graph = arch::build(&config, &Task::unnamed([3, 8, 8], 10)).unwrap();
        let engine = Engine::new(&lowered(&graph, &mut Random(1)), Options::default()).unwrap();
        let operations = engine.steps().iter().map(|step| step.ops.join("+"));
        operations.filter(|ops| !ops.starts_with("hyper")).collect::<Vec<_>>()
    };
    let [first, second] = ["conv_bin+affine+add+prelu+sign", "conv_bin+affine+add+prelu"];
    let shared = ["conv+affine", "sign", first, second, "sign", first, second];
    assert_eq!(steps(Sharing::Block)[..7], shared);
    let alone = ["sign", "conv_bin+affine+add", "prelu"].repeat(4);
    assert_eq!(steps(Sharing::None)[1..13], alone);
}
