//! What an engine wants done: messages, writes to the store, work for the data path, events.

use core::fmt;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use vipsec_esp::{ChildSa, Endpoints};
use vipsec_wire::id::{EspSpi, IkeSaId};
use vipsec_wire::ike::{Identity, NotifyType};
use vipsec_wire::record::v1::{ChildConstant, IkeConstant, IkeMutable, Lease};
use vipsec_wire::secret::SecretBytes;
use vipsec_wire::time::Timestamp;

/// The name of one write. Rising, never reused within an engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// What became of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    /// It is in the store.
    Confirmed,
    /// The store does not answer; a *new* SA goes on without it. May be followed by `Confirmed`.
    Unprotected,
    /// It will never be in the store: whatever was to follow it must not happen.
    Refused,
}

/// One intention. Those with `after` must be held until [`crate::Engine::handle_stored`] has been
/// called for that ticket with another outcome than `Refused`, and dropped with it; otherwise the
/// order of outputs is to be kept.
#[derive(Debug, Clone)]
pub enum Output {
    /// A datagram. A non-ESP marker goes in front when the local port is 4500 (RFC 3948).
    Transmit {
        /// Hold until this is stored.
        after: Option<Ticket>,
        /// From.
        local: SocketAddr,
        /// To.
        remote: SocketAddr,
        /// The IKE message.
        message: Vec<u8>,
    },
    /// Changes that belong together: all or none.
    Persist {
        /// The name of this write.
        ticket: Ticket,
        /// The SA is not in the store yet, so that it may go on as unprotected.
        new_sa: bool,
        /// What to write.
        changes: Vec<Change>,
    },
    /// A Child SA is to be received on, and, with `outbound`, to be sent on at once.
    Install {
        /// Hold until this is stored.
        after: Option<Ticket>,
        /// The SA.
        sa: Box<ChildSa>,
        /// Whether to send on it already; otherwise `ActivateOutbound` follows, or its first
        /// inbound packet says that the peer has it.
        outbound: bool,
        /// The Child SA that it replaces, by the SPI at which we receive.
        replaces: Option<EspSpi>,
    },
    /// The outbound half of an installed Child SA is to be used from now on.
    ActivateOutbound {
        /// Hold until this is stored.
        after: Option<Ticket>,
        /// The Child SA.
        spi_in: EspSpi,
    },
    /// A Child SA is gone.
    Remove {
        /// Hold until this is stored.
        after: Option<Ticket>,
        /// The Child SA.
        spi_in: EspSpi,
        /// Another has taken its place: what the peer has sent on it before may still come.
        replaced: bool,
    },
    /// Sequence numbers of a family of SAs jump (RFC 6311): what the peer sends, above the last edge
    /// that was known when this node became the owner, and what we send.
    Jump {
        /// Hold until this is stored.
        after: Option<Ticket>,
        /// The family: [`ChildSa::ike`] of the Child SAs concerned.
        ike: IkeSaId,
        /// Packets.
        inbound: u64,
        /// Packets.
        outbound: u64,
    },
    /// The peer of a family of SAs has another address.
    Endpoints {
        /// Hold until this is stored.
        after: Option<Ticket>,
        /// The family: [`ChildSa::ike`] of the Child SAs concerned.
        ike: IkeSaId,
        /// Where it is now.
        endpoints: Endpoints,
    },
    /// What the backups should know of an IKE SA and the store does not say, or not yet: a half-open
    /// one, mostly ([`crate::Engine::apply_mirrored`]).
    Mirror {
        /// Our SPI.
        id: IkeSaId,
        /// Opaque.
        state: SecretBytes,
    },
    /// A mirrored half-open IKE SA has come to nothing ([`crate::Engine::forget_half_open`]). One
    /// that is established drops out when its record is applied.
    DropHalfOpen {
        /// Our SPI.
        id: IkeSaId,
    },
    /// The addresses of a host name are wanted ([`crate::Engine::handle_resolved`]).
    Resolve {
        /// The name.
        name: String,
    },
    /// Something that people want to know.
    Event(Event),
}

impl Output {
    /// The sending of a message, or of its fragments.
    pub(crate) fn transmits(
        local: SocketAddr,
        remote: SocketAddr,
        datagrams: Vec<Vec<u8>>,
    ) -> impl Iterator<Item = Output> {
        let transmit = move |message| Output::Transmit { after: None, local, remote, message };
        datagrams.into_iter().map(transmit)
    }

    /// The write that this has to wait for.
    pub(crate) fn after(&self) -> Option<Ticket> {
        match self {
            Output::Transmit { after, .. }
            | Output::Install { after, .. }
            | Output::ActivateOutbound { after, .. }
            | Output::Remove { after, .. }
            | Output::Jump { after, .. }
            | Output::Endpoints { after, .. } => *after,
            _ => None,
        }
    }
}

/// One change of what is stored.
#[derive(Debug, Clone)]
pub enum Change {
    /// A new IKE SA.
    IkeConstant(Box<IkeConstant>),
    /// The changing part of an IKE SA.
    IkeMutable {
        /// Which.
        id: IkeSaId,
        /// The whole of it.
        state: Box<IkeMutable>,
    },
    /// An IKE SA is gone, with all of its records.
    IkeGone(IkeSaId),
    /// A new Child SA.
    ChildConstant(Box<ChildConstant>),
    /// A Child SA is gone, with all of its records.
    ChildGone {
        /// By the SPI at which we receive.
        spi_in: EspSpi,
        /// The family that it belonged to.
        ike: IkeSaId,
    },
    /// An address of a pool has got a peer, or waits for its peer to come back.
    Lease(Box<Lease>),
    /// An address is nobody's again.
    LeaseGone(IpAddr),
}

/// When traffic of a family of SAs was last seen (RFC 7296 section 2.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Activity {
    /// The family: [`ChildSa::ike`].
    pub ike: IkeSaId,
    /// Last authenticated packet from the peer.
    pub last_inbound: Timestamp,
    /// Last packet to the peer.
    pub last_outbound: Timestamp,
}

/// Why an IKE SA ended or did not come about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CloseReason {
    /// We were told to.
    Requested,
    /// The peer has deleted it.
    DeletedByPeer,
    /// It was rekeyed; another goes on in its place.
    Rekeyed,
    /// A newer one of the same peer has taken its place.
    Replaced,
    /// The peer does not answer.
    PeerDead,
    /// Its lifetime is over.
    Expired,
    /// The peer could not prove who it is, or nothing is configured for it.
    AuthenticationFailed,
    /// The peer has refused with this error.
    PeerRefused(NotifyType),
    /// The peer broke the protocol.
    ProtocolViolation(&'static str),
    /// The store has refused it.
    NotStored,
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CloseReason::Requested => f.write_str("somebody here wanted it so"),
            CloseReason::DeletedByPeer => f.write_str("the peer has deleted it"),
            CloseReason::Rekeyed => f.write_str("it was rekeyed"),
            CloseReason::Replaced => f.write_str("a newer one of the same peer is there"),
            CloseReason::PeerDead => f.write_str("the peer does not answer"),
            CloseReason::Expired => f.write_str("its lifetime is over"),
            CloseReason::AuthenticationFailed => f.write_str("authentication failed"),
            CloseReason::PeerRefused(error) => write!(f, "the peer refuses with {error}"),
            CloseReason::ProtocolViolation(what) => {
                write!(f, "the peer broke the protocol: {what}")
            }
            CloseReason::NotStored => f.write_str("the store has refused it"),
        }
    }
}

/// Something that people want to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// An IKE SA is up.
    Established {
        /// Its id.
        id: IkeSaId,
        /// Its connection.
        connection: String,
        /// Who the peer is.
        remote_identity: Identity,
        /// Where the peer is.
        remote: SocketAddr,
        /// Whether we have initiated it.
        initiator: bool,
    },
    /// An IKE SA was rekeyed.
    IkeRekeyed {
        /// The old one.
        old: IkeSaId,
        /// The new one.
        new: IkeSaId,
    },
    /// An IKE SA is gone.
    Closed {
        /// Its id.
        id: IkeSaId,
        /// Its connection.
        connection: String,
        /// Why.
        reason: CloseReason,
    },
    /// A half-open IKE SA came to nothing.
    Failed {
        /// Our SPI.
        id: IkeSaId,
        /// Where the peer is.
        remote: SocketAddr,
        /// Why.
        reason: CloseReason,
    },
    /// A Child SA is up.
    ChildUp {
        /// Its IKE SA.
        ike: IkeSaId,
        /// The configured child.
        child: String,
        /// The SPI at which we receive.
        spi_in: EspSpi,
        /// The SPI at which the peer receives.
        spi_out: EspSpi,
    },
    /// A Child SA was replaced.
    ChildRekeyed {
        /// Its IKE SA.
        ike: IkeSaId,
        /// The configured child.
        child: String,
        /// The old one.
        old: EspSpi,
        /// The new one.
        new: EspSpi,
    },
    /// A Child SA is gone.
    ChildClosed {
        /// Its IKE SA.
        ike: IkeSaId,
        /// The configured child.
        child: String,
        /// The SPI at which we received.
        spi_in: EspSpi,
    },
    /// A Child SA could not be made.
    ChildFailed {
        /// Its IKE SA.
        ike: IkeSaId,
        /// The configured child, when one was found.
        child: Option<String>,
        /// What was answered.
        error: NotifyType,
    },
    /// The peer of an IKE SA is at another address, or reached at one.
    Moved {
        /// Its id.
        id: IkeSaId,
        /// Where its packets went.
        from: SocketAddr,
        /// Where they go.
        to: SocketAddr,
    },
    /// Cookies are asked for from now on, or no longer.
    CookieMode(bool),
    /// An initiation is tried again after a while.
    RetryLater {
        /// The connection.
        connection: String,
        /// When.
        wait: Duration,
    },
    /// A record could not be made use of; the SA is left out, the record as it is.
    BadRecord {
        /// Which SA.
        id: IkeSaId,
        /// What is wrong with it.
        what: &'static str,
    },
}
