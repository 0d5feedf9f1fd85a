//! What a [`Cluster`](crate::Cluster) wants to be done.

use crate::EpochRecord;
use crate::event::Event;
use crate::floor::Floor;
use crate::store::Revision;
use vipsec_wire::cluster::ownership::{Heartbeat, Message};
use vipsec_wire::id::{Epoch, NodeName, Vip};
use vipsec_wire::secret::SecretBytes;
use vipsec_wire::time::Timestamp;

/// One thing to be done, in the order in which they come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Send on the control connection; may be dropped when there is none.
    Send {
        /// To whom.
        to: NodeName,
        /// What.
        message: Message,
    },
    /// Write the epoch record if its revision is still `expect` (`None`: if there is none), and
    /// answer with `handle_claim`. Never two at once for a VIP.
    Claim {
        /// The VIP.
        vip: Vip,
        /// Revision that the present record must have.
        expect: Option<Revision>,
        /// The record to be written.
        record: EpochRecord,
        /// Delete every other record of the VIP in the same transaction: somebody accepted that a
        /// rolled-back store loses its SAs.
        discard: bool,
    },
    /// Read the epoch record and answer with a fresh `handle_epoch_record`.
    Refresh {
        /// The VIP.
        vip: Vip,
    },
    /// This node owns the VIP from now on. Catch up with the store to `revision`, then send.
    Own {
        /// The VIP.
        vip: Vip,
        /// The epoch.
        epoch: Epoch,
        /// Revision of the epoch record: every later write for this VIP is conditional on it.
        revision: Revision,
        /// How it came to be.
        how: How,
    },
    /// The revision of the epoch record has changed while ownership stands: later writes are
    /// conditional on this one.
    Refence {
        /// The VIP.
        vip: Vip,
        /// The revision.
        revision: Revision,
    },
    /// This node owns the VIP no longer: nothing may leave for it any more.
    Depose {
        /// The VIP.
        vip: Vip,
        /// The epoch that ended it (its own, if it was given up).
        epoch: Epoch,
        /// The new owner, where known: late packets go there.
        owner: Option<NodeName>,
    },
    /// Another node owns the VIP, or at least not this one: return paths go there, frames of a
    /// lower epoch are dropped.
    Follow {
        /// The VIP.
        vip: Vip,
        /// The highest epoch known.
        epoch: Epoch,
        /// Its owner, where known.
        owner: Option<NodeName>,
    },
    /// Stop sending and receiving for the VIP, queue what comes, write out what is pending, and
    /// answer with `handle_frozen`.
    Freeze {
        /// The VIP.
        vip: Vip,
        /// Who is to have it.
        to: NodeName,
    },
    /// Go on where the freeze stopped: the transfer has failed and the epoch stands.
    Thaw {
        /// The VIP.
        vip: Vip,
    },
    /// Write the floor to the node's own floor file: when its epoch rises, at most once a minute
    /// when its revision does, and when the VIP is released.
    RecordFloor {
        /// The VIP.
        vip: Vip,
        /// Only ever later than the one before.
        floor: Floor,
    },
    /// Send this heartbeat at once and then every interval, until the next one is set.
    SetHeartbeat(Heartbeat),
    /// A member's process is gone. Its connections wait until then; no new ones for it.
    MemberLost {
        /// The member.
        node: NodeName,
        /// End of the grace.
        grace_until: Timestamp,
    },
    /// A member is heard (again).
    MemberBack {
        /// The member.
        node: NodeName,
        /// Names its process; differs from the last when it has restarted.
        incarnation: u64,
    },
    /// The grace of a lost member has ended: its connections are over.
    MemberGone {
        /// The member.
        node: NodeName,
    },
    /// Something that people may want to know.
    Event(Event),
}

/// How this node became the owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum How {
    /// Nobody had owned the VIP before, or the store was new and empty.
    First,
    /// The former owner is another node: sequence numbers jump to the next block.
    Takeover {
        /// Who that was.
        from: NodeName,
    },
    /// The former owner is an earlier process of this node: as a takeover.
    Restart,
    /// The former owner handed over: exact counters and windows.
    Transfer {
        /// Who that was.
        from: NodeName,
        /// What it handed over.
        handover: SecretBytes,
        /// The store must have been followed up to here at least (and to the claim itself).
        followed: Revision,
    },
    /// Somebody accepted a rolled-back store: all SAs of the VIP are gone.
    Reset,
}
