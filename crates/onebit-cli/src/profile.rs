//! Where the time of a run goes, by step and by kind of operation.

use std::time::Instant;

use onebit_engine::{Engine, StepInfo};
use serde::Serialize;

use crate::output::{Align, Table};

/// Medians over many runs of one image on one thread.
#[derive(Serialize)]
pub(crate) struct Profile {
    #[serde(rename = "profile")]
    steps: Vec<StepTime>,
    #[serde(rename = "profile_by_kind")]
    kinds: Vec<KindTime>,
}

/// One step: a layer, and what is computed in the same pass.
#[derive(Serialize)]
struct StepTime {
    layer: String,
    ops: String,
    kernel: String,
    kind: Kind,
    output: String,
    #[serde(flatten)]
    time: Time,
}

/// All steps of a kind.
#[derive(Serialize)]
struct KindTime {
    kind: Kind,
    steps: usize,
    #[serde(flatten)]
    time: Time,
}

#[derive(Serialize)]
struct Time {
    median_ms: f64,
    /// Of the sum of all medians.
    share: f64,
    /// 10^9 binary multiply-accumulates per second of the steps that have any.
    binary_gmacs_per_second: Option<f64>,
    /// 10^9 real operations per second, two for each multiply-accumulate, of the steps that have any.
    gflops_per_second: Option<f64>,
}

/// What a step starts with.
#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    BinaryConvolution,
    RealConvolution,
    Pooling,
    Rest,
}

const KINDS: [(Kind, &str); 4] = [
    (Kind::BinaryConvolution, "binary convolution"),
    (Kind::RealConvolution, "real convolution"),
    (Kind::Pooling, "pooling"),
    (Kind::Rest, "rest"),
];

impl Profile {
    /// Times each step of `runs` runs of `image` (at least one).
    pub(crate) fn measure(engine: &Engine, image: &[f32], runs: usize) -> anyhow::Result<Profile> {
        let medians = medians(engine, image, runs)?;
        let all: Vec<(&StepInfo, f64)> = engine.steps().iter().zip(medians).collect();
        let total: f64 = all.iter().map(|(_, nanos)| nanos).sum();
        let steps = all.iter().map(|step| StepTime {
            layer: step.0.name.clone(),
            ops: step.0.ops.join("+"),
            kernel: step.0.kernel.clone(),
            kind: Kind::of(step.0),
            output: step.0.output.to_string(),
            time: Time::of(&[*step], total),
        });
        let kinds = KINDS.map(|(kind, _)| {
            let steps: Vec<_> = all.iter().copied().filter(|s| Kind::of(s.0) == kind).collect();
            KindTime { kind, steps: steps.len(), time: Time::of(&steps, total) }
        });
        Ok(Profile { steps: steps.collect(), kinds: kinds.into() })
    }

    /// A table of all steps, then one of the kinds.
    pub(crate) fn text(&self) -> String {
        self.step_table() + "\n" + &self.kind_table()
    }

    fn step_table(&self) -> String {
        use Align::{Left, Right};
        let mut table = Table::new([
            ("layer", Left),
            ("output", Left),
            ("ms", Right),
            ("share", Right),
            ("G binary MAC/s", Right),
            ("GFLOP/s", Right),
            ("kernel", Left),
            ("fused", Left),
        ]);
        for StepTime { layer, ops, kernel, output, time, .. } in &self.steps {
            let [ms, share, binary, real] = time.cells();
            let (layer, output) = (layer.clone(), output.clone());
            table.row([layer, output, ms, share, binary, real, kernel.clone(), ops.clone()]);
        }
        table.render()
    }

    fn kind_table(&self) -> String {
        use Align::{Left, Right};
        let mut table = Table::new([
            ("kind of step", Left),
            ("steps", Right),
            ("ms", Right),
            ("share", Right),
            ("G binary MAC/s", Right),
            ("GFLOP/s", Right),
        ]);
        for (KindTime { steps, time, .. }, (_, name)) in self.kinds.iter().zip(KINDS) {
            let [ms, share, binary, real] = time.cells();
            table.row([name.to_owned(), steps.to_string(), ms, share, binary, real]);
        }
        let total: f64 = self.kinds.iter().map(|kind| kind.time.median_ms).sum();
        let (steps, ms) = (self.steps.len().to_string(), format!("{total:.4}"));
        table.row([const { String::new() }; 6]);
        table.row(["all".to_owned(), steps, ms, String::new(), String::new(), String::new()]);
        table.render()
    }
}

/// Nanoseconds of each step.
fn medians(engine: &Engine, image: &[f32], runs: usize) -> anyhow::Result<Vec<f64>> {
    let mut scratch = engine.scratch()?;
    let mut logits = vec![0.0; engine.classes()];
    let started = Instant::now();
    let mut clock = || started.elapsed().as_nanos() as u64;
    let mut times = vec![0; engine.steps().len()];
    let mut samples: Vec<Vec<u64>> = vec![Vec::with_capacity(runs); times.len()];
    for _ in 0..runs {
        engine.run_profiled(image, &mut logits, &mut scratch, &mut clock, &mut times)?;
        for (samples, &time) in samples.iter_mut().zip(&times) {
            samples.push(time);
        }
    }
    let median = |mut samples: Vec<u64>| {
        samples.sort_unstable();
        samples[samples.len() / 2] as f64
    };
    Ok(samples.into_iter().map(median).collect())
}

impl Kind {
    fn of(step: &StepInfo) -> Kind {
        match step.ops.first().copied() {
            Some("conv_bin") => Kind::BinaryConvolution,
            Some("conv") => Kind::RealConvolution,
            Some("avg_pool" | "max_pool" | "global_avg_pool") => Kind::Pooling,
            _ => Kind::Rest,
        }
    }
}

impl Time {
    fn of(steps: &[(&StepInfo, f64)], total: f64) -> Time {
        let nanos: f64 = steps.iter().map(|(_, nanos)| nanos).sum();
        let rate = |count: fn(&StepInfo) -> u64| {
            let counted = steps.iter().filter(|(step, _)| count(step) > 0);
            let (count, nanos) =
                counted.fold((0, 0.0), |(n, t), (step, nanos)| (n + count(step), t + nanos));
            (count > 0).then(|| count as f64 / nanos.max(1.0))
        };
        Time {
            median_ms: nanos / 1e6,
            share: nanos / total.max(1.0),
            binary_gmacs_per_second: rate(|step| step.bops),
            gflops_per_second: rate(|step| 2 * step.flops),
        }
    }

    fn cells(&self) -> [String; 4] {
        let rate = |rate: Option<f64>| rate.map_or(String::new(), |rate| format!("{rate:.1}"));
        [
            format!("{:.4}", self.median_ms),
            format!("{:.1}%", 100.0 * self.share),
            rate(self.binary_gmacs_per_second),
            rate(self.gflops_per_second),
        ]
    }
}
