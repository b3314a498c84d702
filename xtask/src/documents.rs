//! Tests that hold what the documents say of the sources to the sources.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::root;

/// Folders that hold nothing of ours.
const PASSED_OVER: [&str; 5] = ["target", ".git", "runs", "data", ".venv"];

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    let text =
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.replace("\r\n", "\n")
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        if !path.is_dir() {
            found.push(path);
        } else if folder != root() || !PASSED_OVER.contains(&name.as_str()) {
            walk(&path, found);
        }
    }
}

/// All files, relative to the root, with `/` between folders.
fn files() -> Vec<String> {
    let mut found = Vec::new();
    walk(root(), &mut found);
    let relative = found.iter().map(|path| path.strip_prefix(root()).expect("below the root"));
    relative.map(|path| path.to_string_lossy().replace('\\', "/")).collect()
}

/// What stands between backticks, outside blocks of code.
fn quoted(text: &str) -> Vec<String> {
    let mut is_code = false;
    let prose = text.lines().filter(|line| {
        let fence = line.trim_start().starts_with("```");
        is_code ^= fence;
        !is_code && !fence
    });
    let prose = prose.collect::<Vec<_>>().join("\n");
    prose.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// Rows of the table whose head begins with `head`, as cells.
fn table(text: &str, head: &str) -> Vec<Vec<String>> {
    let rows = text.lines().skip_while(|line| !line.starts_with(head)).skip(2);
    let rows = rows.take_while(|line| line.starts_with('|'));
    rows.map(|row| row.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect())
        .collect()
}

/// Whether the path, or one that ends with it, is there.
fn is_there(path: &str, files: &[String]) -> bool {
    let path = path.trim_end_matches('/');
    let inside = format!("/{path}");
    let below = format!("{inside}/");
    files.iter().any(|file| {
        let file = format!("/{file}");
        file.ends_with(&inside) || file.contains(&below)
    })
}

#[test]
fn links_lead_somewhere() {
    let mut links = 0;
    for page in files().iter().filter(|file| file.ends_with(".md") && !file.contains("/src/")) {
        let text = read(page);
        for (_, rest) in text.match_indices("](").map(|(at, _)| text.split_at(at + 2)) {
            let target = rest.split(')').next().unwrap_or_default();
            let path = target.split('#').next().unwrap_or_default();
            if path.is_empty() || path.contains("://") || path.contains(' ') {
                continue;
            }
            let folder = root().join(page);
            let place = folder.parent().expect("a folder").join(path);
            assert!(place.exists(), "{page} links to {target}");
            links += 1;
        }
    }
    assert!(links > 50, "{links} links found");
}

#[test]
fn files_that_are_named_are_there() {
    let files = files();
    for page in ["docs/adding.md", "CONTRIBUTING.md", "SECURITY.md", "RELEASING.md", "docs/cli.md"]
    {
        let mut named = 0;
        for word in quoted(&read(page)) {
            let is_path =
                [".rs", ".py", ".toml", ".md", ".mjs", "/"].iter().any(|end| word.ends_with(end))
                    || ["crates/", "docs/", "scripts/", "xtask/"]
                        .iter()
                        .any(|start| word.starts_with(start));
            if !is_path || word.contains(['<', '*', ' ', ':', '$']) || word.starts_with(['.', '/'])
            {
                continue;
            }
            let is_output = word.starts_with("target/") || word.starts_with("runs/");
            assert!(is_output || is_there(&word, &files), "{page} names `{word}`");
            named += 1;
        }
        assert!(named > 0, "{page} names no file");
    }
}

#[test]
fn the_files_of_each_kind_are_listed() {
    let rows = table(&read("docs/adding.md"), "| kind | folder | files |");
    assert!(rows.len() >= 6, "{rows:?}");
    for row in rows {
        let [kind, folder, listed] = row.as_slice() else { panic!("{row:?}") };
        let folder = folder.trim_matches('`');
        let listed: BTreeSet<String> = quoted(listed).into_iter().collect();
        let entries = fs::read_dir(root().join(folder)).expect("the folder of a kind");
        let stems = entries.map(|entry| {
            let name = entry.expect("an entry").file_name().to_string_lossy().into_owned();
            name.trim_end_matches(".rs").to_owned()
        });
        let there: BTreeSet<String> = stems.filter(|stem| stem != "mod").collect();
        assert_eq!(listed, there, "{kind}: the table of docs/adding.md and {folder}");
    }
}

#[test]
fn unsafe_code_is_where_the_documents_say() {
    let text = read("docs/adding.md");
    let (_, text) = text.split_once("Code that is `unsafe` stands in ").expect("the paragraph");
    let (paragraph, _) = text.split_once("\n\n").expect("its end");
    let places: Vec<String> =
        quoted(paragraph).into_iter().filter(|word| word.starts_with("crates/")).collect();
    let sources =
        files().into_iter().filter(|file| file.starts_with("crates/") && file.contains("/src/"));
    let unsafe_ones: Vec<String> = sources
        .filter(|file| file.ends_with(".rs") && read(file).contains("allow(unsafe_code"))
        .collect();
    for file in &unsafe_ones {
        assert!(
            places.iter().any(|place| file.starts_with(place.as_str())),
            "{file} is not listed"
        );
    }
    for place in &places {
        assert!(
            unsafe_ones.iter().any(|file| file.starts_with(place)),
            "{place} has no unsafe code"
        );
    }
}

/// Rooms of the engine, each of which names only those before it.
const ENGINE_ROOMS: [&str; 10] =
    ["error", "aligned", "arena", "map", "packed", "kernel", "exec", "fuse", "plan", "engine"];

#[test]
fn the_engine_depends_in_one_direction() {
    let sources = files().into_iter().filter_map(|file| {
        let room = file.strip_prefix("crates/onebit-engine/src/")?;
        let room = room.split(['/', '.']).next()?.to_owned();
        Some((room, file))
    });
    let mut found = BTreeSet::new();
    for (room, file) in sources {
        let Some(own) = ENGINE_ROOMS.iter().position(|name| *name == room) else { continue };
        let text = read(&file);
        for name in text.split("crate::").skip(1) {
            let name: String =
                name.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            if let Some(other) = ENGINE_ROOMS.iter().position(|room| *room == name) {
                assert!(other <= own, "{file} names `{name}`, which stands on `{room}`");
            }
        }
        found.insert(room);
    }
    assert_eq!(found.len(), ENGINE_ROOMS.len(), "{found:?}");
    let order = ENGINE_ROOMS[3..].join("`, `");
    assert!(read("docs/adding.md").contains(&order), "docs/adding.md does not name them: {order}");
}

#[test]
fn attacks_have_the_tests_that_are_named() {
    let rows = table(&read("SECURITY.md"), "| attack | verdict | test |");
    assert!(rows.len() > 30, "{} attacks", rows.len());
    for row in rows {
        let words = quoted(row.last().expect("a test"));
        let [test, file] = words.as_slice() else { panic!("{row:?}") };
        let source = read(file);
        let (before, _) = source
            .split_once(&format!("fn {test}()"))
            .unwrap_or_else(|| panic!("{file}: no {test}"));
        let attributes = before.rsplit("\n\n").next().unwrap_or_default();
        assert!(attributes.contains("#[test]"), "{file}: {test} is no test");
    }
}

#[test]
fn limits_are_constants_of_the_sources() {
    let sources =
        files().into_iter().filter(|file| file.starts_with("crates/") && file.ends_with(".rs"));
    let sources: String = sources.map(read).collect();
    let rows = table(&read("SECURITY.md"), "| | limit | constant |");
    assert!(rows.len() > 15, "{} limits", rows.len());
    for row in rows {
        for name in quoted(row.last().expect("a constant")) {
            let is_there = sources.contains(&format!("const {name}: "))
                || sources.contains(&format!("struct {name} "));
            assert!(is_there, "there is no {name}");
        }
    }
}

#[test]
fn the_library_is_introduced_alike_everywhere() {
    let example = |page: &str, fence: &str| {
        let text = read(page);
        let (_, block) = text.split_once(fence).unwrap_or_else(|| panic!("{page} has no example"));
        block.split("```").next().expect("its end").to_owned()
    };
    let expected = example("crates/onebit/README.md", "```no_run\n");
    assert_eq!(example("README.md", "```rust\n"), expected);
}

#[test]
fn the_oldest_rust_is_the_one_that_is_used() {
    let of = |page: &str, key: &str| {
        let text = read(page);
        let line =
            text.lines().find_map(|line| line.strip_prefix(key)).expect("the key").to_owned();
        line.trim_matches(|c: char| !c.is_ascii_digit()).to_owned()
    };
    let (oldest, used) = (of("Cargo.toml", "rust-version"), of("rust-toolchain.toml", "channel"));
    assert!(
        used == oldest || used.strip_prefix(&oldest).is_some_and(|rest| rest.starts_with('.')),
        "{used}, {oldest}"
    );
}

#[test]
fn workflows_call_tasks_that_there_are() {
    let mut calls = 0;
    for file in files().iter().filter(|file| file.starts_with(".github/workflows/")) {
        for line in read(file).lines().filter(|line| !line.trim_start().starts_with('#')) {
            let Some((_, call)) = line.split_once("run: cargo xtask ") else { continue };
            let task = call.split_whitespace().next().expect("a task");
            assert!(crate::HELP.contains(&format!("cargo xtask {task} ")), "{file}: {task}");
            calls += 1;
        }
    }
    assert!(calls >= 7, "{calls} calls");
}
