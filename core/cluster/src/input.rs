//! The kinds of things that happen to a [`Cluster`](crate::Cluster).

use crate::EpochRecord;
use crate::store::Revision;
use vipsec_wire::id::Epoch;

/// What became of the control connection with a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkChange {
    /// It stands: TLS is done and messages flow.
    Up,
    /// The peer's kernel closed it without a word (FIN or RST): most likely the process is dead.
    Closed,
    /// It is of no use any more for a reason that says nothing about the process: time-out, local
    /// fault, replaced by another connection, or taken down after the peer said so.
    Lost,
}

/// Whether the store answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreHealth {
    /// It does.
    Up,
    /// It does not.
    Down,
}

/// The epoch record of a VIP as the store had it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EpochRead {
    /// The record with the revision of its last change; `None` when there is none.
    pub record: Option<(EpochRecord, Revision)>,
    /// The revision of the store at which this was so: of the change for a watched one, of the
    /// read for a read one.
    pub as_of: Revision,
    /// The answer to a read that was begun after [`Output::Refresh`](crate::Output::Refresh) (or
    /// the first read after the start), and not a change that the watch brought.
    pub fresh: bool,
}

/// What the records of a VIP (other than its epoch record) say about epochs. To be put in once
/// all of them have been read, and again when they change.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RecordMaxima {
    /// Up to which revision this node has followed the store.
    pub followed: Revision,
    /// How many records there are.
    pub records: u64,
    /// The highest epoch in which any of them was written.
    pub written: Epoch,
    /// The highest epoch in which any key in them was born.
    pub born: Epoch,
}

/// What became of a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClaimOutcome {
    /// It is committed; this is the revision of the epoch record from now on.
    Won(Revision),
    /// Its condition did not hold: somebody else was there.
    Lost,
    /// The store failed; whether the claim is committed is not known.
    Failed,
}

/// What was done with a request for a transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransferAccepted {
    /// This node owns the VIP and has begun.
    Begun,
    /// The owner has been asked.
    Forwarded,
}
