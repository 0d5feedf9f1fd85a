//! What can be seen of an engine's SAs from outside: for people and programs, and for building the
//! data path anew.

use crate::child::Child;
use crate::engine::Engine;
use crate::sa::IkeSa;
use core::net::IpAddr;
use vipsec_esp::{ChildSa, Endpoints};
use vipsec_wire::id::{Epoch, EspSpi, IkeSaId};
use vipsec_wire::ike::{Identity, IkeSpis};
use vipsec_wire::record::v1::{
    ChildPhase, Extensions, IkeAddresses, IkeAlgorithms, IkePhase, Told,
};
use vipsec_wire::time::Timestamp;

/// An IKE SA as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IkeSaView {
    /// Our SPI.
    pub id: IkeSaId,
    /// The family, by which the data path knows its Child SAs.
    pub family: IkeSaId,
    /// Both SPIs.
    pub spis: IkeSpis,
    /// We are its original initiator.
    pub initiator: bool,
    /// Its connection.
    pub connection: String,
    /// Who we are.
    pub local_identity: Identity,
    /// Who the peer is.
    pub remote_identity: Identity,
    /// Where both are, and NAT.
    pub addresses: IkeAddresses,
    /// What was negotiated.
    pub algorithms: IkeAlgorithms,
    /// Where it stands in its life.
    pub phase: IkePhase,
    /// The epoch of its keys.
    pub born: Epoch,
    /// When it was made.
    pub created: Timestamp,
    /// When the peer was authenticated.
    pub authenticated: Timestamp,
    /// When a rekey is due.
    pub rekey_at: Timestamp,
    /// When it must be gone.
    pub expires_at: Timestamp,
    /// Addresses that the peer has from us.
    pub assigned: Vec<IpAddr>,
    /// Addresses that we have from the peer.
    pub obtained: Vec<IpAddr>,
    /// What was agreed on beyond RFC 7296.
    pub extensions: Extensions,
    /// What else the peer has told us.
    pub told: Told,
    /// It is in the store.
    pub protected: bool,
    /// A request of ours has no answer yet.
    pub request_outstanding: bool,
    /// Last sign of the peer.
    pub last_heard: Timestamp,
    /// Its Child SAs.
    pub children: Vec<ChildView>,
}

/// A Child SA as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChildView {
    /// Its description, with the addresses that it has at present.
    pub sa: ChildSa,
    /// Its IKE SA at present.
    pub ike: IkeSaId,
    /// Where it stands in its life.
    pub phase: ChildPhase,
    /// We send on it.
    pub outbound: bool,
}

impl Engine {
    /// All IKE SAs, in the order of their ids.
    pub fn ike_sas(&self) -> impl Iterator<Item = IkeSaView> {
        self.tables.sas().filter(|sa| sa.live.complete).map(|sa| self.view(sa))
    }

    /// One IKE SA.
    #[must_use]
    pub fn ike_sa(&self, id: IkeSaId) -> Option<IkeSaView> {
        self.tables.get(id).filter(|sa| sa.live.complete).map(|sa| self.view(sa))
    }

    /// Number of established IKE SAs.
    #[must_use]
    pub fn ike_sa_count(&self) -> usize {
        self.tables.count()
    }

    /// Number of half-open IKE SAs that peers have begun.
    #[must_use]
    pub fn half_open_count(&self) -> usize {
        self.tables.half_open.responder_count()
    }

    /// All Child SAs that belong to an IKE SA, for installation where there are none yet.
    pub fn children(&self) -> impl Iterator<Item = ChildView> {
        self.tables.children().filter_map(|child| self.child_view(child))
    }

    /// One Child SA, by the SPI at which we receive.
    #[must_use]
    pub fn child(&self, spi: EspSpi) -> Option<ChildView> {
        self.tables.child(spi).and_then(|child| self.child_view(child))
    }

    fn child_view(&self, child: &Child) -> Option<ChildView> {
        let parent = self.tables.get(child.parent?)?;
        let spi = child.sa.inbound.spi;
        let link = parent.children.iter().find(|link| link.spi == spi)?;
        let endpoints: Endpoints = parent.endpoints();
        Some(ChildView {
            sa: ChildSa { endpoints, ..child.sa.clone() },
            ike: parent.id(),
            phase: link.phase,
            outbound: link.outbound,
        })
    }

    fn view(&self, sa: &IkeSa) -> IkeSaView {
        let about = &sa.about;
        let children = sa.children.iter().filter_map(|link| self.child(link.spi));
        IkeSaView {
            id: about.id,
            family: about.family,
            spis: about.spis,
            initiator: about.initiator,
            connection: about.connection.clone(),
            local_identity: about.local_identity.clone(),
            remote_identity: about.remote_identity.clone(),
            addresses: sa.addresses,
            algorithms: about.algorithms,
            phase: sa.phase,
            born: about.born,
            created: about.created,
            authenticated: about.authenticated,
            rekey_at: about.rekey_at,
            expires_at: about.expires_at,
            assigned: about.assigned.clone(),
            obtained: about.obtained.clone(),
            extensions: about.extensions.clone(),
            told: about.told.clone(),
            protected: sa.live.unprotected.is_none(),
            request_outstanding: sa.outstanding.is_some(),
            last_heard: sa.live.last_heard,
            children: children.collect(),
        }
    }
}
