//! Several workers: which of them has a Child SA and the connections of its peer. Connections come
//! to know before their SA does (the store brings SAs, a faster link connections), and a target's
//! worker is whichever got the packet: such entries find their worker here. With one worker all of
//! this is idle.

use crate::counters::DropReason;
use crate::path::Path;
use crate::report::Report;
use core::net::IpAddr;
use std::collections::BTreeMap;
use vipsec_wire::cluster::{CONNECTIONS_MAX, ConnectionState, ConnectionUpdate, Flow};
use vipsec_wire::id::NodeName;
use vipsec_wire::ike::traffic_selector::TrafficSelector;
use vipsec_wire::ip::Tuple;
use vipsec_wire::time::Timestamp;

/// The worker that holds a Child SA, by the lowest of the peer's addresses: a peer that begins anew
/// with the address that it had comes to the worker that knows its connections.
pub(crate) fn home_of(remote: &[TrafficSelector], workers: u16) -> u16 {
    let bits = match remote.iter().map(|selector| selector.first_address).min() {
        Some(IpAddr::V4(address)) => u64::from(address.to_bits()),
        Some(IpAddr::V6(address)) => {
            let bits = address.to_bits();
            u64::try_from((bits >> 64) ^ (bits & u128::from(u64::MAX))).unwrap_or(0)
        }
        None => 0,
    };
    // Spreads neighbours and the starts of networks alike.
    let mixed = bits.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    u16::try_from(mixed % u64::from(workers.max(1))).expect("below a 16-bit number")
}

/// Which worker has a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Home {
    Here,
    Elsewhere,
    /// There is no SA for it (yet).
    Unknown,
}

/// What somebody said of a connection, and when.
#[derive(Debug)]
struct Saying {
    at: Timestamp,
    from: NodeName,
    update: ConnectionUpdate,
}

/// What was said of connections for which there is no SA yet, by the peer's address. Bounded.
#[derive(Debug, Default)]
pub(crate) struct Unplaced {
    peers: BTreeMap<IpAddr, BTreeMap<Flow, Saying>>,
    count: usize,
}

impl Unplaced {
    /// Keeps the newest that was said; false when there is no room.
    fn put(
        &mut self,
        at: Timestamp,
        from: &NodeName,
        update: &ConnectionUpdate,
        max: usize,
    ) -> bool {
        self.remove(&update.flow);
        if self.count >= max {
            return false;
        }
        self.count += 1;
        let saying = Saying { at, from: from.clone(), update: update.clone() };
        self.peers.entry(update.flow.peer.ip()).or_default().insert(update.flow, saying);
        true
    }

    fn remove(&mut self, flow: &Flow) {
        let Some(peer) = self.peers.get_mut(&flow.peer.ip()) else { return };
        self.count -= usize::from(peer.remove(flow).is_some());
        if peer.is_empty() {
            self.peers.remove(&flow.peer.ip());
        }
    }

    /// Forgets a target.
    pub(crate) fn forget(&mut self, node: &NodeName) {
        self.peers.retain(|_, sayings| {
            sayings.retain(|_, saying| saying.update.node != *node);
            !sayings.is_empty()
        });
        self.count = self.peers.values().map(BTreeMap::len).sum();
    }

    /// Everything, as it would be said now.
    pub(crate) fn all(&self, now: Timestamp) -> impl Iterator<Item = ConnectionUpdate> + '_ {
        let sayings = self.peers.values().flat_map(BTreeMap::values);
        sayings.map(move |saying| saying.aged(now))
    }

    /// Takes out what concerns peers within a range of addresses.
    fn take(&mut self, first: IpAddr, last: IpAddr) -> Vec<Saying> {
        let peers = self.peers.extract_if(first..=last, |_, _| true);
        let taken: Vec<Saying> = peers.flat_map(|(_, sayings)| sayings.into_values()).collect();
        self.count -= taken.len();
        taken
    }
}

impl Saying {
    /// As it would be said now.
    fn aged(&self, now: Timestamp) -> ConnectionUpdate {
        let kept_s = u32::try_from(now.since(self.at).as_secs()).unwrap_or(u32::MAX);
        let mut update = self.update.clone();
        update.age_s = update.age_s.saturating_add(kept_s);
        update.idle_s = update.idle_s.saturating_add(kept_s);
        update
    }
}

impl Path {
    /// Takes in connections that another node knows, those that belong to this worker.
    pub(crate) fn import(
        &mut self,
        now: Timestamp,
        vip: usize,
        from: &NodeName,
        updates: &[ConnectionUpdate],
    ) -> Result<(), DropReason> {
        let mut result = Ok(());
        for update in updates {
            if !self.import_one(now, vip, from, update)? {
                result = Err(DropReason::TableFull);
            }
        }
        result
    }

    /// False when there is no room.
    fn import_one(
        &mut self,
        now: Timestamp,
        vip: usize,
        from: &NodeName,
        update: &ConnectionUpdate,
    ) -> Result<bool, DropReason> {
        let home = self.home_of_flow(vip, &update.flow);
        let (max, first) = (self.config.limits.unplaced, self.config.worker == 0);
        let own = update.node == self.config.node;
        let state = self.vip(vip)?;
        let gone = update.state == ConnectionState::Gone;
        if gone {
            state.unplaced.remove(&update.flow);
        }
        Ok(match home {
            Home::Elsewhere => true,
            Home::Here => state.distributor.import(now, from, update).is_ok(),
            Home::Unknown if gone => state.distributor.import(now, from, update).is_ok(),
            // A target knows its own connections without any SA.
            Home::Unknown if own && !state.is_owner() => {
                !first || state.distributor.import(now, from, update).is_ok()
            }
            Home::Unknown => state.unplaced.put(now, from, update, max),
        })
    }

    /// An SA has come into use: what was said of its connections finds its worker.
    pub(crate) fn place_connections(&mut self, now: Timestamp, slot: u32) {
        let Some(sa) = self.sad.get(slot) else { return };
        let vip = sa.vip;
        let Some(state) = self.vips.get_mut(vip).and_then(Option::as_mut) else { return };
        let mut taken = Vec::new();
        for selector in &sa.constant.remote {
            taken.extend(state.unplaced.take(selector.first_address, selector.last_address));
        }
        for saying in taken {
            let result = self.import(now, vip, &saying.from, &[saying.aged(now)]);
            self.count(result);
        }
    }

    /// At a new owner: what this worker knows, as a target's worker, of connections that another has
    /// from now on, or will have when there is an SA, is given away.
    pub(crate) fn give_strays(&mut self, now: Timestamp, vip: usize) {
        if self.config.workers <= 1 {
            return;
        }
        let Some(mut state) = self.vips.get_mut(vip).and_then(Option::take) else { return };
        let name = state.vip;
        let spd = &state.spd;
        let (sad, worker) = (&self.sad, self.config.worker);
        let home = |flow: &Flow| {
            let slot = spd.find(&outbound(flow))?;
            sad.get(slot).map(|sa| sa.home)
        };
        let strays = state.distributor.take_out(now, |flow| home(flow) != Some(worker));
        self.vips[vip] = Some(state);
        let mut parts: Vec<Vec<ConnectionUpdate>> =
            strays.chunks(CONNECTIONS_MAX).map(<[_]>::to_vec).collect();
        if parts.is_empty() {
            parts.push(Vec::new());
        }
        let last = parts.len() - 1;
        for (index, updates) in parts.into_iter().enumerate() {
            let complete = index == last;
            self.reports.push_back(Report::Strays { vip: name, updates, complete });
        }
    }

    /// The worker that has the SA for a connection; `None` when there is none.
    pub(crate) fn worker_of(&self, vip: usize, tuple: &Tuple) -> Option<u16> {
        let state = self.vips.get(vip).and_then(Option::as_ref)?;
        let slot = state.spd.find(tuple)?;
        self.sad.get(slot).map(|sa| sa.home)
    }

    fn home_of_flow(&self, vip: usize, flow: &Flow) -> Home {
        if self.config.workers <= 1 {
            return Home::Here;
        }
        match self.worker_of(vip, &outbound(flow)) {
            Some(home) if home == self.config.worker => Home::Here,
            Some(_) => Home::Elsewhere,
            None => Home::Unknown,
        }
    }
}

/// A connection's packets to the peer.
fn outbound(flow: &Flow) -> Tuple {
    Tuple {
        source: flow.local.ip(),
        destination: flow.peer.ip(),
        protocol: flow.protocol.number(),
        ports: Some((flow.local.port(), flow.peer.port())),
    }
}
