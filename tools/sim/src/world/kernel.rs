//! The kernels: which packet is for this host, which goes into the TUN, which over the inside wire;
//! and the applications above.
//!
//! The fence is part of it: what belongs in a tunnel goes into the TUN or nowhere.

use super::{TICK, World};
use crate::addresses::{self, INSIDE_NETWORK, PEERS_NETWORK, is_in};
use crate::app::Reaction;
use crate::app::packet::Inner;
use crate::event::Event;
use crate::host::HostId;
use crate::observation::Observation;
use core::net::IpAddr;

impl World {
    /// A packet has reached a kernel, from a wire or out of the TUN.
    pub(super) fn kernel_in(&mut self, id: HostId, packet: &[u8]) {
        let Some(inner) = Inner::parse(packet) else { return };
        if !self.is_local(id, inner.destination.ip()) {
            return self.route(id, inner.destination.ip(), packet);
        }
        self.note(Observation::Received(id, inner.serial));
        let Some(host) = self.hosts.get_mut(&id) else { return };
        let reaction = host.apps.receive(self.now, id, &inner, &mut self.serials);
        self.react(id, reaction);
    }

    fn is_local(&self, id: HostId, address: IpAddr) -> bool {
        crate::blueprint::addresses_of(id).contains(&address)
            || self.hosts.get(&id).is_some_and(|host| host.address == Some(address))
    }

    fn react(&mut self, id: HostId, reaction: Reaction) {
        for seen in reaction.seen {
            self.note(seen);
        }
        for packet in reaction.packets {
            let Some(inner) = Inner::parse(&packet) else { continue };
            self.note(Observation::InnerSent(id, inner.serial));
            self.route(id, inner.destination.ip(), &packet);
        }
    }

    /// Where a kernel sends a packet that is not its own.
    fn route(&mut self, id: HostId, destination: IpAddr, packet: &[u8]) {
        if id == HostId::protected() {
            if let Some(gateway) = self.inside.locate(addresses::INNER_VIP) {
                self.send_inside(id, gateway, packet);
            }
            return;
        }
        let protected = match id.is_peer() {
            true => destination == addresses::VIP.0 || is_in(INSIDE_NETWORK, destination),
            false => is_in(PEERS_NETWORK, destination),
        };
        if protected {
            self.deliver_to_tun(id, packet.to_vec());
        } else if id.is_node() && destination == addresses::PROTECTED {
            self.send_inside(id, HostId::protected(), packet);
        }
    }

    /// The applications do what is due.
    pub(super) fn apps(&mut self, id: HostId) {
        let addresses: Vec<(HostId, Option<IpAddr>)> =
            self.hosts.values().map(|host| (host.id, host.address)).collect();
        let other = |wanted: HostId| {
            addresses.iter().find(|(host, _)| *host == wanted).and_then(|(_, address)| *address)
        };
        let Some(host) = self.hosts.get_mut(&id) else { return };
        if !host.apps.is_active() {
            return;
        }
        let reaction = host.apps.tick(self.now, host.address, &other, &mut self.serials);
        self.react(id, reaction);
        self.queue.push(self.now + TICK, Event::Apps(id));
    }
}
