//! Connections that the kernel of this host already holds when the process starts: an application
//! survives the death of vipsec, and its idle connections must be known before packets of them come.

use crate::node::Node;
use core::net::SocketAddr;
use vipsec_path::Command;
use vipsec_wire::cluster::{ConnectionState, ConnectionUpdate, Flow, Protocol};
use vipsec_wire::id::Vip;
use vipsec_wire::time::Timestamp;

/// An established TCP socket of this host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Socket {
    /// Its own end.
    pub local: SocketAddr,
    /// The other end.
    pub peer: SocketAddr,
    /// The other end has closed its direction.
    pub closed_by_peer: bool,
}

impl Node {
    /// Tells the node of the sockets that the kernel holds; those on a VIP or an inner address of it
    /// become known connections. To be called once, after `handle_start`.
    pub fn handle_sockets(&mut self, now: Timestamp, sockets: &[Socket]) {
        let vips: Vec<Vip> = self.vips.keys().copied().collect();
        for vip in vips {
            let Some(state) = self.vips.get(&vip) else { continue };
            let path = &state.config.path;
            let ours = |address: SocketAddr| {
                address.ip() == vip.0 || path.inner_addresses.contains(&address.ip())
            };
            let held = sockets.iter().filter(|s| ours(s.local) && !ours(s.peer));
            let updates: Vec<ConnectionUpdate> = held.map(|socket| self.known(socket)).collect();
            if updates.is_empty() {
                continue;
            }
            let from = self.name.clone();
            self.command(Command::Connections { vip, from, updates, complete: false });
        }
        self.settle(now);
    }

    fn known(&self, socket: &Socket) -> ConnectionUpdate {
        let Socket { local, peer, closed_by_peer } = *socket;
        ConnectionUpdate {
            flow: Flow { protocol: Protocol::Tcp, local, peer },
            node: self.name.clone(),
            state: if closed_by_peer {
                ConnectionState::ClosedByPeer
            } else {
                ConnectionState::Established
            },
            opened_by_target: false,
            age_s: 0,
            idle_s: 0,
        }
    }
}
