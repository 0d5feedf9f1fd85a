//! Frames from other nodes: a target's answers, an owner's packets for this node's applications,
//! late packets of a former owner, heartbeats.
//!
//! Epochs: an owner that has been followed by another is not obeyed, so a `ToTarget` of a lower
//! epoch is dropped. What goes *to* the owner is taken in any epoch, because its content is checked
//! like that of any packet (selectors, connection, window): only so does a quick transfer back lose
//! nothing. What comes with a higher epoch than the known one is kept for the moment until this
//! node knows that it is the owner.

use crate::counters::DropReason;
use crate::distribute::flow_of;
use crate::freeze::{HeldKind, Outer};
use crate::path::Path;
use crate::report::Report;
use crate::sink::Sink;
use core::net::SocketAddr;
use vipsec_wire::fabric::{Header, Kind, LateOuter};
use vipsec_wire::id::Epoch;
use vipsec_wire::ip::Packet;
use vipsec_wire::time::Timestamp;

impl Path {
    /// A frame whose key is at this worker.
    pub(crate) fn frame(
        &mut self,
        now: Timestamp,
        packet: &mut [u8],
        out: &mut dyn Sink,
    ) -> Result<(), DropReason> {
        let frame = self.fabric.open(now, packet)?;
        if frame.confirmed {
            let node = self.config.members[usize::from(frame.from)].clone();
            self.reports.push_back(Report::FabricConfirmed { node });
        }
        let content = &mut packet[frame.content];
        let (header, body) = Header::parse(content).map_err(|_| DropReason::FabricMalformed)?;
        if header.kind == Kind::Heartbeat {
            return self.heartbeat(frame.from, body);
        }
        let at = content.len() - body.len();
        let body = &mut content[at..];
        let vip = self.find_vip(header.vip).ok_or(DropReason::UnknownVip)?;
        match header.kind {
            Kind::ToTarget => self.for_target(now, vip, &header, body, out),
            Kind::ToOwner => self.for_owner(now, vip, &header, frame.from, body, out),
            Kind::LateInner => self.for_owner(now, vip, &header, frame.from, body, out),
            Kind::LateOuter => self.late_outer(now, vip, &header, body, out),
            Kind::Heartbeat => Ok(()),
        }
    }

    fn heartbeat(&mut self, from: u16, payload: &[u8]) -> Result<(), DropReason> {
        if payload.is_empty() {
            return Ok(());
        }
        let from = self.config.members[usize::from(from)].clone();
        self.report(Report::Heartbeat { from, payload: payload.to_vec() })
    }

    /// A packet for an application of this node.
    fn for_target(
        &mut self,
        now: Timestamp,
        vip: usize,
        header: &Header,
        packet: &[u8],
        out: &mut dyn Sink,
    ) -> Result<(), DropReason> {
        let state = self.vip(vip)?;
        if header.epoch < state.epoch() {
            return Err(DropReason::LowerEpoch);
        }
        let view = Packet::parse(packet).map_err(|_| DropReason::FabricMalformed)?;
        if !state.distributor.is_ours(view.tuple.destination) {
            return Err(DropReason::FabricMalformed);
        }
        if let Some((flow, segment)) = flow_of(&view, true) {
            // A full table costs a report after the next takeover, not the packet.
            let _ = state.distributor.receive(now, &flow, segment);
        }
        out.inner(view.bytes());
        Ok(())
    }

    /// A packet to be sealed.
    fn for_owner(
        &mut self,
        now: Timestamp,
        vip: usize,
        header: &Header,
        from: u16,
        packet: &[u8],
        out: &mut dyn Sink,
    ) -> Result<(), DropReason> {
        let late = header.kind == Kind::LateInner;
        // Who first sent a late packet is not known.
        let from = (!late).then_some(from);
        if self.is_early(vip, header.epoch) {
            let kept = self.vip(vip)?.held.push(now, HeldKind::Inner(from), late, packet);
            return kept.then_some(()).ok_or(DropReason::FreezeFull);
        }
        self.inner_of(now, vip, from, late, packet, out)
    }

    /// A packet from outside that reached a former owner.
    fn late_outer(
        &mut self,
        now: Timestamp,
        vip: usize,
        header: &Header,
        body: &mut [u8],
        out: &mut dyn Sink,
    ) -> Result<(), DropReason> {
        let (late, rest) = LateOuter::parse(body).map_err(|_| DropReason::FabricMalformed)?;
        let at = body.len() - rest.len();
        let outer = Outer {
            local: SocketAddr::new(header.vip.0, late.local_port),
            remote: late.remote,
            tos: late.traffic_class,
        };
        let packet = &mut body[at..];
        if self.is_early(vip, header.epoch) {
            let kept = self.vip(vip)?.held.push(now, HeldKind::Outer(outer), true, packet);
            return kept.then_some(()).ok_or(DropReason::FreezeFull);
        }
        self.outer(now, vip, outer, true, packet, out)
    }

    /// Whether somebody takes this node for the owner of an epoch that this worker does not know of
    /// yet.
    pub(crate) fn is_early(&self, vip: usize, epoch: Epoch) -> bool {
        let state = self.vips.get(vip).and_then(Option::as_ref);
        state.is_some_and(|state| !state.is_owner() && epoch > state.epoch())
    }
}
