//! Runs that begin with trained weights.

#![allow(clippy::unwrap_used)]

mod runs;

use std::fs;
use std::path::Path;

use onebit_data::ErrorKind;
use onebit_model::arch::{Task, build};
use onebit_model::file::{Weights, write_weights};
use onebit_model::{Data, Verified};
use onebit_train::checkpoint::load_weights;
use onebit_train::{Event, Net, NetConfig, Recipe, RunPaths};
use runs::overrides::apply;
use runs::{RECIPE, run};
use tempfile::tempdir;

fn recipe(overrides: &[&str], init: Option<&Path>) -> Recipe {
    let mut recipe = Recipe::from_toml(RECIPE, "test").unwrap();
    apply(&mut recipe, overrides).unwrap();
    recipe.train.init = init.map(Path::to_owned);
    recipe
}

fn whole(recipe: &Recipe, out: &Path) -> Vec<Event> {
    let (summary, events) = run(recipe, out, false, |_| false);
    summary.unwrap();
    events
}

fn first_loss(events: &[Event]) -> f64 {
    let losses = events.iter().filter_map(|event| match event {
        Event::Step { loss, .. } => Some(*loss),
        _ => None,
    });
    losses.into_iter().next().unwrap()
}

/// The weights of an untrained network, as a file.
fn untrained(path: &Path, overrides: &[&str], classes: usize) {
    let network = recipe(overrides, None).network;
    let graph = build(&network, &Task::unnamed([1, 28, 28], classes)).unwrap();
    let net = Net::new(graph, NetConfig::new(1), 11).unwrap();
    let weights = Verified::<Weights>::new(net.weights()).unwrap();
    fs::write(path, write_weights(&weights).unwrap()).unwrap();
}

#[test]
fn dybnn_begins_as_the_reactnet_that_it_is_given() {
    let folder = tempdir().unwrap();
    let reactnet = folder.path().join("reactnet");
    whole(&recipe(&[], None), &reactnet);
    let [same, dynamic] = ["reactnet", "dybnn"].map(|method| {
        let out = folder.path().join(format!("from-{method}"));
        let method = format!("network.method={method}");
        let events = whole(&recipe(&[&method, "train.epochs=1"], Some(&reactnet)), &out);
        let told = events.iter().find_map(|event| match event {
            Event::Initialized { path, classifier_anew: false, hyper_functions, .. } => {
                assert_eq!(*path, reactnet.join("best/weights.safetensors"));
                Some(*hyper_functions)
            }
            _ => None,
        });
        (told.unwrap(), first_loss(&events))
    });
    assert_eq!((same.0, dynamic.0), (0, 4), "a sign and a PReLU in each of two blocks");
    assert_eq!(same.1, dynamic.1, "the loss of the first step");
    let random = folder.path().join("random");
    assert_ne!(same.1, first_loss(&whole(&recipe(&["train.epochs=1"], None), &random)));
}

#[test]
fn all_weights_are_taken_over() {
    let folder = tempdir().unwrap();
    let (file, out) = (folder.path().join("w.safetensors"), folder.path().join("run"));
    untrained(&file, &[], 10);
    whole(&recipe(&["train.lr=1e-30", "train.epochs=1"], Some(&file)), &out);
    let expected = onebit_files::load_weights(&file).unwrap().weights;
    let (found, _) = load_weights(&RunPaths::new(&out).best()).unwrap();
    for (name, found) in &found.tensors {
        if name.contains(".running_") {
            continue;
        }
        let (Data::F32(found), Data::F32(expected)) = (&found.data, &expected.tensors[name].data)
        else {
            panic!("{name}");
        };
        let moved = found.iter().zip(expected).any(|(a, b)| (a - b).abs() > 1e-20);
        assert!(!moved, "{name}");
    }
}

#[test]
fn a_classifier_for_another_number_of_classes_starts_anew() {
    let folder = tempdir().unwrap();
    let (file, out) = (folder.path().join("w.safetensors"), folder.path().join("run"));
    untrained(&file, &[], 7);
    let events = whole(&recipe(&["train.epochs=1"], Some(&file)), &out);
    let told = Event::Initialized {
        path: file,
        classifier_anew: true,
        hyper_functions: 0,
        skipped: Vec::new(),
    };
    assert!(events.contains(&told), "{events:?}");
}

#[test]
fn weights_of_a_stage_with_real_weights_begin_a_run_with_binary_ones() {
    let folder = tempdir().unwrap();
    let (first, second) = (folder.path().join("first"), folder.path().join("second"));
    let two = ["train.stages=two", "train.real_weight_epochs=1", "train.epochs=1"];
    whole(&recipe(&two, None), &first);
    let step_one = first.join("checkpoints/epoch-00001");
    let events = whole(&recipe(&["train.epochs=1"], Some(&step_one)), &second);
    assert!(events.iter().any(|event| matches!(event, Event::Initialized { .. })));
    let again = folder.path().join("again");
    whole(&recipe(&two, Some(&step_one)), &again);
}

#[test]
fn a_run_is_resumed_without_its_initial_weights_and_says_if_they_have_changed() {
    let folder = tempdir().unwrap();
    let file = folder.path().join("w.safetensors");
    untrained(&file, &[], 10);
    let recipe = recipe(&[], Some(&file));
    let [expected, out] = ["whole", "stopped"].map(|name| folder.path().join(name));
    whole(&recipe, &expected);
    let stopped =
        run(&recipe, &out, false, |event| matches!(event, Event::Step { epoch: 2, step: 1, .. }));
    assert!(stopped.0.unwrap().interrupted);
    let unchanged = run(&recipe, &out, true, |event| matches!(event, Event::Resumed { .. }));
    assert!(!unchanged.1.iter().any(|event| matches!(event, Event::InitChanged { .. })));
    fs::remove_file(&file).unwrap();
    let gone = run(&recipe, &out, true, |event| matches!(event, Event::Resumed { .. }));
    assert!(gone.0.unwrap().interrupted);
    let other = folder.path().join("other");
    whole(&self::recipe(&["train.epochs=1"], None), &other);
    fs::copy(other.join("best/weights.safetensors"), &file).unwrap();
    let (summary, events) = run(&recipe, &out, true, |_| false);
    summary.unwrap();
    assert!(events.contains(&Event::InitChanged { path: file }), "{events:?}");
    let name = "checkpoints/epoch-00002/weights.safetensors";
    assert!(fs::read(out.join(name)).unwrap() == fs::read(expected.join(name)).unwrap());
}

#[test]
fn weights_that_do_not_fit_are_refused_before_a_folder_is_made() {
    let folder = tempdir().unwrap();
    let (file, out) = (folder.path().join("w.safetensors"), folder.path().join("run"));
    let refused = |overrides: &[&str]| {
        let error = run(&recipe(overrides, Some(&file)), &out, false, |_| false).0.unwrap_err();
        assert!(!out.exists());
        (error.kind(), error.to_string())
    };
    let (kind, text) = refused(&[]);
    assert_eq!(kind, ErrorKind::MissingInput);
    let expected =
        ": not found; expected a run folder, a checkpoint folder or a weights.safetensors file";
    assert!(text.starts_with("train.init: ") && text.ends_with(expected), "{text}");
    untrained(&file, &[], 10);
    let cases = [
        (
            "network.widths=[8, 24]",
            "stage2.0.conv.weight` is [16, 3, 3, 8], expected",
            "[24, 3, 3, 8] for",
        ),
        ("network.method=ftbnn", "slope_pos` is missing, expected", "[8] for"),
        ("network.method=bireal", "is [8], expected", "no tensor of this name for"),
        ("network.blocks=[2, 1]", "` is missing, expected", "] for"),
    ];
    for (change, found, expected) in cases {
        let (kind, text) = refused(&[change]);
        assert_eq!(kind, ErrorKind::BadData);
        assert!(text.contains(found) && text.contains(expected), "{change}: {text}");
    }
    untrained(&file, &["network.method=dybnn"], 10);
    let (_, text) = refused(&[]);
    assert!(text.contains("hyper") && text.contains("no tensor of this name"), "{text}");
    fs::write(&file, b"no weights").unwrap();
    let (kind, text) = refused(&[]);
    assert_eq!(kind, ErrorKind::BadData);
    assert!(text.starts_with("train.init: "), "{text}");
}
