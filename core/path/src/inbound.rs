//! A packet from outside: IKE to the node, ESP opened in place, checked against the selectors of
//! its SA, and given to distribution (RFC 4301 section 5.2).

use crate::counters::DropReason;
use crate::ecn;
use crate::freeze::{HeldKind, Outer};
use crate::path::Path;
use crate::report::Report;
use crate::sink::{HandOver, Sink};
use crate::spd;
use crate::transport;
use crate::vip::Gate;
use core::ops::Range;
use vipsec_esp::{EnterError, EspError, Expiry, Mode, NEXT_HEADER_DUMMY, Opened};
use vipsec_wire::esp::{IKE_PORT, NON_ESP_MARKER};
use vipsec_wire::fabric::{Header, Kind};
use vipsec_wire::id::{Epoch, EspSpi};
use vipsec_wire::ip::{Packet, protocol, set_traffic_class};
use vipsec_wire::time::Timestamp;

impl Path {
    /// A UDP payload or a plain ESP packet for a VIP. `late`: another node has forwarded it.
    pub(crate) fn outer(
        &mut self,
        now: Timestamp,
        vip: usize,
        outer: Outer,
        late: bool,
        packet: &mut [u8],
        out: &mut dyn Sink,
    ) -> Result<(), DropReason> {
        let state = self.vip(vip)?;
        match state.gate_outer(now) {
            Gate::Open(epoch) => self.outer_as_owner(now, vip, epoch, outer, packet, out),
            Gate::Hold => {
                let kept = state.held.push(now, HeldKind::Outer(outer), late, packet);
                kept.then_some(()).ok_or(DropReason::FreezeFull)
            }
            Gate::Forward(_) if late => Err(DropReason::Hops),
            Gate::Forward(node) => self.forward_outer(now, vip, node, outer, packet, out),
        }
    }

    /// Gives a late packet to the owner.
    pub(crate) fn forward_outer(
        &mut self,
        now: Timestamp,
        vip: usize,
        node: u16,
        outer: Outer,
        packet: &[u8],
        out: &mut dyn Sink,
    ) -> Result<(), DropReason> {
        let state = self.vip(vip)?;
        let header = Header { kind: Kind::LateOuter, vip: state.vip, epoch: state.epoch() };
        let parts = [&outer.late().emit()[..], packet];
        self.fabric.send(now, node, &header, &parts, &mut self.ivs, out)
    }

    fn outer_as_owner(
        &mut self,
        now: Timestamp,
        vip: usize,
        epoch: Epoch,
        outer: Outer,
        packet: &mut [u8],
        out: &mut dyn Sink,
    ) -> Result<(), DropReason> {
        if outer.local.port() == IKE_PORT {
            return self.ike(vip, outer, packet);
        }
        match packet.split_first_chunk::<4>() {
            None => Err(DropReason::Malformed),
            Some((&NON_ESP_MARKER, message)) if !outer.is_plain_esp() => {
                self.ike(vip, outer, message)
            }
            Some((&spi, _)) => {
                let spi = EspSpi(u32::from_be_bytes(spi));
                //= RFC 7296 section 2.8.1 #1: by its SPI, whatever other SA is for the same traffic
                //= RFC 7296 section 2.23 #5: with UDP around it and without
                //= RFC 7296 section 2.23 #11: whether there is a NAT or not
                let slot = self.sad.find(vip, spi).ok_or(DropReason::UnknownSpi)?;
                self.esp(now, slot, epoch, outer, packet, out)
            }
        }
    }

    fn ike(&mut self, vip: usize, outer: Outer, message: &[u8]) -> Result<(), DropReason> {
        let vip = self.vip(vip)?.vip;
        let Outer { local, remote, .. } = outer;
        self.report(Report::Ike { vip, local, remote, message: message.to_vec() })
    }

    fn esp(
        &mut self,
        now: Timestamp,
        slot: u32,
        epoch: Epoch,
        outer: Outer,
        packet: &mut [u8],
        out: &mut dyn Sink,
    ) -> Result<(), DropReason> {
        let sa = self.sad.get(slot).ok_or(DropReason::UnknownSpi)?;
        if sa.home != self.config.worker {
            out.hand_over(sa.home, hand_over(outer, epoch), packet);
            return Ok(());
        }
        let vip = sa.vip;
        let opened = match self.open(now, slot, epoch, packet) {
            Ok(opened) => opened,
            Err(error) => return Err(self.not_opened(now, slot, epoch, error)),
        };
        self.opened(now, slot, &opened, outer);
        if opened.next_header == NEXT_HEADER_DUMMY {
            return Ok(());
        }
        match self.sad.get(slot).map(|sa| sa.constant.mode) {
            Some(Mode::Tunnel) => {
                let payload = &mut packet[opened.payload];
                let length = self.tunnelled(slot, opened.next_header, outer.tos, payload)?;
                self.distribute(now, vip, &mut payload[..length], out)
            }
            Some(Mode::Transport) => {
                let mut whole = core::mem::take(&mut self.scratch);
                let result = self.transported(now, slot, &opened, outer, packet, &mut whole, out);
                self.scratch = whole;
                result
            }
            None => Err(DropReason::UnknownSpi),
        }
    }

    fn open(
        &mut self,
        now: Timestamp,
        slot: u32,
        epoch: Epoch,
        packet: &mut [u8],
    ) -> Result<Opened, EspError> {
        let Some(sa) = self.sad.get_mut(slot) else { return Err(EspError::NotEntered) };
        let replay = self.vips[sa.vip].as_ref().map_or_else(Default::default, |vip| vip.replay);
        let Some(live) = sa.live.as_deref_mut() else { return Err(EspError::NotEntered) };
        match live.enter_inbound(epoch, replay) {
            Ok(()) => live.inbound.open(now, packet),
            Err(EnterError::Exhausted) => Err(EspError::Expired),
            Err(EnterError::Stale) => Err(EspError::NotEntered),
        }
    }

    /// Counts, and asks for a rekey where the error means that one is due.
    fn not_opened(
        &mut self,
        now: Timestamp,
        slot: u32,
        epoch: Epoch,
        error: EspError,
    ) -> DropReason {
        match error {
            EspError::Truncated | EspError::Padding => DropReason::Malformed,
            EspError::Replayed | EspError::OutsideWindow => DropReason::Replayed,
            EspError::NotAuthentic => DropReason::Unauthentic,
            EspError::NotEntered => DropReason::NotOwner,
            EspError::AwaitingRekey => {
                self.tell_expiry(slot, epoch, Expiry::Soft);
                DropReason::StrictReplay
            }
            EspError::Expired => {
                self.check_expiry(now, slot);
                DropReason::Expired
            }
        }
    }

    /// Takes note of an authentic packet: the SA has traffic, sends if it waited for this, and the
    /// peer may have moved.
    fn opened(&mut self, now: Timestamp, slot: u32, opened: &Opened, outer: Outer) {
        self.mark_dirty(now, slot);
        let Some(sa) = self.sad.get_mut(slot) else { return };
        if !sa.active {
            self.activate(now, slot);
        }
        let Some(sa) = self.sad.get_mut(slot) else { return };
        let Some(live) = sa.live.as_deref_mut() else { return };
        let endpoints = &sa.constant.endpoints;
        let moved = endpoints.encapsulated
            && !outer.is_plain_esp()
            && outer.remote != endpoints.remote
            && opened.sequence == live.inbound.edge();
        if !moved || live.mapping_told == Some(outer.remote) {
            return;
        }
        live.mapping_told = Some(outer.remote);
        let ike = sa.constant.ike;
        if let Some(vip) = self.vips[sa.vip].as_ref().map(|vip| vip.vip) {
            let told = self.report(Report::Mapping { vip, ike, remote: outer.remote });
            self.count(told);
        }
    }

    /// Checks a tunnelled packet and sets its traffic class; returns its length without padding.
    fn tunnelled(
        &self,
        slot: u32,
        next_header: u8,
        tos: u8,
        payload: &mut [u8],
    ) -> Result<usize, DropReason> {
        let packet = Packet::parse(payload).map_err(|_| DropReason::Malformed)?;
        let expected = if packet.tuple.source.is_ipv4() { protocol::IPV4 } else { protocol::IPV6 };
        if next_header != expected {
            return Err(DropReason::NextHeader);
        }
        self.check_selectors(slot, &packet)?;
        let (before, length) = (packet.traffic_class, packet.bytes().len());
        //= RFC 7296 section 2.24 #2: no mark is lost
        let class = ecn::decapsulate(before, tos).ok_or(DropReason::Congestion)?;
        if class != before {
            set_traffic_class(payload, class);
        }
        Ok(length)
    }

    fn transported(
        &mut self,
        now: Timestamp,
        slot: u32,
        opened: &Opened,
        outer: Outer,
        packet: &[u8],
        whole: &mut Vec<u8>,
        out: &mut dyn Sink,
    ) -> Result<(), DropReason> {
        let Range { start, end } = opened.payload;
        let vip = self.sad.get(slot).ok_or(DropReason::UnknownSpi)?.vip;
        transport::rebuild(outer, opened.next_header, &packet[start..end], whole)?;
        let rebuilt = Packet::parse(whole).map_err(|_| DropReason::Malformed)?;
        self.check_selectors(slot, &rebuilt)?;
        self.distribute(now, vip, whole, out)
    }

    /// The inner packet must be one that the peer may send through this SA (RFC 4301 section 5.2,
    /// step 4).
    fn check_selectors(&self, slot: u32, packet: &Packet<'_>) -> Result<(), DropReason> {
        let sa = self.sad.get(slot).ok_or(DropReason::UnknownSpi)?;
        let outbound = packet.tuple.reversed();
        if spd::covers(&sa.constant.local, &sa.constant.remote, &outbound) {
            Ok(())
        } else {
            Err(DropReason::Selector)
        }
    }
}

fn hand_over(outer: Outer, epoch: Epoch) -> HandOver {
    let Outer { local, remote, tos } = outer;
    if outer.is_plain_esp() {
        HandOver::Esp { local: local.ip(), remote: remote.ip(), tos, epoch }
    } else {
        HandOver::Udp { local, remote, tos, epoch }
    }
}
