//! The workspace as its own tests see it: crates, what they depend on, and source files.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// The root of the repository.
///
/// # Panics
/// Never: this crate lies one folder below it.
#[must_use]
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the workspace")
}

/// The crates of the workspace and for each the crates of the workspace that it depends on; `kinds` are those of
/// `cargo metadata`: `None` for what the product uses, `Some("dev")` for what only its tests use.
///
/// # Panics
/// If cargo fails.
#[must_use]
pub fn dependencies(kinds: &[Option<&str>]) -> BTreeMap<String, BTreeSet<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(root())
        .output()
        .expect("cargo can be run");
    assert!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo prints JSON");
    let packages = metadata["packages"].as_array().expect("a workspace has packages");
    let name = |value: &Value| value["name"].as_str().expect("everything has a name").to_owned();
    let houses: BTreeSet<String> = packages.iter().map(name).collect();
    packages
        .iter()
        .map(|package| {
            let dependencies = package["dependencies"].as_array().expect("a list, maybe empty").iter();
            let ours = dependencies
                .filter(|dependency| kinds.contains(&dependency["kind"].as_str()))
                .map(name)
                .filter(|dependency| houses.contains(dependency))
                .collect();
            (name(package), ours)
        })
        .collect()
}

/// All Rust files of the repository as paths relative to its root, sorted.
///
/// # Panics
/// If a folder cannot be read.
#[must_use]
pub fn rust_files() -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![root().to_path_buf()];
    while let Some(folder) = folders.pop() {
        let entries =
            std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        for entry in entries {
            let path = entry.expect("a folder's entries can be read").path();
            let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
            if path.is_dir() {
                if !hidden && !path.ends_with("target") {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path.strip_prefix(root()).expect("it lies in the repository").to_path_buf());
            }
        }
    }
    files.sort();
    files
}

/// The text of a file of the repository.
///
/// # Panics
/// If it cannot be read.
#[must_use]
pub fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The code of a Rust source without line comments and without the contents of strings, roughly: enough to look
/// for words in it.
#[must_use]
pub fn code_of(source: &str) -> String {
    source
        .lines()
        .map(|line| {
            let code = line.split_once("//").map_or(line, |(code, _)| code);
            code.split('"').step_by(2).collect::<Vec<_>>().join("\"\"")
        })
        .collect::<Vec<_>>()
        .join("\n")
}

/// Compares a document with the text that the code yields for it. With `UPDATE_DOCUMENTS` set in the environment
/// the document is written instead.
///
/// # Panics
/// If they differ.
pub fn assert_document(path: &str, expected: &str) {
    if std::env::var_os("UPDATE_DOCUMENTS").is_some() {
        std::fs::write(root().join(path), expected).unwrap_or_else(|error| panic!("{path}: {error}"));
        return;
    }
    let actual = std::fs::read_to_string(root().join(path)).unwrap_or_default();
    assert!(
        actual == expected,
        "{path} is out of date; write it anew with: UPDATE_DOCUMENTS=1 cargo test -p e2e --test structure"
    );
}
