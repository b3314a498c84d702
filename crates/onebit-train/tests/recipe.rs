//! Recipes: what is read, and errors that name the key.

#![allow(clippy::unwrap_used)]

#[path = "runs/overrides.rs"]
mod overrides;

use std::path::Path;

use onebit_data::ErrorKind;
use onebit_train::TrainError;
use onebit_train::binarize::{ClipWeight, Ede, Estimator, WeightEstimator};
use onebit_train::recipe::{Override, Recipe, Stages};
use overrides::apply;

const SMALLEST: &str = r#"
[data]
train = "fashion-mnist-sample:train"
test = "fashion-mnist-sample:test"
[network]
arch = "resnet20"
[train]
epochs = 3
batch = 32
lr = 0.001
"#;

fn smallest() -> Recipe {
    Recipe::from_toml(SMALLEST, "recipe.toml").unwrap()
}

fn error_of(change: impl Fn(&str) -> String) -> TrainError {
    Recipe::from_toml(&change(SMALLEST), "recipe.toml").unwrap_err()
}

fn error_with(section: &str, line: &str) -> TrainError {
    let header = format!("[{section}]");
    error_of(|text| text.replace(&header, &format!("{header}\n{line}")))
}

#[test]
fn a_recipe_equals_what_it_is_written_as() {
    let mut recipe = smallest();
    let all = [
        "data.image_size=[32, 48]",
        "data.train_limit=100",
        "network.method=dybnn",
        "network.widths=[16, 32, 64]",
        "network.hyper.sign_lambda=0.7",
        "train.stages=one",
        "train.activation_estimator={ ede = { k = 1.5, t = 0.3 } }",
        "train.weight_estimator={ clip = { bound = 1.2 } }",
        "train.augmentation.crop_padding=4",
        "train.betas=[0.8, 0.99]",
        "train.weight_decay=1e-5",
    ];
    for assignment in all {
        apply(&mut recipe, &[assignment]).unwrap();
    }
    assert_eq!(recipe.train.activation_estimator, Estimator::Ede(Ede { k: 1.5, t: 0.3 }));
    assert_eq!(recipe.train.weight_estimator, WeightEstimator::Clip(ClipWeight { bound: 1.2 }));
    assert_eq!(recipe.train.augmentation.crop_padding, 4);
    assert_eq!(recipe.network.hyper.sign_lambda, 0.7);
    let text = recipe.to_toml().unwrap();
    assert_eq!(Recipe::from_toml(&text, "again").unwrap(), recipe, "{text}");
    assert!(text.contains("bound = 1.2\n"), "{text}");
}

#[test]
fn an_unknown_key_is_named_with_the_nearest_known_one() {
    let cases = [
        (
            "train",
            "epoch = 3",
            "recipe.toml: unknown key `train.epoch`; did you mean `train.epochs`?",
        ),
        (
            "data",
            "trian_limit = 3",
            "recipe.toml: unknown key `data.trian_limit`; did you mean `data.train_limit`?",
        ),
        (
            "network",
            "method_ = \"dybnn\"",
            "recipe.toml: unknown key `network.method_`; did you mean `network.method`?",
        ),
        (
            "train",
            "augmentation = { rotate = 3 }",
            "recipe.toml: unknown key `train.augmentation.rotate`; expected `random_resized_crop`, `crop_padding` or `horizontal_flip`",
        ),
    ];
    for (section, line, expected) in cases {
        let error = error_with(section, line);
        assert_eq!(error.to_string(), expected);
    }
}

#[test]
fn every_value_out_of_range_is_named_with_its_value_and_what_is_expected() {
    let cases = [
        ("train.epochs=0", "train.epochs is 0, expected 1 to 100000"),
        ("train.batch=0", "train.batch is 0, expected 1 to 65536"),
        ("train.lr=0", "train.lr is 0, expected a number above 0"),
        ("train.lr=nan", "train.lr is NaN, expected a number above 0"),
        ("train.eps=-1.0", "train.eps is -1, expected a number above 0"),
        ("train.weight_decay=inf", "train.weight_decay is inf, expected a number of 0 or more"),
        ("train.save_every=0", "train.save_every is 0, expected 1 or more epochs"),
        ("train.keep_checkpoints=0", "train.keep_checkpoints is 0, expected 1 or more"),
        (
            "train.betas=[0.9, 1.0]",
            "train.betas is [0.9, 1], expected two numbers from 0 up to, but not, 1",
        ),
        ("train.ema=1.0", "train.ema is 1, expected a number above 0 and below 1"),
        (
            "train.label_smoothing=1.0",
            "train.label_smoothing is 1, expected a number from 0 up to, but not, 1",
        ),
        (
            "train.init=",
            "train.init is \"\", expected the path of a run, checkpoint or weights file",
        ),
        (
            "train.augmentation.random_resized_crop=[0.5, 0.2]",
            "train.augmentation.random_resized_crop is [0.5, 0.2], expected two shares of the area above 0 and up to 1, \
             the smaller one first",
        ),
        (
            "train.augmentation={ random_resized_crop = [0.08, 1.0], crop_padding = 4 }",
            "train.augmentation.crop_padding is 4, expected 0 where train.augmentation.random_resized_crop is set",
        ),
        (
            "train.teacher={ path = \"\" }",
            "train.teacher.path is \"\", expected the path of an ONNX file, run, checkpoint or weights file",
        ),
        (
            "train.teacher={ path = \"t.onnx\", columns = [] }",
            "train.teacher.columns is [], expected an output for each class",
        ),
        (
            "train.teacher={ path = \"t.onnx\", std = [0.5, 0.0] }",
            "train.teacher.std is [0.5, 0], expected numbers above 0",
        ),
        (
            "train.real_weight_epochs=5",
            "train.real_weight_epochs is 5, expected 0 where train.stages is `one`",
        ),
        (
            "train.stages=two",
            "train.real_weight_epochs is 0, expected 1 to 100000 where train.stages is `two`",
        ),
        (
            "train.activation_estimator={ clip = { bound = 0 } }",
            "train.activation_estimator is clip with bound 0, expected a bound above 0",
        ),
        (
            "train.weight_estimator={ clip = { bound = -1 } }",
            "train.weight_estimator is clip with bound -1, expected a bound above 0",
        ),
        (
            "data.train=",
            "data.train is \"\", expected a data spec such as fashion-mnist-sample:train",
        ),
        ("data.test_limit=0", "data.test_limit is 0, expected 1 or more"),
        (
            "data.image_size=[0, 32]",
            "data.image_size is [0, 32], expected a height and a width of 1 to 8192",
        ),
    ];
    for (assignment, expected) in cases {
        let error = apply(&mut smallest(), &[assignment]).unwrap_err();
        assert_eq!(error.to_string(), format!("{assignment}: {expected}"));
        assert_eq!(error.kind(), ErrorKind::BadData);
    }
}

#[test]
fn a_linear_schedule_per_epoch_needs_two_epochs() {
    let mut recipe = smallest();
    apply(&mut recipe, &["train.granularity=epoch"]).unwrap();
    let error = apply(&mut recipe, &["train.epochs=1"]).unwrap_err().to_string();
    assert!(error.contains("train.epochs is 1, expected 2 to 100000"), "{error}");
}

#[test]
fn values_of_another_type_are_named() {
    let cases = [
        (
            "train.epochs=many",
            "train.epochs: invalid type: text \"many\", expected a whole number of 0 or more",
        ),
        ("train.lr=[1]", "train.lr: invalid type: list, expected a number"),
        (
            "train.weight_estimator=clip",
            "train.weight_estimator is `clip`, expected `{ clip = { bound = NUMBER } }` or `identity`",
        ),
        (
            "train.weight_estimator={ clip = { limit = 1 } }",
            "train.weight_estimator is `{ clip = { limit = 1 } }`, expected `{ clip = { bound = NUMBER } }` or `identity`",
        ),
        (
            "train.weight_estimator={ bent = 1 }",
            "train.weight_estimator is `{ bent = 1 }`, expected `{ clip = { bound = NUMBER } }` or `identity`",
        ),
        ("train.stages=2", "train.stages is `2`, expected `one` or `two`"),
        ("train.schedule=cosine", "train.schedule is `cosine`, expected `linear` or `constant`"),
        (
            "network.method=xnor",
            "network.method is `xnor`, expected `bireal`, `reactnet`, `ftbnn` or `dybnn`",
        ),
    ];
    for (assignment, expected) in cases {
        let error = apply(&mut smallest(), &[assignment]).unwrap_err().to_string();
        assert_eq!(error, format!("{assignment}: {expected}"));
    }
}

#[test]
fn missing_keys_and_sections_are_named() {
    let error = error_of(|text| text.replace("epochs = 3", ""));
    assert_eq!(error.to_string(), "recipe.toml: train.epochs is missing");
    let error = error_of(|text| text.replace("[network]\narch = \"resnet20\"", ""));
    assert_eq!(error.to_string(), "recipe.toml: the section [network] is missing");
}

#[test]
fn text_that_is_not_toml_is_named_with_its_line() {
    let error = error_of(|text| text.replace("batch = 32", "batch = = 32")).to_string();
    assert!(error.starts_with("recipe.toml: line 9 is not valid TOML: "), "{error}");
    assert!(!error.contains('\n'), "{error}");
}

#[test]
fn a_missing_file_is_a_missing_input() {
    let error = Recipe::load(Path::new("no-such-recipe.toml")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::MissingInput);
    assert_eq!(error.to_string(), "no-such-recipe.toml: not found; expected a recipe (TOML)");
}

#[test]
fn overrides_change_one_value_and_a_refused_one_changes_nothing() {
    let mut recipe = smallest();
    apply(&mut recipe, &["train.epochs=5"]).unwrap();
    apply(&mut recipe, &["data.train=folder:/tmp/a b"]).unwrap();
    assert_eq!(recipe.train.epochs, 5);
    assert_eq!(recipe.data.train, "folder:/tmp/a b");
    let before = recipe.clone();
    for bad in ["trian.epochs=5", "epochs=5", "train.epochs.x=5", "=", "train=5"] {
        let error = apply(&mut recipe, &[bad]).unwrap_err().to_string();
        assert!(error.starts_with(&format!("{bad}: ")), "{error}");
        assert_eq!(recipe, before);
    }
}

#[test]
fn overrides_need_to_be_allowed_only_together() {
    let mut recipe = smallest();
    apply(&mut recipe, &["train.stages=two", "train.real_weight_epochs=2"]).unwrap();
    assert_eq!(recipe.total_epochs(), 5);
    let error = apply(&mut recipe, &["train.stages=one", "train.epochs=4"]).unwrap_err();
    let start = "train.stages=one: train.real_weight_epochs is 2, ";
    assert!(error.to_string().starts_with(start), "{error}");
}

#[test]
fn a_section_that_a_file_lacks_is_no_fault_of_overrides() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("recipe.toml");
    std::fs::write(&path, "").unwrap();
    let overrides = [Override::set("train.epochs", 5, "--epochs 5")];
    let error = Recipe::load_with(&path, &overrides).unwrap_err().to_string();
    assert_eq!(error, format!("{}: the section [data] is missing", path.display()));
}

#[test]
fn a_data_set_is_used_with_both_splits() {
    let mut recipe = smallest();
    recipe.use_data("folder:/data/pets").unwrap();
    assert_eq!(recipe.data.train, "folder:/data/pets:train");
    assert_eq!(recipe.data.test, "folder:/data/pets");
    recipe.use_data("folder:train").unwrap();
    assert_eq!(recipe.data.test, "folder:train");
    recipe.use_data("idx:/data/pets").unwrap();
    assert_eq!(recipe.data.test, "idx:/data/pets:test");
    let error = recipe.use_data("mnist:val").unwrap_err().to_string();
    assert!(error.starts_with("data `mnist:val`: "), "{error}");
}

#[test]
fn the_fingerprint_ignores_where_the_images_are_and_nothing_else() {
    let recipe = smallest();
    let mut moved = recipe.clone();
    moved.use_data("idx:/elsewhere").unwrap();
    moved.train.save_every = 7;
    moved.train.keep_checkpoints = 9;
    assert_eq!(recipe.fingerprint().unwrap(), moved.fingerprint().unwrap());
    assert_eq!(recipe.difference(&moved).unwrap(), None);
    let mut two = recipe.clone();
    two.train.stages = Stages::Two;
    two.train.real_weight_epochs = 4;
    assert_ne!(recipe.fingerprint().unwrap(), two.fingerprint().unwrap());
    let expected = ("train.real_weight_epochs".into(), "0".into(), "4".into());
    assert_eq!(recipe.difference(&two).unwrap(), Some(expected));
}

#[test]
fn a_teacher_leaves_no_labels_to_smooth() {
    let both = ["train.teacher.path=t.onnx", "train.label_smoothing=0.1"];
    let error = apply(&mut smallest(), &both).unwrap_err().to_string();
    let expected = "train.label_smoothing is 0.1, expected 0 where [train.teacher] takes the place of the labels";
    assert!(error.ends_with(expected), "{error}");
    apply(&mut smallest(), &both[..1]).unwrap();
}

#[test]
fn the_places_of_weights_and_images_do_not_make_another_run_but_their_presence_does() {
    let with = |assignments: &[&str]| {
        let mut recipe = smallest();
        apply(&mut recipe, assignments).unwrap();
        recipe.fingerprint().unwrap()
    };
    let here = ["train.init=a", "train.teacher.path=t.onnx", "data.train=folder:a:train"];
    let there = ["train.init=b", "train.teacher.path=u.onnx", "data.train=folder:b:train"];
    assert_eq!(with(&here), with(&there));
    assert_ne!(with(&here), with(&here[..1]));
    assert_ne!(with(&here[..1]), with(&[]));
}

#[test]
fn a_recipe_that_is_not_text_is_bad_data() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("r.toml");
    std::fs::write(&path, b"[data]\ntrain = \"\xe9\"\n").unwrap();
    let error = Recipe::load(&path).unwrap_err();
    assert_eq!(error.kind(), onebit_data::ErrorKind::BadData);
    assert!(error.to_string().ends_with("r.toml: line 2 is not UTF-8 text"), "{error}");
}
