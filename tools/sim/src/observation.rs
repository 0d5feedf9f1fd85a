//! What can be seen of a cluster from outside its code: packets on wires, writes in the store, what
//! the nodes say, deaths. Checkers know nothing else.

use crate::host::HostId;
use crate::network::Wire;
use core::fmt;
use core::net::SocketAddr;
use vipsec_wire::cluster::Protocol;
use vipsec_wire::id::{Epoch, Vip};
use vipsec_wire::ike::{ExchangeType, IkeSpis};

/// A process of a host; each start has another number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Actor {
    /// The host.
    pub host: HostId,
    /// Number of the process, never used twice in a run.
    pub process: u64,
}

/// What a nonce belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// An ESP SA on the outside wire, by SPI and by the host that receives.
    Esp(u32),
    /// One direction of a connection between two nodes.
    Fabric(u32),
    /// SK_e of one direction of an IKE SA.
    Ike(u64, u64, bool),
}

/// The clear part of an IKE message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct IkeFrame {
    /// The SPIs.
    pub spis: IkeSpis,
    /// The exchange.
    pub exchange: ExchangeType,
    /// Sent by the original initiator.
    pub from_initiator: bool,
    /// It answers a request.
    pub response: bool,
    /// Message ID.
    pub id: u32,
    /// Nothing of it is encrypted: outside of IKE_SA_INIT it proves nothing, and no peer acts on it
    /// (RFC 7296 section 2.21.4).
    pub clear: bool,
    /// Which fragment of the message it is (RFC 7383 section 2.5), from 1; 0 for a whole one.
    pub fragment: u16,
    /// Octets of the message.
    pub length: usize,
    /// Names the bytes.
    pub digest: u64,
}

/// The clear part of an ESP packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct EspFrame {
    /// The SPI.
    pub spi: u32,
    /// Lower half of the sequence number.
    pub sequence: u32,
    /// Names the bytes.
    pub digest: u64,
}

/// A connection between a peer's (or protected host's) application and a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Connection {
    /// TCP or UDP.
    pub protocol: Protocol,
    /// The end that opened it.
    pub client: SocketAddr,
    /// The service.
    pub server: SocketAddr,
}

/// A record as the store holds it now, opened with the store key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Record {
    /// Who owns the VIP.
    Epoch(Epoch, HostId),
    /// The constant part of an IKE SA, by our SPI.
    Ike(u64),
    /// The changing part of an IKE SA: digests of the response that it holds, one a fragment.
    IkeState(u64, Vec<u64>),
    /// A Child SA: inbound and outbound SPI.
    Child(u32, u32),
    /// An IKE SA is gone.
    IkeGone(u64),
    /// A Child SA is gone, by its inbound SPI.
    ChildGone(u32),
    /// Blocks or edges.
    Other,
}

/// What a node says has happened, as far as it matters here.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Said {
    /// It claims an epoch.
    Claiming(Epoch),
    /// It owns the VIP.
    Owned(Epoch),
    /// A new SA goes on without the store.
    Unprotected,
    /// All is stored again.
    Protected,
    /// A transfer of its VIP to another node begins.
    TransferBegun,
    /// It was called off.
    TransferAborted,
    /// It is done, in this epoch.
    TransferDone(Epoch),
    /// An IKE SA is up, by our SPI.
    Established(u64),
    /// A Child SA is up: inbound and outbound SPI.
    ChildUp(u32, u32),
    /// A Child SA was replaced: old and new inbound SPI.
    ChildRekeyed(u32, u32),
    /// An IKE SA or Child SA has ended or failed; the text says how.
    Ended(String),
    /// Anything else.
    Other(String),
}

/// One thing that was seen.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Observation {
    /// Something was sealed with a key and left the process.
    Sealed {
        /// Who.
        by: Actor,
        /// Under what.
        key: Key,
        /// The first 8 bytes of the IV.
        iv: u64,
        /// Names all bytes.
        digest: u64,
    },
    /// An ESP packet left a process. `epoch`: in which the worker owned the VIP, `None` when it did
    /// not.
    EspSent(Actor, Option<Epoch>, EspFrame),
    /// An ESP packet arrived at a host.
    EspArrived(HostId, EspFrame),
    /// An IKE message left a process.
    IkeSent(Actor, IkeFrame),
    /// An IKE message arrived at a host.
    IkeArrived(HostId, IkeFrame),
    /// Something on a wire that was not encrypted, though it should be.
    Clear(HostId, Wire),
    /// A numbered inner packet was put into the ESP packet of this digest.
    Wrapped(u64, EspFrame),
    /// An application has sent a numbered packet.
    InnerSent(HostId, u64),
    /// A numbered packet from a kernel or from the fabric has reached a process that runs.
    InnerReached(Actor, u64),
    /// A worker has given a numbered packet to its kernel.
    InnerOut(Actor, u64),
    /// A worker has dropped a packet, for this reason.
    Dropped(Actor, &'static str),
    /// An application has got a numbered packet.
    Received(HostId, u64),
    /// A segment or datagram of a connection has reached the kernel of a host that serves it.
    /// `opens`: it may begin one.
    Served {
        /// Where.
        at: HostId,
        /// Of what.
        connection: Connection,
        /// It may begin a connection.
        opens: bool,
        /// The control bits of a segment.
        flags: u8,
    },
    /// A connection came to its good end, at the side that opened it.
    Finished(Connection),
    /// A connection that was open was reset.
    Reset(Connection),
    /// A transaction was committed.
    Committed {
        /// By whom.
        by: Actor,
        /// About what.
        vip: Vip,
        /// What it has put and taken away.
        records: Vec<Record>,
    },
    /// The store, or a node's way to it, begins or ceases to fail.
    StoreFailing(bool),
    /// The store was put back to an older state.
    RolledBack,
    /// Somebody has accepted on a node that what was in the store is lost.
    Accepted(Actor),
    /// A worker has taken a role: owner in an epoch, or not.
    Role {
        /// Whose worker.
        by: Actor,
        /// Of what.
        vip: Vip,
        /// In which epoch.
        epoch: Epoch,
        /// As owner.
        owner: bool,
    },
    /// A node was told of a committed epoch by store, heartbeat or message.
    Told(Actor, Vip, Epoch),
    /// A worker of a node was told the right edge of an inbound window.
    EdgeTold(Actor, u32, u64),
    /// A node says so.
    Said(Actor, Vip, Said),
    /// What became of a node's control connection with another, as it is told.
    Linked(Actor, HostId, &'static str),
    /// A process runs.
    Started(Actor),
    /// A process was killed.
    Died(Actor),
    /// A process stands still.
    Paused(Actor),
    /// It goes on.
    Woken(Actor),
    /// Some nodes do not reach some others from now on (or all do again).
    Divided(bool),
    /// A wire loses packets or has a partition from now on (or no more).
    Lossy(Wire, bool),
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.host, self.process)
    }
}

impl fmt::Debug for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for EspFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ESP {:08x} seq {} [{:04x}]", self.spi, self.sequence, self.digest & 0xffff)
    }
}

impl fmt::Display for IkeFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let way = if self.response { "response" } else { "request" };
        let side = if self.from_initiator { 'i' } else { 'r' };
        write!(f, "{:?} {way} {} from {side} {}", self.exchange, self.id, self.spis)?;
        if self.fragment > 0 {
            write!(f, " fragment {}", self.fragment)?;
        }
        write!(f, " [{:04x}]", self.digest & 0xffff)
    }
}

impl fmt::Display for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {} -> {}", self.protocol, self.client, self.server)
    }
}

impl fmt::Display for Observation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Observation::Sealed { by, key, iv, digest } => {
                write!(f, "{by} sealed {key:x?} iv {iv:016x} [{:04x}]", digest & 0xffff)
            }
            Observation::EspSent(by, epoch, frame) => {
                let epoch = epoch.map_or("no owner".to_owned(), |epoch| format!("epoch {epoch}"));
                write!(f, "{by} ({epoch}) sent {frame}")
            }
            Observation::EspArrived(at, frame) => write!(f, "{at} <- {frame}"),
            Observation::IkeSent(by, frame) => write!(f, "{by} sent {frame}"),
            Observation::IkeArrived(at, frame) => write!(f, "{at} <- {frame}"),
            Observation::Role { by, epoch, owner, .. } => {
                let role = if *owner { "owner" } else { "member" };
                write!(f, "{by} worker is {role} in epoch {epoch}")
            }
            Observation::Told(by, _, epoch) => write!(f, "{by} was told of epoch {epoch}"),
            Observation::Said(by, _, said) => write!(f, "{by} says {said:?}"),
            Observation::Served { at, connection, flags, .. } => {
                write!(f, "{at} serves {connection} (flags {flags:02x})")
            }
            Observation::Reset(connection) => write!(f, "{connection} was reset"),
            Observation::Committed { by, records, .. } => {
                write!(f, "{by} committed {records:x?}")
            }
            other => write!(f, "{other:?}"),
        }
    }
}
