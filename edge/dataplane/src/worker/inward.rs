//! Decrypted packets on their way into the TUN. Most lie in the receive buffer and stay there until
//! they are written; the others are copied.

use std::io::IoSlice;
use std::ops::Range;
use std::sync::Arc;

use crate::counters::Counters;
use crate::offload::{Merger, Place, Write};
use crate::sys::{TunQueue, would_block};

/// Bytes kept for packets from elsewhere than the receive buffer.
const COPIED: usize = 4 << 20;
/// Pieces of one write: header, first packet, payloads.
const PIECES: usize = 66;
/// Bytes after which the packets of a batch are written although more may follow.
const ENOUGH: usize = 256 << 10;

/// Packets for the local kernel.
pub(super) struct Inward {
    merger: Merger,
    /// Address range of the receive buffer.
    received: Range<usize>,
    copied: Vec<u8>,
    pending: Vec<Place>,
    bytes: usize,
    counters: Arc<Counters>,
}

impl Inward {
    /// `received` is the buffer in which packets are decrypted in place; `udp` says whether the
    /// kernel takes UDP super-packets.
    pub(super) fn new(received: &[u8], udp: bool, counters: Arc<Counters>) -> Inward {
        let range = received.as_ptr_range();
        Inward {
            merger: Merger::new(udp),
            received: range.start.addr()..range.end.addr(),
            copied: Vec::new(),
            pending: Vec::new(),
            bytes: 0,
            counters,
        }
    }

    /// Takes a packet. If it lies in the receive buffer, it must stay there until the next flush.
    pub(super) fn take(&mut self, packet: &[u8]) {
        let start = packet.as_ptr().addr();
        let inside = self.received.contains(&start) && start + packet.len() <= self.received.end;
        let place = if inside {
            let offset = start - self.received.start;
            Place::Received(offset..offset + packet.len())
        } else if self.copied.len() + packet.len() <= COPIED {
            let offset = self.copied.len();
            self.copied.extend_from_slice(packet);
            Place::Copied(offset..self.copied.len())
        } else {
            self.counters.tun_dropped.one();
            return;
        };
        self.bytes += packet.len();
        self.pending.push(place);
    }

    /// Sorts what was taken into streams, while it is still in the processor's cache; writes when
    /// there is enough.
    pub(super) fn digest(&mut self, received: &mut [u8], tun: &TunQueue) {
        for place in self.pending.drain(..) {
            if !self.merger.push(place, received, &self.copied) {
                self.counters.tun_dropped.one();
            }
        }
        if self.bytes >= ENOUGH {
            self.flush(received, tun);
        }
    }

    /// Writes everything to the TUN.
    pub(super) fn flush(&mut self, received: &mut [u8], tun: &TunQueue) {
        for place in self.pending.drain(..) {
            if !self.merger.push(place, received, &self.copied) {
                self.counters.tun_dropped.one();
            }
        }
        for write in self.merger.writes() {
            if !write_one(write, received, &mut self.copied, tun) {
                self.counters.tun_dropped.many(u64::try_from(write.pieces.len()).unwrap_or(1));
            }
        }
        self.merger.clear();
        self.copied.clear();
        self.bytes = 0;
    }
}

fn write_one(write: &Write, received: &mut [u8], copied: &mut [u8], tun: &TunQueue) -> bool {
    let header = write.finish(received, copied).bytes();
    let mut pieces = [IoSlice::new(&[]); PIECES];
    let Some((first, rest)) = pieces.split_first_mut() else { return false };
    *first = IoSlice::new(&header);
    for (piece, place) in rest.iter_mut().zip(&write.pieces) {
        *piece = IoSlice::new(place.bytes(received, copied));
    }
    let count = write.pieces.len() + 1;
    let pieces = pieces.get(..count).unwrap_or_default();
    let mut result = tun.write(pieces);
    if result.as_ref().is_err_and(would_block) {
        result = tun.write(pieces);
    }
    result.is_ok()
}
