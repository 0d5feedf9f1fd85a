//! Keeps the mapping of a NAT in front of us alive: an octet 0xff to each peer that was sent nothing
//! for a while (RFC 3948 section 4). Peers are told apart by both addresses with their ports, however
//! many SAs there are between them.
//!
//! What is not here: keepalives that arrive (they are dropped at the entrance), and whether there is
//! a NAT (IKE finds out).

use crate::path::Path;
use crate::sink::{Route, Sink};
use crate::timers::NOT_OWNER_AGAIN;
use core::net::SocketAddr;
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use vipsec_esp::Endpoints;
use vipsec_wire::esp::NAT_KEEPALIVE;
use vipsec_wire::time::Timestamp;

/// Pairs of addresses that are looked at in one go.
const BUDGET: usize = 512;

/// Our address and the peer's.
type Pair = (SocketAddr, SocketAddr);

#[derive(Debug)]
struct Mapping {
    due: Timestamp,
    /// When something is known to have been sent, beside what the SAs sent.
    sent: Timestamp,
    /// The SAs that use it.
    slots: Vec<u32>,
}

/// The pairs of addresses at which a NAT must not forget us. See the module's text.
#[derive(Debug, Default)]
pub(crate) struct Keepalives {
    mappings: BTreeMap<Pair, Mapping>,
    due: BTreeSet<(Timestamp, Pair)>,
}

impl Keepalives {
    /// An SA has these endpoints from now on, between which something was sent at `sent`.
    pub(crate) fn watch(
        &mut self,
        now: Timestamp,
        endpoints: &Endpoints,
        slot: u32,
        sent: Timestamp,
    ) {
        let Some(pair) = pair(endpoints) else { return };
        let due = now + NOT_OWNER_AGAIN;
        let mapping = self.mappings.entry(pair).or_insert_with(|| {
            self.due.insert((due, pair));
            Mapping { due, sent, slots: Vec::new() }
        });
        mapping.sent = mapping.sent.max(sent);
        mapping.slots.push(slot);
    }

    /// An SA is gone, or has other endpoints.
    pub(crate) fn unwatch(&mut self, endpoints: &Endpoints, slot: u32) {
        let Some(pair) = pair(endpoints) else { return };
        let Some(mapping) = self.mappings.get_mut(&pair) else { return };
        mapping.slots.retain(|&other| other != slot);
        if mapping.slots.is_empty() {
            self.due.remove(&(mapping.due, pair));
            self.mappings.remove(&pair);
        }
    }

    /// When the next one is to be looked at.
    pub(crate) fn next(&self) -> Option<Timestamp> {
        self.due.first().map(|(at, _)| *at)
    }

    fn reschedule(&mut self, pair: Pair, due: Timestamp) {
        if let Some(mapping) = self.mappings.get_mut(&pair) {
            self.due.remove(&(mapping.due, pair));
            mapping.due = due;
            self.due.insert((due, pair));
        }
    }
}

impl Path {
    /// Sends the keepalives that are due.
    pub(crate) fn keepalives(&mut self, now: Timestamp, out: &mut dyn Sink) {
        for _ in 0..BUDGET {
            let due = self.keepalives.due.first().filter(|(at, _)| *at <= now);
            let Some(&(_, pair)) = due else { return };
            let next = self.keepalive(now, pair, out);
            self.keepalives.reschedule(pair, next);
        }
    }

    /// Looks at one pair of addresses; returns when to do so again.
    fn keepalive(&mut self, now: Timestamp, pair: Pair, out: &mut dyn Sink) -> Timestamp {
        let (local, remote) = pair;
        let again = now + NOT_OWNER_AGAIN;
        let state = self.vip_of(local.ip()).and_then(|index| self.vips[index].as_ref());
        if state.is_none_or(|state| !state.is_owner() || state.frozen) {
            return again;
        }
        let Some(mapping) = self.keepalives.mappings.get_mut(&pair) else { return again };
        let sas = mapping.slots.iter().filter_map(|&slot| self.sad.get(slot)?.live.as_deref());
        let last = sas.filter_map(|live| live.outbound.usage().last).fold(mapping.sent, Ord::max);
        let due = last + self.config.limits.keepalive;
        if due > now {
            return due;
        }
        mapping.sent = now;
        let route = Route::Udp { local, remote, tos: 0, may_fragment: false };
        out.emit(route, NAT_KEEPALIVE.len(), &mut |place| {
            place[..NAT_KEEPALIVE.len()].copy_from_slice(&NAT_KEEPALIVE);
            NAT_KEEPALIVE.len()
        });
        now + self.config.limits.keepalive.max(Duration::from_millis(1))
    }
}

/// The addresses that a NAT has to remember, if there is one in front of us.
fn pair(endpoints: &Endpoints) -> Option<Pair> {
    let watched = endpoints.encapsulated && endpoints.local_nat;
    watched.then_some((endpoints.local, endpoints.remote))
}
