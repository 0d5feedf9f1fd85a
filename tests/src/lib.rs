//! What the tests on real networks share: a lab for one test, and a running cluster in it.
//!
//! The tests themselves are in `lab/`, `netns/` and `interop/`; what they are built from is the
//! `vipsec-lab` crate.

pub mod cluster;

use anyhow::Result;
use vipsec_lab::run::{Lab, is_root};

/// Environment variable by which `cargo xtask test` demands that no test steps aside.
pub const REQUIRED: &str = "VIPSEC_LAB_REQUIRED";

/// Runs a test in a lab of its own, which is gone afterwards. The logs of one that fails are kept.
///
/// Without root the test steps aside and says so, unless [`REQUIRED`] is set.
///
/// # Panics
/// When the test fails.
pub fn in_lab(test: impl FnOnce(&Lab) -> Result<()>) {
    let required = std::env::var_os(REQUIRED).is_some();
    if !is_root() && !required {
        eprintln!("skipped: network namespaces need root; `cargo xtask test` sees to it");
        return;
    }
    let lab = Lab::start().expect("a lab");
    let outcome = test(&lab);
    // The lab is dropped by the panic and keeps its logs then.
    if let Err(error) = outcome {
        panic!("{error:#}");
    }
}
