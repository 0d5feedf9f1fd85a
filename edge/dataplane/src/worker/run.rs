//! The loop of a worker: wait, take what there is from sockets, TUN and mailbox, let the path handle
//! it, send what came out of it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use vipsec_path::Path;
use vipsec_wire::time::Timestamp;

use super::inward::Inward;
use super::mailbox::{IkeMessage, Instruction, Mailbox};
use super::outlet::Outlet;
use super::reporter::Reporter;
use super::sockets::{Kind, PORT_ENCAPSULATED, Sockets};
use super::transmit::Transmit;
use crate::config::Clock;
use crate::counters::Counters;
use crate::error::DataPlaneError;
use crate::offload::Segments;
use crate::sys::{
    Datagram, Outgoing, Poller, Ready, ReceiveBatch, SendBatch, TunQueue, read_path_mtu,
    would_block,
};

/// How often a worker looks again, giving the processor to others in between, before it sleeps.
const YIELDS: u32 = 8;
/// Packets taken from the TUN before the sockets have their turn: enough small ones for a full train.
const TUN_TURN: usize = 64;
/// Bytes after which the turn ends as well, for super-packets.
const TUN_BYTES: usize = 256 << 10;
/// Receive calls on one socket before the others have their turn.
const SOCKET_TURN: usize = 2;
/// Instructions, packets of other workers and errors taken in one turn.
const MAIL_TURN: usize = 256;
/// IKE messages above this may need fragmentation, which ESP packets must not have.
const SMALL_IKE: usize = 1200;
/// How long a worker sleeps at most when reports wait for the daemon.
const HELD: Duration = Duration::from_millis(1);

const TOKEN_MAIL: u64 = 0;
const TOKEN_TUN: u64 = 1;
const TOKEN_SOCKETS: u64 = 2;

/// What a worker is made of.
pub(crate) struct Equipment {
    pub(crate) index: u16,
    pub(crate) path: Path,
    pub(crate) sockets: Sockets,
    pub(crate) tun: TunQueue,
    /// Whether the kernel takes UDP super-packets.
    pub(crate) udp_offload: bool,
    pub(crate) mailboxes: Arc<[Mailbox]>,
    pub(crate) reporter: Reporter,
    pub(crate) counters: Arc<Counters>,
    pub(crate) clock: Clock,
}

/// A worker, to be run on its own thread.
pub(crate) struct Worker {
    index: u16,
    path: Path,
    sockets: Sockets,
    tun: TunQueue,
    mailboxes: Arc<[Mailbox]>,
    reporter: Reporter,
    counters: Arc<Counters>,
    clock: Clock,
    poller: Poller,
    receive: ReceiveBatch,
    transmit: Transmit,
    inward: Inward,
    tun_buffer: Vec<u8>,
    ike: SendBatch,
    woken: u64,
    stop: bool,
}

impl Worker {
    /// Puts a worker together.
    pub(crate) fn new(from: Equipment) -> Result<Worker, DataPlaneError> {
        let failed = |e| DataPlaneError::io("set up a worker's poll", e);
        let poller = Poller::new().map_err(failed)?;
        let mailbox = from.mailboxes.get(usize::from(from.index));
        let mailbox = mailbox.ok_or_else(|| DataPlaneError::Config("no mailbox".to_owned()))?;
        poller.add(&mailbox.signal, TOKEN_MAIL).map_err(failed)?;
        poller.add(&from.tun, TOKEN_TUN).map_err(failed)?;
        for (token, socket) in (TOKEN_SOCKETS..).zip(from.sockets.iter()) {
            poller.add(&socket.fd, token).map_err(failed)?;
        }
        let mut receive = ReceiveBatch::new();
        let counters = from.counters;
        Ok(Worker {
            inward: Inward::new(receive.bytes(), from.udp_offload, Arc::clone(&counters)),
            transmit: Transmit::new(&from.sockets, Arc::clone(&counters)),
            receive,
            poller,
            index: from.index,
            path: from.path,
            sockets: from.sockets,
            tun: from.tun,
            mailboxes: from.mailboxes,
            reporter: from.reporter,
            counters,
            clock: from.clock,
            tun_buffer: vec![0; 1 << 17],
            ike: SendBatch::new(),
            woken: 0,
            stop: false,
        })
    }

    /// Works until told to stop.
    pub(crate) fn run(&mut self) {
        let mut ready = Vec::new();
        let mut idle = 0;
        while !self.stop {
            let timeout = if idle < YIELDS { Duration::ZERO } else { self.sleep() };
            if self.turn(timeout, &mut ready) {
                idle = 0;
            } else if idle < YIELDS {
                idle += 1;
                std::thread::yield_now();
            } else {
                idle = 0;
            }
        }
    }

    /// How long nothing is due.
    fn sleep(&mut self) -> Duration {
        let held = self.reporter.pump(&mut self.path);
        let due = self.path.poll_timeout().map(|due| due.since(self.clock.now()));
        let due = due.unwrap_or(Duration::from_secs(60));
        if held { due.min(HELD) } else { due }
    }

    /// One round. Says whether there was anything to do.
    fn turn(&mut self, timeout: Duration, ready: &mut Vec<Ready>) -> bool {
        ready.clear();
        if let Err(error) = self.poller.wait(Some(timeout), ready)
            && !would_block(&error)
        {
            self.trouble();
        }
        for event in ready.iter() {
            match event.token {
                TOKEN_MAIL => self.take_mail(),
                TOKEN_TUN => self.take_tun(),
                token => {
                    let socket = usize::try_from(token - TOKEN_SOCKETS).unwrap_or(usize::MAX);
                    self.take_socket(socket, event.error);
                }
            }
        }
        let now = self.clock.now();
        let due = self.path.poll_timeout().is_some_and(|due| due <= now);
        if due {
            self.with_path(|path, out| path.handle_timeout(now, out));
        }
        if due || !ready.is_empty() {
            self.flush();
        }
        due || !ready.is_empty()
    }

    /// Lets the path work, with everything it may send to.
    fn with_path(&mut self, act: impl FnOnce(&mut Path, &mut Outlet<'_>)) {
        let mut out = Outlet {
            sockets: &self.sockets,
            transmit: &mut self.transmit,
            inward: &mut self.inward,
            mailboxes: &self.mailboxes,
            woken: &mut self.woken,
            counters: &self.counters,
        };
        act(&mut self.path, &mut out);
    }

    /// Sends and writes all that is pending, wakes the workers that got packets, and passes reports
    /// on.
    fn flush(&mut self) {
        self.transmit.flush(&self.sockets);
        self.inward.flush(self.receive.bytes(), &self.tun);
        let mut woken = std::mem::take(&mut self.woken);
        while woken != 0 {
            let index = usize::try_from(woken.trailing_zeros()).unwrap_or(0);
            if let Some(mailbox) = self.mailboxes.get(index) {
                mailbox.signal.raise();
            }
            woken &= woken - 1;
        }
        self.reporter.pump(&mut self.path);
    }

    /// Something other than a packet is wrong; do not spin on it.
    fn trouble(&self) {
        self.counters.io_errors.one();
        std::thread::sleep(Duration::from_millis(1));
    }

    fn take_mail(&mut self) {
        let mailboxes = Arc::clone(&self.mailboxes);
        let Some(mailbox) = mailboxes.get(usize::from(self.index)) else { return };
        mailbox.signal.lower();
        for _ in 0..MAIL_TURN {
            let now = self.clock.now();
            match mailbox.next_instruction() {
                Some(Instruction::Command(command)) => {
                    self.with_path(|path, out| path.handle_command(now, *command, out));
                }
                Some(Instruction::Ike(message)) => {
                    if let Some(IkeMessage { local, remote, message }) = message.taken() {
                        self.send_ike(local, remote, &message);
                    }
                }
                Some(Instruction::Stop) => {
                    self.stop = true;
                    return;
                }
                None => return self.take_packets(mailbox),
            }
        }
        mailbox.signal.raise();
    }

    /// Packets that other workers received.
    fn take_packets(&mut self, mailbox: &Mailbox) {
        let now = self.clock.now();
        for _ in 0..MAIL_TURN {
            let Some((kind, mut packet)) = mailbox.next_packet() else { return };
            self.with_path(|path, out| path.handle_hand_over(now, kind, &mut packet, out));
            mailbox.recycle(packet);
        }
        mailbox.signal.raise();
    }

    fn take_tun(&mut self) {
        let now = self.clock.now();
        let mut bytes = 0;
        for _ in 0..TUN_TURN {
            let mut buffer = std::mem::take(&mut self.tun_buffer);
            let result = self.tun.read(&mut buffer);
            if let Ok(length) = &result {
                self.handle_inner(now, buffer.get_mut(..*length).unwrap_or_default());
            }
            self.tun_buffer = buffer;
            match result {
                Ok(length) if bytes < TUN_BYTES => bytes += length,
                Ok(_) => return,
                Err(e) if would_block(&e) => return,
                Err(_) => return self.trouble(),
            }
        }
    }

    fn handle_inner(&mut self, now: Timestamp, bytes: &mut [u8]) {
        let Some(mut segments) = Segments::new(bytes) else {
            self.counters.tun_malformed.one();
            return;
        };
        self.with_path(|path, out| {
            while let Some(packet) = segments.next() {
                path.handle_inner(now, packet, out);
            }
        });
    }

    fn take_socket(&mut self, index: usize, error: bool) {
        if error {
            self.take_errors(index);
        }
        for _ in 0..SOCKET_TURN {
            let Some(socket) = self.sockets.get(index) else { return };
            let kind = socket.kind;
            let Ok(count) = self.receive.receive(&socket.fd) else { return };
            let now = self.clock.now();
            for datagram in 0..count {
                if let Some(datagram) = self.receive.datagram(datagram) {
                    self.handle_datagram(now, kind, &datagram);
                }
            }
            self.inward.flush(self.receive.bytes(), &self.tun);
        }
    }

    fn handle_datagram(&mut self, now: Timestamp, kind: Kind, datagram: &Datagram) {
        let mut receive = std::mem::replace(&mut self.receive, ReceiveBatch::none());
        let bytes = receive.bytes();
        let train = bytes.get_mut(datagram.range.clone()).unwrap_or_default();
        let Datagram { remote, tos, segment, .. } = *datagram;
        self.with_path(|path, out| match kind {
            Kind::Udp(local) => {
                for packet in train.chunks_mut(segment.max(1)) {
                    path.handle_udp(now, local, remote, tos, packet, out);
                }
            }
            Kind::Fabric(_) => {
                for packet in train.chunks_mut(segment.max(1)) {
                    path.handle_fabric(now, remote, packet, out);
                }
            }
            Kind::Esp(local) => {
                if let Some((tos, esp)) = esp_of(train, local.is_ipv4(), tos) {
                    path.handle_esp(now, local, remote.ip(), tos, esp, out);
                }
            }
        });
        self.inward.digest(receive.bytes(), &self.tun);
        self.receive = receive;
    }

    fn take_errors(&mut self, index: usize) {
        for _ in 0..MAIL_TURN {
            let Some(socket) = self.sockets.get(index) else { return };
            match read_path_mtu(&socket.fd) {
                Some(Some((remote, mtu))) => self.path.handle_pmtu(self.clock.now(), remote, mtu),
                Some(None) => {}
                None => return,
            }
        }
    }

    /// Sends an IKE message, behind the non-ESP marker on port 4500 (RFC 3948 section 2.2).
    fn send_ike(&mut self, local: SocketAddr, remote: SocketAddr, message: &[u8]) {
        let socket = self.sockets.iter().find(|s| s.kind == Kind::Udp(local));
        let Some(socket) = socket else {
            self.counters.send_no_socket.one();
            return;
        };
        //= RFC 7296 section 2 #2: four octets of zero on port 4500
        let marker: &[u8] = if local.port() == PORT_ENCAPSULATED { &[0; 4] } else { &[] };
        let bytes = [marker, message].concat();
        let outgoing = [Outgoing { range: 0..bytes.len(), segment: 0, remote, tos: 0 }];
        let large = bytes.len() > SMALL_IKE && local.port() == PORT_ENCAPSULATED;
        // The first error may be an earlier packet's.
        let mut send = || (0..2).any(|_| self.ike.send(&socket.fd, &bytes, &outgoing).is_ok());
        let sent = if large { socket.fragmenting(send) } else { send() };
        if !sent {
            self.counters.send_dropped.one();
        }
    }
}

/// The ESP packet in what a raw socket delivers: behind the IP header with IPv4, alone with IPv6.
fn esp_of(bytes: &mut [u8], v4: bool, tos: u8) -> Option<(u8, &mut [u8])> {
    if !v4 {
        return Some((tos, bytes));
    }
    let header = usize::from(bytes.first()? & 15) * 4;
    let tos = *bytes.get(1)?;
    Some((tos, bytes.get_mut(header..)?))
}
