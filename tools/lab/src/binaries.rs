//! Where the programs under test come from: built by cargo, once a process, unless the caller
//! has built them already and says where.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

/// The programs that the lab starts.
#[derive(Debug, Clone)]
pub struct Binaries {
    /// The program under test.
    pub vipsec: PathBuf,
    /// The prober.
    pub probe: PathBuf,
    /// The load of IKE set-ups.
    pub load: PathBuf,
}

/// Environment variable that names a ready `vipsec`.
pub const VIPSEC: &str = "VIPSEC_LAB_VIPSEC";
/// Environment variable that names a ready `vipsec-lab-probe`.
pub const PROBE: &str = "VIPSEC_LAB_PROBE";
/// Environment variable that names a ready `vipsec-load`.
pub const LOAD: &str = "VIPSEC_LAB_LOAD";

impl Binaries {
    /// What tells another process of the lab where they are.
    #[must_use]
    pub fn environment(&self) -> [(&'static str, &Path); 3] {
        [(VIPSEC, &self.vipsec), (PROBE, &self.probe), (LOAD, &self.load)]
    }
}

static BUILT: OnceLock<Result<Binaries, String>> = OnceLock::new();

/// The programs, built in release mode if need be.
///
/// # Errors
/// When they do not compile.
pub fn binaries() -> Result<Binaries> {
    let built = BUILT.get_or_init(|| find_or_build().map_err(|error| format!("{error:#}")));
    built.clone().map_err(anyhow::Error::msg)
}

fn find_or_build() -> Result<Binaries> {
    match [VIPSEC, PROBE, LOAD].map(env::var_os) {
        [Some(vipsec), Some(probe), Some(load)] => {
            Ok(Binaries { vipsec: vipsec.into(), probe: probe.into(), load: load.into() })
        }
        _ => build(),
    }
}

/// Builds the programs in release mode.
///
/// # Errors
/// When they do not compile.
pub fn build() -> Result<Binaries> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["build", "--release", "--quiet", "--message-format=json-render-diagnostics"])
        .args([
            "--package",
            "vipsec",
            "--package",
            "vipsec-lab",
            "--package",
            "vipsec-load",
            "--bins",
        ])
        .current_dir(workspace())
        .stderr(Stdio::inherit())
        .output()
        .context("cannot start cargo")?;
    if !output.status.success() {
        bail!("the programs do not compile");
    }
    let messages = String::from_utf8_lossy(&output.stdout).into_owned();
    let find =
        |name: &str| executable(&messages, name).with_context(|| format!("cargo built no {name}"));
    Ok(Binaries {
        vipsec: find("vipsec")?,
        probe: find("vipsec-lab-probe")?,
        load: find("vipsec-load")?,
    })
}

/// The root of the workspace.
#[must_use]
pub fn workspace() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here)
}

#[derive(Deserialize)]
struct Message {
    target: Option<Target>,
    executable: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
}

fn executable(messages: &str, name: &str) -> Option<PathBuf> {
    let mut messages =
        messages.lines().filter_map(|line| serde_json::from_str::<Message>(line).ok());
    messages.find_map(|message| {
        let named = message.target.is_some_and(|target| target.name == name);
        message.executable.filter(|_| named)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_executable_is_found_among_cargos_messages() {
        let messages = concat!(
            r#"{"reason":"compiler-artifact","target":{"name":"vipsec-lab"},"executable":null}"#,
            "\n",
            r#"{"reason":"compiler-artifact","target":{"name":"vipsec"},"executable":"/x/vipsec"}"#,
            "\n",
            r#"{"reason":"build-finished","success":true}"#,
        );
        assert_eq!(executable(messages, "vipsec"), Some("/x/vipsec".into()));
        assert_eq!(executable(messages, "vipsec-lab"), None);
    }
}
