//! Who owns which VIP, as nodes tell each other: the heartbeat that travels on the fabric and the
//! messages of ownership and transfer that travel on the control connection.
//!
//! Nothing is decided here; `vipsec-cluster` does. An epoch in any of these is one that the sender
//! knows to be committed, never one that it merely hopes for.

use crate::ParseError;
use crate::id::{Epoch, EspSpi, NodeName, Vip};
use crate::secret::SecretBytes;
use serde::{Deserialize, Serialize};

/// Most VIPs, challenges or echoes that one heartbeat may carry.
pub const HEARTBEAT_LIST_MAX: usize = 64;
/// Longest encoded heartbeat in bytes.
pub const HEARTBEAT_BYTES_MAX: usize = 8192;

/// What a node says of itself every heartbeat interval, and at once whenever this content changes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// Names the process: greater than that of every earlier process of the same node.
    pub incarnation: u64,
    /// Grows by one with every change of the content, within one incarnation.
    pub version: u64,
    /// Members whose control connection was closed under the sender and who are asked to prove
    /// that they live.
    pub challenges: Vec<Challenge>,
    /// The sender's answers to the challenges that it got.
    pub echoes: Vec<Challenge>,
    /// The sender's standing in each VIP that it is configured for.
    pub vips: Vec<VipStanding>,
}

/// A question to one member, or its answer: the number is copied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Challenge {
    /// In a challenge who is asked, in an echo who had asked.
    pub node: NodeName,
    /// Chosen by who asks, different each time.
    pub number: u64,
}

/// One VIP in a heartbeat.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VipStanding {
    /// The VIP.
    pub vip: Vip,
    /// The highest epoch that the sender knows to be committed: its floor.
    pub epoch: Epoch,
    /// The owner of that epoch, if the sender knows it.
    pub owner: Option<NodeName>,
    /// A revision of the store that the sender has seen in that epoch, a second or more ago.
    pub revision: u64,
    /// What the sender itself is.
    pub standing: Standing,
}

/// What a node is to one VIP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Standing {
    /// It owns the VIP in the epoch beside it.
    Owner,
    /// A candidate that holds all records opened and could claim now.
    Ready,
    /// A candidate that could not claim now.
    NotReady,
    /// No candidate: a target.
    Target,
}

/// A sequence number that an outbound SA may have reached beyond its confirmed block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct HighWater {
    /// The VIP of the SA.
    pub vip: Vip,
    /// The inbound SPI, which names the SA.
    pub spi_in: EspSpi,
    /// No packet with a greater number has left.
    pub sequence: u64,
}

impl Heartbeat {
    /// The bytes for the fabric.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        postcard::to_allocvec(self).expect("a heartbeat always serialises into memory")
    }

    /// Reads what [`Heartbeat::encode`] wrote.
    ///
    /// # Errors
    /// When the bytes are no heartbeat or a list is longer than allowed.
    pub fn decode(bytes: &[u8]) -> Result<Heartbeat, ParseError> {
        if bytes.len() > HEARTBEAT_BYTES_MAX {
            return Err(ParseError::Length("heartbeat"));
        }
        let (beat, rest): (Heartbeat, &[u8]) =
            postcard::take_from_bytes(bytes).map_err(|_| ParseError::Value("heartbeat"))?;
        if !rest.is_empty() {
            return Err(ParseError::Length("heartbeat"));
        }
        let longest = beat.challenges.len().max(beat.echoes.len()).max(beat.vips.len());
        if longest > HEARTBEAT_LIST_MAX {
            return Err(ParseError::Length("heartbeat list"));
        }
        Ok(beat)
    }
}

/// A message about ownership, from one member to another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// The VIP it is about.
    pub vip: Vip,
    /// The highest committed epoch that the sender knows. A transfer's messages are void for a
    /// receiver that knows a higher one.
    pub epoch: Epoch,
    /// What it says.
    pub body: Body,
}

/// Names one attempt of a transfer; chosen by the owner, never twice within an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TransferId(pub u64);

/// What a [`Message`] says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Body {
    /// The sender owns the VIP; repeated until acknowledged.
    Owning,
    /// The answer to `Owning`: the receiver follows the sender of it in this epoch.
    Following,
    /// The sender has given the VIP up without a successor.
    Released,
    /// Asks the owner to transfer the VIP.
    TransferWanted {
        /// To whom.
        to: NodeName,
    },
    /// The owner offers the VIP.
    Offer {
        /// The attempt.
        transfer: TransferId,
        /// The store revision up to which the successor must have followed.
        revision: u64,
    },
    /// The successor stands ready; the owner may freeze.
    Ready {
        /// The attempt.
        transfer: TransferId,
    },
    /// What the frozen owner hands over: windows, counters, connections.
    Handover {
        /// The attempt.
        transfer: TransferId,
        /// The store revision up to which the successor must have followed before it goes on.
        revision: u64,
        /// Opaque to the cluster.
        state: SecretBytes,
    },
    /// The successor cannot, or not any more.
    Declined {
        /// The attempt.
        transfer: TransferId,
        /// Why.
        reason: Declined,
    },
    /// The owner calls the attempt off.
    Aborted {
        /// The attempt.
        transfer: TransferId,
    },
}

/// Why a successor declines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Declined {
    /// It is no candidate of this VIP.
    NotCandidate,
    /// It has not all records yet, or its store is down.
    NotReady,
    /// The guards of the epoch refuse the claim (a store that was rolled back).
    Refused,
    /// Its claim did not win.
    ClaimFailed,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heartbeat_survives_the_round_trip_and_nothing_else_is_read() {
        let node = NodeName::try_from("a".to_owned()).expect("a good name");
        let beat = Heartbeat {
            incarnation: 7,
            version: 3,
            challenges: vec![Challenge { node: node.clone(), number: 9 }],
            echoes: Vec::new(),
            vips: vec![VipStanding {
                vip: Vip("192.0.2.10".parse().expect("an address")),
                epoch: Epoch(4),
                owner: Some(node),
                revision: 70,
                standing: Standing::Owner,
            }],
        };
        let bytes = beat.encode();
        assert_eq!(Heartbeat::decode(&bytes), Ok(beat));
        for end in 0..bytes.len() {
            assert!(Heartbeat::decode(&bytes[..end]).is_err(), "cut at {end}");
        }
        let mut longer = bytes;
        longer.push(0);
        assert_eq!(Heartbeat::decode(&longer), Err(ParseError::Length("heartbeat")));
    }

    #[test]
    fn a_heartbeat_with_too_long_a_list_is_refused() {
        let node = NodeName::try_from("a".to_owned()).expect("a good name");
        let challenge = Challenge { node, number: 1 };
        let challenges = vec![challenge; HEARTBEAT_LIST_MAX + 1];
        let beat = Heartbeat { challenges, ..Heartbeat::default() };
        assert_eq!(Heartbeat::decode(&beat.encode()), Err(ParseError::Length("heartbeat list")));
    }
}
