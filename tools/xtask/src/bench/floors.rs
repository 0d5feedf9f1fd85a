//! What the benchmark demands: ratios of one run, so that the machine's load weighs on both sides.

use serde::Serialize;

use super::seal::Row;
use super::throughput::Throughput;

/// Throughput of vipsec over strongSwan's in userspace, at least.
const THROUGHPUT: f64 = 5.0;
/// Sealing and opening of a packet of [`PACKET`] bytes over the AEAD alone, at most.
const SEALING: f64 = 1.5;
const PACKET: u32 = 1400;

/// A demand and what became of it.
#[derive(Debug, Serialize)]
pub(super) struct Floor {
    what: String,
    demanded: f64,
    measured: f64,
    pub(super) held: bool,
}

/// Holds what was measured against the demands.
pub(super) fn judge(throughput: Option<&Throughput>, seal: &[Row]) -> Vec<Floor> {
    let mut floors = Vec::new();
    let ratios = throughput.map_or(&[][..], |throughput| &throughput.ratio_to_strongswan);
    for (measured, streams) in ratios.iter().zip(["one stream", "four streams"]) {
        let what = format!("throughput over strongSwan's, {streams}, at least");
        let held = *measured >= THROUGHPUT;
        floors.push(Floor { what, demanded: THROUGHPUT, measured: *measured, held });
    }
    for row in seal.iter().filter(|row| row.bytes == PACKET) {
        for (verb, measured) in [("seal", row.seal_ratio), ("open", row.open_ratio)] {
            let what = format!("{verb} over the AEAD, {}, {PACKET} bytes, at most", row.cipher);
            floors.push(Floor { what, demanded: SEALING, measured, held: measured <= SEALING });
        }
    }
    floors
}

pub(super) fn print(floors: &[Floor]) {
    println!("\nFloors");
    for floor in floors {
        let mark = if floor.held { "ok    " } else { "MISSED" };
        println!("{mark} {}: {:.2} of {:.2}", floor.what, floor.measured, floor.demanded);
    }
}
