//! The cost of ESP around the AEAD, as the benchmark of `vipsec-esp` measures it.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use vipsec_lab::binaries::workspace;

/// One cipher at one packet size; nanoseconds per packet.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Row {
    cipher: String,
    bytes: u32,
    seal_ratio: f64,
    open_ratio: f64,
    raw_seal_ns: f64,
    seal_ns: f64,
    raw_open_ns: f64,
    open_ns: f64,
}

pub(super) fn measure() -> Result<Vec<Row>> {
    println!("sealing and opening…");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["bench", "--quiet", "--package", "vipsec-esp", "--bench", "seal"])
        .current_dir(workspace())
        .output()
        .context("cannot start cargo bench")?;
    let printed = String::from_utf8_lossy(&output.stdout);
    ensure!(
        output.status.success(),
        "cargo bench failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let document = printed.find('[').map_or("", |start| &printed[start..]);
    serde_json::from_str(document).context("the benchmark of vipsec-esp printed no rows")
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
