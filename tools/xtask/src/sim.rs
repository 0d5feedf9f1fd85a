//! `cargo xtask sim`: seeds of the simulator, shared among the machine's cores. A run of one seed is
//! single-threaded and the same on every machine; only how many run at once depends on it.

use std::num::NonZero;
use std::process::Command;
use std::thread;

use anyhow::{Context, Result, ensure};
use vipsec_lab::binaries::workspace;

const PROGRAM: &str = "run --release --quiet --package vipsec-sim --";

/// Runs the seeds from `first` on; fails when a checker of one of them has something to say.
pub(crate) fn search(seeds: u32, first: u64, minutes: Option<u64>) -> Result<()> {
    crate::cargo("build --release --package vipsec-sim")?;
    let shares = thread::available_parallelism().map_or(1, NonZero::get);
    let shares = u32::try_from(shares).unwrap_or(u32::MAX).clamp(1, seeds.max(1));
    let mut running = Vec::new();
    let mut next = first;
    for share in 0..shares {
        let count = seeds / shares + u32::from(share < seeds % shares);
        let line = format!("{PROGRAM} --seeds {count} --first {next}{}", length(minutes));
        let child = Command::new(cargo())
            .args(line.split_whitespace())
            .current_dir(workspace())
            .spawn()
            .context("cannot start the simulator")?;
        running.push((next, child));
        next += u64::from(count);
    }
    let mut failed = Vec::new();
    for (from, mut child) in running {
        if !child.wait().context("cannot wait for the simulator")?.success() {
            failed.push(from.to_string());
        }
    }
    ensure!(failed.is_empty(), "violations among the seeds from {}", failed.join(" and "));
    Ok(())
}

/// Runs one seed and prints everything that happens.
pub(crate) fn replay(seed: u64, minutes: Option<u64>) -> Result<()> {
    crate::cargo(&format!("{PROGRAM} --replay {seed}{}", length(minutes)))
}

fn length(minutes: Option<u64>) -> String {
    minutes.map(|minutes| format!(" --minutes {minutes}")).unwrap_or_default()
}

fn cargo() -> std::ffi::OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}
