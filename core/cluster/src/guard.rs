//! May this node claim, and which epoch? The guards against a store that does not say the truth.
//!
//! An epoch that was ever owned must not be owned again: keys would be used twice in one term. The
//! store alone cannot promise that, for it can be restored from a snapshot. What stands beside it
//! are the floors: epochs that this node or another member has seen committed, and the births of
//! the keys in the records. They count only when they are known, so a process that has just started
//! hears the other candidates before it claims (for a bounded time: they may be dead).

use crate::event::{Refusal, Witness};
use crate::floor::Floor;
use crate::input::{EpochRead, RecordMaxima};
use crate::store::Revision;
use vipsec_wire::id::{Epoch, Vip};

/// All that is known about the epochs of a VIP.
#[derive(Debug)]
pub(crate) struct Evidence<'a> {
    pub(crate) vip: Vip,
    pub(crate) read: &'a EpochRead,
    pub(crate) maxima: &'a RecordMaxima,
    /// The revision of an epoch record that is there but cannot be opened.
    pub(crate) unreadable: Option<Revision>,
    /// The highest epoch that was ever seen committed, with the highest revision, and by whom either.
    pub(crate) floor: Floor,
    pub(crate) witness: [&'a Witness; 2],
    /// The floor that was known when the last fresh read was begun.
    pub(crate) read_at_floor: Floor,
    /// Somebody accepts that all SAs are lost.
    pub(crate) accepted: bool,
}

/// What follows from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Claim so.
    Claim(Terms),
    /// It looks wrong, but what we know of the store may be older than the floor: read it again.
    Stale,
    /// Do not claim.
    Refused(Refusal),
}

/// The terms of a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Terms {
    pub(crate) epoch: Epoch,
    pub(crate) expect: Option<Revision>,
    /// All records of the VIP are dropped.
    pub(crate) discard: bool,
    /// The VIP was owned before, and the store knows nothing of it.
    pub(crate) emptied: bool,
}

impl Evidence<'_> {
    pub(crate) fn judge(&self) -> Verdict {
        let (vip, record) = (self.vip, self.read.record.as_ref());
        let found = record.map_or(Epoch(0), |(record, _)| record.epoch);
        let highest = found.max(self.floor.epoch).max(self.maxima.written).max(self.maxima.born);
        let Some(epoch) = highest.next() else {
            return Verdict::Refused(Refusal::Exhausted { vip });
        };
        let emptied = record.is_none() && self.unreadable.is_none() && self.floor.epoch > Epoch(0);
        let expect = record.map(|(_, revision)| *revision).or(self.unreadable);
        let objection = self.objection(found);
        let discard = self.accepted && objection.is_some();
        let terms = Terms { epoch, expect, discard, emptied };
        match objection {
            Some(_) if self.is_stale(found) => Verdict::Stale,
            Some(refusal) if !self.accepted => Verdict::Refused(refusal),
            _ if emptied && self.is_stale(found) => Verdict::Stale,
            _ => Verdict::Claim(terms),
        }
    }

    fn objection(&self, found: Epoch) -> Option<Refusal> {
        let vip = self.vip;
        if self.unreadable.is_some() {
            return Some(Refusal::Unreadable { vip });
        }
        if self.read.record.is_none() {
            let records = self.maxima.records;
            return (records > 0).then_some(Refusal::EpochRecordMissing { vip, records });
        }
        let Floor { epoch: floor, revision: seen } = self.floor;
        let [of_epoch, of_revision] = self.witness;
        if found < floor {
            return Some(Refusal::RolledBack { vip, found, floor, by: of_epoch.clone() });
        }
        if self.went_back(found) {
            let (epoch, found, by) = (found, self.reached(), of_revision.clone());
            return Some(Refusal::WentBack { vip, epoch, found, seen, by });
        }
        let born = self.maxima.born;
        (found < born).then_some(Refusal::BornLater { vip, found, born })
    }

    /// Whether the store may have gone on since it was read.
    fn is_stale(&self, found: Epoch) -> bool {
        let below = found < self.floor.epoch || self.went_back(found);
        let before_floor = below && self.read_at_floor < self.floor;
        let before_records = self.read.as_of < self.maxima.followed;
        before_floor || before_records
    }

    /// Whether the store was further within the epoch that it is in.
    fn went_back(&self, found: Epoch) -> bool {
        found == self.floor.epoch && self.reached() < self.floor.revision
    }

    /// Up to where this node knows the store.
    fn reached(&self) -> Revision {
        self.read.as_of.max(self.maxima.followed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::EpochRecord;
    use vipsec_wire::id::NodeName;

    fn vip() -> Vip {
        Vip("192.0.2.10".parse().expect("an address"))
    }

    fn read(epoch: Option<u64>) -> EpochRead {
        let owner = NodeName::try_from("a".to_owned()).expect("a good name");
        let record = |epoch| EpochRecord { epoch: Epoch(epoch), owner, incarnation: 1 };
        EpochRead {
            record: epoch.map(|epoch| (record(epoch), Revision(70))),
            as_of: Revision(90),
            fresh: true,
        }
    }

    fn maxima(records: u64, written: u64, born: u64) -> RecordMaxima {
        let followed = Revision(90);
        RecordMaxima { followed, records, written: Epoch(written), born: Epoch(born) }
    }

    fn judge(epoch: Option<u64>, maxima: RecordMaxima, floor: u64) -> Verdict {
        judge_with(&read(epoch), &maxima, floor, floor, false)
    }

    fn judge_with(
        read: &EpochRead,
        maxima: &RecordMaxima,
        floor: u64,
        read_at_floor: u64,
        accepted: bool,
    ) -> Verdict {
        let floor_of = |epoch| Floor { epoch: Epoch(epoch), revision: Revision(90) };
        let (floor, read_at_floor) = (floor_of(floor), floor_of(read_at_floor));
        let witness = [&Witness::Own; 2];
        let unreadable = None;
        Evidence { vip: vip(), read, unreadable, maxima, floor, witness, read_at_floor, accepted }
            .judge()
    }

    fn claim(epoch: u64, expect: Option<u64>) -> Verdict {
        let expect = expect.map(Revision);
        Verdict::Claim(Terms { epoch: Epoch(epoch), expect, discard: false, emptied: false })
    }

    #[test]
    fn the_new_epoch_is_above_all_that_is_known() {
        assert_eq!(judge(None, maxima(0, 0, 0), 0), claim(1, None));
        assert_eq!(judge(Some(4), maxima(9, 4, 3), 4), claim(5, Some(70)));
        assert_eq!(judge(Some(4), maxima(9, 6, 3), 2), claim(7, Some(70)));
    }

    #[test]
    fn records_without_an_epoch_record_are_refused() {
        let refusal = Refusal::EpochRecordMissing { vip: vip(), records: 3 };
        assert_eq!(judge(None, maxima(3, 2, 1), 0), Verdict::Refused(refusal));
    }

    #[test]
    fn a_record_below_a_floor_is_refused_once_it_was_read_again() {
        let refusal = Verdict::Refused(Refusal::RolledBack {
            vip: vip(),
            found: Epoch(4),
            floor: Epoch(5),
            by: Witness::Own,
        });
        assert_eq!(judge(Some(4), maxima(9, 4, 3), 5), refusal);
        let before = judge_with(&read(Some(4)), &maxima(9, 4, 3), 5, 4, false);
        assert_eq!(before, Verdict::Stale);
    }

    #[test]
    fn a_store_that_went_back_within_an_epoch_is_refused_once_it_was_read_again() {
        let (read, maxima) = (read(Some(4)), maxima(9, 4, 3));
        let at = |epoch, revision| Floor { epoch: Epoch(epoch), revision: Revision(revision) };
        let judge = |floor, read_at_floor| {
            let (read, maxima, witness) = (&read, &maxima, [&Witness::Own; 2]);
            let (vip, unreadable, accepted) = (vip(), None, false);
            let evidence =
                Evidence { vip, read, unreadable, maxima, floor, witness, read_at_floor, accepted };
            evidence.judge()
        };
        let refusal = Refusal::WentBack {
            vip: vip(),
            epoch: Epoch(4),
            found: Revision(90),
            seen: Revision(91),
            by: Witness::Own,
        };
        assert_eq!(judge(at(4, 91), at(4, 91)), Verdict::Refused(refusal));
        assert_eq!(judge(at(4, 91), at(4, 90)), Verdict::Stale);
        assert_eq!(judge(at(4, 90), at(4, 90)), claim(5, Some(70)));
        assert_eq!(judge(at(3, 91), at(3, 91)), claim(5, Some(70)), "a new store counts anew");
    }

    #[test]
    fn a_record_below_a_birth_is_refused_once_it_was_read_again() {
        let refusal = Refusal::BornLater { vip: vip(), found: Epoch(4), born: Epoch(5) };
        assert_eq!(judge(Some(4), maxima(9, 4, 5), 4), Verdict::Refused(refusal));
        let ahead = RecordMaxima { followed: Revision(91), ..maxima(9, 4, 5) };
        assert_eq!(judge_with(&read(Some(4)), &ahead, 4, 4, false), Verdict::Stale);
    }

    #[test]
    fn an_emptied_store_is_a_new_one_above_the_floor() {
        let Verdict::Claim(terms) = judge(None, maxima(0, 0, 0), 8) else { panic!("it is safe") };
        assert_eq!((terms.epoch, terms.expect, terms.emptied), (Epoch(9), None, true));
        assert_eq!(judge_with(&read(None), &maxima(0, 0, 0), 8, 7, false), Verdict::Stale);
    }

    #[test]
    fn who_accepts_the_loss_gets_an_epoch_above_everything() {
        let accepted = judge_with(&read(Some(4)), &maxima(9, 6, 7), 5, 5, true);
        let expect = Some(Revision(70));
        let terms = Terms { epoch: Epoch(8), expect, discard: true, emptied: false };
        assert_eq!(accepted, Verdict::Claim(terms));
    }

    #[test]
    fn the_last_epoch_has_no_successor() {
        let refused = judge(Some(u64::MAX), maxima(0, 0, 0), 0);
        assert_eq!(refused, Verdict::Refused(Refusal::Exhausted { vip: vip() }));
    }
}
