//! What a [`Node`](crate::Node) wants done, and the answers it gets: the whole seam between the pure
//! core and the shell.

use crate::fabric::FabricSecrets;
use core::net::SocketAddr;
use core::time::Duration;
use vipsec_cluster::Floor;
use vipsec_cluster::store::{Change, Entry, Outcome, Revision, StoreError, Transaction};
use vipsec_path::Command;
use vipsec_wire::id::{NodeName, Vip};
use vipsec_wire::secret::SecretBytes;

/// One thing to be done, in the order in which they come.
#[derive(Debug)]
pub enum Output {
    /// An instruction to a worker.
    Worker {
        /// Which; `None`: each of them.
        worker: Option<u16>,
        /// The instruction.
        command: Box<Command>,
    },
    /// An IKE message to a peer, without the non-ESP marker.
    Ike {
        /// The VIP and port 500 or 4500.
        local: SocketAddr,
        /// The peer.
        remote: SocketAddr,
        /// The message from the IKE header on.
        message: Vec<u8>,
    },
    /// A message to another node, for the control connection. Dropped when there is none.
    Peer {
        /// To whom.
        to: NodeName,
        /// The content of one frame.
        content: SecretBytes,
    },
    /// A request to the store; answered by `handle_store`.
    Store(StoreRequest),
    /// Answer ARP and neighbour solicitations for the VIP (and its inner-side VIP) and announce it.
    Announce {
        /// The VIP.
        vip: Vip,
    },
    /// Do not answer for the VIP any more.
    Withdraw {
        /// The VIP.
        vip: Vip,
    },
    /// Write the floor to this node's floor file, durably.
    Floor {
        /// The VIP.
        vip: Vip,
        /// Only ever later than the one before.
        floor: Floor,
    },
    /// Try a TCP connection on this host and answer with `handle_probe`.
    Probe {
        /// Names the attempt.
        probe: u64,
        /// Where to.
        address: SocketAddr,
        /// When to give up.
        timeout: Duration,
    },
    /// Find out the addresses of a host name and answer with `handle_resolved`.
    Resolve {
        /// The name.
        name: String,
    },
    /// The answer to [`Node::handle_list_connections`](crate::Node::handle_list_connections).
    Connections {
        /// The name of the question.
        query: u64,
        /// What the workers' tables hold.
        connections: Vec<crate::ConnectionView>,
    },
    /// Something that people may want to know.
    Event(crate::Event),
}

/// Names a request to the store; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// What the store is asked.
#[derive(Debug, Clone)]
pub enum StoreRequest {
    /// All entries below a prefix; answered by [`StoreReply::Loaded`] or [`StoreReply::Failed`].
    Load {
        /// The request.
        request: RequestId,
        /// The beginning of the keys.
        prefix: String,
    },
    /// From now on, all changes after a revision; answered by [`StoreReply::Changed`] again and
    /// again. Replaces an earlier watch.
    Watch {
        /// The last revision that is known.
        after: Revision,
    },
    /// Answered by [`StoreReply::Judged`] or [`StoreReply::Failed`].
    Commit {
        /// The request.
        request: RequestId,
        /// What to do.
        transaction: Transaction,
    },
}

/// What the store answers.
#[derive(Debug, Clone)]
pub enum StoreReply {
    /// The answer to [`StoreRequest::Load`].
    Loaded {
        /// The request.
        request: RequestId,
        /// The entries.
        entries: Vec<Entry>,
        /// The store's revision when they were read.
        revision: Revision,
    },
    /// The answer to [`StoreRequest::Commit`].
    Judged {
        /// The request.
        request: RequestId,
        /// What became of it.
        outcome: Outcome,
    },
    /// A request was not carried out; a commit that is ambiguous may have been.
    Failed {
        /// The request.
        request: RequestId,
        /// Why.
        error: StoreError,
    },
    /// What the watch has brought, in order.
    Changed {
        /// The changes.
        changes: Vec<Change>,
        /// Up to which revision they go.
        up_to: Revision,
    },
    /// The watch cannot go on: the log does not reach back so far, or the store has been replaced.
    WatchBroken,
    /// The store does not answer, or answers again.
    Health {
        /// Why not, or `None` when it does.
        error: Option<StoreError>,
    },
}

/// What became of the control connection with a member.
#[derive(Debug, Clone)]
pub enum Link {
    /// It stands; from these secrets come the keys of the fabric.
    Up(FabricSecrets),
    /// The other process's kernel has closed it.
    Closed,
    /// It broke in a way that says nothing about the other process.
    Lost,
}
