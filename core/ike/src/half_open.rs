//! Half-open IKE SAs of both roles: bounded, expiring, mirrored to the backups.
//!
//! As responder the key exchange is not computed before the IKE_AUTH request comes, so that a
//! flood of IKE_SA_INIT costs little.

use crate::cookie::CookieJar;
use crate::output::CloseReason;
use crate::protect::{IvSequence, Protection};
use crate::retransmit::Retransmission;
use core::net::SocketAddr;
use std::collections::{BTreeMap, BTreeSet};
use vipsec_wire::id::IkeSaId;
use vipsec_wire::record::v1::{HalfOpenInitiator, HalfOpenResponder, IkeKeys};
use vipsec_wire::time::Timestamp;

/// A half-open IKE SA that a peer has begun.
pub(crate) struct Responder {
    pub(crate) state: HalfOpenResponder,
    /// Derived when the first IKE_AUTH comes.
    pub(crate) keys: Option<(Protection, IkeKeys)>,
    /// The IKE_AUTH has failed: the request and the error that answers it.
    pub(crate) failed: Option<(Vec<u8>, Vec<u8>)>,
}

/// A half-open IKE SA that we have begun.
pub(crate) struct Initiator {
    pub(crate) state: HalfOpenInitiator,
    pub(crate) protection: Option<Protection>,
    pub(crate) iv: Option<IvSequence>,
    pub(crate) retransmission: Retransmission,
    /// What an unauthenticated error has said; believed if nothing better comes.
    pub(crate) suspicion: Option<CloseReason>,
    pub(crate) armed: Option<Timestamp>,
}

/// All half-open IKE SAs.
#[derive(Default)]
pub(crate) struct HalfOpenTable {
    responders: BTreeMap<IkeSaId, Responder>,
    by_request: BTreeMap<(SocketAddr, u64), IkeSaId>,
    by_age: BTreeSet<(Timestamp, IkeSaId)>,
    initiators: BTreeMap<IkeSaId, Initiator>,
    pub(crate) cookies: CookieJar,
    pub(crate) cookie_mode: bool,
}

impl HalfOpenTable {
    /// Half-open IKE SAs that peers have begun.
    pub(crate) fn responder_count(&self) -> usize {
        self.responders.len()
    }

    pub(crate) fn contains(&self, id: IkeSaId) -> bool {
        self.responders.contains_key(&id) || self.initiators.contains_key(&id)
    }

    /// Adds one, in place of what the same peer has begun with the same SPI before. Gives the id
    /// of what was displaced.
    pub(crate) fn insert_responder(&mut self, state: HalfOpenResponder) -> Option<IkeSaId> {
        let key = (state.addresses.remote, state.spis.initiator);
        let (id, created) = (state.id, state.created);
        let displaced = self.by_request.get(&key).copied().filter(|old| *old != id);
        if let Some(old) = displaced {
            self.remove_responder(old);
        }
        self.remove_responder(id);
        self.by_request.insert(key, id);
        self.by_age.insert((created, id));
        self.responders.insert(id, Responder { state, keys: None, failed: None });
        displaced
    }

    pub(crate) fn remove_responder(&mut self, id: IkeSaId) -> Option<Responder> {
        let removed = self.responders.remove(&id)?;
        let key = (removed.state.addresses.remote, removed.state.spis.initiator);
        if self.by_request.get(&key) == Some(&id) {
            self.by_request.remove(&key);
        }
        self.by_age.remove(&(removed.state.created, id));
        Some(removed)
    }

    pub(crate) fn responder(&mut self, id: IkeSaId) -> Option<&mut Responder> {
        self.responders.get_mut(&id)
    }

    /// What a peer has begun with this SPI from this address.
    pub(crate) fn begun(&self, remote: SocketAddr, spi_initiator: u64) -> Option<&Responder> {
        self.responders.get(self.by_request.get(&(remote, spi_initiator))?)
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

    /// What we have begun for a connection.
    pub(crate) fn initiated(&self, connection: &str) -> Option<IkeSaId> {
        let mut begun = self.initiators.values();
        let begun = begun.find(|half| half.state.connection == connection);
        begun.map(|half| half.state.id)
    }
}
