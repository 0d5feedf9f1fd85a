//! What nodes tell each other on their control connection: one enum, in a versioned envelope, in
//! frames of bounded length. Heartbeats travel on the fabric instead.
//!
//! Nothing is decided here. What each message means is said where it is acted on: ownership in
//! `vipsec-cluster`, connections in `vipsec-path`, SAs in `vipsec-ike`.

pub mod connection;
pub mod frame;
pub mod ownership;
pub mod replica;
pub mod service;

pub use connection::{CONNECTIONS_MAX, ConnectionState, ConnectionUpdate, Flow, Protocol};
pub use frame::{FRAME_BYTES_MAX, FrameDecoder, frame};
pub use ownership::{Heartbeat, HighWater};
pub use replica::{EDGES_MAX, Edges, HalfOpenMirror};
pub use service::{Connections, TargetHealth};

use crate::ParseError;
use crate::id::NodeName;
use crate::secret::SecretBytes;
use serde::{Deserialize, Serialize};

/// Version of all that follows. Nodes of different versions do not understand each other's
/// messages, but learn from this octet that this is why.
pub const VERSION: u8 = 1;

const WHAT: &str = "cluster message";

/// The first message on a connection, from both sides. Who the peer is has been proven by its key
/// already; this says which of its processes it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The sender's name, which must be the one that its key belongs to.
    pub name: NodeName,
    /// The sender's process: greater than that of every earlier process of the same node.
    pub incarnation: u64,
    /// How many workers the sender has, from 1: each has its own key on the fabric.
    pub workers: u16,
    /// The sender's program version, for people.
    pub program: String,
}

/// A message from one node to another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Message {
    /// The greeting.
    Hello(Hello),
    /// Who owns a VIP; offers and hand-overs.
    Ownership(ownership::Message),
    /// Connections: the owner's mirror to the backups, a target's report to a new owner.
    Connections(Connections),
    /// The owner's replay windows, to the backups.
    Edges(Edges),
    /// Sequence numbers beyond the confirmed blocks that do not fit in a heartbeat.
    HighWater(Vec<HighWater>),
    /// A half-open IKE SA, to the backups.
    HalfOpen(HalfOpenMirror),
    /// Which targets answer their health checks, to targets and backups.
    TargetHealth(TargetHealth),
}

impl Message {
    /// The bytes of one frame's content. They are wiped when dropped, for a hand-over and a
    /// half-open IKE SA hold secrets.
    #[must_use]
    pub fn encode(&self) -> SecretBytes {
        SecretBytes::collect(vec![VERSION], self)
    }

    /// Reads what [`Message::encode`] wrote.
    ///
    /// # Errors
    /// `Version` when the sender is of another version; `Length` for bytes left over or a list
    /// that is longer than allowed; `Value` when the bytes make no sense.
    pub fn decode(bytes: &[u8]) -> Result<Message, ParseError> {
        if bytes.len() > FRAME_BYTES_MAX {
            return Err(ParseError::Length(WHAT));
        }
        let [version, fields @ ..] = bytes else {
            return Err(ParseError::Truncated(WHAT));
        };
        if *version != VERSION {
            return Err(ParseError::Version { what: WHAT, version: u16::from(*version) });
        }
        let (message, rest): (Message, &[u8]) =
            postcard::take_from_bytes(fields).map_err(|_| ParseError::Value(WHAT))?;
        if !rest.is_empty() || !message.is_bounded() {
            return Err(ParseError::Length(WHAT));
        }
        Ok(message)
    }

    /// Whether no list is longer than its own limit.
    fn is_bounded(&self) -> bool {
        match self {
            Message::Hello(hello) => {
                hello.program.len() <= 64 && (1..=256).contains(&hello.workers)
            }
            Message::Connections(connections) => connections.updates.len() <= CONNECTIONS_MAX,
            Message::Edges(edges) => edges.edges.len() <= EDGES_MAX,
            Message::HighWater(marks) => marks.len() <= EDGES_MAX,
            Message::TargetHealth(health) => health.targets.len() <= service::TARGETS_MAX,
            Message::Ownership(_) | Message::HalfOpen(_) => true,
        }
    }
}

#[cfg(test)]
mod tests;
