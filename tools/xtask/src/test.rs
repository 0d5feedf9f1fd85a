//! `cargo xtask test` and `cargo xtask lint`: every check of the project, in the order in which a
//! mistake shows soonest.

use std::process::Command;

use anyhow::{Context, Result};
use vipsec_lab::binaries::{self, Binaries, workspace};
use vipsec_lab::run::is_root;
use vipsec_lab::{packages, sid};

use crate::{cargo, compliance, dependencies, interop, run as execute, sim, tidy};

/// Seeds of the simulator that every run replays: from the first on, so many.
const SEEDS: (u64, u32) = (0, 200);

/// Runs everything.
pub(crate) fn run() -> Result<()> {
    set_up(false)?;
    lint()?;
    step("unit, property and vector tests");
    cargo("test --workspace --exclude vipsec-tests --exclude vipsec-dataplane --no-fail-fast")?;
    step("the simulator");
    let (first, seeds) = SEEDS;
    sim::search(seeds, first, None)?;
    step("real networks, real peers");
    real_networks()
}

/// Everything that needs no test to run.
pub(crate) fn lint() -> Result<()> {
    step("formatting");
    cargo("fmt --all --check")?;
    step("tidy");
    tidy::run(workspace())?;
    step("compliance");
    compliance::check(workspace())?;
    step("dependencies");
    dependencies::run(workspace())?;
    step("clippy");
    cargo("clippy --workspace --all-targets --quiet -- -D warnings")?;
    step("fuzz targets");
    cargo("check --quiet --manifest-path fuzz/Cargo.toml --no-default-features --bins")
}

/// Installs what is missing; through sudo where this is not root already.
fn set_up(sid: bool) -> Result<()> {
    if is_root() {
        return install(sid);
    }
    let own = std::env::current_exe().context("cannot find this program")?;
    let options = if sid { &["--sid"][..] } else { &[] };
    execute(Command::new("sudo").arg(own).arg("set-up").args(options), "sudo")
}

/// Installs packages and, if asked for, another distribution, as root.
pub(crate) fn install(sid: bool) -> Result<()> {
    packages::install_missing(sid)?;
    if sid { sid::install() } else { Ok(()) }
}

/// The tests that open raw sockets and make namespaces: as root, one after the other, since they
/// measure time.
fn real_networks() -> Result<()> {
    if let Err(reason) = sid::root() {
        println!("tests with a newer strongSwan step aside: {reason}");
    }
    let built = binaries::build()?;
    execute(&mut as_root(&["vipsec-dataplane"], &built), "the tests of the data plane")?;
    execute(&mut as_root(&["vipsec-tests"], &built), "the tests on real networks")
}

/// Tries vipsec with real peers alone; with `sid`, also with strongSwan from Debian sid.
pub(crate) fn interop(sid: bool) -> Result<bool> {
    set_up(sid)?;
    let mut tests = as_root(&["vipsec-tests", "--test", "interop"], &binaries::build()?);
    interop::run(&mut tests)
}

/// Runs the tests of a package, or one of its test programs, one at a time; what they need is
/// built by whoever calls.
fn as_root(package: &[&str], built: &Binaries) -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["test", "--no-fail-fast", "--package"]).args(package);
    if !is_root() {
        command.args(["--config", "target.'cfg(unix)'.runner = ['sudo', '-E']"]);
    }
    command
        .args(["--", "--test-threads=1"])
        .envs(built.environment())
        .env("VIPSEC_LAB_REQUIRED", "1");
    command
}

fn step(name: &str) {
    println!("\n──── {name}");
}
