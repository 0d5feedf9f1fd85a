//! Which crate may depend on which: the table of the architecture, held against the manifests.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use toml::{Table, Value};

/// Each crate with the crates of this project that it may depend on.
const ALLOWED: [(&str, &[&str]); 15] = [
    ("vipsec-wire", &[]),
    ("vipsec-crypto", &[]),
    ("vipsec-esp", &["vipsec-wire", "vipsec-crypto"]),
    ("vipsec-ike", &["vipsec-wire", "vipsec-crypto", "vipsec-esp"]),
    ("vipsec-cluster", &["vipsec-wire"]),
    ("vipsec-distributor", &["vipsec-wire"]),
    // The workers draw randomness (terms, per-packet IVs) through crypto's trait.
    ("vipsec-path", &["vipsec-esp", "vipsec-distributor", "vipsec-wire", "vipsec-crypto"]),
    ("vipsec-node", CORE),
    ("vipsec-store", &["vipsec-cluster", "vipsec-wire"]),
    ("vipsec-dataplane", &["vipsec-path", "vipsec-wire", "vipsec-esp", "vipsec-crypto"]),
    ("vipsec", &[]),
    ("vipsec-sim", CORE),
    ("vipsec-lab", &[]),
    ("xtask", &["vipsec-lab"]),
    ("vipsec-tests", &["vipsec-lab"]),
];

/// All of core below `node`, and `node` for those who drive it.
const CORE: &[&str] = &[
    "vipsec-wire",
    "vipsec-crypto",
    "vipsec-esp",
    "vipsec-ike",
    "vipsec-cluster",
    "vipsec-distributor",
    "vipsec-path",
    "vipsec-node",
];

/// The program puts everything that ships together.
const PROGRAM: &str = "vipsec";
const EDGE: &[&str] = &["vipsec-store", "vipsec-dataplane"];

/// Third-party crates that may not occur below `core`, not even in their manifests.
const IMPURE: [&str; 12] = [
    "tokio",
    "mio",
    "socket2",
    "libc",
    "nix",
    "rusqlite",
    "rtnetlink",
    "tun-rs",
    "rand",
    "getrandom",
    "hyper",
    "tempfile",
];

/// What the manifests have against the law.
pub(super) fn faults(workspace: &Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for (folder, name, dependencies) in manifests(workspace)? {
        let Some((_, allowed)) = ALLOWED.iter().find(|(crate_name, _)| *crate_name == name) else {
            found.push(format!("{folder}: the crate {name} has no row in the table of layers"));
            continue;
        };
        for dependency in &dependencies {
            let is_ours = ALLOWED.iter().any(|(crate_name, _)| crate_name == dependency);
            let is_program = name == PROGRAM
                && (CORE.contains(&dependency.as_str()) || EDGE.contains(&dependency.as_str()));
            if is_ours && !is_program && !allowed.contains(&dependency.as_str()) {
                found.push(format!("{folder}: {name} may not depend on {dependency}"));
            }
            if folder.starts_with("core/") && IMPURE.contains(&dependency.as_str()) {
                found.push(format!("{folder}: core is pure, and {dependency} is not"));
            }
        }
    }
    Ok(found)
}

/// Folder, name and dependencies (build dependencies too, test dependencies not) of each crate.
fn manifests(workspace: &Path) -> Result<Vec<(String, String, Vec<String>)>> {
    let mut folders = vec!["tests".to_owned()];
    for house in ["core", "edge", "tools"] {
        let entries =
            fs::read_dir(workspace.join(house)).with_context(|| format!("cannot list {house}"))?;
        for entry in entries {
            folders.push(format!("{house}/{}", entry?.file_name().to_string_lossy()));
        }
    }
    folders.sort();
    let mut read = Vec::new();
    for folder in folders {
        let path = workspace.join(&folder).join("Cargo.toml");
        let text =
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let table: Table = text.parse().with_context(|| format!("{folder}/Cargo.toml"))?;
        let Some(name) = table.get("package").and_then(|package| package.get("name")?.as_str())
        else {
            bail!("{folder}/Cargo.toml names no package");
        };
        read.push((folder, name.to_owned(), dependencies(&table)));
    }
    Ok(read)
}

fn dependencies(manifest: &Table) -> Vec<String> {
    let sections = ["dependencies", "build-dependencies"];
    let tables = sections.iter().filter_map(|section| manifest.get(*section)?.as_table());
    let names: BTreeMap<&String, &Value> = tables.flatten().collect();
    names.into_keys().cloned().collect()
}
