//! A small TCP (RFC 9293): enough of it to tell whether a connection stays with its target and is
//! not broken. No window, no congestion control; everything unacknowledged is sent again.

use super::packet::{self, Inner, Segment};
use super::{Reaction, Serials};
use crate::observation::{Connection, Observation};
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use vipsec_wire::cluster::Protocol;
use vipsec_wire::ip::tcp::{Flags, Header};
use vipsec_wire::time::Timestamp;

/// Bytes in one segment.
const SEGMENT: u32 = 400;
/// Bytes under way at most.
const WINDOW: u32 = 1600;
const TIMEOUT: Duration = Duration::from_millis(200);
const TIMEOUT_MAX: Duration = Duration::from_millis(1600);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    SynSent,
    SynReceived,
    Established,
    Over,
    Broken,
}

/// One end of a connection.
#[derive(Debug, Clone)]
pub struct Tcp {
    /// Own end and the other.
    ends: (SocketAddr, SocketAddr),
    state: State,
    unacknowledged: u32,
    next: u32,
    /// End of what the application wants to send.
    end: u32,
    expected: u32,
    /// The application has closed; its FIN stands at `end`.
    closing: bool,
    /// The other side's FIN was received.
    closed_by_peer: bool,
    timeout: Duration,
    again_at: Option<Timestamp>,
}

impl Tcp {
    fn connect(ends: (SocketAddr, SocketAddr), start: u32) -> Tcp {
        Tcp {
            ends,
            state: State::SynSent,
            unacknowledged: start,
            next: start,
            end: start.wrapping_add(1),
            expected: 0,
            closing: false,
            closed_by_peer: false,
            timeout: TIMEOUT,
            again_at: None,
        }
    }

    pub(super) fn accept(now: Timestamp, packet: &Inner<'_>, header: Header) -> Tcp {
        let start = u32::try_from(now.0 & 0xffff_ffff).unwrap_or(1);
        let mut tcp = Tcp::connect((packet.destination, packet.source), start);
        tcp.state = State::SynReceived;
        tcp.expected = header.sequence.wrapping_add(1);
        tcp
    }

    /// It has come to its end, good or bad.
    #[must_use]
    pub fn is_over(&self) -> bool {
        matches!(self.state, State::Over | State::Broken)
    }

    /// What the kernel's table shows of it: both ends, and whether the other side has closed.
    /// `None` unless it is established.
    #[must_use]
    pub fn socket(&self) -> Option<(SocketAddr, SocketAddr, bool)> {
        let established = self.state == State::Established;
        established.then_some((self.ends.0, self.ends.1, self.closed_by_peer))
    }

    fn name(&self) -> Connection {
        Connection { protocol: Protocol::Tcp, client: self.ends.0, server: self.ends.1 }
    }

    /// A segment of this connection has come.
    pub(super) fn receive(
        &mut self,
        now: Timestamp,
        packet: &Inner<'_>,
        header: Header,
        echo: bool,
        serials: &mut Serials,
        reaction: &mut Reaction,
    ) {
        if self.is_over() {
            return;
        }
        if header.flags.has(Flags::RST) {
            self.state = State::Broken;
            if !echo {
                reaction.seen.push(Observation::Reset(self.name()));
            }
            return;
        }
        self.take_handshake(header);
        if header.flags.has(Flags::ACK) {
            self.take_acknowledgement(header.acknowledgement);
        }
        let wants_answer = self.take_data(packet, header, echo) || header.flags.has(Flags::SYN);
        if self.state == State::SynReceived {
            self.again_at = None;
            return self.send(now, serials, reaction);
        }
        if wants_answer {
            let acknowledgement = self.segment(self.next, Flags::ACK, 0);
            reaction.packets.push(packet::tcp(&acknowledgement, serials.take()));
        }
        self.send_new(now, serials, reaction);
        if self.closing && self.closed_by_peer && self.unacknowledged == self.end {
            self.state = State::Over;
            if !echo {
                reaction.seen.push(Observation::Finished(self.name()));
            }
        }
    }

    fn take_handshake(&mut self, header: Header) {
        let both = Flags(Flags::SYN.0 | Flags::ACK.0);
        if self.state == State::SynSent && header.flags.has(both) {
            self.expected = header.sequence.wrapping_add(1);
            self.state = State::Established;
        } else if self.state == State::SynReceived
            && header.flags.has(Flags::ACK)
            && header.acknowledgement == self.unacknowledged.wrapping_add(1)
        {
            self.state = State::Established;
        }
    }

    fn take_acknowledgement(&mut self, acknowledged: u32) {
        let advance = acknowledged.wrapping_sub(self.unacknowledged);
        if advance > 0 && advance <= self.next.wrapping_sub(self.unacknowledged) {
            self.unacknowledged = acknowledged;
            self.timeout = TIMEOUT;
            self.again_at = None;
        }
    }

    /// Takes content that is in order; whether it has to be acknowledged.
    fn take_data(&mut self, packet: &Inner<'_>, header: Header, echo: bool) -> bool {
        let length = u32::try_from(packet.data.len()).unwrap_or(0);
        let fin = header.flags.has(Flags::FIN);
        if length == 0 && !fin {
            return false;
        }
        if self.state == State::Established && header.sequence == self.expected {
            self.expected = self.expected.wrapping_add(length);
            if echo && !self.closing {
                self.end = self.end.wrapping_add(length);
            }
            if fin {
                self.expected = self.expected.wrapping_add(1);
                self.closed_by_peer = true;
                if echo {
                    self.close();
                }
            }
        }
        true
    }

    fn close(&mut self) {
        if !self.closing {
            self.closing = true;
            self.end = self.end.wrapping_add(1);
        }
    }

    pub(super) fn tick(&mut self, now: Timestamp, serials: &mut Serials, out: &mut Reaction) {
        if !self.is_over() && self.unacknowledged != self.end {
            self.send_new(now, serials, out);
        }
    }

    /// Sends what is new, or everything unacknowledged again when its time has come.
    fn send_new(&mut self, now: Timestamp, serials: &mut Serials, out: &mut Reaction) {
        if self.again_at.is_some_and(|at| at <= now) {
            self.next = self.unacknowledged;
            self.timeout = (self.timeout * 2).min(TIMEOUT_MAX);
            self.again_at = None;
        }
        self.send(now, serials, out);
    }

    fn send(&mut self, now: Timestamp, serials: &mut Serials, out: &mut Reaction) {
        match self.state {
            State::SynSent => self.send_syn(Flags::SYN, serials, out),
            State::SynReceived => {
                self.send_syn(Flags(Flags::SYN.0 | Flags::ACK.0), serials, out);
            }
            State::Established => self.send_data(serials, out),
            State::Over | State::Broken => return,
        }
        if self.again_at.is_none() && self.next != self.unacknowledged {
            self.again_at = Some(now + self.timeout);
        }
    }

    fn send_syn(&mut self, flags: Flags, serials: &mut Serials, out: &mut Reaction) {
        if self.again_at.is_none() {
            let segment = self.segment(self.unacknowledged, flags, 0);
            out.packets.push(packet::tcp(&segment, serials.take()));
            self.next = self.unacknowledged.wrapping_add(1);
        }
    }

    fn send_data(&mut self, serials: &mut Serials, out: &mut Reaction) {
        let content_end = self.end.wrapping_sub(u32::from(self.closing));
        while self.next != self.end && self.next.wrapping_sub(self.unacknowledged) < WINDOW {
            let left = content_end.wrapping_sub(self.next);
            let fin = left == 0;
            let size = if fin { 0 } else { left.min(SEGMENT) };
            let flags = if fin { Flags(Flags::FIN.0 | Flags::ACK.0) } else { Flags::ACK };
            let segment = self.segment(self.next, flags, usize::try_from(size).unwrap_or(0));
            out.packets.push(packet::tcp(&segment, serials.take()));
            self.next = self.next.wrapping_add(size + u32::from(fin));
        }
    }

    fn segment(&self, sequence: u32, flags: Flags, size: usize) -> Segment {
        Segment { ends: self.ends, sequence, acknowledgement: self.expected, flags, size }
    }
}

/// A kernel's answer to a segment of a connection that it does not know.
pub(super) fn refuse(
    packet: &Inner<'_>,
    header: Header,
    serials: &mut Serials,
    reaction: &mut Reaction,
) {
    if header.flags.has(Flags::RST) {
        return;
    }
    let segment = Segment {
        ends: (packet.destination, packet.source),
        sequence: header.acknowledgement,
        acknowledgement: header.sequence.wrapping_add(1),
        flags: Flags(Flags::RST.0 | Flags::ACK.0),
        size: 0,
    };
    reaction.packets.push(packet::tcp(&segment, serials.take()));
}

/// Opens one connection after another to a service, and sends on each now and then.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The service.
    pub to: SocketAddr,
    /// First port of its own; each connection has the next.
    pub port: u16,
    /// From when to when it opens connections.
    pub during: (Timestamp, Timestamp),
    /// Between two messages.
    pub interval: Duration,
    /// Bytes of a message.
    pub size: u32,
    /// Messages on one connection.
    pub messages: u32,
    /// The present connection.
    pub tcp: Option<Tcp>,
    /// Connections that came to a good end.
    pub finished: u64,
    /// Connections that broke.
    pub broken: u64,
    sent: u32,
    next: Timestamp,
}

impl Caller {
    /// A caller that has not begun.
    #[must_use]
    pub fn new(to: SocketAddr, port: u16, during: (Timestamp, Timestamp)) -> Caller {
        Caller {
            to,
            port,
            during,
            interval: Duration::from_millis(100),
            size: 600,
            messages: 30,
            tcp: None,
            finished: 0,
            broken: 0,
            sent: 0,
            next: during.0,
        }
    }

    pub(super) fn is_at(&self, packet: &Inner<'_>) -> bool {
        let ends = (packet.destination, packet.source);
        self.tcp.as_ref().is_some_and(|tcp| tcp.ends == ends)
    }

    /// Bytes that the other end has acknowledged on the present connection, as a number that only
    /// moves when there is progress.
    #[must_use]
    pub fn progress(&self) -> u64 {
        let acknowledged = self.tcp.as_ref().map_or(0, |tcp| tcp.unacknowledged);
        (self.finished << 32) | u64::from(acknowledged)
    }

    pub(super) fn tick(
        &mut self,
        now: Timestamp,
        address: Option<IpAddr>,
        serials: &mut Serials,
        reaction: &mut Reaction,
    ) {
        let Some(address) = address else { return };
        let moved = self.tcp.as_ref().is_some_and(|tcp| tcp.ends.0.ip() != address);
        if self.tcp.as_ref().is_none_or(Tcp::is_over) || moved {
            self.open(now, address);
        }
        let Some(tcp) = self.tcp.as_mut() else { return };
        if tcp.state == State::Established && now >= self.next {
            self.next = now + self.interval;
            if self.sent < self.messages {
                self.sent += 1;
                tcp.end = tcp.end.wrapping_add(self.size);
            } else {
                tcp.close();
            }
        }
        tcp.tick(now, serials, reaction);
    }

    fn open(&mut self, now: Timestamp, address: IpAddr) {
        match self.tcp.take().map(|tcp| tcp.state) {
            Some(State::Over) => self.finished += 1,
            Some(State::Broken) => self.broken += 1,
            _ => {}
        }
        if now < self.during.0 || now >= self.during.1 {
            return;
        }
        self.port = self.port.wrapping_add(1).max(1024);
        let start = u32::from(self.port).wrapping_mul(0x0101_0101);
        self.tcp = Some(Tcp::connect((SocketAddr::new(address, self.port), self.to), start));
        self.sent = 0;
        self.next = now;
    }
}
