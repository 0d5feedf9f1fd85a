//! The `vipsec` program: reads the command line and carries it out.

use clap::Parser as _;
use std::io::Write as _;
use std::process::ExitCode;

fn main() -> ExitCode {
    match vipsec::cli::Cli::parse().execute(&mut std::io::stdout()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is_end_of_reading() => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "{}", vipsec::explain(&error));
            ExitCode::FAILURE
        }
    }
}
