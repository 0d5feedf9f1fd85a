//! A flow of numbered datagrams to a service, which sends every one back.

use super::packet;
use super::{Reaction, Serials};
use crate::host::HostId;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use vipsec_wire::time::Timestamp;

/// Where a flow goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goal {
    /// To this address.
    Service(SocketAddr),
    /// To this port of a host's inner address, once it has one.
    Host(HostId, u16),
}

/// A flow.
#[derive(Debug, Clone)]
pub struct UdpFlow {
    /// Own port.
    pub port: u16,
    /// Where to.
    pub goal: Goal,
    /// Between two datagrams.
    pub interval: Duration,
    /// Bytes of content.
    pub size: usize,
    /// From when to when it sends.
    pub during: (Timestamp, Timestamp),
    /// Own address and port, once it has sent.
    pub local: Option<SocketAddr>,
    /// Datagrams sent.
    pub sent: u64,
    /// Answers that came.
    pub received: u64,
    next: Timestamp,
}

/// Most datagrams that go out at once after the flow had to wait.
const BURST: u32 = 8;

impl UdpFlow {
    /// A flow that has not begun.
    #[must_use]
    pub fn new(
        port: u16,
        goal: Goal,
        interval: Duration,
        size: usize,
        during: (Timestamp, Timestamp),
    ) -> UdpFlow {
        let next = during.0;
        UdpFlow { port, goal, interval, size, during, local: None, sent: 0, received: 0, next }
    }

    pub(super) fn tick(
        &mut self,
        now: Timestamp,
        address: Option<IpAddr>,
        other: &dyn Fn(HostId) -> Option<IpAddr>,
        serials: &mut Serials,
        reaction: &mut Reaction,
    ) {
        let to = match self.goal {
            Goal::Service(address) => Some(address),
            Goal::Host(host, port) => other(host).map(|address| SocketAddr::new(address, port)),
        };
        let (Some(address), Some(to)) = (address, to) else {
            self.next = self.next.max(now);
            return;
        };
        let from = SocketAddr::new(address, self.port);
        self.local = Some(from);
        let mut burst = 0;
        while self.next <= now && now < self.during.1 && burst < BURST {
            reaction.packets.push(packet::udp((from, to), serials.take(), self.size));
            self.sent += 1;
            self.next = self.next + self.interval;
            burst += 1;
        }
        self.next = self.next.max(Timestamp(now.0.saturating_sub(1000)));
    }
}
