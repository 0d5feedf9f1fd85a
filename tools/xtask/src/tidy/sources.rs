//! All Rust files of the project, and what each of them must be like.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Where the project's sources are.
const HOUSES: [&str; 5] = ["core", "edge", "tools", "tests", "fuzz"];
/// Where the one workspace below the houses builds: what is in there is not ours.
const BUILT: &str = "fuzz/target";
/// Names under which things end up that belong nowhere.
const DRAWERS: [&str; 6] = ["utils", "util", "common", "helpers", "helper", "manager"];

/// One Rust file.
pub(crate) struct Source {
    /// Path from the root of the workspace.
    pub(crate) path: String,
    /// Its text.
    pub(crate) text: String,
}

/// Reads all of them, sorted by path.
pub(crate) fn read(workspace: &Path) -> Result<Vec<Source>> {
    let mut paths = Vec::new();
    for house in HOUSES {
        collect(&workspace.join(house), &mut paths)?;
    }
    paths.sort();
    let read = |path: PathBuf| {
        let text =
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let path = path.strip_prefix(workspace).unwrap_or(&path);
        Ok(Source { path: path.to_string_lossy().into_owned(), text })
    };
    paths.into_iter().map(read).collect()
}

fn collect(directory: &Path, paths: &mut Vec<PathBuf>) -> Result<()> {
    if !directory.exists() || directory.ends_with(BUILT) {
        return Ok(());
    }
    let entries =
        fs::read_dir(directory).with_context(|| format!("cannot list {}", directory.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, paths)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            paths.push(path);
        }
    }
    Ok(())
}

/// A header, no drawer's name, no mark of unfinished work, no test that is passed over.
pub(super) fn faults(source: &Source) -> Vec<String> {
    let Source { path, text } = source;
    let mut found = Vec::new();
    let header = text.lines().next().unwrap_or_default();
    if !header.starts_with("//! ") {
        found.push(format!("{path}: does not open with `//!`: what it is, what it is not"));
    }
    let file = Path::new(path);
    let names = [file.file_stem(), file.parent().and_then(Path::file_name)];
    for name in names.into_iter().flatten().filter_map(|name| name.to_str()) {
        if DRAWERS.contains(&name) {
            found.push(format!("{path}: a room called {name} says nothing"));
        }
    }
    // Put together here, so that this file does not find itself.
    let marks = [["TO", "DO"], ["FIX", "ME"], ["X", "XX"], ["#[ign", "ore"]].map(|m| m.concat());
    for (number, line) in (1..).zip(text.lines()) {
        if let Some(mark) = marks.iter().find(|mark| has_word(line, mark)) {
            found.push(format!("{path}:{number}: {mark} has no place in the sources"));
        }
    }
    found
}

fn has_word(line: &str, word: &str) -> bool {
    let is_part = |character: Option<char>| character.is_some_and(char::is_alphanumeric);
    line.match_indices(word).any(|(at, _)| {
        !is_part(line[..at].chars().next_back()) && !is_part(line[at + word.len()..].chars().next())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> usize {
        faults(&Source { path: path.into(), text: text.into() }).len()
    }

    #[test]
    fn headers_names_and_marks_are_looked_at() {
        assert_eq!(found("core/esp/src/seal.rs", "//! Sealing.\nfn a() {}\n"), 0);
        assert_eq!(found("core/esp/src/seal.rs", "fn a() {}\n"), 1);
        assert_eq!(found("core/esp/src/utils.rs", "//! Things.\n"), 1);
        assert_eq!(found("core/esp/src/helpers/mod.rs", "//! Things.\n"), 1);
        let mark = ["//! A.\n// TO", "DO: more\n"].concat();
        assert_eq!(found("core/esp/src/seal.rs", &mark), 1);
        assert_eq!(found("core/esp/src/seal.rs", "//! MASTODONS\n"), 0);
    }
}
