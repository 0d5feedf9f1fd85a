//! Names and numbers by which nodes, virtual addresses, security associations and epochs are known
//! in messages and records.

use core::fmt;
use core::net::IpAddr;
use serde::{Deserialize, Serialize};

/// How many times a VIP has changed its owner, including restarts of the same one. Starts at 1 for
/// the first owner; 0 means that there has been none.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Epoch(pub u64);

impl Epoch {
    /// The epoch that follows this one, or `None` at the end of the range.
    #[must_use]
    pub fn next(self) -> Option<Epoch> {
        self.0.checked_add(1).map(Epoch)
    }

    /// The term of a key born in epoch `born`, as seen by the owner of epoch `self`; `None` when
    /// the key is from the future or its 16-bit range of terms is used up.
    #[must_use]
    pub fn term(self, born: Epoch) -> Option<Term> {
        let distance = self.0.checked_sub(born.0)?;
        u16::try_from(distance).ok().map(Term)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Distance, in epochs, between the birth of a key and the present owner: the upper 16 bits of
/// every IV under that key.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Term(pub u16);

/// The virtual address that peers talk to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Vip(pub IpAddr);

impl fmt::Display for Vip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// SPI of one ESP SA (RFC 4303 section 2.1). 0 to 255 are reserved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct EspSpi(pub u32);

impl fmt::Display for EspSpi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

/// The SPI that *we* chose for an IKE SA (as initiator the initiator's, as responder the
/// responder's): unique within a VIP, and so the name of the SA in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct IkeSaId(pub u64);

impl fmt::Display for IkeSaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Name of a member of the cluster: 1 to 32 characters of `a-z 0-9 -`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NodeName(String);

impl NodeName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A text that cannot name a node.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("node name {0:?}: allowed are 1 to 32 characters of a-z, 0-9 and '-'")]
pub struct BadNodeName(String);

impl TryFrom<String> for NodeName {
    type Error = BadNodeName;

    fn try_from(text: String) -> Result<NodeName, BadNodeName> {
        let allowed = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
        if (1..=32).contains(&text.len()) && text.bytes().all(allowed) {
            Ok(NodeName(text))
        } else {
            Err(BadNodeName(text))
        }
    }
}

impl From<NodeName> for String {
    fn from(name: NodeName) -> String {
        name.0
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
