//! 9: nothing that belongs in a tunnel ever leaves in clear.

use super::{Checker, Complaint};
use crate::observation::Observation;
use vipsec_wire::time::Timestamp;

/// Remembers nothing.
pub(super) struct Clear;

impl Checker for Clear {
    fn name(&self) -> &'static str {
        "9 clear"
    }

    fn note(&mut self, _now: Timestamp, seen: &Observation) -> Complaint {
        match seen {
            Observation::Clear(host, wire) => {
                Err(format!("{host} has put something in clear on the {wire:?} wire"))
            }
            _ => Ok(()),
        }
    }
}
