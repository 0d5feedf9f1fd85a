//! Where a path's packets go: the [`Sink`] of the data plane.

use vipsec_path::{HandOver, Route, Sink};

use super::inward::Inward;
use super::mailbox::Mailbox;
use super::sockets::Sockets;
use super::transmit::Transmit;
use crate::counters::Counters;

/// Borrows what a worker sends with, for the time of one call into the path.
pub(super) struct Outlet<'a> {
    pub(super) sockets: &'a Sockets,
    pub(super) transmit: &'a mut Transmit,
    pub(super) inward: &'a mut Inward,
    pub(super) mailboxes: &'a [Mailbox],
    /// Workers that got a packet, one bit each; they are woken at the end of the turn.
    pub(super) woken: &'a mut u64,
    pub(super) counters: &'a Counters,
}

impl Sink for Outlet<'_> {
    fn emit(&mut self, to: Route, max: usize, fill: &mut dyn FnMut(&mut [u8]) -> usize) {
        self.transmit.emit(self.sockets, to, max, fill);
    }

    fn inner(&mut self, packet: &[u8]) {
        self.inward.take(packet);
    }

    fn hand_over(&mut self, worker: u16, kind: HandOver, packet: &[u8]) {
        let taken =
            self.mailboxes.get(usize::from(worker)).is_some_and(|m| m.hand_over(kind, packet));
        if taken {
            *self.woken |= 1u64 << (worker % 64);
        } else {
            self.counters.ring_dropped.one();
        }
    }
}
