//! Puts decrypted packets of one stream together again, so that the kernel takes them in one write.
//! The state spans a whole receive batch, whose datagrams may each hold a single packet.
//!
//! Every packet's checksum is verified before it is merged: the kernel computes the merged packet's
//! checksums anew, and would otherwise put a good one on corrupted bytes. Packets of one stream
//! keep their order; streams among each other do not.

use std::ops::Range;

use vipsec_wire::ip::checksum::checksum;

use super::flow::{Flow, same_stream};
use super::segment::pseudo_sum;
use super::virtio::{Kind, VirtioHeader};

/// Streams that are held open at a time; the oldest is closed for a new one.
const OPEN: usize = 16;
/// Packets of one write: the kernel cuts no more out of a UDP super-packet.
const MAX_PACKETS: usize = 64;
/// Bytes of one write: the largest IP packet.
const MAX_BYTES: usize = 65_535;
/// Packets of one batch; what comes beyond is dropped and counted by the caller.
const MAX_WRITES: usize = 8192;

/// Where a packet's bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// In the receive buffer.
    Received(Range<usize>),
    /// In the buffer for packets from elsewhere.
    Copied(Range<usize>),
}

impl Place {
    fn range(&self) -> &Range<usize> {
        match self {
            Place::Received(range) | Place::Copied(range) => range,
        }
    }

    fn of<'a>(&self, received: &'a [u8], copied: &'a [u8]) -> &'a [u8] {
        match self {
            Place::Received(range) => received.get(range.clone()).unwrap_or_default(),
            Place::Copied(range) => copied.get(range.clone()).unwrap_or_default(),
        }
    }

    /// The same place without its first `count` bytes.
    fn without(&self, count: usize) -> Place {
        let cut = |range: &Range<usize>| (range.start + count).min(range.end)..range.end;
        match self {
            Place::Received(range) => Place::Received(cut(range)),
            Place::Copied(range) => Place::Copied(cut(range)),
        }
    }
}

/// One write to the TUN: a packet, and payloads that follow it in its stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Write {
    /// The first packet whole, then the payloads.
    pub(crate) pieces: Vec<Place>,
    flow: Option<Flow>,
    bytes: usize,
    next_sequence: u32,
    open: bool,
    pushed: bool,
}

/// Collects the packets of a batch.
#[derive(Debug, Default)]
pub(crate) struct Merger {
    writes: Vec<Write>,
    used: usize,
    open: Vec<usize>,
    udp: bool,
}

impl Merger {
    /// A merger without packets; `udp` says whether the kernel takes UDP super-packets.
    pub(crate) fn new(udp: bool) -> Merger {
        Merger { udp, ..Merger::default() }
    }

    /// Adds a packet. Says no when there is no room left in this batch.
    pub(crate) fn push(&mut self, place: Place, received: &[u8], copied: &[u8]) -> bool {
        let packet = place.of(received, copied);
        let flow = Flow::of(packet);
        if let Some(flow) = &flow
            && let Some(slot) = self.find(flow)
        {
            let index = self.open[slot];
            let write = &mut self.writes[index];
            let first = write.pieces.first().map_or(&[][..], |p| p.of(received, copied));
            if write.takes(flow)
                && write.flow.is_some_and(|f| same_stream((first, &f), (packet, flow)))
            {
                write.append(place.without(flow.headers), flow);
                return true;
            }
            self.open.remove(slot);
        }
        self.start(place, flow, packet.len())
    }

    /// The open write of a stream. Two streams with one hash only close each other.
    fn find(&self, flow: &Flow) -> Option<usize> {
        self.open
            .iter()
            .rposition(|index| self.writes[*index].flow.is_some_and(|f| f.hash == flow.hash))
    }

    fn start(&mut self, place: Place, flow: Option<Flow>, bytes: usize) -> bool {
        if self.used >= MAX_WRITES {
            return false;
        }
        let may_grow = flow.is_some_and(|f| f.mergeable && !f.last && (!f.udp || self.udp));
        if may_grow {
            if self.open.len() == OPEN {
                self.open.remove(0);
            }
            self.open.push(self.used);
        }
        if self.used == self.writes.len() {
            self.writes.push(Write::empty());
        }
        self.writes[self.used].begin(place, flow, bytes, may_grow);
        self.used += 1;
        true
    }

    /// The writes of this batch in order.
    pub(crate) fn writes(&self) -> &[Write] {
        &self.writes[..self.used]
    }

    /// Forgets all packets, and keeps the memory.
    pub(crate) fn clear(&mut self) {
        self.used = 0;
        self.open.clear();
    }
}

impl Write {
    fn empty() -> Write {
        Write {
            pieces: Vec::new(),
            flow: None,
            bytes: 0,
            next_sequence: 0,
            open: false,
            pushed: false,
        }
    }

    fn begin(&mut self, place: Place, flow: Option<Flow>, bytes: usize, open: bool) {
        self.pieces.clear();
        self.pieces.push(place);
        self.flow = flow;
        self.bytes = bytes;
        self.open = open;
        self.pushed = flow.is_some_and(|f| f.last && !f.udp);
        self.next_sequence = flow.map_or(0, |f| f.sequence.wrapping_add(length(f.payload)));
    }

    /// Whether the next packet of the stream fits behind this write by size and sequence number.
    fn takes(&self, next: &Flow) -> bool {
        let Some(first) = &self.flow else { return false };
        self.open
            && next.mergeable
            && next.payload <= first.payload
            && (next.udp || next.sequence == self.next_sequence)
            && self.pieces.len() < MAX_PACKETS
            && self.bytes + next.payload <= MAX_BYTES
    }

    fn append(&mut self, payload: Place, flow: &Flow) {
        let shorter = self.flow.is_some_and(|first| flow.payload < first.payload);
        self.open = !(flow.last || shorter);
        self.pushed |= flow.last;
        self.bytes += flow.payload;
        self.next_sequence = self.next_sequence.wrapping_add(length(flow.payload));
        self.pieces.push(payload);
    }

    /// Adapts the first packet's headers to the whole, and says what the kernel must know about it.
    pub(crate) fn finish(&self, received: &mut [u8], copied: &mut [u8]) -> VirtioHeader {
        let Some(flow) = self.flow else { return VirtioHeader::PLAIN };
        if self.pieces.len() < 2 {
            return VirtioHeader { verified: true, ..VirtioHeader::PLAIN };
        }
        let place = self.pieces.first();
        let first = match place {
            Some(Place::Received(range)) => received.get_mut(range.clone()),
            Some(Place::Copied(range)) => copied.get_mut(range.clone()),
            None => None,
        };
        let headers = first.and_then(|packet| packet.get_mut(..flow.headers));
        let offset = if flow.udp { 6 } else { 16 };
        match headers.and_then(|headers| self.adapt(headers, &flow, offset)) {
            Some(header) => header,
            None => VirtioHeader::PLAIN,
        }
    }

    fn adapt(&self, headers: &mut [u8], flow: &Flow, offset: usize) -> Option<VirtioHeader> {
        let total = u16::try_from(self.bytes).ok()?;
        let ip = u16::try_from(flow.ip).ok()?;
        let transport = total.checked_sub(ip)?;
        if flow.v4 {
            headers[2..4].copy_from_slice(&total.to_be_bytes());
            headers[10..12].fill(0);
            let sum = checksum(headers.get(..flow.ip)?);
            headers[10..12].copy_from_slice(&sum.to_be_bytes());
        } else {
            headers[4..6].copy_from_slice(&transport.to_be_bytes());
        }
        // The kernel wants the sum itself here, not its complement.
        let sum = !pseudo_sum(headers, flow.v4, usize::from(transport))?.finish();
        let field = flow.ip + offset;
        headers.get_mut(field..field + 2)?.copy_from_slice(&sum.to_be_bytes());
        if flow.udp {
            headers.get_mut(flow.ip + 4..flow.ip + 6)?.copy_from_slice(&transport.to_be_bytes());
        } else if self.pushed {
            headers[flow.ip + 13] |= 0x08;
        }
        Some(VirtioHeader {
            kind: match (flow.udp, flow.v4) {
                (true, _) => Kind::Udp,
                (false, true) => Kind::Tcp4,
                (false, false) => Kind::Tcp6,
            },
            segment: u16::try_from(flow.payload).ok()?,
            headers: u16::try_from(flow.headers).ok()?,
            open_checksum: Some((ip, u16::try_from(offset).ok()?)),
            verified: false,
        })
    }
}

/// A payload's length as sequence numbers count it.
fn length(payload: usize) -> u32 {
    u32::try_from(payload).unwrap_or(0)
}

impl Place {
    /// The bytes, for a write.
    pub(crate) fn bytes<'a>(&self, received: &'a [u8], copied: &'a [u8]) -> &'a [u8] {
        debug_assert!(self.range().start <= self.range().end);
        self.of(received, copied)
    }
}

#[cfg(test)]
#[path = "merge_tests.rs"]
mod tests;
