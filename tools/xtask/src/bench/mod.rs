//! `cargo xtask bench`: what the data path carries, what sealing costs, and how many IKE SAs a
//! CPU second buys, each beside the same thing done by others in the same run. Ratios come first,
//! for absolute figures move with the machine's load.

mod floors;
mod gateways;
mod seal;
mod setups;
mod throughput;

use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;
use vipsec_lab::run::Lab;

/// How it is measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Options {
    /// Length of each throughput run.
    pub(crate) seconds: u32,
    /// How often each is measured; they take turns. With 0, throughput and sealing are left out.
    pub(crate) rounds: u32,
    /// IKE SAs that vipsec is to hold in one process, beside those for the comparison.
    pub(crate) sas: u32,
}

/// Everything that `--json` writes.
#[derive(Debug, Serialize)]
struct Report {
    floors: Vec<floors::Floor>,
    throughput: Option<throughput::Throughput>,
    set_ups: setups::SetUps,
    seal: Vec<seal::Row>,
}

/// Measures and prints; `true` when all floors held.
pub(crate) fn run(json: Option<&Path>, options: Options) -> Result<bool> {
    let with_data_path = options.rounds > 0;
    crate::demo::prepare()?;
    let seal = if with_data_path { seal::measure()? } else { Vec::new() };
    let throughput =
        with_data_path.then(|| in_lab(|lab| throughput::measure(lab, options))).transpose()?;
    let set_ups = in_lab(|lab| setups::measure(lab, options.sas))?;
    let floors = floors::judge(throughput.as_ref(), &seal);
    let report = Report { floors, throughput, set_ups, seal };
    if let Some(throughput) = &report.throughput {
        throughput.print();
        seal::print(&report.seal);
    }
    report.set_ups.print();
    floors::print(&report.floors);
    if let Some(path) = json {
        let text = serde_json::to_string_pretty(&report).context("cannot encode the report")?;
        std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(report.floors.iter().all(|floor| floor.held))
}

/// Measures in a lab of its own; the logs of a measurement that fails are kept.
fn in_lab<T>(measure: impl FnOnce(&Lab) -> Result<T>) -> Result<T> {
    let lab = Lab::start()?;
    measure(&lab).inspect_err(|_| lab.save_logs())
}
