//! A decrypted packet at the owner: to this node's kernel, to the target of its connection, or into
//! the queue of packets whose connection is not known yet.

use crate::counters::DropReason;
use crate::fragment::FragmentKey;
use crate::path::Path;
use crate::sink::Sink;
use crate::vip::VipState;
use core::net::SocketAddr;
use vipsec_distributor::{AssignError, Placement, Segment};
use vipsec_wire::cluster::{Flow, Protocol};
use vipsec_wire::fabric::{Header, Kind};
use vipsec_wire::ip::{Packet, Tuple, protocol, tcp};
use vipsec_wire::time::Timestamp;

/// What the distributor must know of a packet; `None` for what is not TCP or UDP, and for fragments
/// but the first. `inbound`: it goes to the VIP, not from it.
pub(crate) fn flow_of(packet: &Packet<'_>, inbound: bool) -> Option<(Flow, Segment)> {
    let (flow, protocol) = flow_of_tuple(&packet.tuple, inbound)?;
    let segment = match protocol {
        Protocol::Udp => Segment::Udp,
        Protocol::Tcp => Segment::Tcp(*packet.transport().get(13)?),
    };
    Some((flow, segment))
}

fn flow_of_tuple(tuple: &Tuple, inbound: bool) -> Option<(Flow, Protocol)> {
    let protocol = Protocol::from_number(tuple.protocol)?;
    let (source_port, destination_port) = tuple.ports?;
    let source = SocketAddr::new(tuple.source, source_port);
    let destination = SocketAddr::new(tuple.destination, destination_port);
    let (local, peer) = if inbound { (destination, source) } else { (source, destination) };
    Some((Flow { protocol, local, peer }, protocol))
}

/// Where an inbound packet goes.
enum Verdict {
    Node(u16),
    /// Maybe later.
    Wait,
    Drop(DropReason),
}

impl Path {
    /// A packet that came out of a tunnel, checked.
    pub(crate) fn distribute(
        &mut self,
        now: Timestamp,
        vip: usize,
        packet: &mut [u8],
        out: &mut dyn Sink,
    ) -> Result<(), DropReason> {
        let mut view = Packet::parse(packet).map_err(|_| DropReason::Malformed)?;
        if is_syn(&view) {
            let (outbound, at) = (view.tuple.reversed(), view.transport_at);
            self.clamp_inbound(now, vip, &outbound, &mut packet[at..]);
            view = Packet::parse(packet).map_err(|_| DropReason::Malformed)?;
        }
        let waiting_s = self.config.limits.waiting;
        let own = self.own;
        let state = self.vip(vip)?;
        if !state.distributor.is_ours(view.tuple.destination) {
            out.inner(packet);
            return Ok(());
        }
        match verdict(state, now, &view, false) {
            Verdict::Node(node) if node == own => {
                out.inner(packet);
                Ok(())
            }
            Verdict::Node(node) => self.send_to_target(now, vip, node, packet, out),
            Verdict::Drop(reason) => Err(reason),
            Verdict::Wait => {
                let kept = state.waiting.push(now + waiting_s, packet);
                kept.then_some(()).ok_or(DropReason::WaitingFull)
            }
        }
    }

    /// Looks at the waiting packets again, after news of connections or when some have waited long
    /// enough.
    pub(crate) fn retry_waiting(&mut self, now: Timestamp, vip: usize, out: &mut dyn Sink) {
        let Ok(state) = self.vip(vip) else { return };
        if state.frozen {
            return;
        }
        for _ in 0..state.waiting.len() {
            let Ok(state) = self.vip(vip) else { return };
            let Some((deadline, packet)) = state.waiting.pop() else { return };
            let result = self.retry(now, vip, deadline, &packet, out);
            self.count(result);
        }
    }

    fn retry(
        &mut self,
        now: Timestamp,
        vip: usize,
        deadline: Timestamp,
        packet: &[u8],
        out: &mut dyn Sink,
    ) -> Result<(), DropReason> {
        let view = Packet::parse(packet).map_err(|_| DropReason::Malformed)?;
        let own = self.own;
        let state = self.vip(vip)?;
        match verdict(state, now, &view, deadline <= now) {
            Verdict::Node(node) if node == own => {
                out.inner(packet);
                Ok(())
            }
            Verdict::Node(node) => self.send_to_target(now, vip, node, packet, out),
            Verdict::Drop(reason) => Err(reason),
            Verdict::Wait => {
                let kept = state.waiting.push(deadline, packet);
                kept.then_some(()).ok_or(DropReason::WaitingFull)
            }
        }
    }

    /// Sends a packet to another node that is its target.
    pub(crate) fn send_to_target(
        &mut self,
        now: Timestamp,
        vip: usize,
        node: u16,
        packet: &[u8],
        out: &mut dyn Sink,
    ) -> Result<(), DropReason> {
        let state = self.vip(vip)?;
        let header = Header { kind: Kind::ToTarget, vip: state.vip, epoch: state.epoch() };
        self.fabric.send(now, node, &header, &[packet], &mut self.ivs, out)
    }

    /// Lowers the maximum segment size that a peer's SYN announces to what fits through the tunnel
    /// on the way back.
    fn clamp_inbound(&mut self, now: Timestamp, vip: usize, outbound: &Tuple, segment: &mut [u8]) {
        if let Some(limit) = self.mss_limit(now, vip, outbound) {
            tcp::clamp_mss(segment, limit);
        }
    }
}

/// Whether a packet is a TCP segment with SYN.
pub(crate) fn is_syn(packet: &Packet<'_>) -> bool {
    packet.tuple.protocol == protocol::TCP
        && packet.tuple.ports.is_some()
        && packet.transport().get(13).is_some_and(|flags| flags & tcp::Flags::SYN.0 != 0)
}

/// Decides on a packet to an address of the VIP. `waited`: it has waited as long as it may.
fn verdict(state: &mut VipState, now: Timestamp, packet: &Packet<'_>, waited: bool) -> Verdict {
    if packet.is_later_fragment() {
        return fragment_verdict(state, now, packet, waited);
    }
    let Some((flow, segment)) = flow_of(packet, true) else {
        return Verdict::Node(holder_of_quoted(state, packet));
    };
    let verdict = flow_verdict(state, now, &flow, segment, waited);
    if let (Verdict::Node(node), Some(key)) = (&verdict, FragmentKey::of(packet)) {
        state.fragments.remember(now, key, *node);
    }
    verdict
}

fn flow_verdict(
    state: &mut VipState,
    now: Timestamp,
    flow: &Flow,
    segment: Segment,
    waited: bool,
) -> Verdict {
    let opens = match state.distributor.place(now, flow, segment) {
        Placement::Known(node) => return Verdict::Node(node),
        Placement::Unknown { opens } => opens,
    };
    if state.reconcile.is_open(now) && !waited {
        return Verdict::Wait;
    }
    // A segment in the middle of an unknown connection is nobody's, unless nobody but this node can
    // have it.
    if !opens && !state.distributor.other_targets().is_empty() {
        return Verdict::Drop(DropReason::UnknownConnection);
    }
    match state.distributor.assign(now, flow, segment) {
        Ok(node) => Verdict::Node(node),
        Err(AssignError::NoTarget) => Verdict::Drop(DropReason::NoTarget),
        Err(AssignError::Full(_)) => Verdict::Drop(DropReason::TableFull),
    }
}

/// A part without ports goes where the first part went.
fn fragment_verdict(
    state: &VipState,
    now: Timestamp,
    packet: &Packet<'_>,
    waited: bool,
) -> Verdict {
    let place = FragmentKey::of(packet).and_then(|key| state.fragments.place(now, &key));
    match place {
        Some(node) => Verdict::Node(node),
        None if waited => Verdict::Drop(DropReason::UnknownFragment),
        None => Verdict::Wait,
    }
}

/// An ICMP error goes to who has the connection that it speaks of, everything else to this node.
fn holder_of_quoted(state: &VipState, packet: &Packet<'_>) -> u16 {
    let quoted = packet.quoted();
    let flow = quoted.and_then(|quoted| flow_of_tuple(&quoted.tuple, false));
    let holder = flow.and_then(|(flow, _)| state.distributor.holder(&flow));
    holder.unwrap_or(state.distributor.own())
}
