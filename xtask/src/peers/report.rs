//! Everything that was measured, as it is written to a file.

use serde::Serialize;

use super::contender::{Comparison, Measure, Onebit};
use super::entrant::{Entrant, State};
use super::rival::{About, Agreement, Rival};
use crate::statistics::{Ratio, median};

/// The result file.
#[derive(Serialize)]
pub(super) struct Report {
    pub(super) date: String,
    pub(super) cpu: String,
    pub(super) commit: String,
    pub(super) command: String,
    pub(super) rounds: usize,
    pub(super) burst_seconds: f64,
    /// CPUs that programs were pinned to, in this order.
    pub(super) pins: Vec<usize>,
    pub(super) comparisons: Vec<Compared>,
    pub(super) load: Load,
}

/// Our engine from opening a file to readiness.
#[derive(Clone, Copy, Serialize)]
pub(super) struct Load {
    pub(super) network: &'static str,
    pub(super) ms: f64,
    pub(super) file_bytes: f64,
    /// Largest resident memory of the process, where the system tells.
    pub(super) peak_bytes: Option<f64>,
}

/// A comparison with its figures.
#[derive(Serialize)]
pub(super) struct Compared {
    pub(super) title: &'static str,
    pub(super) measure: Measure,
    pub(super) rows: Vec<Row>,
    pub(super) notes: Vec<String>,
}

/// The figures of a contender.
#[derive(Serialize)]
pub(super) struct Row {
    pub(super) system: String,
    pub(super) network: &'static str,
    /// Median over the rounds, of a batch.
    pub(super) ms: Option<f64>,
    pub(super) rounds_ms: Vec<f64>,
    /// Its time over that of the first row.
    pub(super) ratio: Option<Ratio>,
    pub(super) agreement: Option<Agreement>,
    pub(super) implementations: Vec<String>,
    /// Why there are no figures.
    pub(super) not_available: Option<String>,
}

impl Report {
    /// Name of its files: date, processor and commit.
    pub(super) fn name(&self) -> String {
        format!("{}-{}-{}", self.date, slug(&self.cpu), self.commit)
    }
}

impl Compared {
    pub(super) fn new(comparison: &Comparison, entrants: Vec<Entrant>) -> Self {
        let ours = entrants.first().map(|first| first.rounds_ms.clone()).unwrap_or_default();
        let rows: Vec<Row> = entrants.into_iter().map(|entrant| Row::new(entrant, &ours)).collect();
        let limited = comparison.contenders.iter().zip(&rows).filter(|(c, _)| c.is_limited());
        let notes = limited.filter_map(|(_, row)| row.limit_that_did_not_hold()).collect();
        Compared { title: comparison.title, measure: comparison.measure, rows, notes }
    }
}

impl Row {
    fn new(entrant: Entrant, ours: &[f64]) -> Self {
        let Entrant { network, state, rounds_ms } = entrant;
        let mut row = Row {
            system: String::new(),
            network,
            ms: (!rounds_ms.is_empty()).then(|| median(rounds_ms.clone())),
            ratio: Ratio::of(&rounds_ms, ours),
            rounds_ms,
            agreement: None,
            implementations: Vec::new(),
            not_available: None,
        };
        match state {
            State::Onebit(bench) => row.system = onebit(bench.call, &bench.isa),
            State::Missing { rival, reason } => {
                row.system = system(rival, rival.title());
                row.not_available = Some(reason);
            }
            State::Rival {
                rival, about: About { version, implementations, agreement }, ..
            } => {
                row.system = system(rival, &version);
                (row.implementations, row.agreement) = (implementations, agreement);
            }
        }
        row
    }

    /// Kinds of layers that used AVX-512 although they were told not to.
    fn limit_that_did_not_hold(&self) -> Option<String> {
        let unlimited = self.implementations.iter().filter(|name| name.contains("avx512"));
        let layers: Vec<&str> = unlimited.filter_map(|name| name.split(' ').next()).collect();
        (!layers.is_empty()).then(|| {
            format!(
                "{} was told to use no more than AVX2 (ONEDNN_MAX_CPU_ISA) and by its own profile still used AVX-512 \
                 in {}, so its time is not that of AVX2 alone.",
                self.system,
                layers.join(", ")
            )
        })
    }
}

fn system(rival: Rival, version: &str) -> String {
    format!("{version}{}", rival.form())
}

fn onebit(call: Onebit, isa: &str) -> String {
    let Onebit { threads, batch, .. } = call;
    let mut name = format!("onebit, {isa}");
    if batch > 1 {
        name += &format!(", {batch} images");
    }
    if threads > 1 {
        name += &format!(", {threads} threads");
    }
    name
}

/// A processor's name in the name of a file.
fn slug(cpu: &str) -> String {
    let name = cpu.split('@').next().unwrap_or_default().to_lowercase();
    let name =
        ["(r)", "(tm)", "cpu", "processor"].iter().fold(name, |name, w| name.replace(w, " "));
    let words = name.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("-")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peers::contender::comparisons;

    #[test]
    fn names_of_processors() {
        assert_eq!(slug("AMD EPYC"), "amd-epyc");
        let intel = "INTEL(R) XEON(R) PLATINUM 8581C CPU @ 2.10GHz";
        assert_eq!(slug(intel), "intel-xeon-platinum-8581c");
        assert_eq!(slug("AMD Ryzen 7 5800X 8-Core Processor"), "amd-ryzen-7-5800x-8-core");
    }

    fn missing(rounds_ms: Vec<f64>) -> Entrant {
        let state = State::Missing { rival: Rival::Tract, reason: "no network".to_owned() };
        Entrant { network: "n", state, rounds_ms }
    }

    #[test]
    fn ratios_are_taken_against_the_first() {
        let entrants = vec![missing(vec![1.0, 2.0]), missing(vec![3.0, 4.0]), missing(Vec::new())];
        let compared = Compared::new(&comparisons(|_| true)[0], entrants);
        let [ours, theirs, none] = &compared.rows[..] else { panic!("three rows") };
        assert_eq!((ours.ms, theirs.ms, none.ms), (Some(1.5), Some(3.5), None));
        assert_eq!(theirs.ratio, Some(Ratio { median: 2.5, min: 2.0, max: 3.0 }));
        assert_eq!(none.ratio, None);
        assert_eq!(none.not_available.as_deref(), Some("no network"));
    }

    #[test]
    fn a_limit_that_did_not_hold_is_said() {
        let mut row = Row::new(missing(Vec::new()), &[]);
        row.implementations = vec!["MaxPool jit_avx2_f32".to_owned()];
        assert_eq!(row.limit_that_did_not_hold(), None);
        row.implementations.push("BinaryConvolution jit_avx512_u1".to_owned());
        let note = row.limit_that_did_not_hold().unwrap();
        assert!(note.contains("AVX-512 in BinaryConvolution, so"), "{note}");
    }
}
