//! The cost of ESP around the AEAD, as the load generator measures it.

use std::process::Command;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use vipsec_lab::binaries::binaries;
use vipsec_lab::command::output_of;

/// One cipher at one packet size; nanoseconds per packet.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Row {
    pub(super) cipher: String,
    pub(super) bytes: u32,
    pub(super) seal_ratio: f64,
    pub(super) open_ratio: f64,
    raw_seal_ns: f64,
    seal_ns: f64,
    raw_open_ns: f64,
    open_ns: f64,
}

pub(super) fn measure() -> Result<Vec<Row>> {
    println!("sealing and opening…");
    let printed = output_of(Command::new(binaries()?.load).arg("seal"))?;
    serde_json::from_str(&printed).context("the load generator's rows are not understood")
}

pub(super) fn print(rows: &[Row]) {
    println!("\nESP against the raw AEAD of the same library (ratio; ns per packet)");
    println!("  {:<13} {:>5} {:>6} {:>15} {:>6} {:>15}", "cipher", "bytes", "seal", "", "open", "");
    for row in rows {
        println!(
            "  {:<13} {:>5} {:>6.2} {:>6.0} / {:>6.0} {:>6.2} {:>6.0} / {:>6.0}",
            row.cipher,
            row.bytes,
            row.seal_ratio,
            row.seal_ns,
            row.raw_seal_ns,
            row.open_ratio,
            row.open_ns,
            row.raw_open_ns
        );
    }
}
