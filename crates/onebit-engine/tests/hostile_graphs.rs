//! Random graphs that put every operation behind every value, against the interpreter, on every instruction set, by
//! one thread and by several.
//!
//! `ONEBIT_RANDOM_GRAPHS` is their number, `ONEBIT_TEST_SEED` the seed of the first, each other being one more. A long
//! run, on all but one of the cores:
//!
//! ```sh
//! ONEBIT_RANDOM_GRAPHS=1000000 nice cargo test --release -p onebit-engine --test hostile_graphs -- --nocapture
//! ```
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};

use common::hostile::{Nodes, random_nodes};
use common::interpret::compare_bounded;
use common::{Random, definition, engine, graph, isas, lowered, observe};
#[cfg(not(target_family = "wasm"))]
use onebit_engine::ThreadPool;
use onebit_engine::{Engine, Isa};
use onebit_model::{Model, Verified};

/// Graphs of the ordinary test.
const GRAPHS: u64 = 3000;
/// Threads that share an image.
const THREADS: usize = 3;
/// One image in so many holds numbers that are not finite.
const SPECIAL: u64 = 12;

/// A graph's place in a row of random ones.
struct Case {
    model: Verified<Model>,
    image: Vec<f32>,
}

impl Case {
    fn new(seed: u64, covered: &mut Covered) -> Case {
        let random = &mut Random(seed);
        let nodes = random_nodes(random);
        covered.add(&nodes);
        let borrowed = nodes.iter().map(|(name, op, x)| (&name[..], op.clone(), &x[..])).collect();
        let model = lowered(&graph(borrowed), random);
        let len = model.graph.input_shape().iter().product();
        let mut image = random.floats(len, -1.5, 1.5);
        if random.next().is_multiple_of(SPECIAL) {
            for _ in 0..1 + random.next() % 3 {
                let at = random.next() as usize % len;
                image[at] = random.choose(&[f32::NAN, f32::INFINITY, f32::NEG_INFINITY]);
            }
        }
        Case { model, image }
    }

    /// What is wrong, if anything is.
    fn check(&self, isas: &[Isa], pool: &Sharing) -> Result<(), String> {
        let mut known: BTreeMap<Isa, Observed> = BTreeMap::new();
        for &isa in isas {
            let engine = engine(&self.model, isa);
            let found = observe(&engine, &self.image);
            let definition = definition(isa);
            if isa == definition {
                compare_bounded(&self.model, &self.image, &found.0, &found.1)
                    .map_err(|wrong| format!("{isa}: {wrong}"))?;
            } else {
                let expected = &known[&definition];
                if found.1 != expected.1 {
                    return Err(format!("{isa} and {definition} give other signs"));
                }
                same(&found.0, &expected.0).map_err(|i| {
                    let [found, expected] = [found.0[i], expected.0[i]];
                    format!("logit {i} of {isa} is {found}, of {definition} {expected}")
                })?;
            }
            pool.check(&engine, &self.image, &found.0).map_err(|i| {
                format!("{isa}: logit {i} after another image, by {THREADS} threads")
            })?;
            known.insert(isa, found);
        }
        Ok(())
    }
}

type Observed = (Vec<f32>, BTreeMap<String, Vec<u64>>);

/// Whether two are the same bits, any NaN being like any other; where not, the first that differs.
fn same(a: &[f32], b: &[f32]) -> Result<(), usize> {
    let differ = |(a, b): (&f32, &f32)| a.to_bits() != b.to_bits() && !(a.is_nan() && b.is_nan());
    a.iter().zip(b).position(differ).map_or(Ok(()), Err)
}

/// Runs an engine with several threads, where there are threads.
struct Sharing {
    #[cfg(not(target_family = "wasm"))]
    pool: ThreadPool,
}

impl Sharing {
    fn new() -> Sharing {
        Sharing {
            #[cfg(not(target_family = "wasm"))]
            pool: ThreadPool::new(THREADS).unwrap(),
        }
    }

    /// Whether an image gives the logits of a new scratch memory after one of NaN, by all threads; where not, the first
    /// that differs.
    fn check(&self, engine: &Engine, image: &[f32], expected: &[f32]) -> Result<(), usize> {
        let mut scratch = engine.scratch_for(THREADS).unwrap();
        let mut logits = vec![f32::NAN; engine.classes()];
        engine.run(&vec![f32::NAN; image.len()], &mut logits, &mut scratch).unwrap();
        #[cfg(not(target_family = "wasm"))]
        engine.run_with(image, &mut logits, &mut scratch, &self.pool).unwrap();
        #[cfg(target_family = "wasm")]
        engine.run(image, &mut logits, &mut scratch).unwrap();
        same(&logits, expected)
    }
}

/// Which operations have stood where.
#[derive(Default)]
struct Covered {
    /// What is read, by what, as which input.
    pairs: BTreeSet<(&'static str, &'static str, usize)>,
    last: BTreeSet<&'static str>,
}

impl Covered {
    fn add(&mut self, nodes: &Nodes) {
        for (_, op, inputs) in nodes {
            for (position, &x) in inputs.iter().enumerate() {
                self.pairs.insert((nodes[x].1.name(), op.name(), position));
            }
        }
        self.last.extend(nodes.last().map(|(_, op, _)| op.name()));
    }

    /// Every operation but the sign gives a real value, which every operation but the binary ones reads.
    fn missing(&self) -> Vec<String> {
        let ops: BTreeSet<&str> = self.pairs.iter().flat_map(|&(x, y, _)| [x, y]).collect();
        let (sign, binary) = ("sign", ["conv_bin", "linear_bin"]);
        let mut missing = Vec::new();
        for &y in &ops {
            let inputs = match y {
                "input" => 0,
                "add" | "concat" | "sign" | "prelu" => 2,
                _ => 1,
            };
            for (&x, position) in ops.iter().flat_map(|x| (0..inputs).map(move |i| (x, i))) {
                if (x == sign) == binary.contains(&y) && !self.pairs.contains(&(x, y, position)) {
                    missing.push(format!("{y} behind {x} as input {position}"));
                }
            }
            if y != "input" && y != sign && !self.last.contains(y) {
                missing.push(format!("{y} as the last"));
            }
        }
        let all = 19 - 1; // but batch normalization, which no packed model has
        if ops.len() != all {
            missing.push(format!("{} of {all} operations", ops.len()));
        }
        missing
    }
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().expect("a number"))
}

#[test]
#[allow(clippy::print_stdout, reason = "a long run says how far it is")]
fn any_graph_that_verifies_gives_the_interpreters_logits() {
    let (first, graphs) = (number("ONEBIT_TEST_SEED", 0), number("ONEBIT_RANDOM_GRAPHS", GRAPHS));
    let (isas, pool) = (isas(), Sharing::new());
    let (mut covered, mut faults) = (Covered::default(), Vec::new());
    for seed in first..first + graphs {
        let checked = catch_unwind(AssertUnwindSafe(|| {
            let case = Case::new(seed, &mut covered);
            case.check(&isas, &pool).map_err(|wrong| (wrong, case.model.graph.to_json().unwrap()))
        }));
        match checked {
            Ok(Ok(())) => {}
            Ok(Err((wrong, graph))) => faults.push(format!("seed {seed}: {wrong}: {graph}")),
            Err(_) => faults.push(format!("seed {seed}: panic")),
        }
        assert!(faults.len() < 20, "{} graphs: {}", seed - first + 1, faults.join("\n"));
        if (seed - first + 1).is_multiple_of(20_000) {
            println!("{} graphs, {} faults", seed - first + 1, faults.len());
        }
    }
    assert!(faults.is_empty(), "{} of {graphs} graphs: {}", faults.len(), faults.join("\n"));
    if graphs >= GRAPHS {
        assert_eq!(covered.missing(), Vec::<String>::new());
    }
}
