//! The cost of ESP around the AEAD, as the benchmark of `vipsec-esp` measures it.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use vipsec_lab::binaries::workspace;

/// Names the file with the rows that were measured before this became root.
pub(super) const ROWS: &str = "VIPSEC_BENCH_SEAL";

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

/// The rows: measured, or as they were handed over.
pub(super) fn rows() -> Result<Vec<Row>> {
    let Some(file) = std::env::var_os(ROWS) else { return measure() };
    let text = fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
    fs::remove_file(&file).with_context(|| format!("cannot remove {}", file.display()))?;
    serde_json::from_slice(&text).context("the rows of sealing are not understood")
}

/// Writes the rows down for the same command as root.
pub(super) fn hand_over(rows: &[Row]) -> Result<PathBuf> {
    let path = std::env::temp_dir().join(format!("vipsec-bench-{}.json", std::process::id()));
    if !vipsec_lab::run::is_root() {
        let text = serde_json::to_vec(rows).context("cannot encode the rows of sealing")?;
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(path)
}

fn measure() -> Result<Vec<Row>> {
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
