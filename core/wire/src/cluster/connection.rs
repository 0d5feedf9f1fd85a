//! Connections as nodes tell each other of them: the owner's news to the backups, the targets'
//! reports to a new owner, and the connections inside a transfer. One form for all three.

use crate::id::NodeName;
use core::net::SocketAddr;
use serde::{Deserialize, Serialize};

/// Most connections that one message carries; a longer report is sent in parts.
pub const CONNECTIONS_MAX: usize = 1024;

/// Transport protocols that are distributed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Protocol {
    /// RFC 9293.
    Tcp,
    /// RFC 768.
    Udp,
}

impl Protocol {
    /// The number in the IP header.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Protocol::Tcp => 6,
            Protocol::Udp => 17,
        }
    }

    /// The protocol of that number, if it is one that is distributed.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Protocol> {
        match number {
            6 => Some(Protocol::Tcp),
            17 => Some(Protocol::Udp),
            _ => None,
        }
    }
}

/// What names a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Flow {
    /// TCP or UDP.
    pub protocol: Protocol,
    /// Our end: the VIP or an inner address of it, with the port.
    pub local: SocketAddr,
    /// The peer's end.
    pub peer: SocketAddr,
}

/// How far a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ConnectionState {
    /// TCP: the hand-shake is not known to be done.
    Opening,
    /// TCP: both were heard, none has closed.
    Established,
    /// TCP: the peer has sent FIN, the target has not.
    ClosedByPeer,
    /// TCP: the target has sent FIN, the peer has not.
    ClosedByTarget,
    /// TCP: both have sent FIN.
    Closed,
    /// TCP: ended by RST.
    Reset,
    /// UDP.
    Datagrams,
    /// Not known any more: forget it.
    Gone,
}

/// One connection, as it stands or as it has changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionUpdate {
    /// Which.
    pub flow: Flow,
    /// The target that holds it; the owner itself for a local one.
    pub node: NodeName,
    /// How far it is.
    pub state: ConnectionState,
    /// Whether the target opened it, towards the peer.
    pub opened_by_target: bool,
    /// Seconds since it began.
    pub age_s: u32,
    /// Seconds since its last packet.
    pub idle_s: u32,
}
