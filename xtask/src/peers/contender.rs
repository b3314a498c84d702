//! Who is compared with whom.

use serde::Serialize;

use super::rival::Rival;
use Measure::{Overhead, Speedup, Times};

/// One program that runs one network.
#[derive(Clone, Debug)]
pub(super) struct Contender {
    /// Name of the network and of its file, less what the program adds.
    pub(super) network: &'static str,
    pub(super) program: Program,
}

impl Contender {
    /// Whether it must do without instructions that the CPU may have.
    pub(super) fn is_limited(&self) -> bool {
        match self.program {
            Program::Onebit(call) => call.isa.is_some(),
            Program::Rival { isa, .. } => isa.is_some(),
        }
    }
}

#[derive(Clone, Debug)]
pub(super) enum Program {
    Onebit(Onebit),
    Rival {
        rival: Rival,
        /// Limit of the instruction set, in OpenVINO's words.
        isa: Option<&'static str>,
    },
}

/// How `onebit bench` is called.
#[derive(Clone, Copy, Debug)]
pub(super) struct Onebit {
    pub(super) threads: usize,
    pub(super) batch: usize,
    pub(super) isa: Option<&'static str>,
}

/// How a time is set against that of the first contender.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Measure {
    /// It takes so many times as long.
    Times,
    /// It takes so many per cent longer, both in one process, run by run.
    Overhead,
    /// It is so many times as fast.
    Speedup,
}

/// Contenders that take turns, the first of which the others are measured by.
#[derive(Clone, Debug)]
pub(super) struct Comparison {
    pub(super) title: &'static str,
    pub(super) measure: Measure,
    pub(super) contenders: Vec<Contender>,
}

/// All comparisons in which a rival that `wanted` names takes part, or none but ourselves.
pub(super) fn comparisons(wanted: impl Fn(Rival) -> bool) -> Vec<Comparison> {
    let mut all = vec![
        same_network("ReActNet-A", "reactnet-a"),
        same_network("ReActNet-18", "reactnet18"),
        limited("ReActNet-A, both limited to AVX2", "reactnet-a"),
        limited("ReActNet-18, both limited to AVX2", "reactnet18"),
        instead("MobileNets in place of ReActNet-A", "reactnet-a", MOBILE),
        instead("ResNet-18 in place of ReActNet-18", "reactnet18", RESNET),
        added("What DyBNN adds to ReActNet-A", ["reactnet-a", "dybnn-a", "dybnn-a-shared"]),
        added("What DyBNN adds to ReActNet-18", ["reactnet18", "dybnn18", "dybnn18-shared"]),
    ];
    for (title, batch, network) in [
        ("Two threads, ReActNet-A, 16 images at a time", 16, "reactnet-a"),
        ("Two threads, ReActNet-18, 16 images at a time", 16, "reactnet18"),
        ("Two threads, ReActNet-A, one image at a time", 1, "reactnet-a"),
        ("Two threads, ReActNet-18, one image at a time", 1, "reactnet18"),
    ] {
        let calls = [1, 2].map(|threads| Onebit { threads, batch, ..ONE });
        all.push(ours(title, Speedup, calls.map(|call| (call, network))));
    }
    if !cfg!(target_arch = "x86_64") {
        all.retain(|comparison| !comparison.contenders.iter().any(Contender::is_limited));
    }
    for comparison in &mut all {
        comparison.contenders.retain(|contender| match contender.program {
            Program::Onebit(_) => true,
            Program::Rival { rival, .. } => wanted(rival),
        });
    }
    all.retain(|comparison| comparison.contenders.len() > 1);
    all
}

const ONE: Onebit = Onebit { threads: 1, batch: 1, isa: None };
const MOBILE: &[(Rival, &str)] = &[
    (Rival::OnnxRuntime, "mobilenet-v1-float"),
    (Rival::OnnxRuntime, "mobilenet-v1-int8"),
    (Rival::OpenVino, "mobilenet-v1-int8"),
    (Rival::OnnxRuntime, "mobilenet-v2-float"),
    (Rival::OnnxRuntime, "mobilenet-v2-int8"),
    (Rival::OpenVino, "mobilenet-v2-int8"),
];
const RESNET: &[(Rival, &str)] = &[
    (Rival::OnnxRuntime, "resnet18-float"),
    (Rival::OnnxRuntime, "resnet18-int8"),
    (Rival::OpenVino, "resnet18-int8"),
];

fn same_network(title: &'static str, network: &'static str) -> Comparison {
    let rivals = [Rival::OpenVinoBinary, Rival::Larq, Rival::OnnxRuntimeTwin, Rival::Tract];
    let others = rivals.map(|rival| (rival, network));
    instead(title, network, &others)
}

fn instead(
    title: &'static str,
    network: &'static str,
    others: &[(Rival, &'static str)],
) -> Comparison {
    let mut contenders = vec![Contender { network, program: Program::Onebit(ONE) }];
    contenders.extend(others.iter().map(|&(rival, network)| {
        let program = Program::Rival { rival, isa: None };
        Contender { network, program }
    }));
    Comparison { title, measure: Times, contenders }
}

fn limited(title: &'static str, network: &'static str) -> Comparison {
    let ours = Program::Onebit(Onebit { isa: Some("avx2"), ..ONE });
    let theirs = Program::Rival { rival: Rival::OpenVinoBinary, isa: Some("AVX2") };
    let contenders = [ours, theirs].map(|program| Contender { network, program });
    Comparison { title, measure: Times, contenders: contenders.into() }
}

fn added(title: &'static str, networks: [&'static str; 3]) -> Comparison {
    ours(title, Overhead, networks.map(|network| (ONE, network)))
}

fn ours<const N: usize>(
    title: &'static str,
    measure: Measure,
    calls: [(Onebit, &'static str); N],
) -> Comparison {
    let contenders =
        calls.map(|(call, network)| Contender { network, program: Program::Onebit(call) });
    Comparison { title, measure, contenders: contenders.into() }
}

/// The network section of a recipe for a network whose name is not that of an architecture.
pub(super) fn section(network: &str) -> &str {
    match network {
        "dybnn-a-shared" => r#"{"arch":"dybnn-a","hyper":{"sharing":"block"}}"#,
        "dybnn18-shared" => r#"{"arch":"dybnn18","hyper":{"sharing":"block"}}"#,
        arch => arch,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn we_stand_first_and_once_where_rivals_are() {
        for Comparison { title, measure, contenders } in comparisons(|_| true) {
            let is_ours = |contender: &Contender| matches!(contender.program, Program::Onebit(_));
            assert!(is_ours(&contenders[0]), "{title}");
            let all_ours = contenders[1..].iter().all(is_ours);
            let none_ours = !contenders[1..].iter().any(is_ours);
            assert!(if measure == Times { none_ours } else { all_ours }, "{title}");
        }
    }

    #[test]
    fn without_rivals_only_our_own_comparisons_are_left() {
        let left = comparisons(|_| false);
        assert!(left.len() == 6 && left.iter().all(|comparison| comparison.measure != Times));
    }

    #[test]
    fn one_rival_brings_its_comparisons() {
        let with_larq = comparisons(|rival| rival == Rival::Larq);
        let rivals = with_larq.iter().flat_map(|comparison| &comparison.contenders[1..]);
        let larq =
            rivals.filter(|c| matches!(c.program, Program::Rival { rival: Rival::Larq, .. }));
        assert_eq!((with_larq.len(), larq.count()), (8, 2));
    }
}
