//! Files that `pack`, `import` and `export` write: their names, what was there before, and what is left of a killed one.

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::{Outcome, names, onebit, packed, weights};

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// Weights of a run in `folder`.
fn trained(folder: &Path) -> PathBuf {
    let path = folder.join("w.safetensors");
    let content = onebit_model::file::write_weights(&weights()).expect("a file");
    fs::write(&path, content).expect("written");
    path
}

#[test]
fn a_name_says_the_format() {
    let folder = tempfile::tempdir().expect("a folder");
    let (model, from) = (packed(folder.path()), trained(folder.path()));
    let before = names(folder.path());
    let refused = |verb: &[&str], name: &str, words: &str| {
        let out = folder.path().join(name);
        let outcome = onebit(&[verb, &["-o", text(&out)]].concat());
        let sentence = outcome.failed(64);
        assert!(sentence.contains(name) && sentence.contains(words), "{sentence}");
    };
    for name in ["x.tflite", "x.onebit", "x.pth", "x.onnx.gz", "x.1"] {
        refused(&["export", text(&model)], name, "a name that ends in .onnx");
    }
    for name in ["x.onnx", "x.safetensors", "x.tflite"] {
        refused(&["pack", text(&from)], name, "`onebit export` makes other formats");
    }
    for name in ["x.onnx", "x.pth"] {
        let import = ["import", text(&from), "--arch", "reactnet18"];
        refused(&import, name, "a name that ends in .onebit or .safetensors");
    }
    assert_eq!(names(folder.path()), before);
    let (onnx, packed) = (folder.path().join("X.ONNX"), folder.path().join("no-ending"));
    onebit(&["export", text(&model), "-o", text(&onnx)]).succeeded();
    onebit(&["pack", text(&from), "-o", text(&packed)]).succeeded();
}

#[test]
fn what_is_replaced_is_said() {
    let folder = tempfile::tempdir().expect("a folder");
    let (model, from) = (packed(folder.path()), trained(folder.path()));
    let (onnx, out) = (folder.path().join("x.onnx"), folder.path().join("x.onebit"));
    for command in [
        ["export", text(&model), "-o", text(&onnx), "--json"],
        ["pack", text(&from), "-o", text(&out), "--json"],
    ] {
        let first = onebit(&command);
        assert_eq!((&first.json()["replaced"], first.stderr.as_str()), (&false.into(), ""));
        fs::write(command[3], [0; 1234]).expect("written");
        let second = onebit(&command);
        assert_eq!(second.json()["replaced"], true);
        assert_eq!(second.stderr, format!("replaced {} (1,234 bytes)\n", command[3]));
    }
    onebit(&["verify", text(&out)]).succeeded();
}

#[test]
fn what_is_read_is_not_replaced() {
    let folder = tempfile::tempdir().expect("a folder");
    let (model, from) = (packed(folder.path()), trained(folder.path()));
    let contents = || [&model, &from].map(|path| fs::read(path).expect("a file"));
    let before = contents();
    let spec = "fashion-mnist-sample";
    let commands: [&[&str]; 2] = [
        &["pack", text(&model), "-o", text(&model), "--int8", spec],
        &["import", text(&from), "--arch", "reactnet18", "-o", text(&from)],
    ];
    for command in commands {
        let outcome = onebit(command);
        assert!(outcome.failed(64).contains("is a file that is read here"), "{}", outcome.stderr);
    }
    #[cfg(unix)]
    {
        let link = folder.path().join("link.onebit");
        std::os::unix::fs::symlink(&model, &link).expect("a link");
        onebit(&["pack", text(&model), "-o", text(&link), "--int8", spec]).failed(64);
    }
    assert!(contents() == before);
}

#[cfg(unix)]
#[test]
fn a_folder_that_is_read_is_called_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let run = folder.path().join("run");
    fs::create_dir(&run).expect("a folder");
    fs::rename(trained(folder.path()), run.join("weights.safetensors")).expect("moved");
    let outcome = onebit(&["pack", text(&run), "-o", text(&run)]);
    let said = format!(
        "{}: is the folder that is read here, expected the name of a file to write",
        text(&run)
    );
    assert_eq!(outcome.failed(64), said);
}

#[test]
fn folders_and_devices_are_not_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let (model, from) = (packed(folder.path()), trained(folder.path()));
    let place = folder.path().join("place");
    fs::create_dir(&place).expect("a folder");
    for to in [text(&place), "/dev/null", "/dev/full"] {
        onebit(&["export", text(&model), "-o", to]).failed(74);
        onebit(&["pack", text(&from), "-o", to]).failed(74);
    }
    assert_eq!(names(&place), [""; 0]);
}

#[test]
fn logits_replace_nothing_that_is_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let model = packed(folder.path());
    let (x, y) = (folder.path().join("x.npy"), folder.path().join("y.npy"));
    let shape = [2, 1, 28, 28];
    onebit_data::write_npy_f32(&x, &shape, &vec![0.5; shape.iter().product()]).expect("written");
    let before = [&model, &x].map(|path| fs::read(path).expect("read"));
    let run = |to| onebit(&["run", text(&model), "--input", text(&x), "--output", to]);
    for to in [&model, &x] {
        assert!(run(text(to)).failed(64).contains("is a file that is read here"));
    }
    assert_eq!(before, [&model, &x].map(|path| fs::read(path).expect("read")));
    run(text(&y)).succeeded();
    run(text(&y)).succeeded();
}

#[cfg(unix)]
#[test]
fn named_pipes_are_not_waited_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let (model, pipe) = (packed(folder.path()), folder.path().join("pipe.onebit"));
    let made = std::process::Command::new("mkfifo").arg(&pipe).status().expect("mkfifo");
    assert!(made.success());
    let y = folder.path().join("y.npy");
    let out = folder.path().join("o.onebit");
    let commands: [&[&str]; 4] = [
        &["verify", text(&pipe)],
        &["run", text(&model), "--input", text(&pipe), "--output", text(&y)],
        &["import", text(&pipe), "--arch", "reactnet18", "-o", text(&out)],
        &["pack", text(&pipe), "-o", text(&out)],
    ];
    for command in commands {
        assert!(onebit(command).failed(65).contains("is a named pipe"), "{command:?}");
    }
}

/// A file may not grow past a few blocks, and what tries is killed.
#[cfg(unix)]
#[test]
fn the_next_one_removes_what_a_killed_one_left() {
    use std::process::Command;

    let folder = tempfile::tempdir().expect("a folder");
    let (model, from) = (packed(folder.path()), trained(folder.path()));
    let (onnx, out) = (folder.path().join("x.onnx"), folder.path().join("x.onebit"));
    let other = folder.path().join("y.onebit");
    let commands = [
        ["export", text(&model), "-o", text(&onnx)],
        ["pack", text(&from), "-o", text(&out)],
        ["pack", text(&from), "-o", text(&other)],
    ];
    for command in commands {
        let mut shell = Command::new("sh");
        shell.args(["-c", "ulimit -c 0; ulimit -f 4; exec \"$0\" \"$@\""]);
        shell.arg(env!("CARGO_BIN_EXE_onebit")).args(command);
        let outcome = Outcome::from(shell.output().expect("a shell"));
        assert_eq!(outcome.code, None, "{}", outcome.stderr);
    }
    let left = || names(folder.path()).into_iter().filter(|name| name.starts_with(".tmp-")).count();
    assert_eq!(left(), 3);
    for (command, still) in commands.iter().zip([2, 1, 0]) {
        onebit(command).succeeded();
        assert_eq!(left(), still, "{command:?}");
    }
}
