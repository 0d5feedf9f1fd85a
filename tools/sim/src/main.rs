//! `vipsec-sim`: runs seeds until one finds a violation.
#![allow(clippy::print_stdout)]

use core::time::Duration;
use std::process::ExitCode;
use vipsec_sim::{Keep, generate};

/// Observations that are shown before a violation.
const SHOWN: usize = 60;

struct Arguments {
    seeds: u64,
    first: u64,
    replay: Option<u64>,
    minutes: Option<u64>,
}

fn main() -> ExitCode {
    let arguments = match read(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(mistake) => {
            println!("{mistake}");
            println!("usage: vipsec-sim [--seeds N] [--first N] [--replay SEED] [--minutes M]");
            return ExitCode::from(2);
        }
    };
    match arguments.replay {
        Some(seed) => replay(seed, arguments.minutes),
        None => search(&arguments),
    }
}

fn read(mut words: impl Iterator<Item = String>) -> Result<Arguments, String> {
    let mut arguments = Arguments { seeds: 100, first: 0, replay: None, minutes: None };
    while let Some(word) = words.next() {
        let value = words.next().ok_or(format!("{word} needs a number"))?;
        let number: u64 = value.parse().map_err(|_| format!("{value:?} is no number"))?;
        match word.as_str() {
            "--seeds" => arguments.seeds = number,
            "--first" => arguments.first = number,
            "--replay" => arguments.replay = Some(number),
            "--minutes" => arguments.minutes = Some(number),
            other => return Err(format!("unknown option {other:?}")),
        }
    }
    Ok(arguments)
}

fn search(arguments: &Arguments) -> ExitCode {
    let length = arguments.minutes.map(|minutes| Duration::from_secs(60 * minutes));
    let begun = std::time::Instant::now();
    for seed in arguments.first..arguments.first.saturating_add(arguments.seeds) {
        let outcome = vipsec_sim::run(generate::plan(seed, length), Keep::Last(SHOWN));
        if let Some(violation) = outcome.violation {
            outcome.trace.lines().for_each(|line| println!("{line}"));
            println!("seed {seed}: {violation}");
            println!("vipsec-sim --replay {seed} prints the whole trace");
            return ExitCode::FAILURE;
        }
    }
    let seconds = begun.elapsed().as_secs_f64();
    println!("{} seeds from {} on: all held ({seconds:.1} s)", arguments.seeds, arguments.first);
    ExitCode::SUCCESS
}

fn replay(seed: u64, minutes: Option<u64>) -> ExitCode {
    let length = minutes.map(|minutes| Duration::from_secs(60 * minutes));
    let plan = generate::plan(seed, length);
    println!("{plan:#?}");
    let outcome = vipsec_sim::run(plan, Keep::All);
    outcome.trace.lines().for_each(|line| println!("{line}"));
    println!("{:?}, trace {:016x}", outcome.totals, outcome.trace.digest());
    match outcome.violation {
        Some(violation) => {
            println!("seed {seed}: {violation}");
            ExitCode::FAILURE
        }
        None => {
            println!("seed {seed}: all held");
            ExitCode::SUCCESS
        }
    }
}
