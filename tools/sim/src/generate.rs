//! Plans from seeds: sizes, settings, qualities of the wires and a schedule of faults.

use crate::plan::Plan;
use core::time::Duration;

/// The plan of a seed. `length`: how long it lasts, or as the seed has it.
#[must_use]
pub fn plan(seed: u64, length: Option<Duration>) -> Plan {
    let _ = length;
    Plan::quiet(seed, 10)
}
