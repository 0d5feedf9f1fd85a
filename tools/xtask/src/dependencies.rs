//! What may enter the build, as `deny.toml` says it: licences, banned crates, sources.
//!
//! This is the part of cargo-deny that needs nothing but cargo's own metadata, so that it runs on
//! every machine at once; where cargo-deny is installed, it is asked, too.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

/// Checks every crate that is compiled.
pub(crate) fn run(workspace: &Path) -> Result<()> {
    let rules: Rules = {
        let text = std::fs::read_to_string(workspace.join("deny.toml"))
            .context("cannot read deny.toml")?;
        toml::from_str(&text).context("deny.toml is not understood")?
    };
    let mut found = Vec::new();
    for folder in [workspace.to_owned(), workspace.join("fuzz")] {
        found.extend(packages(&folder)?.iter().filter_map(|package| fault(&rules, package)));
    }
    if !found.is_empty() {
        bail!("{}", found.join("\n"));
    }
    if Command::new("cargo-deny").arg("--version").output().is_ok() {
        crate::cargo("deny --offline check bans licenses sources")?;
    }
    Ok(())
}

#[derive(Deserialize)]
struct Rules {
    licenses: Licenses,
    bans: Bans,
}

#[derive(Deserialize)]
struct Licenses {
    allow: BTreeSet<String>,
}

#[derive(Deserialize)]
struct Bans {
    deny: Vec<Banned>,
}

#[derive(Deserialize)]
struct Banned {
    #[serde(rename = "crate")]
    name: String,
    reason: String,
}

/// A crate that enters the build.
#[derive(Debug, PartialEq, Eq)]
struct Package {
    name: String,
    license: String,
    /// Path or address where cargo shows one: crates of the registry have none.
    origin: Option<String>,
}

/// All crates that are really compiled, tests included. The lock file would name more: those
/// behind features that nobody uses.
fn packages(workspace: &Path) -> Result<Vec<Package>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["tree", "--workspace", "--edges=normal,build,dev", "--prefix=none"])
        .args(["--no-dedupe", "--format={p}|{l}"])
        .current_dir(workspace)
        .output()
        .context("cannot start cargo tree")?;
    if !output.status.success() {
        bail!("cargo tree: {}", String::from_utf8_lossy(&output.stderr));
    }
    let lines: BTreeSet<String> =
        String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect();
    Ok(lines.iter().filter_map(|line| package(line)).collect())
}

/// Reads `name v1.2.3 (proc-macro) (/a/path)|MIT OR Apache-2.0`.
fn package(line: &str) -> Option<Package> {
    let (named, license) = line.split_once('|')?;
    let (name, rest) = named.split_once(' ')?;
    let bracketed = rest.split(['(', ')']).skip(1).step_by(2);
    let origin = bracketed.filter(|text| *text != "proc-macro").last().map(str::to_owned);
    Some(Package { name: name.to_owned(), license: license.to_owned(), origin })
}

fn fault(rules: &Rules, package: &Package) -> Option<String> {
    let Package { name, license, origin } = package;
    if let Some(banned) = rules.bans.deny.iter().find(|banned| banned.name == *name) {
        return Some(format!("{name} is banned: {}", banned.reason));
    }
    if let Some(origin) = origin.as_ref().filter(|origin| !origin.starts_with('/')) {
        return Some(format!("{name} comes from {origin} and not from crates.io"));
    }
    if !is_allowed(&rules.licenses.allow, license) {
        return Some(format!("{name} has the licence {license:?}"));
    }
    None
}

/// Evaluates an SPDX expression: `OR` (and the old `/`) leave a choice, `AND` binds tighter.
fn is_allowed(allowed: &BTreeSet<String>, expression: &str) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let (granted, rest) = either(allowed, &words);
    granted && rest.is_empty()
}

fn either<'a>(allowed: &BTreeSet<String>, words: &'a [&'a str]) -> (bool, &'a [&'a str]) {
    let (mut granted, mut rest) = both(allowed, words);
    while let ["OR", tail @ ..] = rest {
        let (other, tail) = both(allowed, tail);
        granted |= other;
        rest = tail;
    }
    (granted, rest)
}

fn both<'a>(allowed: &BTreeSet<String>, words: &'a [&'a str]) -> (bool, &'a [&'a str]) {
    let (mut granted, mut rest) = one(allowed, words);
    while let ["AND", tail @ ..] = rest {
        let (other, tail) = one(allowed, tail);
        granted &= other;
        rest = tail;
    }
    (granted, rest)
}

fn one<'a>(allowed: &BTreeSet<String>, words: &'a [&'a str]) -> (bool, &'a [&'a str]) {
    match words {
        ["(", rest @ ..] => match either(allowed, rest) {
            (granted, [")", rest @ ..]) => (granted, rest),
            (_, rest) => (false, rest),
        },
        [name, "WITH", exception, rest @ ..] => {
            (allowed.contains(&format!("{name} WITH {exception}")), rest)
        }
        [name, rest @ ..] => (allowed.contains(*name), rest),
        [] => (false, words),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_cargo_tree_tells_name_licence_and_origin() {
        let read = package("a-b v1.0.0 (proc-macro) (https://example.org/a?rev=1#2)|MIT");
        let origin = Some("https://example.org/a?rev=1#2".to_owned());
        let expected = Package { name: "a-b".into(), license: "MIT".into(), origin };
        assert_eq!(read, Some(expected));
        assert_eq!(package("c v1.0.0|MIT").and_then(|package| package.origin), None);
    }

    #[test]
    fn licence_expressions_are_evaluated_as_spdx_has_it() {
        let allowed = ["MIT", "ISC", "Apache-2.0 WITH LLVM-exception"].map(String::from).into();
        let granted = |expression| is_allowed(&allowed, expression);
        assert!(granted("MIT OR GPL-2.0"));
        assert!(granted("GPL-2.0/MIT"));
        assert!(granted("ISC AND (GPL-2.0 OR MIT)"));
        assert!(granted("Apache-2.0 WITH LLVM-exception OR GPL-2.0"));
        assert!(!granted("MIT AND GPL-2.0"));
        assert!(!granted("Apache-2.0"));
        assert!(!granted("(MIT"));
        assert!(!granted(""));
    }
}
