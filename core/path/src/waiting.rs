//! Decrypted packets of connections that nobody is known to have, at a new owner: they wait a
//! moment for what the targets and the old owner's news say. Bounded in packets and bytes.

use crate::config::Limits;
use std::collections::{BTreeSet, VecDeque};
use vipsec_wire::time::Timestamp;

#[derive(Debug)]
struct WaitingPacket {
    deadline: Timestamp,
    packet: Vec<u8>,
}

/// The queue.
#[derive(Debug)]
pub(crate) struct Waiting {
    queue: VecDeque<WaitingPacket>,
    bytes: usize,
    packets_max: usize,
    bytes_max: usize,
}

impl Waiting {
    pub(crate) fn new(limits: &Limits) -> Waiting {
        Waiting {
            queue: VecDeque::new(),
            bytes: 0,
            packets_max: limits.waiting_packets,
            bytes_max: limits.waiting_bytes,
        }
    }

    /// Keeps a packet; false when there is no room.
    pub(crate) fn push(&mut self, deadline: Timestamp, packet: &[u8]) -> bool {
        if self.queue.len() >= self.packets_max || self.bytes + packet.len() > self.bytes_max {
            return false;
        }
        self.bytes += packet.len();
        self.queue.push_back(WaitingPacket { deadline, packet: packet.to_vec() });
        true
    }

    /// Takes the packet at the front out.
    pub(crate) fn pop(&mut self) -> Option<(Timestamp, Vec<u8>)> {
        let waiting = self.queue.pop_front()?;
        self.bytes -= waiting.packet.len();
        Some((waiting.deadline, waiting.packet))
    }

    /// Number of packets.
    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }

    /// When the first of them has waited long enough.
    pub(crate) fn deadline(&self) -> Option<Timestamp> {
        self.queue.front().map(|waiting| waiting.deadline)
    }
}

/// Whose reports are still missing at a new owner.
#[derive(Debug, Default)]
pub(crate) struct Reconcile {
    pending: BTreeSet<u16>,
    until: Timestamp,
}

impl Reconcile {
    /// Begins to wait for these nodes, until a time at most.
    pub(crate) fn begin(&mut self, pending: Vec<u16>, until: Timestamp) {
        self.pending = pending.into_iter().collect();
        self.until = until;
    }

    /// A node has reported all that it has, or has nothing to report.
    pub(crate) fn complete(&mut self, node: u16) {
        self.pending.remove(&node);
    }

    /// Whether a connection may exist of which we have not heard yet.
    pub(crate) fn is_open(&self, now: Timestamp) -> bool {
        !self.pending.is_empty() && now < self.until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_queue_is_bounded_both_ways() {
        let limits = Limits { waiting_packets: 2, waiting_bytes: 10, ..Limits::default() };
        let mut waiting = Waiting::new(&limits);
        assert!(waiting.push(Timestamp(1), &[0; 6]));
        assert!(!waiting.push(Timestamp(1), &[0; 6]), "bytes");
        assert!(waiting.push(Timestamp(2), &[0; 4]));
        assert!(!waiting.push(Timestamp(3), &[]), "packets");
        assert_eq!(waiting.deadline(), Some(Timestamp(1)));
        assert_eq!(waiting.pop(), Some((Timestamp(1), vec![0; 6])));
        assert!(waiting.push(Timestamp(3), &[0; 6]));
        assert_eq!(waiting.len(), 2);
    }

    #[test]
    fn waiting_for_reports_ends_by_the_last_report_or_by_time() {
        let mut reconcile = Reconcile::default();
        assert!(!reconcile.is_open(Timestamp(0)));
        reconcile.begin(vec![1, 2], Timestamp(100));
        assert!(reconcile.is_open(Timestamp(99)));
        assert!(!reconcile.is_open(Timestamp(100)));
        reconcile.complete(1);
        assert!(reconcile.is_open(Timestamp(50)));
        reconcile.complete(2);
        assert!(!reconcile.is_open(Timestamp(50)));
    }
}
