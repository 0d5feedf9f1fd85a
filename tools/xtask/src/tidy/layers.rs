//! Which crate may depend on which, held against the manifests, and the table of ARCHITECTURE.md
//! against both.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use toml::{Table, Value};

/// Each crate with the crates of this project that it may depend on.
const ALLOWED: [(&str, &[&str]); 16] = [
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
    ("vipsec-dataplane", &["vipsec-path", "vipsec-wire"]),
    ("vipsec", &[]),
    ("vipsec-sim", CORE),
    ("vipsec-lab", &[]),
    ("vipsec-load", &["vipsec-wire", "vipsec-crypto", "vipsec-esp", "vipsec-ike"]),
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

/// Third-party crates that core may name: data and arithmetic.
const PURE: [&str; 12] = [
    "aws-lc-rs",
    "crypto-bigint",
    "des",
    "md4",
    "ml-kem",
    "postcard",
    "rustls-pki-types",
    "rustls-webpki",
    "serde",
    "thiserror",
    "x509-cert",
    "zeroize",
];
/// What core's tests may name besides.
const TESTING: [&str; 2] = ["hex", "proptest"];
/// What may not come into core by a detour either. (`rand_core` may: it is traits alone, and what
/// draws from the system behind them is `getrandom`.)
const IMPURE: [&str; 13] = [
    "async-std",
    "getrandom",
    "hyper",
    "libc",
    "mio",
    "nix",
    "rand",
    "rtnetlink",
    "rusqlite",
    "rustix",
    "socket2",
    "tokio",
    "tun-rs",
];

/// What the manifests and the map have against the law.
pub(super) fn faults(workspace: &Path) -> Result<Vec<String>> {
    let renames = renames(&table(&workspace.join("Cargo.toml"))?, "workspace");
    let mut found = Vec::new();
    let mut crates = BTreeMap::new();
    for folder in folders(workspace)? {
        let manifest = table(&workspace.join(&folder).join("Cargo.toml"))?;
        let name = manifest.get("package").and_then(|package| package.get("name")?.as_str());
        let Some(name) = name.map(str::to_owned) else {
            bail!("{folder}/Cargo.toml names no package");
        };
        let used = Dependencies::read(&manifest, &renames);
        found.extend(forbidden(&folder, &name, &used));
        crates.insert(name, used);
    }
    let map = fs::read_to_string(workspace.join("docs/ARCHITECTURE.md"))
        .context("cannot read docs/ARCHITECTURE.md")?;
    found.extend(astray(&map, &crates));
    found.extend(detours(workspace)?);
    Ok(found)
}

/// What a crate may not depend on.
fn forbidden(folder: &str, name: &str, used: &Dependencies) -> Vec<String> {
    let Some((_, allowed)) = ALLOWED.iter().find(|(crate_name, _)| *crate_name == name) else {
        return vec![format!("{folder}: the crate {name} has no row in the table of layers")];
    };
    let is_core = folder.starts_with("core/");
    let mut found = Vec::new();
    for (dependency, testing) in used.all() {
        let is_ours = ALLOWED.iter().any(|(crate_name, _)| *crate_name == dependency);
        let is_program =
            name == PROGRAM && (CORE.contains(&dependency) || EDGE.contains(&dependency));
        if is_ours && !is_program && !allowed.contains(&dependency) && (!testing || is_core) {
            found.push(format!("{folder}: {name} may not depend on {dependency}"));
        }
        let is_pure = PURE.contains(&dependency) || (testing && TESTING.contains(&dependency));
        if is_core && !is_ours && !is_pure {
            found
                .push(format!("{folder}: {dependency} is not among the crates that core may name"));
        }
    }
    found
}

/// Where the column `depends on` of the map tells another story than the manifests.
fn astray(map: &str, crates: &BTreeMap<String, Dependencies>) -> Vec<String> {
    let mut found = Vec::new();
    for (name, used) in crates {
        let room =
            name.strip_prefix("vipsec-").unwrap_or(if name == PROGRAM { "daemon" } else { name });
        let is_ours = |name: &&String| ALLOWED.iter().any(|(crate_name, _)| crate_name == name);
        let ours: BTreeSet<&str> = used
            .normal
            .iter()
            .filter(is_ours)
            .map(|name| name.strip_prefix("vipsec-").unwrap_or(name))
            .collect();
        let row = map.lines().find(|line| line.starts_with(&format!("| `{room}` |")));
        let Some(told) = row.and_then(|row| row.split('|').nth(3)) else {
            found.push(format!("docs/ARCHITECTURE.md: the map has no row for `{room}`"));
            continue;
        };
        let told: BTreeSet<&str> =
            told.trim().split(", ").filter(|word| !matches!(*word, "–" | "")).collect();
        if told != ours {
            let ours = ours.into_iter().collect::<Vec<_>>().join(", ");
            found.push(format!("docs/ARCHITECTURE.md: `{room}` depends on: {ours}"));
        }
    }
    found
}

/// What comes into core through the crates that it names, with the features that they have.
fn detours(workspace: &Path) -> Result<Vec<String>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["tree", "--package=vipsec-node", "--edges=normal", "--prefix=none", "--format={p}"])
        .current_dir(workspace)
        .output()
        .context("cannot start cargo tree")?;
    if !output.status.success() {
        bail!("cargo tree: {}", String::from_utf8_lossy(&output.stderr));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let names: BTreeSet<&str> = text.lines().filter_map(|line| line.split(' ').next()).collect();
    let found = names.into_iter().filter(|name| IMPURE.contains(name));
    Ok(found.map(|name| format!("core: {name} comes in through another crate")).collect())
}

/// The folders of all crates.
fn folders(workspace: &Path) -> Result<Vec<String>> {
    let mut folders = vec!["tests".to_owned()];
    for house in ["core", "edge", "tools"] {
        let entries =
            fs::read_dir(workspace.join(house)).with_context(|| format!("cannot list {house}"))?;
        for entry in entries {
            folders.push(format!("{house}/{}", entry?.file_name().to_string_lossy()));
        }
    }
    folders.sort();
    Ok(folders)
}

fn table(path: &Path) -> Result<Table> {
    let text =
        fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    text.parse().with_context(|| format!("{} is not understood", path.display()))
}

/// What a crate uses: names of packages, not of what the manifest calls them.
#[derive(Default)]
struct Dependencies {
    /// For what ships, for building it, on any target.
    normal: BTreeSet<String>,
    /// For its tests and benchmarks.
    testing: BTreeSet<String>,
}

impl Dependencies {
    fn read(manifest: &Table, renames: &BTreeMap<String, String>) -> Self {
        let mut read = Dependencies::default();
        let targets = manifest.get("target").and_then(Value::as_table);
        let targets = targets.into_iter().flat_map(Table::values).filter_map(Value::as_table);
        for part in targets.chain([manifest]) {
            for section in ["dependencies", "build-dependencies", "dev-dependencies"] {
                let named = part.get(section).and_then(Value::as_table).into_iter().flatten();
                let names = named.map(|(name, value)| package(name, value, renames));
                match section {
                    "dev-dependencies" => read.testing.extend(names),
                    _ => read.normal.extend(names),
                }
            }
        }
        read
    }

    /// Each with whether it is for tests alone.
    fn all(&self) -> impl Iterator<Item = (&str, bool)> {
        let normal = self.normal.iter().map(|name| (name.as_str(), false));
        normal.chain(self.testing.iter().map(|name| (name.as_str(), true)))
    }
}

/// The package behind a name in a manifest.
fn package(name: &str, value: &Value, renames: &BTreeMap<String, String>) -> String {
    let own = value.get("package").and_then(Value::as_str);
    own.or_else(|| renames.get(name).map(String::as_str)).unwrap_or(name).to_owned()
}

/// Names that the workspace gives to packages called otherwise.
fn renames(manifest: &Table, section: &str) -> BTreeMap<String, String> {
    let named = manifest.get(section).and_then(|section| section.get("dependencies")?.as_table());
    let named = named.into_iter().flatten();
    named
        .filter_map(|(name, value)| {
            Some((name.clone(), value.get("package")?.as_str()?.to_owned()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(manifest: &str) -> Dependencies {
        let renames = BTreeMap::from([("quick".to_owned(), "tokio".to_owned())]);
        Dependencies::read(&manifest.parse().expect("it parses"), &renames)
    }

    #[test]
    fn no_table_and_no_other_name_hides_a_dependency_of_core() {
        for manifest in [
            "[dependencies]\ntokio = \"1\"",
            "[dependencies]\nquick.workspace = true",
            "[dependencies]\nserde = { package = \"rand\", version = \"1\" }",
            "[build-dependencies]\ncc = \"1\"",
            "[target.'cfg(unix)'.dependencies]\nlibc = \"0.2\"",
            "[dev-dependencies]\ntempfile = \"3\"",
            "[dev-dependencies]\nvipsec-node.workspace = true",
        ] {
            let found = forbidden("core/wire", "vipsec-wire", &read(manifest));
            assert_eq!(found.len(), 1, "{manifest}");
        }
        let pure = "[dependencies]\nserde = \"1\"\n[dev-dependencies]\nproptest = \"1\"";
        assert!(forbidden("core/wire", "vipsec-wire", &read(pure)).is_empty());
        assert_eq!(forbidden("core/new", "vipsec-new", &read(pure)).len(), 1);
    }

    #[test]
    fn the_map_tells_what_the_manifests_tell() {
        let esp = read("[dependencies]\nvipsec-wire = \"0\"\nserde = \"1\"");
        let crates = BTreeMap::from([("vipsec-esp".to_owned(), esp)]);
        assert!(astray("| `esp` | ESP | wire | – |", &crates).is_empty());
        assert_eq!(astray("| `esp` | ESP | wire, crypto | – |", &crates).len(), 1);
        assert_eq!(astray("| `esp` | ESP | – | – |", &crates).len(), 1);
        assert_eq!(astray("", &crates).len(), 1);
    }
}
