//! `cargo xtask smoke folder:PATH`: every network of ImageNet's size learns from a few images.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::{cargo, root, run, say};

const NETWORKS: [&str; 14] = [
    "birealnet18",
    "birealnet34",
    "reactnet18",
    "reactnet34",
    "reactnet-a",
    "reactnet-b",
    "reactnet-c",
    "ftbnn18",
    "ftbnn18-compressed",
    "ftbnn18-grouped-2x2g",
    "ftbnn18-grouped-2x4g",
    "ftbnn-a",
    "dybnn18",
    "dybnn-a",
];

/// How often the memory of a running program is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// What a short training came to.
struct Outcome {
    first_loss: f64,
    last_loss: f64,
    seconds: f64,
    /// Largest memory in MiB, where the system tells it.
    memory: Option<u64>,
}

/// Trains each network and prints a table.
///
/// # Errors
/// A network that cannot be trained, or whose loss has not fallen at the end.
pub(crate) fn smoke(spec: &str) -> Result<()> {
    if !spec.starts_with("folder:") {
        bail!("expected folder:PATH with one folder of images for each class, found `{spec}`");
    }
    run(cargo("build --release --package onebit-cli"), "the program does not build; see above")?;
    let mut table = format!(
        "{:<22}{:>12}{:>12}{:>10}{:>14}\n",
        "network", "first loss", "last loss", "seconds", "peak memory"
    );
    let mut failed = Vec::new();
    for network in NETWORKS {
        let outcome = train(spec, network).with_context(|| network.to_owned())?;
        let memory = outcome.memory.map_or("unknown".into(), |mib| format!("{mib} MiB"));
        let line = format!(
            "{network:<22}{:>12.3}{:>12.3}{:>10.1}{memory:>14}",
            outcome.first_loss, outcome.last_loss, outcome.seconds
        );
        say(&line);
        table += &(line + "\n");
        if outcome.last_loss.is_nan() || outcome.last_loss >= outcome.first_loss {
            failed.push(network);
        }
    }
    say(&format!(
        "\n64 images of 224 x 224 pixels, 8 epochs, batch 16; mean loss of an epoch\n{table}"
    ));
    if failed.is_empty() { Ok(()) } else { bail!("the loss has not fallen: {}", failed.join(", ")) }
}

fn train(spec: &str, network: &str) -> Result<Outcome> {
    let folder = root().join("target/smoke").join(network);
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    let (recipe, out) = (folder.join("recipe.toml"), folder.join("run"));
    fs::write(&recipe, recipe_of(spec, network))?;
    let output = folder.join("stdout.json");
    let mut command = Command::new(binary()?);
    command.arg("train").arg(&recipe).arg("--out").arg(&out).arg("--json");
    let child = command.stdin(Stdio::null()).stdout(File::create(&output)?).spawn()?;
    let memory = wait(child)?;
    let done: Value = serde_json::from_str(&fs::read_to_string(output)?)
        .context("onebit train --json printed no JSON value")?;
    let losses = losses(&out.join("metrics.csv"))?;
    let (Some(&first_loss), Some(&last_loss)) = (losses.first(), losses.last()) else {
        bail!("metrics.csv has no row");
    };
    let seconds = done["seconds"].as_f64().context("no `seconds` in the output")?;
    Ok(Outcome { first_loss, last_loss, seconds, memory })
}

fn recipe_of(spec: &str, network: &str) -> String {
    format!(
        "[data]
train = '{spec}:train'
test = '{spec}:test'
image_size = [224, 224]
train_limit = 64
test_limit = 16

[network]
arch = '{network}'

[train]
epochs = 8
batch = 16
seed = 1
lr = 1e-3
schedule = 'linear'
save_every = 8
"
    )
}

/// Waits for the end of a program; the largest memory that it was seen to have, in MiB.
fn wait(mut child: Child) -> Result<Option<u64>> {
    let status = format!("/proc/{}/status", child.id());
    let mut peak = None;
    loop {
        peak = memory(Path::new(&status)).max(peak);
        if let Some(status) = child.try_wait()? {
            return if status.success() {
                Ok(peak)
            } else {
                bail!("onebit train failed: {status}")
            };
        }
        thread::sleep(LOOK);
    }
}

/// The line `VmHWM` of Linux.
fn memory(status: &Path) -> Option<u64> {
    let mut text = String::new();
    File::open(status).ok()?.read_to_string(&mut text).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? / 1024)
}

/// The column `train_loss`.
fn losses(metrics: &Path) -> Result<Vec<f64>> {
    let text = fs::read_to_string(metrics)?;
    let mut lines = text.lines();
    let names = lines.next().unwrap_or_default();
    let column = names.split(',').position(|name| name == "train_loss");
    let column = column.context("metrics.csv has no column train_loss")?;
    lines.map(|line| Ok(line.split(',').nth(column).context("a short row")?.parse()?)).collect()
}

fn binary() -> Result<std::path::PathBuf> {
    let mut metadata = cargo("metadata --format-version 1 --no-deps");
    let output = metadata.output().context("cargo cannot be started")?;
    let value: Value = serde_json::from_slice(&output.stdout).context("cargo metadata")?;
    let target = value["target_directory"].as_str().context("cargo names no target directory")?;
    let name = format!("onebit{}", std::env::consts::EXE_SUFFIX);
    Ok(Path::new(target).join("release").join(name))
}
