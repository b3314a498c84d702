//! The packages that can be published, as `cargo package` makes them.

use anyhow::Result;

use crate::{cargo, run};

/// Members that are not published.
const PRIVATE: &str = "--exclude xtask --exclude onebit-testing --exclude onebit-python";

/// Makes every package, in the order of their dependencies, without compiling what is in it.
pub(crate) fn package() -> Result<()> {
    run(
        cargo(&format!("package --quiet --workspace {PRIVATE} --no-verify --allow-dirty")),
        "a crate cannot be packaged; see above",
    )
}

/// [`package`], and compiles what is in each, which takes minutes.
pub(crate) fn package_and_build() -> Result<()> {
    run(
        cargo(&format!("package --quiet --workspace {PRIVATE} --allow-dirty")),
        "a crate does not compile from its package; see above",
    )
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Component, Path, PathBuf};

    use crate::root;

    fn files(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                files(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }

    /// The paths that a source file includes, outside its tests.
    fn included(source: &str) -> Vec<&str> {
        let source = source.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        let calls = source.lines().filter(|line| !line.trim_start().starts_with("//"));
        let calls = calls.filter_map(|line| {
            let (_, call) =
                line.split_once("include_str!(").or_else(|| line.split_once("include_bytes!("))?;
            call.split('"').nth(1)
        });
        calls.collect()
    }

    /// Whether `path` leads out of a folder that is `depth` levels up.
    fn leaves(path: &str, depth: usize) -> bool {
        let mut level = depth;
        Path::new(path).components().any(|component| match component {
            Component::ParentDir => level.checked_sub(1).map(|up| level = up).is_none(),
            Component::CurDir => false,
            _ => {
                level += 1;
                false
            }
        })
    }

    #[test]
    fn what_a_crate_includes_is_in_its_package() {
        let mut seen = 0;
        for entry in fs::read_dir(root().join("crates")).expect("the crates") {
            let package = entry.expect("an entry").path();
            let mut sources = Vec::new();
            files(&package.join("src"), &mut sources);
            for source in sources {
                let inside = source.strip_prefix(&package).expect("a file of the package");
                let depth = inside.components().count() - 1;
                let text = fs::read_to_string(&source).expect("a source file");
                for path in included(&text) {
                    assert!(
                        !leaves(path, depth),
                        "{}: {path} is not in the package",
                        source.display()
                    );
                    seen += 1;
                }
            }
        }
        assert!(seen >= 8, "{seen} found");
    }

    #[test]
    fn paths_that_leave_are_told_from_others() {
        assert!(leaves("../../../recipes/demo.toml", 2) && leaves("../a/../../b", 1));
        assert!(
            !leaves("../../assets/a", 2) && !leaves("recipes.md", 1) && !leaves("../README.md", 1)
        );
        assert_eq!(included("x(include_str!(\"../a\"))\n// include_str!(\"b\")"), ["../a"]);
        assert!(included("#[cfg(test)]\nmod tests {\n include_str!(\"b\")").is_empty());
    }
}
