//! Names and shapes of the full-size networks, against lists made from the official code.

use super::*;

use onebit_model::limits::MAX_PARAMETERS;

/// `NAME\tSHAPE` lines of the `state_dict()` of each official network, with `module.`
const LISTS: &[(&str, &str, &str)] = &[
    (
        "birealnet18",
        "birealnet18",
        include_str!("../../tests/fixtures/import/names/birealnet18.txt"),
    ),
    (
        "reactnet-a",
        "step 1",
        include_str!("../../tests/fixtures/import/names/reactnet_a_step1.txt"),
    ),
    (
        "reactnet-a",
        "step 2",
        include_str!("../../tests/fixtures/import/names/reactnet_a_step2.txt"),
    ),
    ("reactnet18", "new", include_str!("../../tests/fixtures/import/names/reactnet_r18.txt")),
    (
        "reactnet18",
        "old",
        include_str!("../../tests/fixtures/import/names/reactnet_r18_old_flat.txt"),
    ),
];

/// A checkpoint of zeros with the names and shapes of a list.
fn listed<'a>(list: &str, zeros: &'a [u8]) -> Checkpoint<'a> {
    let tensors = list.lines().map(|line| {
        let (name, shape) = line.split_once('\t').expect("a name and a shape");
        let extents = shape.trim_matches(['[', ']']).split(", ").filter(|text| !text.is_empty());
        let shape: Vec<usize> = extents.map(|text| text.parse().expect("an extent")).collect();
        let stored = Stored::contiguous(Dtype::Other(1), &shape, zeros).expect("enough zeros");
        (name.strip_prefix("module.").expect("module.").to_owned(), stored)
    });
    Checkpoint { tensors: tensors.collect(), objects: BTreeMap::new(), found: Found::default() }
}

fn zeros() -> Vec<u8> {
    vec![0; 1024 * 1024 * 9]
}

fn network(arch: &str) -> Verified<Graph> {
    let input = arch::find(arch).expect("an architecture").input;
    arch::build(&Config::named(arch), &Task::unnamed(input, 1000)).expect("a network")
}

#[test]
fn every_official_tensor_has_its_place() {
    let zeros = zeros();
    for (arch, form, list) in LISTS {
        let checkpoint = listed(list, &zeros);
        let graph = network(arch);
        let sources = checkpoint.sources(&graph).unwrap_or_else(|e| panic!("{arch}, {form}: {e}"));
        let counters = checkpoint.tensors.keys().filter(|name| name.ends_with(COUNTER)).count();
        let used: BTreeSet<_> = sources.iter().map(|source| source.name).collect();
        assert_eq!(used.len(), sources.len(), "{arch}, {form}: a tensor is used twice");
        assert_eq!(used.len() + counters, list.lines().count(), "{arch}, {form}");
        let elements: usize = sources.iter().map(|source| source.param.len()).sum();
        assert!(elements < MAX_PARAMETERS);
        for source in &sources {
            let stored: usize = source.stored.shape.iter().product();
            assert_eq!(stored, source.param.len(), "{arch}, {form}: {}", source.name);
        }
    }
}

#[test]
fn the_checkpoint_of_another_architecture_is_recognized() {
    let zeros = zeros();
    for (arch, _, list) in LISTS {
        let checkpoint = listed(list, &zeros);
        for other in ["birealnet18", "birealnet34", "reactnet18", "reactnet-a"] {
            if other == *arch {
                continue;
            }
            let error = checkpoint.weights(network(other)).expect_err("another network");
            let ImportError::AnotherArchitecture { found, expected, .. } = &error else {
                panic!("{arch} as {other}: {error}");
            };
            assert_eq!((*found, expected.as_str()), (*arch, other));
        }
    }
}

#[test]
fn networks_without_official_names_are_refused() {
    let zeros = zeros();
    let checkpoint = listed(LISTS[1].2, &zeros);
    let networks = [
        "reactnet-b",
        "reactnet-c",
        "ftbnn18",
        "ftbnn18-compressed",
        "dybnn18",
        "dybnn-a",
        "vgg-small",
    ];
    for arch in networks {
        let error = checkpoint.weights(network(arch)).expect_err("no names");
        assert!(matches!(error, ImportError::NoOfficialName { .. }), "{arch}: {error}");
    }
}
