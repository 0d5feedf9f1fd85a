//! Half-open IKE SAs of both roles: bounded, expiring, mirrored to the backups.
//!
//! As responder the key exchange is not computed before the IKE_AUTH request comes, so that a
//! flood of IKE_SA_INIT costs little.

use crate::cookie::CookieJar;
use crate::crowd::Crowd;
use crate::output::CloseReason;
use crate::protect::{IvSequence, Protection};
use crate::puzzle::Search;
use crate::retransmit::Retransmission;
use core::net::{IpAddr, SocketAddr};
use std::collections::{BTreeMap, BTreeSet};
use vipsec_crypto::digest::sha256;
use vipsec_wire::id::{EspSpi, IkeSaId};
use vipsec_wire::record::v1::{HalfOpenInitiator, HalfOpenResponder, IkeKeys, Mirrored};
use vipsec_wire::time::Timestamp;

/// A half-open IKE SA that a peer has begun.
pub(crate) struct Responder {
    pub(crate) state: HalfOpenResponder,
    /// Derived when the first IKE_AUTH comes.
    pub(crate) keys: Option<(Protection, IkeKeys)>,
    /// The IKE_AUTH has failed: the request and the error that answers it.
    pub(crate) failed: Option<(Vec<u8>, Vec<Vec<u8>>)>,
}

/// A half-open IKE SA that we have begun.
pub(crate) struct Initiator {
    pub(crate) state: HalfOpenInitiator,
    pub(crate) protection: Option<Protection>,
    pub(crate) iv: Option<IvSequence>,
    pub(crate) retransmission: Retransmission,
    /// What an unauthenticated error has said; believed if nothing better comes.
    pub(crate) suspicion: Option<CloseReason>,
    /// A puzzle that is to be solved before anything else.
    pub(crate) puzzle: Option<Search>,
    pub(crate) armed: Option<Timestamp>,
}

/// All half-open IKE SAs.
#[derive(Default)]
pub(crate) struct HalfOpenTable {
    responders: BTreeMap<IkeSaId, Responder>,
    /// By a hash of the request and of where it came from, so that nobody but who has sent it gets
    /// at what it has led to (RFC 7296 section 2.1).
    by_request: BTreeMap<[u8; 32], IkeSaId>,
    by_age: BTreeSet<(Timestamp, IkeSaId)>,
    initiators: BTreeMap<IkeSaId, Initiator>,
    pub(crate) cookies: CookieJar,
    pub(crate) cookie_mode: bool,
    pub(crate) crowd: Crowd,
}

impl HalfOpenTable {
    /// Half-open IKE SAs that peers have begun.
    pub(crate) fn responder_count(&self) -> usize {
        self.responders.len()
    }

    /// Half-open IKE SAs that we have begun.
    pub(crate) fn initiator_count(&self) -> usize {
        self.initiators.len()
    }

    pub(crate) fn contains(&self, id: IkeSaId) -> bool {
        self.responders.contains_key(&id) || self.initiators.contains_key(&id)
    }

    /// All of them as the backups have them.
    pub(crate) fn mirrored(&self) -> impl Iterator<Item = (IkeSaId, Mirrored)> {
        let responders = self.responders.values().map(|half| &half.state);
        let responders =
            responders.map(|state| (state.id, Mirrored::Responder(Box::new(state.clone()))));
        let initiators = self.initiators.values().map(|half| &half.state);
        responders
            .chain(initiators.map(|state| (state.id, Mirrored::Initiator(Box::new(state.clone())))))
    }

    /// Adds one.
    pub(crate) fn insert_responder(&mut self, state: HalfOpenResponder) {
        self.remove_responder(state.id);
        self.by_request.insert(key(state.addresses.remote, &state.request), state.id);
        self.by_age.insert((state.created, state.id));
        self.crowd.enter(state.addresses.remote.ip());
        let half = Responder { state, keys: None, failed: None };
        self.responders.insert(half.state.id, half);
    }

    pub(crate) fn remove_responder(&mut self, id: IkeSaId) -> Option<Responder> {
        let removed = self.responders.remove(&id)?;
        self.by_request.remove(&key(removed.state.addresses.remote, &removed.state.request));
        self.by_age.remove(&(removed.state.created, id));
        self.crowd.leave(removed.state.addresses.remote.ip());
        Some(removed)
    }

    pub(crate) fn responder(&mut self, id: IkeSaId) -> Option<&mut Responder> {
        self.responders.get_mut(&id)
    }

    /// What this very request from this address has led to.
    pub(crate) fn begun(&self, remote: SocketAddr, request: &[u8]) -> Option<&Responder> {
        self.responders.get(self.by_request.get(&key(remote, request))?)
    }

    /// The oldest that was begun at `before` or earlier.
    pub(crate) fn oldest(&self, before: Timestamp) -> Option<IkeSaId> {
        let (created, id) = *self.by_age.first()?;
        (created <= before).then_some(id)
    }

    /// When the oldest was begun.
    pub(crate) fn oldest_created(&self) -> Option<Timestamp> {
        self.by_age.first().map(|(created, _)| *created)
    }

    pub(crate) fn insert_initiator(&mut self, half: Initiator) {
        self.initiators.insert(half.state.id, half);
    }

    pub(crate) fn remove_initiator(&mut self, id: IkeSaId) -> Option<Initiator> {
        self.initiators.remove(&id)
    }

    pub(crate) fn initiator(&mut self, id: IkeSaId) -> Option<&mut Initiator> {
        self.initiators.get_mut(&id)
    }

    /// The connection of one that we have begun.
    pub(crate) fn connection_of(&self, id: IkeSaId) -> Option<&str> {
        Some(self.initiators.get(&id)?.state.connection.as_str())
    }

    /// The SPI that the IKE_AUTH of one that we have begun offers.
    pub(crate) fn offers(&self, id: IkeSaId) -> Option<EspSpi> {
        Some(self.initiators.get(&id)?.state.auth.as_ref()?.offer()?.spi)
    }

    /// What we have begun for a connection.
    pub(crate) fn initiated(&self, connection: &str) -> Option<IkeSaId> {
        let mut begun = self.initiators.values();
        let begun = begun.find(|half| half.state.connection == connection);
        begun.map(|half| half.state.id)
    }
}

fn key(remote: SocketAddr, request: &[u8]) -> [u8; 32] {
    let port = remote.port().to_be_bytes();
    match remote.ip() {
        IpAddr::V4(address) => sha256(&[request, &address.octets(), &port]),
        IpAddr::V6(address) => sha256(&[request, &address.octets(), &port]),
    }
}
