//! The nine things that must hold (design section 10), a file each, and that life goes on at the
//! end. A checker sees observations and nothing else: it knows neither plan nor driver.

mod affinity;
mod alive;
mod clear;
mod nonces;
mod owners;
mod replay;
mod sequence;
mod stored;
mod transfer;
mod writes;

use crate::observation::Observation;
use core::fmt;
use vipsec_wire::time::Timestamp;

/// Octets of the shortest answer that makes an SA: header, SA, nonce, and the Encrypted payload's own.
const SHORTEST_THAT_MAKES: usize = 100;

/// Something that must not be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// When it was found.
    pub at: Timestamp,
    /// By whom.
    pub checker: &'static str,
    /// What.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.checker, self.what)
    }
}

/// What a checker complains of.
pub(crate) type Complaint = Result<(), String>;

/// One checker.
pub(crate) trait Checker {
    /// Its name.
    fn name(&self) -> &'static str;

    /// Something was seen.
    ///
    /// # Errors
    /// What is wrong with it.
    fn note(&mut self, now: Timestamp, seen: &Observation) -> Complaint;

    /// The run is over.
    ///
    /// # Errors
    /// What is missing.
    fn finish(&mut self, _now: Timestamp) -> Complaint {
        Ok(())
    }
}

/// All of them.
pub(crate) struct Checkers {
    all: Vec<Box<dyn Checker>>,
    violation: Option<Violation>,
}

impl Checkers {
    /// All of them, for peers with replay windows of this size, and with RFC 6311 or without.
    pub(crate) fn new(window: u32, synchronised: bool) -> Checkers {
        let all: Vec<Box<dyn Checker>> = vec![
            Box::new(nonces::Nonces::default()),
            Box::new(sequence::Sequence::new(window, synchronised)),
            Box::new(stored::Stored::default()),
            Box::new(owners::Owners::default()),
            Box::new(replay::Replay::default()),
            Box::new(affinity::Affinity::default()),
            Box::new(transfer::Transfer::default()),
            Box::new(writes::Writes::default()),
            Box::new(clear::Clear),
            Box::new(alive::Alive::default()),
        ];
        Checkers { all, violation: None }
    }

    /// Something was seen.
    pub(crate) fn note(&mut self, now: Timestamp, seen: &Observation) {
        for checker in &mut self.all {
            if let Err(what) = checker.note(now, seen)
                && self.violation.is_none()
            {
                self.violation = Some(Violation { at: now, checker: checker.name(), what });
            }
        }
    }

    /// The run is over.
    pub(crate) fn finish(&mut self, now: Timestamp) {
        for checker in &mut self.all {
            if self.violation.is_none()
                && let Err(what) = checker.finish(now)
            {
                self.violation = Some(Violation { at: now, checker: checker.name(), what });
            }
        }
    }

    /// The driver itself has found something.
    pub(crate) fn complain(&mut self, at: Timestamp, checker: &'static str, what: String) {
        self.violation.get_or_insert(Violation { at, checker, what });
    }

    /// The first thing that was wrong.
    pub(crate) fn violation(&self) -> Option<&Violation> {
        self.violation.as_ref()
    }
}
