//! Applications at the ends of the tunnels, with as much kernel below them as they need: numbered
//! UDP both ways, and TCP connections that are opened, used, and closed.

pub mod packet;
pub mod tcp;
pub mod udp;

use crate::observation::{Connection, Observation};
use core::net::SocketAddr;
use packet::{Inner, Transport};
use std::collections::{BTreeMap, BTreeSet};
use tcp::Tcp;
use udp::UdpFlow;
use vipsec_wire::cluster::Protocol;
use vipsec_wire::time::Timestamp;

/// Numbers packets through the whole run.
#[derive(Debug, Default)]
pub struct Serials(u64);

impl Serials {
    /// The next number.
    pub fn take(&mut self) -> u64 {
        self.0 += 1;
        self.0
    }
}

/// The applications of one host.
#[derive(Debug, Default)]
pub struct Apps {
    /// UDP services: what comes is sent back.
    pub udp_services: BTreeSet<SocketAddr>,
    /// A port at which datagrams to any address of the host are sent back.
    pub echo: Option<u16>,
    /// TCP services: what comes is sent back.
    pub tcp_services: BTreeSet<SocketAddr>,
    /// UDP flows that begin here.
    pub flows: Vec<UdpFlow>,
    /// TCP connections that begin here, one after another.
    pub callers: Vec<tcp::Caller>,
    /// TCP connections of services here.
    pub accepted: BTreeMap<Connection, Tcp>,
}

/// What the applications do about something.
#[derive(Debug, Default)]
pub struct Reaction {
    /// Packets for the kernel to route.
    pub packets: Vec<Vec<u8>>,
    /// What could be seen.
    pub seen: Vec<Observation>,
}

impl Apps {
    /// Whether a TCP service answers there.
    #[must_use]
    pub fn serves(&self, address: SocketAddr) -> bool {
        self.tcp_services.contains(&address)
    }

    /// Whether anything happens here by itself.
    #[must_use]
    pub fn is_active(&self) -> bool {
        !self.flows.is_empty() || !self.callers.is_empty() || !self.tcp_services.is_empty()
    }

    /// A packet for an address of this host.
    pub fn receive(
        &mut self,
        now: Timestamp,
        at: crate::host::HostId,
        packet: &Inner<'_>,
        serials: &mut Serials,
    ) -> Reaction {
        let mut reaction = Reaction::default();
        match packet.transport {
            Transport::Udp => self.receive_udp(at, packet, serials, &mut reaction),
            Transport::Tcp(header) => {
                self.receive_tcp(now, at, packet, header, serials, &mut reaction);
            }
        }
        reaction
    }

    fn receive_udp(
        &mut self,
        at: crate::host::HostId,
        packet: &Inner<'_>,
        serials: &mut Serials,
        reaction: &mut Reaction,
    ) {
        let service = self.udp_services.contains(&packet.destination);
        if service {
            let connection = packet.connection(Protocol::Udp);
            reaction.seen.push(Observation::Served { at, connection, opens: true, flags: 0 });
        }
        if service || self.echo == Some(packet.destination.port()) {
            let answer = (packet.destination, packet.source);
            reaction.packets.push(packet::udp(answer, serials.take(), packet.data.len()));
        } else if let Some(flow) =
            self.flows.iter_mut().find(|flow| flow.local == Some(packet.destination))
        {
            flow.received += 1;
        }
    }

    fn receive_tcp(
        &mut self,
        now: Timestamp,
        at: crate::host::HostId,
        packet: &Inner<'_>,
        header: vipsec_wire::ip::tcp::Header,
        serials: &mut Serials,
        reaction: &mut Reaction,
    ) {
        let connection = packet.connection(Protocol::Tcp);
        if self.tcp_services.contains(&packet.destination) {
            let opens = header.flags.is_open();
            let flags = header.flags.0;
            reaction.seen.push(Observation::Served { at, connection, opens, flags });
            if opens && self.accepted.get(&connection).is_none_or(Tcp::is_over) {
                self.accepted.insert(connection, Tcp::accept(now, packet, header));
            }
            match self.accepted.get_mut(&connection) {
                Some(tcp) => tcp.receive(now, packet, header, true, serials, reaction),
                None => tcp::refuse(packet, header, serials, reaction),
            }
            return;
        }
        let caller = self.callers.iter_mut().find(|caller| caller.is_at(packet));
        match caller.and_then(|caller| caller.tcp.as_mut()) {
            Some(tcp) => tcp.receive(now, packet, header, false, serials, reaction),
            None => tcp::refuse(packet, header, serials, reaction),
        }
    }

    /// What is due now. `address`: the host's inner address; `other`: the inner addresses of
    /// hosts that flows may name.
    pub fn tick(
        &mut self,
        now: Timestamp,
        address: Option<core::net::IpAddr>,
        other: &dyn Fn(crate::host::HostId) -> Option<core::net::IpAddr>,
        serials: &mut Serials,
    ) -> Reaction {
        let mut reaction = Reaction::default();
        for flow in &mut self.flows {
            flow.tick(now, address, other, serials, &mut reaction);
        }
        for caller in &mut self.callers {
            caller.tick(now, address, serials, &mut reaction);
        }
        for tcp in self.accepted.values_mut() {
            tcp.tick(now, serials, &mut reaction);
        }
        reaction
    }
}
