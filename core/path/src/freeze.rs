//! Packets of a VIP that wait for an owner: during a transfer at the frozen one, and at its
//! successor, after a transfer or the owner's death, when they arrive a moment before the successor
//! knows that it is the owner. Bounded in packets and bytes; first in, first out.

use crate::config::Limits;
use core::net::SocketAddr;
use std::collections::VecDeque;
use vipsec_wire::fabric::LateOuter;
use vipsec_wire::time::Timestamp;

/// How a packet came from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Outer {
    /// The VIP; for plain ESP with port 0.
    pub(crate) local: SocketAddr,
    /// The peer; for plain ESP with port 0.
    pub(crate) remote: SocketAddr,
    /// DSCP and ECN.
    pub(crate) tos: u8,
}

impl Outer {
    pub(crate) fn is_plain_esp(&self) -> bool {
        self.local.port() == 0
    }

    pub(crate) fn late(&self) -> LateOuter {
        LateOuter { remote: self.remote, local_port: self.local.port(), traffic_class: self.tos }
    }
}

/// What kind of packet waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HeldKind {
    /// From outside: the UDP payload, or plain ESP.
    Outer(Outer),
    /// From inside, from the node of this index if that is known.
    Inner(Option<u16>),
}

/// One waiting packet.
#[derive(Debug, Clone)]
pub(crate) struct HeldPacket {
    pub(crate) kind: HeldKind,
    /// It has been forwarded by another node already.
    pub(crate) late: bool,
    pub(crate) arrived: Timestamp,
    pub(crate) packet: Vec<u8>,
}

/// The queue.
#[derive(Debug)]
pub(crate) struct Held {
    queue: VecDeque<HeldPacket>,
    bytes: usize,
    packets_max: usize,
    bytes_max: usize,
}

impl Held {
    pub(crate) fn new(limits: &Limits) -> Held {
        Held {
            queue: VecDeque::new(),
            bytes: 0,
            packets_max: limits.freeze_packets,
            bytes_max: limits.freeze_bytes,
        }
    }

    /// Keeps a packet; false when there is no room.
    pub(crate) fn push(
        &mut self,
        arrived: Timestamp,
        kind: HeldKind,
        late: bool,
        packet: &[u8],
    ) -> bool {
        if self.queue.len() >= self.packets_max || self.bytes + packet.len() > self.bytes_max {
            return false;
        }
        self.bytes += packet.len();
        self.queue.push_back(HeldPacket { kind, late, arrived, packet: packet.to_vec() });
        true
    }

    /// Takes all out.
    pub(crate) fn take(&mut self) -> VecDeque<HeldPacket> {
        self.bytes = 0;
        core::mem::take(&mut self.queue)
    }

    /// When the oldest came.
    pub(crate) fn oldest(&self) -> Option<Timestamp> {
        self.queue.front().map(|held| held.arrived)
    }

    /// Drops those that came at `before` or earlier; returns how many.
    pub(crate) fn expire(&mut self, before: Timestamp) -> usize {
        let mut count = 0;
        while self.oldest().is_some_and(|arrived| arrived <= before) {
            if let Some(held) = self.queue.pop_front() {
                self.bytes -= held.packet.len();
                count += 1;
            }
        }
        count
    }
}
