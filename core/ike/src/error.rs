//! What can go wrong, apart by whose doing it is: [`Error`] is ours or the operator's, [`Drop`] is
//! the network's.

use vipsec_wire::ParseError;
use vipsec_wire::id::{EspSpi, IkeSaId};

/// A call that could not be followed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The engine does not own its VIP.
    #[error("this node does not own the VIP")]
    NotOwner,
    /// No such connection.
    #[error("there is no connection {0:?}")]
    NoConnection(String),
    /// No such child.
    #[error("connection {connection:?} has no child {child:?}")]
    NoChild {
        /// The connection.
        connection: String,
        /// The child asked for.
        child: String,
    },
    /// A connection whose peer may be anywhere can only be initiated by the peer.
    #[error("connection {0:?} has no remote address to initiate to")]
    NoRemoteAddress(String),
    /// No such IKE SA.
    #[error("there is no IKE SA {0}")]
    NoIkeSa(IkeSaId),
    /// No such Child SA.
    #[error("there is no Child SA {0}")]
    NoChildSa(EspSpi),
    /// A record that was handed in does not make an SA.
    #[error("record: {0}")]
    Record(&'static str),
    /// A record that was handed in cannot be read.
    #[error("record cannot be read")]
    Unreadable(#[source] ParseError),
    /// A table is full.
    #[error("{0}: limit reached")]
    Limit(&'static str),
}

/// Why a datagram had no effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Drop {
    /// It is no IKE message.
    Malformed,
    /// It is of another major version.
    Version,
    /// No IKE SA has these SPIs.
    UnknownSpi,
    /// It did not decrypt.
    Unauthentic,
    /// Its message ID is not in the window.
    OutOfWindow,
    /// A response to nothing that we asked.
    UnexpectedResponse,
    /// An exchange that does not fit the state of the IKE SA.
    UnexpectedExchange,
    /// The table of half-open IKE SAs is full.
    HalfOpenFull,
    /// Too many half-open IKE SAs come from there.
    SourceFull,
    /// Too many IKE_AUTHs from there have failed.
    SourceFailing,
    /// The puzzle was not solved.
    PuzzleWanted,
    /// Answered with a cookie instead.
    CookieWanted,
    /// Too much is waiting for the store.
    Busy,
    /// This node does not own the VIP.
    NotOwner,
    /// No connection is configured for this peer.
    NoConnection,
    /// An unauthenticated error, which proves nothing.
    UnauthenticatedError,
}

/// How often each [`Drop`] has happened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DropCounts(std::collections::BTreeMap<Drop, u64>);

impl DropCounts {
    /// Counts one.
    pub(crate) fn count(&mut self, reason: Drop) {
        *self.0.entry(reason).or_default() += 1;
    }

    /// How often this has happened.
    #[must_use]
    pub fn get(&self, reason: Drop) -> u64 {
        self.0.get(&reason).copied().unwrap_or(0)
    }

    /// All that have happened.
    pub fn iter(&self) -> impl Iterator<Item = (Drop, u64)> {
        self.0.iter().map(|(reason, count)| (*reason, *count))
    }
}
