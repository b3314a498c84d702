//! What a measurement is written down with, and where programs are pinned.

use std::env;
use std::fs;
use std::process::Command;

use anyhow::{Context, Result};

use crate::root;

/// The processor's name.
pub(crate) fn cpu() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    model.map_or_else(|| env::consts::ARCH.to_owned(), |(_, name)| name.to_owned())
}

/// The commit that is checked out, with `-dirty` where files differ from it.
pub(crate) fn commit() -> String {
    let describe = ["describe", "--always", "--dirty", "--exclude=*"];
    let git = Command::new("git").args(describe).current_dir(root()).output();
    let name = git.map(|o| String::from_utf8_lossy(&o.stdout).trim().to_owned());
    name.ok().filter(|name| !name.is_empty()).unwrap_or_else(|| "unknown".to_owned())
}

/// Today as `YYYY-MM-DD`.
pub(crate) fn date() -> Result<String> {
    let output = Command::new("date").arg("+%F").output().context("`date` cannot be started")?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Numbers of the CPUs that programs may be pinned to, the last one first; empty where there is no `taskset`.
pub(crate) fn pins() -> Vec<usize> {
    if Command::new("taskset").arg("--version").output().is_err() {
        return Vec::new();
    }
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let allowed = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    let mut cpus = allowed.and_then(parse_cpu_list).unwrap_or_default();
    cpus.reverse();
    cpus
}

/// `0-2,5` is 0, 1, 2, 5.
fn parse_cpu_list(text: &str) -> Option<Vec<usize>> {
    let mut cpus = Vec::new();
    for part in text.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        cpus.extend(first.parse::<usize>().ok()?..=last.parse().ok()?);
    }
    Some(cpus)
}

#[cfg(test)]
mod tests {
    use super::parse_cpu_list;

    #[test]
    fn lists_of_cpus() {
        assert_eq!(parse_cpu_list("\t0-2,5\n"), Some(vec![0, 1, 2, 5]));
        assert_eq!(parse_cpu_list("7"), Some(vec![7]));
        assert_eq!(parse_cpu_list(""), None);
        assert_eq!(parse_cpu_list("1-x"), None);
    }
}
