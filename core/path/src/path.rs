//! The worker: its state, and the entrances.

use crate::command::Command;
use crate::config::PathConfig;
use crate::counters::DropCounts;
use crate::report::Report;
use crate::sink::{HandOver, Sink};
use core::net::{IpAddr, SocketAddr};
use std::collections::VecDeque;
use vipsec_crypto::Random;
use vipsec_wire::time::Timestamp;

/// One worker. See the crate's text for the order of calls.
pub struct Path {
    config: PathConfig,
    random: Box<dyn Random + Send>,
    reports: VecDeque<Report>,
    drops: DropCounts,
}

impl Path {
    /// A worker that knows nothing yet. `random` must be unpredictable in a real program: IVs of CBC
    /// and the starting points of IV counters come from it.
    #[must_use]
    pub fn new(config: PathConfig, random: Box<dyn Random + Send>) -> Path {
        Path { config, random, reports: VecDeque::new(), drops: DropCounts::default() }
    }

    /// The payload of a UDP datagram to port 500 or 4500 of a VIP. `tos`: DSCP and ECN of the outer
    /// header. ESP is decrypted in place.
    pub fn handle_udp(
        &mut self,
        now: Timestamp,
        local: SocketAddr,
        remote: SocketAddr,
        tos: u8,
        packet: &mut [u8],
        out: &mut dyn Sink,
    ) {
        let _ = (now, local, remote, tos, packet, out);
    }

    /// A plain ESP packet (IP protocol 50) to a VIP, from the SPI on; decrypted in place.
    pub fn handle_esp(
        &mut self,
        now: Timestamp,
        local: IpAddr,
        remote: IpAddr,
        tos: u8,
        packet: &mut [u8],
        out: &mut dyn Sink,
    ) {
        let _ = (now, local, remote, tos, packet, out);
    }

    /// One IP packet from the TUN, segmented and with right checksums.
    pub fn handle_inner(&mut self, now: Timestamp, packet: &[u8], out: &mut dyn Sink) {
        let _ = (now, packet, out);
    }

    /// The payload of a UDP datagram to this node's fabric address; decrypted in place.
    pub fn handle_fabric(
        &mut self,
        now: Timestamp,
        remote: SocketAddr,
        packet: &mut [u8],
        out: &mut dyn Sink,
    ) {
        let _ = (now, remote, packet, out);
    }

    /// A packet that another worker gave to its [`Sink::hand_over`]; decrypted in place.
    pub fn handle_hand_over(
        &mut self,
        now: Timestamp,
        kind: HandOver,
        packet: &mut [u8],
        out: &mut dyn Sink,
    ) {
        let _ = (now, kind, packet, out);
    }

    /// The path MTU to a peer, as the kernel learnt it: bytes of the outer IP packet. Raised to 576
    /// (IPv4) or 1280 (IPv6) when it is less.
    pub fn handle_pmtu(&mut self, now: Timestamp, remote: IpAddr, mtu: u16) {
        let _ = (now, remote, mtu);
    }

    /// An instruction of the node.
    pub fn handle_command(&mut self, now: Timestamp, command: Command, out: &mut dyn Sink) {
        let _ = (now, command, out, &self.config, &mut self.random);
    }

    /// Does what is due. Harmless when nothing is.
    pub fn handle_timeout(&mut self, now: Timestamp, out: &mut dyn Sink) {
        let _ = (now, out);
    }

    /// When [`Path::handle_timeout`] is due; `None`: not before another input.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        None
    }

    /// The next report for the node.
    pub fn poll_report(&mut self) -> Option<Report> {
        self.reports.pop_front()
    }

    /// Packets dropped since the start.
    #[must_use]
    pub fn drops(&self) -> &DropCounts {
        &self.drops
    }
}
