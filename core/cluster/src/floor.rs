//! How far the store of a VIP has come, as far as anybody here knows: the floor, below which it must
//! never be seen again. An epoch alone would not do: it changes only at a start or a takeover, and a
//! copy that was made within it lacks what was stored since, and holds what has ended.

use crate::event::Witness;
use crate::store::Revision;
use core::time::Duration;
use vipsec_wire::id::Epoch;
use vipsec_wire::time::Timestamp;

/// Least time between two notes of a revision in the floor file.
const FILE_INTERVAL: Duration = Duration::from_secs(60);
/// How old a revision is before others are told of it: by then they have followed the store up to it,
/// and need not read it again before a claim.
const TELL_INTERVAL: Duration = Duration::from_secs(1);

/// An epoch, and the revision up to which the store has come in it. Of two the one with the higher
/// epoch is later, whatever the revisions: a store that was found empty counts anew.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Floor {
    /// The epoch.
    pub epoch: Epoch,
    /// The store's revision, 0 where none is known.
    pub revision: Revision,
}

/// The revision of the present epoch's floor, who is told of it and when.
#[derive(Debug)]
pub(crate) struct Progress {
    pub(crate) revision: Revision,
    pub(crate) witness: Witness,
    filed: Revision,
    filed_at: Timestamp,
    told: Revision,
    ripening: Revision,
    told_at: Timestamp,
}

impl Progress {
    /// What the floor file says at the start of the process.
    pub(crate) fn new(revision: Revision) -> Progress {
        Progress {
            revision,
            witness: Witness::Own,
            filed: revision,
            filed_at: Timestamp(0),
            told: revision,
            ripening: revision,
            told_at: Timestamp(0),
        }
    }

    /// A new epoch has begun, and its revision has been noted.
    pub(crate) fn begin(&mut self, now: Timestamp, revision: Revision) {
        *self = Progress { filed_at: now, ..Progress::new(revision) };
    }

    /// Somebody has seen the store at this revision, in the present epoch.
    pub(crate) fn raise(&mut self, revision: Revision, witness: &Witness) {
        if revision > self.revision {
            self.revision = revision;
            self.witness = witness.clone();
        }
    }

    /// What is said of it in the heartbeats.
    pub(crate) fn told(&self) -> Revision {
        self.told
    }

    /// Moves on what is said.
    pub(crate) fn ripen(&mut self, now: Timestamp) {
        if now.since(self.told_at) >= TELL_INTERVAL && self.told < self.revision {
            self.told = self.ripening;
            self.ripening = self.revision;
            self.told_at = now;
        }
    }

    /// When the revision is to be noted in the floor file.
    pub(crate) fn file_at(&self) -> Option<Timestamp> {
        (self.revision > self.filed).then(|| self.filed_at + FILE_INTERVAL)
    }

    /// The revision to be noted, if there is a new one.
    pub(crate) fn file(&mut self, now: Timestamp) -> Option<Revision> {
        self.file_at()?;
        (self.filed, self.filed_at) = (self.revision, now);
        Some(self.revision)
    }
}
