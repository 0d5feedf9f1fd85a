//! What may enter the build, as `deny.toml` says it: licences, banned crates, sources.
//!
//! This is the part of cargo-deny that needs nothing but cargo's own metadata, so that it runs on
//! every machine at once; where cargo-deny is installed, it is asked, too.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// Checks every crate of the lock file.
pub(crate) fn run(workspace: &Path) -> Result<()> {
    let rules: Rules = {
        let text = std::fs::read_to_string(workspace.join("deny.toml"))
            .context("cannot read deny.toml")?;
        toml::from_str(&text).context("deny.toml is not understood")?
    };
    let found: Vec<String> =
        packages(workspace)?.iter().filter_map(|package| fault(&rules, package)).collect();
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

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    license: Option<String>,
    source: Option<String>,
}

fn packages(workspace: &Path) -> Result<Vec<Package>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version=1", "--filter-platform=x86_64-unknown-linux-gnu"])
        .current_dir(workspace)
        .output()
        .context("cannot start cargo metadata")?;
    if !output.status.success() {
        bail!("cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    }
    let metadata: Metadata =
        serde_json::from_slice(&output.stdout).context("cargo metadata is not understood")?;
    Ok(metadata.packages)
}

fn fault(rules: &Rules, package: &Package) -> Option<String> {
    let Package { name, version, license, source } = package;
    if let Some(banned) = rules.bans.deny.iter().find(|banned| banned.name == *name) {
        return Some(format!("{name} {version} is banned: {}", banned.reason));
    }
    if source.as_ref().is_some_and(|source| source != REGISTRY) {
        return Some(format!("{name} {version} does not come from crates.io"));
    }
    let license = license.as_deref().unwrap_or_default();
    if !is_allowed(&rules.licenses.allow, license) {
        return Some(format!("{name} {version} has the licence {license:?}"));
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
