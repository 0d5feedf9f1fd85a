//! Keeps what was seen: all of it for a replay, the last part otherwise, and a digest of everything,
//! by which two runs of one seed can be compared.

use crate::digest::Digest;
use crate::observation::Observation;
use core::hash::{Hash, Hasher};
use std::collections::VecDeque;
use vipsec_wire::time::Timestamp;

/// How much is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// Everything.
    All,
    /// So many of the last.
    Last(usize),
}

/// What was seen, in its order.
#[derive(Debug)]
pub struct Trace {
    keep: Keep,
    start: Timestamp,
    seen: VecDeque<(Timestamp, Observation)>,
    digest: Digest,
    count: u64,
}

impl Trace {
    /// An empty trace of a run that begins at `start`.
    #[must_use]
    pub fn new(keep: Keep, start: Timestamp) -> Trace {
        Trace { keep, start, seen: VecDeque::new(), digest: Digest::default(), count: 0 }
    }

    /// Adds one.
    pub fn note(&mut self, now: Timestamp, observation: &Observation) {
        now.0.hash(&mut self.digest);
        observation.hash(&mut self.digest);
        self.count += 1;
        if let Keep::Last(most) = self.keep
            && self.seen.len() >= most
        {
            self.seen.pop_front();
        }
        self.seen.push_back((now, observation.clone()));
    }

    /// The name of everything that was seen.
    #[must_use]
    pub fn digest(&self) -> u64 {
        self.digest.finish()
    }

    /// How much was seen.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// What was kept, a line each: seconds since the start, then what it was.
    pub fn lines(&self) -> impl Iterator<Item = String> + '_ {
        self.seen.iter().map(|(at, observation)| {
            let micros = at.since(self.start).as_micros();
            format!("{:>4}.{:06} {observation}", micros / 1_000_000, micros % 1_000_000)
        })
    }
}
