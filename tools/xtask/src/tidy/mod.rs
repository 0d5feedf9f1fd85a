//! `cargo xtask tidy`: the laws of the project's sources that a machine can check. Also a test of
//! this crate, so that no run of the tests goes without it.

mod layers;
mod lengths;
mod purity;
pub(crate) mod sources;

use std::path::Path;

use anyhow::{Result, bail};

/// Checks the workspace.
///
/// # Errors
/// With everything that was found.
pub(crate) fn run(workspace: &Path) -> Result<()> {
    let sources = sources::read(workspace)?;
    let mut found = layers::faults(workspace)?;
    for source in &sources {
        found.extend(sources::faults(source));
        found.extend(purity::faults(source)?);
        found.extend(lengths::faults(source)?);
    }
    found.extend(lengths::idle_exceptions(&sources));
    if found.is_empty() {
        println!("{} files are tidy", sources.len());
        return Ok(());
    }
    bail!("the sources are not tidy:\n  {}", found.join("\n  "))
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_sources_are_tidy() {
        if let Err(error) = super::run(vipsec_lab::binaries::workspace()) {
            panic!("{error:#}");
        }
    }
}
