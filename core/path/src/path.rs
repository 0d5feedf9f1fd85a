//! The worker: its state, and the entrances. What happens behind them stands in `inbound`,
//! `distribute`, `outbound`, `frames`, `homes`, `roles`, `commands`, `timers` and `keepalive`.

use crate::command::Command;
use crate::config::PathConfig;
use crate::counters::{DropCounts, DropReason};
use crate::fabric::Fabric;
use crate::freeze::{HeldKind, Outer};
use crate::keepalive::Keepalives;
use crate::pmtu::PathMtus;
use crate::report::Report;
use crate::sad::Sad;
use crate::sink::{HandOver, Sink};
use crate::timers::Timers;
use crate::vip::VipState;
use core::net::{IpAddr, SocketAddr};
use std::collections::VecDeque;
use vipsec_crypto::Random;
use vipsec_esp::IvGenerator;
use vipsec_wire::esp::{IKE_PORT, NAT_KEEPALIVE, NAT_T_PORT};
use vipsec_wire::id::{Epoch, EspSpi, NodeName, Vip};
use vipsec_wire::time::Timestamp;

/// One worker. See the crate's text for the order of calls.
pub struct Path {
    pub(crate) config: PathConfig,
    /// Index of this node in the list of members.
    pub(crate) own: u16,
    pub(crate) random: Box<dyn Random + Send>,
    pub(crate) ivs: IvGenerator,
    /// A VIP that was removed leaves its place empty, so that indices stay.
    pub(crate) vips: Vec<Option<VipState>>,
    pub(crate) sad: Sad,
    pub(crate) fabric: Fabric,
    pub(crate) mtus: PathMtus,
    pub(crate) timers: Timers,
    pub(crate) keepalives: Keepalives,
    pub(crate) reports: VecDeque<Report>,
    pub(crate) drops: DropCounts,
    /// Room to build a packet in; its content means nothing between two calls.
    pub(crate) scratch: Vec<u8>,
}

impl Path {
    /// A worker that knows nothing yet. `random` must be unpredictable in a real program: IVs of CBC
    /// and the starting points of IV counters come from it.
    ///
    /// # Panics
    /// When this node is not among the members.
    #[must_use]
    pub fn new(config: PathConfig, mut random: Box<dyn Random + Send>) -> Path {
        let own = index_of(&config.members, &config.node).expect("this node is a member");
        let ivs = IvGenerator::new(random.as_mut()).expect("a seed of the right length");
        let sad = Sad::new(config.limits.sas, seed(random.as_mut()));
        let fabric = Fabric::new(seed(random.as_mut()));
        let mtus = PathMtus::new(&config.limits);
        Path {
            config,
            own,
            random,
            ivs,
            vips: Vec::new(),
            sad,
            fabric,
            mtus,
            timers: Timers::default(),
            keepalives: Keepalives::default(),
            reports: VecDeque::new(),
            drops: DropCounts::default(),
            scratch: Vec::new(),
        }
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
        if local.port() == NAT_T_PORT && packet == NAT_KEEPALIVE {
            return;
        }
        if !matches!(local.port(), IKE_PORT | NAT_T_PORT) {
            return self.drop_packet(DropReason::Malformed);
        }
        let result = match self.vip_of(local.ip()) {
            Some(vip) => self.outer(now, vip, Outer { local, remote, tos }, false, packet, out),
            None => Err(DropReason::UnknownVip),
        };
        self.count(result);
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
        let (vip, local, remote) =
            (self.vip_of(local), SocketAddr::new(local, 0), SocketAddr::new(remote, 0));
        let result = match vip {
            Some(vip) => self.outer(now, vip, Outer { local, remote, tos }, false, packet, out),
            None => Err(DropReason::UnknownVip),
        };
        self.count(result);
    }

    /// One IP packet from the TUN, segmented and with right checksums.
    pub fn handle_inner(&mut self, now: Timestamp, packet: &[u8], out: &mut dyn Sink) {
        let result = self.inner(now, packet, out);
        self.count(result);
    }

    /// The payload of a UDP datagram to this node's fabric address; decrypted in place.
    pub fn handle_fabric(
        &mut self,
        now: Timestamp,
        remote: SocketAddr,
        packet: &mut [u8],
        out: &mut dyn Sink,
    ) {
        if let Some(spi) = packet.first_chunk::<4>() {
            let home = self.fabric_home(EspSpi(u32::from_be_bytes(*spi)));
            if home != self.config.worker {
                return out.hand_over(home, HandOver::Fabric { remote }, packet);
            }
        }
        let result = self.frame(now, packet, out);
        self.count(result);
    }

    /// A packet that another worker gave to its [`Sink::hand_over`]; decrypted in place.
    pub fn handle_hand_over(
        &mut self,
        now: Timestamp,
        kind: HandOver,
        packet: &mut [u8],
        out: &mut dyn Sink,
    ) {
        let result = match kind {
            HandOver::Udp { local, remote, tos, epoch } => {
                self.handed_outer(now, Outer { local, remote, tos }, epoch, packet, out)
            }
            HandOver::Esp { local, remote, tos, epoch } => {
                let (local, remote) = (SocketAddr::new(local, 0), SocketAddr::new(remote, 0));
                self.handed_outer(now, Outer { local, remote, tos }, epoch, packet, out)
            }
            HandOver::Inner { vip, from, late, epoch } => match self.find_vip(vip) {
                Some(index) if self.is_early(index, epoch) => {
                    self.hold(now, index, HeldKind::Inner(from), late, packet)
                }
                Some(index) => self.inner_of(now, index, from, late, packet, out),
                None => Err(DropReason::UnknownVip),
            },
            HandOver::Fabric { .. } => self.frame(now, packet, out),
        };
        self.count(result);
    }

    fn handed_outer(
        &mut self,
        now: Timestamp,
        outer: Outer,
        epoch: Epoch,
        packet: &mut [u8],
        out: &mut dyn Sink,
    ) -> Result<(), DropReason> {
        let vip = self.vip_of(outer.local.ip()).ok_or(DropReason::UnknownVip)?;
        if self.is_early(vip, epoch) {
            return self.hold(now, vip, HeldKind::Outer(outer), false, packet);
        }
        self.outer(now, vip, outer, false, packet, out)
    }

    /// Keeps a packet until this worker knows what it is to the VIP.
    fn hold(
        &mut self,
        now: Timestamp,
        vip: usize,
        kind: HeldKind,
        late: bool,
        packet: &[u8],
    ) -> Result<(), DropReason> {
        let kept = self.vip(vip)?.held.push(now, kind, late, packet);
        kept.then_some(()).ok_or(DropReason::FreezeFull)
    }

    /// The path MTU to a peer, as the kernel learnt it: bytes of the outer IP packet. Raised to 576
    /// (IPv4) or 1280 (IPv6) when it is less.
    pub fn handle_pmtu(&mut self, now: Timestamp, remote: IpAddr, mtu: u16) {
        if !self.mtus.learn(now, remote, mtu) {
            self.drop_packet(DropReason::MtusFull);
        }
    }

    /// An instruction of the node.
    pub fn handle_command(&mut self, now: Timestamp, command: Command, out: &mut dyn Sink) {
        self.command(now, command, out);
    }

    /// Does what is due. Harmless when nothing is.
    pub fn handle_timeout(&mut self, now: Timestamp, out: &mut dyn Sink) {
        self.timeout(now, out);
    }

    /// When [`Path::handle_timeout`] is due; `None`: not before another input.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        self.next_timeout()
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

    pub(crate) fn count(&mut self, result: Result<(), DropReason>) {
        if let Err(reason) = result {
            self.drop_packet(reason);
        }
    }

    pub(crate) fn drop_packet(&mut self, reason: DropReason) {
        self.drops.count(reason);
        self.timers.drops_changed = true;
    }

    /// A report that may be left out when the node does not keep up.
    pub(crate) fn report(&mut self, report: Report) -> Result<(), DropReason> {
        if self.reports.len() >= self.config.limits.reports {
            return Err(DropReason::ReportsFull);
        }
        self.reports.push_back(report);
        Ok(())
    }

    /// Index of the VIP with this address.
    pub(crate) fn vip_of(&self, address: IpAddr) -> Option<usize> {
        self.find_vip(Vip(address))
    }

    /// Index of a VIP.
    pub(crate) fn find_vip(&self, vip: Vip) -> Option<usize> {
        self.vips.iter().position(|state| state.as_ref().is_some_and(|state| state.vip == vip))
    }

    /// A VIP by an index that [`Path::find_vip`] gave.
    pub(crate) fn vip(&mut self, index: usize) -> Result<&mut VipState, DropReason> {
        self.vips.get_mut(index).and_then(Option::as_mut).ok_or(DropReason::UnknownVip)
    }

    /// The worker that handles frames with this SPI.
    pub(crate) fn fabric_home(&self, spi: EspSpi) -> u16 {
        let home = spi.0 % u32::from(self.config.workers.max(1));
        u16::try_from(home).expect("below a 16-bit number")
    }

    /// Index of a member.
    pub(crate) fn member(&self, node: &NodeName) -> Option<u16> {
        index_of(&self.config.members, node)
    }
}

/// A worker may move to its thread.
const _: fn() = || {
    fn is_send<T: Send>() {}
    is_send::<Path>();
};

fn index_of(members: &[NodeName], node: &NodeName) -> Option<u16> {
    let index = members.iter().position(|member| member == node)?;
    u16::try_from(index).ok()
}

/// A number for the hashers.
pub(crate) fn seed(random: &mut dyn Random) -> u64 {
    let mut bytes = [0; 8];
    random.fill(&mut bytes);
    u64::from_be_bytes(bytes)
}
