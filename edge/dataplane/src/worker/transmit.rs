//! Outgoing packets: sealed one behind the other in one buffer, trains of equal size to one peer
//! given to the kernel as one datagram (UDP GSO), many of them in one call.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use vipsec_path::Route;

use super::sockets::{Kind, Socket, Sockets};
use crate::counters::Counters;
use crate::sys::{Outgoing, SendBatch, poll_output, would_block};

/// Bytes of the buffer.
const ARENA: usize = 4 << 16;
/// Packets of one train: the kernel takes 64, newer ones 128.
const TRAIN_PACKETS: usize = 64;
/// Bytes of one train: the largest UDP payload over IPv4.
const TRAIN_BYTES: usize = 65_507;
/// How long a full socket buffer may hold a worker up, all in all, before a packet is dropped.
const PATIENCE: Duration = Duration::from_millis(4);

/// A train that may still grow.
#[derive(Debug)]
struct Open {
    route: Route,
    segment: usize,
    packets: usize,
    /// Largest packet that the socket takes in trains.
    largest: usize,
}

/// How a packet or train leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Way {
    /// Index of the socket.
    socket: usize,
    /// The kernel may fragment it.
    fragmenting: bool,
}

/// Packets on their way out.
pub(super) struct Transmit {
    arena: Vec<u8>,
    used: usize,
    /// What is to be sent, with its way out beside it.
    outgoing: Vec<Outgoing>,
    ways: Vec<Way>,
    open: Option<Open>,
    batch: SendBatch,
    /// Per socket, packets above this size go one by one: the link is too small for a train.
    largest: Vec<usize>,
    counters: Arc<Counters>,
}

impl Transmit {
    /// A buffer for the packets of a worker with these sockets.
    pub(super) fn new(sockets: &Sockets, counters: Arc<Counters>) -> Transmit {
        let largest = sockets.iter().map(|s| if can_train(s) { usize::MAX } else { 0 }).collect();
        Transmit {
            arena: vec![0; ARENA],
            used: 0,
            outgoing: Vec::new(),
            ways: Vec::new(),
            open: None,
            batch: SendBatch::new(),
            largest,
            counters,
        }
    }

    /// Lets `fill` write a packet of at most `max` bytes, and adds it to what will be sent.
    pub(super) fn emit(
        &mut self,
        sockets: &Sockets,
        route: Route,
        max: usize,
        fill: &mut dyn FnMut(&mut [u8]) -> usize,
    ) {
        if self.used + max > self.arena.len() {
            self.flush(sockets);
        }
        let joins = self.open.as_ref().is_some_and(|open| open.route == route);
        let target = if joins { None } else { sockets.of(&route) };
        let (Some(place), true) =
            (self.arena.get_mut(self.used..self.used + max), joins || target.is_some())
        else {
            self.counters.send_no_socket.one();
            return;
        };
        let length = fill(place).min(max);
        if length == 0 || joins && self.join(length) {
            return;
        }
        let Some((socket, remote, tos)) = target.or_else(|| sockets.of(&route)) else { return };
        let range = self.used..self.used + length;
        self.outgoing.push(Outgoing { range, segment: 0, remote, tos });
        let fragmenting = may_fragment(&route);
        self.ways.push(Way { socket, fragmenting });
        self.used += length;
        let largest = self.largest.get(socket).copied().unwrap_or(0);
        let grows = length <= largest && !fragmenting;
        self.open = grows.then_some(Open { route, segment: length, packets: 1, largest });
    }

    /// Puts a packet that lies behind the open train into it. Says no when it does not fit.
    fn join(&mut self, length: usize) -> bool {
        let (Some(open), Some(train)) = (&mut self.open, self.outgoing.last_mut()) else {
            return false;
        };
        let fits = length <= open.segment.min(open.largest)
            && open.packets < TRAIN_PACKETS
            && train.range.len() + length <= TRAIN_BYTES;
        let Ok(segment) = u16::try_from(open.segment) else { return false };
        if !fits {
            return false;
        }
        train.segment = segment;
        train.range.end += length;
        self.used += length;
        open.packets += 1;
        if length < open.segment {
            self.open = None;
        }
        true
    }

    /// Sends everything.
    pub(super) fn flush(&mut self, sockets: &Sockets) {
        let mut first = 0;
        while let Some(&way) = self.ways.get(first) {
            let run = self.ways[first..].iter().take_while(|w| **w == way).count();
            let (index, range) = (way.socket, first..first + run);
            match sockets.get(index) {
                Some(socket) if way.fragmenting => {
                    socket.fragmenting(|| self.send(socket, index, range));
                }
                Some(socket) => self.send(socket, index, range),
                None => {}
            }
            first += run;
        }
        self.outgoing.clear();
        self.ways.clear();
        self.open = None;
        self.used = 0;
    }

    fn send(&mut self, socket: &Socket, index: usize, mut left: std::ops::Range<usize>) {
        let mut retried = false;
        let mut patience = PATIENCE;
        while !left.is_empty() {
            let outgoing = &self.outgoing[left.clone()];
            match self.batch.send(&socket.fd, &self.arena, outgoing) {
                Ok(count) => {
                    left.start += count.max(1);
                    retried = false;
                }
                Err(e) if would_block(&e) && !patience.is_zero() => {
                    let step = Duration::from_millis(1);
                    poll_output(&socket.fd, step);
                    patience = patience.saturating_sub(step);
                }
                Err(e) if self.refuses_train(&e, index, left.start) => {
                    let train = self.outgoing[left.start].clone();
                    self.send_singly(socket, &train);
                    left.start += 1;
                }
                // An error of an earlier packet is reported once, then the socket works again.
                Err(e) if !retried && !would_block(&e) => retried = true,
                Err(_) => {
                    self.counters.send_dropped.one();
                    left.start += 1;
                    retried = false;
                }
            }
        }
    }

    /// Whether a train was refused for being one: its packets exceed the link, or the interface
    /// cannot compute checksums. It is remembered.
    fn refuses_train(&mut self, error: &io::Error, socket: usize, index: usize) -> bool {
        let segment = self.outgoing.get(index).map_or(0, |o| usize::from(o.segment));
        let largest = match error.raw_os_error() {
            _ if segment == 0 => return false,
            Some(libc::EMSGSIZE | libc::EINVAL) => segment - 1,
            Some(libc::EIO) => 0,
            _ => return false,
        };
        if let Some(known) = self.largest.get_mut(socket) {
            *known = largest.min(*known);
        }
        true
    }

    /// Sends the packets of a train one by one, for the kernel to fragment or refuse.
    fn send_singly(&mut self, socket: &Socket, train: &Outgoing) {
        let segment = usize::from(train.segment);
        let mut singles = Vec::new();
        let mut start = train.range.start;
        while start < train.range.end {
            let end = (start + segment).min(train.range.end);
            singles.push(Outgoing { range: start..end, segment: 0, ..train.clone() });
            start = end;
        }
        let mut left = &singles[..];
        while !left.is_empty() {
            let sent = self.batch.send(&socket.fd, &self.arena, left).unwrap_or(0);
            if sent == 0 {
                self.counters.send_dropped.one();
            }
            left = left.get(sent.max(1)..).unwrap_or_default();
        }
    }
}

/// Whether a packet is larger than its path. Frames between nodes have a socket that always lets the
/// kernel fragment.
fn may_fragment(route: &Route) -> bool {
    match route {
        Route::Udp { may_fragment, .. } | Route::Esp { may_fragment, .. } => *may_fragment,
        Route::Fabric { .. } => false,
    }
}

/// Raw sockets know no trains.
fn can_train(socket: &Socket) -> bool {
    !matches!(socket.kind, Kind::Esp(_))
}

#[cfg(test)]
#[path = "transmit_tests.rs"]
mod tests;
