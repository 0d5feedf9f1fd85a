//! An established IKE SA as it lives in memory: what it is, where it stands, and what of it is only
//! for this owner and need not survive.

use crate::dpd::Traffic;
use crate::fragmentation::message_limit;
use crate::nat::IKE_PORT;
use crate::output::{CloseReason, Ticket};
use crate::protect::{BadKeys, IvSequence, NoIv, Protection};
use crate::retransmit::Retransmission;
use crate::window::Window;
use core::net::{IpAddr, SocketAddr};
use std::collections::{BTreeSet, VecDeque};
use vipsec_crypto::Random;
use vipsec_esp::Endpoints;
use vipsec_wire::id::{Epoch, EspSpi, IkeSaId};
use vipsec_wire::ike::{ExchangeType, Group, Header, Identity, IkeSpis, Payload};
use vipsec_wire::record::v1::{
    ChildLink, ChildPhase, Continuation, Extensions, Followup, IkeAddresses, IkeAlgorithms,
    IkeKeys, IkePhase, Mobility, Product, Synchronisation, Told,
};
use vipsec_wire::time::Timestamp;

/// Datagrams of one SA that wait for the store.
const DEFERRED: usize = 4;

/// What never changes of an IKE SA.
#[derive(Debug, Clone)]
pub(crate) struct Description {
    pub(crate) id: IkeSaId,
    pub(crate) family: IkeSaId,
    pub(crate) spis: IkeSpis,
    pub(crate) initiator: bool,
    pub(crate) connection: String,
    pub(crate) local_identity: Identity,
    pub(crate) remote_identity: Identity,
    pub(crate) algorithms: IkeAlgorithms,
    pub(crate) keys: IkeKeys,
    pub(crate) born: Epoch,
    pub(crate) created: Timestamp,
    pub(crate) authenticated: Timestamp,
    pub(crate) rekey_at: Timestamp,
    pub(crate) expires_at: Timestamp,
    pub(crate) assigned: Vec<IpAddr>,
    pub(crate) obtained: Vec<IpAddr>,
    pub(crate) extensions: Extensions,
    pub(crate) told: Told,
}

/// What is the same for all messages that an engine seals at present.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sealing {
    pub(crate) epoch: Epoch,
    /// See [`crate::Config::fragment_size`].
    pub(crate) fragment_size: Option<u16>,
}

impl Sealing {
    /// The longest message to a peer, if it takes fragments.
    pub(crate) fn limit(self, addresses: &IkeAddresses, fragmentation: bool) -> Option<usize> {
        let size = self.fragment_size.filter(|_| fragmentation)?;
        Some(message_limit(size, addresses.remote.is_ipv4()))
    }
}

/// A request of ours without answer.
#[derive(Debug, Clone)]
pub(crate) struct Outstanding {
    pub(crate) id: u32,
    pub(crate) exchange: ExchangeType,
    pub(crate) datagrams: Vec<Vec<u8>>,
    pub(crate) continuation: Continuation,
    /// `None` until the request may leave.
    pub(crate) retransmission: Option<Retransmission>,
}

impl Outstanding {
    /// Whether a response is that to this request.
    pub(crate) fn answers(&self, response: &Header) -> bool {
        self.id == response.message_id && self.exchange == response.exchange
    }
}

/// What is to be done as soon as no request of ours is in flight. All of it can be found out again:
/// from the phases, from lifetimes, or by whoever asked.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wanted {
    pub(crate) close: Option<CloseReason>,
    pub(crate) rekey_ike: bool,
    pub(crate) liveness: bool,
    pub(crate) synchronise: bool,
    pub(crate) create: BTreeSet<String>,
    pub(crate) rekey: BTreeSet<EspSpi>,
    pub(crate) delete: BTreeSet<EspSpi>,
}

impl Wanted {
    /// Adds what was wanted earlier and has come to nothing.
    pub(crate) fn again(&mut self, earlier: Wanted) {
        let Wanted { close, rekey_ike, liveness, synchronise, create, rekey, delete } = earlier;
        self.close = self.close.take().or(close);
        self.rekey_ike |= rekey_ike;
        self.liveness |= liveness;
        self.synchronise |= synchronise;
        self.create.extend(create);
        self.rekey.extend(rekey);
        self.delete.extend(delete);
    }
}

/// A datagram that waits.
#[derive(Debug, Clone)]
pub(crate) struct Datagram {
    pub(crate) local: SocketAddr,
    pub(crate) remote: SocketAddr,
    pub(crate) message: Vec<u8>,
}

/// What concerns only the present owner.
#[derive(Debug, Default)]
pub(crate) struct Live {
    /// The write that has to be confirmed before anything else happens to this SA.
    pub(crate) pending: Option<Ticket>,
    pub(crate) deferred: VecDeque<Datagram>,
    pub(crate) wanted: Wanted,
    /// Nothing that the peer has refused for a while is asked again before this.
    pub(crate) not_before: Timestamp,
    /// No request of ours before this: the store has refused a write.
    pub(crate) refused_until: Option<Timestamp>,
    /// The group that the peer wants in the next key exchange.
    pub(crate) preferred_group: Option<Group>,
    /// The last request was made with the group that the peer had wanted.
    pub(crate) regrouped: bool,
    /// The changing part of the SA is known.
    pub(crate) complete: bool,
    /// Last authenticated sign of the peer.
    pub(crate) last_heard: Timestamp,
    pub(crate) traffic: Traffic,
    /// Something has changed since the last write that nothing waits for: where the peer is, or what
    /// it was answered while the store was down.
    pub(crate) unwritten: bool,
    /// The SA was made by another owner.
    pub(crate) inherited: bool,
    /// Our sequence numbers have jumped as the peer's cluster has asked last.
    pub(crate) jumped: bool,
    /// The SA is not in the store, and will not be before this write, the last of those that were
    /// given up for the time being.
    pub(crate) unprotected: Option<Ticket>,
    pub(crate) armed: Option<Timestamp>,
    iv: Option<IvSequence>,
}

/// An IKE SA.
pub(crate) struct IkeSa {
    pub(crate) about: Description,
    pub(crate) phase: IkePhase,
    pub(crate) window: Window,
    pub(crate) outstanding: Option<Outstanding>,
    pub(crate) addresses: IkeAddresses,
    pub(crate) mobility: Mobility,
    pub(crate) synchronisation: Synchronisation,
    pub(crate) children: Vec<ChildLink>,
    /// A CREATE_CHILD_SA of the peer's whose additional key exchanges are under way.
    pub(crate) followup: Option<Box<Followup>>,
    pub(crate) protection: Protection,
    pub(crate) live: Live,
}

impl Live {
    /// What remains when another owner takes over: the IVs that must not be used again, and what
    /// was seen of the peer.
    fn given_up(&self) -> Live {
        Live {
            armed: self.armed,
            last_heard: self.last_heard,
            complete: self.complete,
            inherited: true,
            iv: self.iv,
            ..Live::default()
        }
    }
}

impl IkeSa {
    /// A new SA, established at its creation.
    pub(crate) fn new(
        about: Description,
        window: Window,
        addresses: IkeAddresses,
    ) -> Result<IkeSa, BadKeys> {
        let protection = Protection::new(&about.algorithms, &about.keys, about.initiator)?;
        let live = Live { last_heard: about.created, complete: true, ..Live::default() };
        Ok(IkeSa {
            about,
            phase: IkePhase::Established,
            window,
            outstanding: None,
            addresses,
            mobility: Mobility::default(),
            synchronisation: Synchronisation::default(),
            children: Vec::new(),
            followup: None,
            protection,
            live,
        })
    }

    /// Our SPI.
    pub(crate) fn id(&self) -> IkeSaId {
        self.about.id
    }

    /// In use, and not about to end.
    pub(crate) fn is_established(&self) -> bool {
        self.phase == IkePhase::Established
    }

    /// We are closing it: the delete is sent or will be.
    pub(crate) fn is_closing(&self) -> bool {
        let sent = self.outstanding.as_ref().map(|request| &request.continuation);
        matches!(self.phase, IkePhase::Superseded { .. })
            || self.live.wanted.close.is_some()
            || matches!(sent, Some(Continuation::DeleteIke))
    }

    /// The peer is about to replace it.
    pub(crate) fn is_being_replaced(&self) -> bool {
        let product = self.followup.as_ref().map(|followup| &followup.product);
        matches!(product, Some(Product::Ike { .. }))
    }

    /// The header of one of our messages.
    //= RFC 7296 section 3.1 #11: the I flag says who made this IKE SA
    //= RFC 7296 section 3.1 #12: no V flag
    //= RFC 7296 section 3.1 #13: the R flag in responses alone
    pub(crate) fn header(&self, exchange: ExchangeType, message_id: u32, response: bool) -> Header {
        Header {
            spis: self.about.spis,
            exchange,
            from_initiator: self.about.initiator,
            response,
            higher_version: false,
            message_id,
        }
    }

    /// Seals a message, in fragments if it is long.
    pub(crate) fn seal(
        &mut self,
        header: &Header,
        payloads: &[Payload],
        sealing: Sealing,
        rng: &mut dyn Random,
    ) -> Result<Vec<Vec<u8>>, NoIv> {
        let mut iv = match self.live.iv {
            Some(iv) if iv.epoch() == sealing.epoch => iv,
            _ => IvSequence::new(sealing.epoch, self.about.born),
        };
        let limit = sealing.limit(&self.addresses, self.about.extensions.fragmentation);
        let sealed = self.protection.seal(header, payloads, limit, &mut iv, rng);
        self.live.iv = Some(iv);
        sealed
    }

    /// Another owner takes over.
    pub(crate) fn give_up(&mut self) {
        self.live = self.live.given_up();
        if let Some(request) = &mut self.outstanding {
            request.retransmission = None;
        }
    }

    /// The IVs of the keys go on where another phase of this SA has stopped.
    pub(crate) fn continue_iv(&mut self, iv: Option<IvSequence>) {
        self.live.iv = iv;
    }

    /// Where the IVs of the keys stand.
    pub(crate) fn iv(&self) -> Option<IvSequence> {
        self.live.iv
    }

    /// Keeps a datagram until the store has answered; `false` when there are too many.
    pub(crate) fn defer(&mut self, datagram: Datagram) -> bool {
        let room = self.live.deferred.len() < DEFERRED;
        if room {
            self.live.deferred.push_back(datagram);
        }
        room
    }

    /// Between which addresses the ESP packets of this SA's children travel.
    pub(crate) fn endpoints(&self) -> Endpoints {
        endpoints(self.mobility.esp.as_ref().unwrap_or(&self.addresses))
    }

    /// The link to a Child SA.
    pub(crate) fn link(&mut self, spi: EspSpi) -> Option<&mut ChildLink> {
        self.children.iter_mut().find(|link| link.spi == spi)
    }

    /// Whether a Child SA of this SA is in use.
    pub(crate) fn has_active(&self, spi: EspSpi) -> bool {
        let active = |link: &ChildLink| link.spi == spi && link.phase == ChildPhase::Active;
        self.children.iter().any(active)
    }
}

/// ESP goes in UDP if there is a NAT on either side, be it a pretended one.
pub(crate) fn is_encapsulated(addresses: &IkeAddresses) -> bool {
    addresses.local_nat || addresses.remote_nat || addresses.pretended_nat
}

/// The peer may get another address on the way. Behind a NAT of our own it is not followed: there
/// anybody on the way could redirect what we send (RFC 7296 section 2.23).
pub(crate) fn may_move(addresses: &IkeAddresses) -> bool {
    addresses.remote_nat && !addresses.local_nat
}

/// Between which addresses ESP packets travel: in UDP if there is a NAT on either side (RFC 7296
/// section 2.23).
pub(crate) fn endpoints(addresses: &IkeAddresses) -> Endpoints {
    Endpoints {
        local: addresses.local,
        remote: addresses.remote,
        //= RFC 7296 section 2.23 #4: not on port 500, on which a peer may have stayed
        encapsulated: is_encapsulated(addresses) && addresses.local.port() != IKE_PORT,
        local_nat: addresses.local_nat,
    }
}
