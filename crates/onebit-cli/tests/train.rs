//! Training as a user sees it: interruptions, overrides, and the way to a packed file.
#![cfg(feature = "train")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use common::{Outcome, onebit, program, recipe};

const PATIENCE: Duration = Duration::from_secs(120);

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

fn final_weights(run: &Path, epochs: usize) -> Vec<u8> {
    let checkpoint = run.join(format!("checkpoints/epoch-{epochs:05}"));
    fs::read(checkpoint.join("weights.safetensors")).expect("the last checkpoint")
}

/// Starts training and waits until the first epoch is finished.
fn start(recipe: &Path, out: &Path) -> Child {
    let mut command = program();
    command.arg("train").arg(recipe).arg("--out").arg(out);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let started = Instant::now();
    while !out.join("checkpoints/epoch-00001").exists() {
        assert!(started.elapsed() < PATIENCE, "no checkpoint after {PATIENCE:?}");
        sleep(Duration::from_millis(5));
    }
    child.expect("the program starts")
}

fn resume(recipe: &Path, out: &Path) -> Outcome {
    onebit(&["train", text(recipe), "--out", text(out), "--resume", "--json"])
}

/// The weights of a run that nothing interrupted, on one thread.
fn uninterrupted(recipe: &Path, folder: &Path, epochs: usize) -> Vec<u8> {
    let out = folder.join("whole");
    onebit(&["train", text(recipe), "--out", text(&out), "--threads", "1"]).succeeded();
    final_weights(&out, epochs)
}

#[test]
fn a_killed_run_resumes_to_the_same_bytes() {
    let folder = tempfile::tempdir().expect("a folder");
    let recipe = recipe(folder.path(), "epochs = 12");
    let out = folder.path().join("killed");
    let mut child = start(&recipe, &out);
    child.kill().expect("killed");
    let ended = child.wait_with_output().expect("it ends");
    assert!(!ended.status.success(), "the run ended before it was killed");
    let json = resume(&recipe, &out).json();
    assert_eq!(json["epochs"], 12);
    let whole = uninterrupted(&recipe, folder.path(), 12);
    assert!(final_weights(&out, 12) == whole, "the resumed run has other weights");
}

#[cfg(unix)]
#[test]
fn ctrl_c_leaves_a_checkpoint() {
    use std::process::Command;

    let folder = tempfile::tempdir().expect("a folder");
    let recipe = recipe(folder.path(), "epochs = 12");
    let out = folder.path().join("stopped");
    let child = start(&recipe, &out);
    let kill = Command::new("sh").arg("-c").arg(format!("kill -INT {}", child.id())).status();
    assert!(kill.expect("a shell").success());
    let outcome = Outcome::from(child.wait_with_output().expect("it ends"));
    assert_eq!(outcome.code, Some(130), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("--resume"), "{}", outcome.stderr);
    assert!(out.join("curve.svg").exists() && out.join("curve.png").exists());
    resume(&recipe, &out).succeeded();
    let whole = uninterrupted(&recipe, folder.path(), 12);
    assert!(final_weights(&out, 12) == whole, "the resumed run has other weights");
}

#[cfg(unix)]
#[test]
fn an_interrupted_demo_goes_on_with_the_same_command() {
    use std::process::Command;

    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("demo");
    let interrupted = |reached: &Path| {
        let mut command = program();
        command.arg("demo").arg("--out").arg(&out);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let child = child.expect("the program starts");
        let started = Instant::now();
        while !reached.exists() && started.elapsed() < PATIENCE {
            sleep(Duration::from_millis(5));
        }
        sleep(Duration::from_millis(300));
        let kill = Command::new("sh").arg("-c").arg(format!("kill -INT {}", child.id())).status();
        assert!(kill.expect("a shell").success());
        let outcome = Outcome::from(child.wait_with_output().expect("it ends"));
        assert_eq!(outcome.code, Some(130), "{}", outcome.stderr);
        let how = format!("go on with: onebit demo --out {}", out.display());
        assert!(outcome.stderr.contains(&how), "{}", outcome.stderr);
        outcome
    };
    interrupted(&out.join("run/metrics.csv"));
    assert!(out.join("run/checkpoints").exists());
    fs::remove_file(out.join("run/metrics.csv")).expect("removed");
    let again = interrupted(&out.join("run/metrics.csv"));
    assert!(again.stderr.contains("resuming from"), "{}", again.stderr);
}

#[test]
fn from_a_recipe_to_a_proven_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let recipe = recipe(folder.path(), "epochs = 9");
    let (run, file) = (folder.path().join("run"), folder.path().join("a.onebit"));
    let train = onebit(&[
        "train",
        text(&recipe),
        "--out",
        text(&run),
        "--epochs",
        "2",
        "--seed",
        "5",
        "--set",
        "network.method=ftbnn",
        "--json",
    ]);
    assert_eq!(train.json()["epochs"], 2);
    let kept = fs::read_to_string(run.join("recipe.toml")).expect("the run's recipe");
    assert!(kept.contains("seed = 5") && kept.contains("ftbnn"), "{kept}");
    let svg = fs::read_to_string(run.join("curve.svg")).expect("curves");
    assert!(svg.contains("top-1"), "{svg}");
    image::open(run.join("curve.png")).expect("a picture");

    let spec = "fashion-mnist-sample";
    let pack = onebit(&["pack", text(&run), "-o", text(&file), "--verify", spec, "--json"]).json();
    assert_eq!(pack["agreement"]["images"], 2000);
    assert_eq!(pack["file_bytes"], fs::metadata(&file).expect("a file").len());
    assert!(pack["int8"].is_null());
    let small = folder.path().join("a8.onebit");
    let arguments =
        ["pack", text(&run), "-o", text(&small), "--verify", spec, "--int8", spec, "--json"];
    let int8 = onebit(&[&arguments[..], &["--int8-max-changed", "0.05"]].concat()).json();
    assert_eq!(int8["agreement"], pack["agreement"]);
    assert_eq!(
        (&int8["int8"]["images"], &int8["int8"]["changed_allowed"]),
        (&2000.into(), &100.into())
    );
    let eval = |network: &Path| {
        onebit(&["eval", text(network), "--data", spec, "--limit", "300", "--json"]).json()
    };
    let (trainer, engine) = (eval(&run), eval(&file));
    assert_eq!((&trainer["n"], &engine["n"]), (&300.into(), &300.into()));
    let flipped = pack["agreement"]["flipped_images"].as_f64().expect("a number");
    let top1 = |json: &serde_json::Value| json["top1"].as_f64().expect("a number");
    assert!((top1(&trainer) - top1(&engine)).abs() * 300.0 <= flipped, "{trainer} {engine}");
}

#[test]
fn recipes_that_cannot_be_used() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("run");
    let cases = [
        ("epochs = 1\nepoch = 2", "epoch"),
        ("epochs = 0", "train.epochs"),
        ("epochs = 1\nbatch = 32", "line"),
        ("epochs = \"many\"", "epochs"),
        ("epochs = 1\nlabel_smoothing = 2.0", "label_smoothing"),
        ("epochs = 1\nweight_decay = -1.0", "weight_decay"),
        ("epochs = ", "TOML"),
    ];
    for (line, word) in cases {
        let recipe = recipe(folder.path(), line);
        let outcome = onebit(&["train", text(&recipe), "--out", text(&out)]);
        let sentence = outcome.failed(65);
        assert!(sentence.contains("tiny.toml") && sentence.contains(word), "{line}: {sentence}");
    }
    let recipe = recipe(folder.path(), "epochs = 1");
    let train =
        |extra: &[&str]| onebit(&[&["train", text(&recipe), "--out", text(&out)], extra].concat());
    train(&["--set", "network.groups=7"]).failed(65);
    train(&["--set", "network.arch=nonsense"]).failed(65);
    train(&["--data", "idx:/no/such/folder"]).failed(66);
    assert!(train(&["--device", "cuda:0"]).failed(64).contains("trains on the CPU and has no GPU"));
    train(&["--resume"]).failed(66);
    onebit(&["train", "/no/such/recipe.toml"]).failed(66);
    assert!(!out.exists(), "a run that never began");
}

#[test]
fn places_that_cannot_be_used() {
    let folder = tempfile::tempdir().expect("a folder");
    let recipe = recipe(folder.path(), "epochs = 1");
    let train = |out: PathBuf| onebit(&["train", text(&recipe), "--out", text(&out)]);
    let last = |outcome: Outcome| outcome.stderr.lines().last().unwrap_or_default().to_owned();
    let outcome = train(recipe.join("run"));
    assert_eq!(outcome.code, Some(65), "{}", outcome.stderr);
    assert!(last(outcome).contains("tiny.toml"));
    let outcome = train(folder.path().to_owned());
    assert_eq!(outcome.code, Some(64), "{}", outcome.stderr);
    assert!(last(outcome).contains("--out"));
    assert_eq!(common::names(folder.path()), ["tiny.toml"]);
    onebit(&["pack", text(folder.path()), "-o", text(&folder.path().join("a.onebit"))]).failed(66);
    onebit(&["eval", text(folder.path()), "--data", "fashion-mnist-sample"]).failed(66);
}
