//! What people and logs are told, and why a claim is refused or a transfer called off.

use crate::store::Revision;
use core::fmt;
use core::time::Duration;
use vipsec_wire::cluster::ownership::Declined;
use vipsec_wire::id::{Epoch, NodeName, Vip};

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A member is heard (again).
    MemberUp {
        /// The member.
        node: NodeName,
    },
    /// A member's control connection was closed under us; it has to prove that it lives.
    MemberSuspected {
        /// The member.
        node: NodeName,
    },
    /// A member is lost.
    MemberLost {
        /// The member.
        node: NodeName,
        /// Its control connection was closed; else it fell silent.
        closed: bool,
    },
    /// This node claims the VIP.
    Claiming {
        /// The VIP.
        vip: Vip,
        /// The epoch that it wants.
        epoch: Epoch,
    },
    /// A claim did not win or could not be decided.
    ClaimFailed {
        /// The VIP.
        vip: Vip,
        /// The epoch that it wanted.
        epoch: Epoch,
        /// The store failed; else somebody else was faster.
        store: bool,
    },
    /// This node waits longer than its rank demands, because ownership has changed too often.
    Damped {
        /// The VIP.
        vip: Vip,
        /// How much longer.
        wait: Duration,
    },
    /// This node must not claim. Said once for each reason.
    Refused {
        /// The VIP.
        vip: Vip,
        /// Why.
        refusal: Refusal,
    },
    /// This node owns the VIP.
    Owned {
        /// The VIP.
        vip: Vip,
        /// The epoch.
        epoch: Epoch,
    },
    /// This node owns the VIP no longer.
    Deposed {
        /// The VIP.
        vip: Vip,
        /// The epoch that ended it.
        epoch: Epoch,
        /// The new owner, where known.
        owner: Option<NodeName>,
    },
    /// Two nodes say that they own the VIP in the same epoch: the store is not linearizable. This
    /// node has given it up.
    Conflict {
        /// The VIP.
        vip: Vip,
        /// The epoch.
        epoch: Epoch,
        /// The other.
        other: NodeName,
    },
    /// The epoch record of the running owner is gone or older than it was: the store was replaced
    /// or rolled back. Traffic goes on; nothing can be stored.
    RecordLost {
        /// The VIP.
        vip: Vip,
        /// What the owner's epoch is.
        epoch: Epoch,
        /// What the store says.
        found: Option<Epoch>,
    },
    /// The store has no record of this VIP although it was owned before; it is taken for a new one.
    StoreEmptied {
        /// The VIP.
        vip: Vip,
        /// The floor above which the new epoch stands.
        floor: Epoch,
    },
    /// A transfer has begun.
    TransferBegun {
        /// The VIP.
        vip: Vip,
        /// To whom.
        to: NodeName,
    },
    /// A transfer was called off; the VIP stays.
    TransferAborted {
        /// The VIP.
        vip: Vip,
        /// To whom it should have gone.
        to: NodeName,
        /// Why.
        why: Abort,
    },
    /// A transfer is done.
    TransferDone {
        /// The VIP.
        vip: Vip,
        /// To whom it went.
        to: NodeName,
        /// Its epoch.
        epoch: Epoch,
    },
}

/// Why this node must not claim a VIP.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// SA records without an epoch record.
    #[error(
        "the store holds {records} records of {vip} but no epoch record: it is damaged or was \
         restored in part. `vipsec accept-rollback {vip}` drops these records and starts anew"
    )]
    EpochRecordMissing {
        /// The VIP.
        vip: Vip,
        /// How many records there are.
        records: u64,
    },
    /// There is an epoch record, but it cannot be opened.
    #[error(
        "the epoch record of {vip} cannot be read: it is damaged, or was sealed under another \
         store key. Bring the right key or store back, or drop its SAs with \
         `vipsec accept-rollback {vip}`"
    )]
    Unreadable {
        /// The VIP.
        vip: Vip,
    },
    /// The epoch record is older than one that was seen.
    #[error(
        "the store says epoch {found} of {vip}, but {by} has seen epoch {floor}: it was rolled \
         back to an older state, and its keys must not be used again. Bring the newer store back, \
         or drop its SAs with `vipsec accept-rollback {vip}`"
    )]
    RolledBack {
        /// The VIP.
        vip: Vip,
        /// The epoch in the store.
        found: Epoch,
        /// The epoch that was seen.
        floor: Epoch,
        /// By whom.
        by: Witness,
    },
    /// The store was at a later revision of the same epoch.
    #[error(
        "the store is at revision {found} of epoch {epoch} of {vip}, but {by} has seen revision \
         {seen}: it was rolled back to an older state, which lacks SAs and holds some that have \
         ended. Bring the newer store back, or drop its SAs with `vipsec accept-rollback {vip}`"
    )]
    WentBack {
        /// The VIP.
        vip: Vip,
        /// The epoch in the store.
        epoch: Epoch,
        /// The store's revision.
        found: Revision,
        /// The revision that was seen.
        seen: Revision,
        /// By whom.
        by: Witness,
    },
    /// The epoch record is older than a key.
    #[error(
        "the store says epoch {found} of {vip}, but holds a key born in epoch {born}: its records \
         are of different age. Bring the newer store back, or drop its SAs with \
         `vipsec accept-rollback {vip}`"
    )]
    BornLater {
        /// The VIP.
        vip: Vip,
        /// The epoch in the store.
        found: Epoch,
        /// The birth of the youngest key.
        born: Epoch,
    },
    /// No epoch is left.
    #[error("the epochs of {vip} are used up")]
    Exhausted {
        /// The VIP.
        vip: Vip,
    },
}

/// Who has seen an epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Witness {
    /// This node: its floor file, or its own running process.
    Own,
    /// Another member.
    Member(NodeName),
}

impl fmt::Display for Witness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Witness::Own => f.write_str("this node"),
            Witness::Member(node) => write!(f, "node {node}"),
        }
    }
}

/// Why a transfer was called off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Abort {
    /// The successor declined.
    #[error("the successor declined: {0:?}")]
    Declined(Declined),
    /// The successor did not answer the offer in time.
    #[error("the successor did not answer the offer")]
    NoAnswer,
    /// This node's own state could not be collected in time.
    #[error("the freeze took too long")]
    FreezeTooLong,
    /// The successor did not claim in time.
    #[error("the successor did not claim in time")]
    NoClaim,
    /// The successor died or its control connection broke.
    #[error("the successor was lost")]
    SuccessorLost,
    /// The store did not tell whether the successor had claimed, and the limit has passed.
    #[error("the store could not tell whether the successor had claimed")]
    StoreSilent,
}
