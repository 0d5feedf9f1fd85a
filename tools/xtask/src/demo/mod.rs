//! `cargo xtask demo`: strongSwan as the client, two gateways, three targets, eleven flows, five
//! events. Shows what happens while it happens, measures every flow, and judges.

mod report;
mod stage;
mod table;
mod timeline;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use vipsec_lab::binaries::binaries;
use vipsec_lab::capture::{Capture, frames, oracle};
use vipsec_lab::packages;
use vipsec_lab::run::Lab;
use vipsec_lab::topology::IPV4;

use crate::root;
use report::Report;
use stage::Stage;

/// What the caller wants.
#[derive(Debug)]
pub(crate) struct Options {
    /// Where the results go as JSON.
    pub(crate) json: Option<PathBuf>,
    /// Leave the lab up.
    pub(crate) keep: bool,
}

/// Runs the demo; `true` when all that it promises held.
pub(crate) fn run(options: &Options) -> Result<bool> {
    prepare()?;
    let mut lab = Lab::start()?;
    if options.keep {
        lab.keep()?;
    }
    let report = play(&lab, options);
    if !matches!(&report, Ok(report) if report.passed) {
        lab.save_logs();
    }
    let report = report?;
    if let Some(path) = &options.json {
        let text = serde_json::to_string_pretty(&report).context("cannot encode the report")?;
        std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(report.passed)
}

/// Compiles as the caller, becomes root, installs what is missing.
pub(crate) fn prepare() -> Result<()> {
    let built = binaries()?;
    root::demand(&built.environment())?;
    packages::install_missing(false)
}

fn play(lab: &Lab, options: &Options) -> Result<Report> {
    let mut stage = Stage::set(lab)?;
    let outside = Capture::start(lab, &stage.site.switch, "outside")?;
    let inside = Capture::start(lab, &stage.site.switch, "inside")?;
    stage.open()?;
    stage.transfer()?;
    stage.kill_the_owner()?;
    stage.restart_the_killed()?;
    stage.kill_the_new_owner()?;
    stage.restart_all()?;
    stage.timeline.say("the flows end");
    let hints = stage.hints();
    let played = stage.close()?;
    std::thread::sleep(Duration::from_millis(100));
    let mut verdict = oracle::judge(&IPV4.outside_rules(), frames(&outside.finish()?)?);
    verdict.merge(oracle::judge(&IPV4.inside_rules(), frames(&inside.finish()?)?));
    let report = Report::new(&played, &verdict);
    table::print(&report);
    if options.keep {
        println!("\nThe lab is up. To look around:\n  {}", hints.join("\n  "));
        println!("To take it down: cargo xtask clean");
    }
    Ok(report)
}
