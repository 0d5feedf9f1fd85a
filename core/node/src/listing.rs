//! What `connections` shows: the workers' own tables, asked for when somebody wants to see them.

use crate::io::Output;
use crate::node::Node;
use serde::Serialize;
use vipsec_path::Command;
use vipsec_wire::cluster::{ConnectionState, ConnectionUpdate, Protocol};
use vipsec_wire::id::Vip;

/// Listings at once; the next one is refused.
const LISTINGS_MAX: usize = 16;
/// Most connections that each worker lists of each VIP.
const ENTRIES_MAX: usize = 100_000;

/// One connection of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ConnectionView {
    /// The VIP.
    pub vip: String,
    /// `tcp` or `udp`.
    pub protocol: &'static str,
    /// Our end.
    pub local: String,
    /// The peer's end.
    pub peer: String,
    /// `local` (the application is on this node) or `routed`.
    pub kind: &'static str,
    /// The node that holds it.
    pub target: String,
    /// `opening`, `established`, `closed-by-peer`, `closed-by-target`, `closed`, `reset` or
    /// `datagrams`.
    pub state: &'static str,
    /// Seconds since it began.
    pub age_s: u64,
    /// Seconds since its last packet.
    pub idle_s: u64,
}

/// A listing that waits for workers.
#[derive(Debug)]
pub(crate) struct Listing {
    query: u64,
    missing: usize,
    views: Vec<ConnectionView>,
}

impl Node {
    /// Asks the workers for their connections; [`Output::Connections`] answers under the name that
    /// is given here. `None`: 16 listings wait for the workers already.
    pub fn handle_list_connections(&mut self) -> Option<u64> {
        if self.listings.len() >= LISTINGS_MAX {
            return None;
        }
        let query = self.name_probe();
        let vips: Vec<Vip> = self.vips.keys().copied().collect();
        let missing = vips.len() * usize::from(self.workers);
        let listing = Listing { query, missing, views: Vec::new() };
        if missing == 0 {
            self.outputs.push_back(Output::Connections { query, connections: listing.views });
            return Some(query);
        }
        self.listings.push(listing);
        for vip in vips {
            self.command(Command::ListConnections { vip, query, limit: ENTRIES_MAX });
        }
        Some(query)
    }

    /// A worker has answered.
    pub(crate) fn listed(&mut self, vip: Vip, query: u64, connections: &[ConnectionUpdate]) {
        let Some(at) = self.listings.iter().position(|listing| listing.query == query) else {
            return;
        };
        let name = self.name.clone();
        let listing = &mut self.listings[at];
        let own = |update: &ConnectionUpdate| update.node == name;
        listing.views.extend(connections.iter().map(|update| view(vip, update, own(update))));
        listing.missing = listing.missing.saturating_sub(1);
        if listing.missing == 0 {
            let Listing { views, .. } = self.listings.remove(at);
            self.outputs.push_back(Output::Connections { query, connections: views });
        }
    }
}

fn view(vip: Vip, update: &ConnectionUpdate, local: bool) -> ConnectionView {
    ConnectionView {
        vip: vip.to_string(),
        protocol: match update.flow.protocol {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        },
        local: update.flow.local.to_string(),
        peer: update.flow.peer.to_string(),
        kind: if local { "local" } else { "routed" },
        target: update.node.to_string(),
        state: match update.state {
            ConnectionState::Opening => "opening",
            ConnectionState::Established => "established",
            ConnectionState::ClosedByPeer => "closed-by-peer",
            ConnectionState::ClosedByTarget => "closed-by-target",
            ConnectionState::Closed => "closed",
            ConnectionState::Reset => "reset",
            ConnectionState::Datagrams => "datagrams",
            ConnectionState::Gone => "gone",
        },
        age_s: u64::from(update.age_s),
        idle_s: u64::from(update.idle_s),
    }
}
