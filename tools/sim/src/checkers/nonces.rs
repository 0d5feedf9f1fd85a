//! 1: no (key, IV) pair is ever used twice with different bytes, by anybody.

use super::{Checker, Complaint};
use crate::digest::Digest;
use crate::observation::{Key, Observation};
use core::hash::BuildHasherDefault;
use std::collections::HashMap;
use vipsec_wire::time::Timestamp;

/// Every IV that was seen, with the bytes that it sealed.
#[derive(Default)]
pub(super) struct Nonces(HashMap<(Key, u64), u64, BuildHasherDefault<Digest>>);

impl Checker for Nonces {
    fn name(&self) -> &'static str {
        "1 nonces"
    }

    fn note(&mut self, _now: Timestamp, seen: &Observation) -> Complaint {
        let Observation::Sealed { by, key, iv, digest } = seen else { return Ok(()) };
        match self.0.insert((*key, *iv), *digest) {
            Some(before) if before != *digest => {
                Err(format!("{by} used IV {iv:016x} of {key:x?} for other bytes than before"))
            }
            _ => Ok(()),
        }
    }
}
