//! Becoming root, where namespaces need it: through sudo, after everything has been compiled as
//! the user who called, so that no file of the build belongs to root.

use std::env;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use vipsec_lab::run::is_root;

/// Returns at once for root; otherwise replaces this process by itself under sudo, with the given
/// environment.
pub(crate) fn demand(environment: &[(&str, &Path)]) -> Result<()> {
    if is_root() {
        return Ok(());
    }
    let own = env::current_exe().context("cannot find this program")?;
    let mut command = Command::new("sudo");
    command.arg("env");
    for (key, value) in environment {
        command.arg(format!("{key}={}", value.display()));
    }
    for key in ["PATH", "HOME", "CARGO_HOME", "RUSTUP_HOME", "CARGO_TARGET_DIR"] {
        if let Some(value) = env::var_os(key) {
            command.arg(format!("{key}={}", value.to_string_lossy()));
        }
    }
    let error = command.arg(own).args(env::args_os().skip(1)).exec();
    bail!("this needs root, and sudo cannot be started: {error}")
}
