//! `cargo xtask`: the project's own commands. Each does its own set-up and leaves nothing behind.

#![allow(clippy::print_stdout)] // These are commands for people.

mod bench;
mod compliance;
mod demo;
mod dependencies;
mod interop;
mod root;
mod sim;
mod test;
mod tidy;

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, ensure};
use clap::{Parser, Subcommand};
use vipsec_lab::binaries::workspace;

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", about = "The commands of the vipsec project")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Sets up what is missing and runs every check and test.
    Test,
    /// Tries vipsec with real peers, without the other tests; writes docs/interop.md.
    Interop {
        /// Gets Debian sid, and tries its strongSwan as well.
        #[arg(long)]
        sid: bool,
    },
    /// A real IPsec client keeps its connections while the VIP moves: shown, measured, judged.
    Demo {
        /// Also writes all results to this file.
        #[arg(long)]
        json: Option<PathBuf>,
        /// Leaves the lab up and says how to look around.
        #[arg(long)]
        keep: bool,
    },
    /// Measures throughput, cost per packet and IKE set-ups, beside strongSwan.
    Bench {
        /// Also writes all results to this file.
        #[arg(long)]
        json: Option<PathBuf>,
        /// Length of each throughput run.
        #[arg(long, default_value_t = 5)]
        seconds: u32,
        /// How often each is measured; 0 leaves throughput and sealing out.
        #[arg(long, default_value_t = 3)]
        rounds: u32,
        /// IKE SAs that one vipsec process is asked to hold.
        #[arg(long, default_value_t = 10_000)]
        sas: u32,
    },
    /// Replays whole clusters in virtual time.
    Sim {
        /// How many seeds.
        #[arg(long, default_value_t = 200)]
        seeds: u32,
        /// The first of them.
        #[arg(long, default_value_t = 0)]
        first: u64,
        /// Virtual minutes of each; otherwise the seed decides.
        #[arg(long)]
        minutes: Option<u64>,
        /// Replays this seed alone and prints its whole trace.
        #[arg(long)]
        replay: Option<u64>,
    },
    /// Formatting, clippy, tidy and dependencies, without tests.
    Lint,
    /// The laws of the project's sources that a machine can check.
    Tidy,
    /// Holds the RFCs' demands against the annotations in the sources; writes docs/compliance.md.
    Compliance,
    /// Licences, sources and bans of all crates that enter the build, by deny.toml.
    Dependencies,
    /// Installs the packages that tests and demo need.
    #[command(hide = true)]
    SetUp {
        /// Gets Debian sid beside them.
        #[arg(long)]
        sid: bool,
    },
    /// Takes down labs that were kept or left behind.
    Clean,
}

fn main() -> Result<ExitCode> {
    let task = Arguments::parse().task;
    let passed = match task {
        Task::Test => test::run().map(|()| true),
        Task::Interop { sid } => test::interop(sid),
        Task::Demo { json, keep } => demo::run(&demo::Options { json, keep }),
        Task::Bench { json, seconds, rounds, sas } => {
            bench::run(json.as_deref(), bench::Options { seconds, rounds, sas })
        }
        Task::Sim { seeds, first, minutes, replay } => match replay {
            Some(seed) => sim::replay(seed, minutes).map(|()| true),
            None => sim::search(seeds, first, minutes).map(|()| true),
        },
        Task::Lint => test::lint().map(|()| true),
        Task::Tidy => tidy::run(workspace()).map(|()| true),
        Task::Compliance => compliance::run(workspace()).map(|()| true),
        Task::Dependencies => dependencies::run(workspace()).map(|()| true),
        Task::SetUp { sid } => test::install(sid).map(|()| true),
        Task::Clean => clean().map(|()| true),
    };
    passed.map(|passed| if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn clean() -> Result<()> {
    root::demand(&[])?;
    let reaped = vipsec_lab::run::reap(true)?;
    println!("{reaped} labs taken down");
    Ok(())
}

/// Runs cargo in the workspace.
fn cargo(line: &str) -> Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    run(Command::new(cargo).args(line.split_whitespace()), line)
}

/// Runs a command in the workspace, on the terminal of the caller.
fn run(command: &mut Command, name: &str) -> Result<()> {
    let status = command
        .current_dir(workspace())
        .status()
        .with_context(|| format!("cannot start {name}"))?;
    ensure!(status.success(), "{name}: {status}");
    Ok(())
}
