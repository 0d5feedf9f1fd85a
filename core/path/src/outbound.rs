//! A packet from inside: found its SA, entered in the connection table, cut or refused when it is
//! too big, sealed (RFC 4301 section 5.1). What no SA covers never leaves.

use crate::counters::DropReason;
use crate::distribute::{flow_of, is_syn};
use crate::ecn;
use crate::fragment::fragment;
use crate::freeze::HeldKind;
use crate::path::Path;
use crate::sink::{HandOver, Route, Sink};
use crate::transport;
use crate::vip::{Gate, VipState};
use core::ops::Range;
use vipsec_distributor::Answer;
use vipsec_esp::{ChildSa, EnterError, Mode, SealError};
use vipsec_wire::fabric::{Header, Kind};
use vipsec_wire::id::Epoch;
use vipsec_wire::ip::{Packet, Tuple, icmp, protocol, tcp};
use vipsec_wire::time::Timestamp;

/// What every IPv6 link carries: a host need not send smaller packets.
const IPV6_MIN_MTU: usize = 1280;

impl Path {
    /// A packet from this node's TUN.
    pub(crate) fn inner(
        &mut self,
        now: Timestamp,
        packet: &[u8],
        out: &mut dyn Sink,
    ) -> Result<(), DropReason> {
        let view = Packet::parse(packet).map_err(|_| DropReason::Malformed)?;
        let vip = self.vip_of_inner(&view.tuple).ok_or(DropReason::NoSa)?;
        let own = self.own;
        self.inner_view(now, vip, Some(own), false, &view, out)
    }

    /// A packet of a known VIP from the TUN of the node `from`, if that is known. `late`: another
    /// node has forwarded it.
    pub(crate) fn inner_of(
        &mut self,
        now: Timestamp,
        vip: usize,
        from: Option<u16>,
        late: bool,
        packet: &[u8],
        out: &mut dyn Sink,
    ) -> Result<(), DropReason> {
        let view = Packet::parse(packet).map_err(|_| DropReason::Malformed)?;
        self.inner_view(now, vip, from, late, &view, out)
    }

    fn inner_view(
        &mut self,
        now: Timestamp,
        vip: usize,
        from: Option<u16>,
        late: bool,
        packet: &Packet<'_>,
        out: &mut dyn Sink,
    ) -> Result<(), DropReason> {
        let own = self.own;
        let state = self.vip(vip)?;
        match state.gate_inner() {
            Gate::Open(epoch) => self.inner_as_owner(now, vip, epoch, (from, late), packet, out),
            Gate::Hold => {
                let kept = state.held.push(now, HeldKind::Inner(from), late, packet.bytes());
                kept.then_some(()).ok_or(DropReason::FreezeFull)
            }
            Gate::Forward(_) if late => Err(DropReason::Hops),
            Gate::Forward(owner) => {
                let kind = if from == Some(own) { Kind::ToOwner } else { Kind::LateInner };
                self.forward_inner(now, vip, owner, kind, packet, out)
            }
        }
    }

    /// Gives a packet from inside to the owner.
    fn forward_inner(
        &mut self,
        now: Timestamp,
        vip: usize,
        owner: u16,
        kind: Kind,
        packet: &Packet<'_>,
        out: &mut dyn Sink,
    ) -> Result<(), DropReason> {
        let state = self.vip(vip)?;
        if kind == Kind::ToOwner
            && state.distributor.is_ours(packet.tuple.source)
            && let Some((flow, segment)) = flow_of(packet, false)
        {
            // A full table costs a report after the next takeover, not the packet.
            let _ = state.distributor.send(now, &flow, segment);
        }
        let header = Header { kind, vip: state.vip, epoch: state.epoch() };
        self.fabric.send(now, owner, &header, &[packet.bytes()], &mut self.ivs, out)
    }

    /// Which VIP a packet from the TUN belongs to: that of its source address, or else the one with
    /// an SA for it. A node that does not own need not know all SAs, least of all when it has just
    /// started: there the configured prefixes count as well.
    fn vip_of_inner(&self, tuple: &Tuple) -> Option<usize> {
        let states = || (0..).zip(&self.vips).filter_map(|(i, state)| Some((i, state.as_ref()?)));
        let mut ours = states().filter(|(_, state)| state.distributor.is_ours(tuple.source));
        match ours.next() {
            Some((index, state)) => {
                let goes = state.is_owner()
                    || state.traps.covers(tuple)
                    || state.is_protected(tuple.destination)
                    || state.spd.find(tuple).is_some();
                goes.then_some(index)
            }
            None => {
                let mut covered = states().filter(|(_, state)| state.spd.find(tuple).is_some());
                let mut trapped = states().filter(|(_, state)| state.traps.covers(tuple));
                let configured = |(_, state): &(usize, &VipState)| {
                    !state.is_owner() && state.reaches(tuple.destination)
                };
                let found = covered.next().or_else(|| trapped.next());
                let found = found.or_else(|| states().find(configured));
                found.map(|(index, _)| index)
            }
        }
    }

    fn inner_as_owner(
        &mut self,
        now: Timestamp,
        vip: usize,
        epoch: Epoch,
        (from, late): (Option<u16>, bool),
        packet: &Packet<'_>,
        out: &mut dyn Sink,
    ) -> Result<(), DropReason> {
        let (own, worker) = (self.own, self.config.worker);
        let state = self.vip(vip)?;
        let name = state.vip;
        let ours = state.distributor.is_ours(packet.tuple.source);
        if from != Some(own) && !ours && state.distributor.is_ours(packet.tuple.destination) {
            // It came out of a tunnel at the former owner and found no connection there.
            let home = self.worker_of(vip, &packet.tuple.reversed()).unwrap_or(worker);
            if home != worker {
                let kind = HandOver::Inner { vip: name, from, late, epoch };
                out.hand_over(home, kind, packet.bytes());
                return Ok(());
            }
            return self.distribute(now, vip, &mut packet.bytes().to_vec(), out);
        }
        let Some(slot) = state.spd.find(&packet.tuple) else {
            return self.trap(now, vip, from, late, packet);
        };
        let home = self.sad.get(slot).ok_or(DropReason::NoSa)?.home;
        if home != worker {
            let kind = HandOver::Inner { vip: name, from, late, epoch };
            out.hand_over(home, kind, packet.bytes());
            return Ok(());
        }
        if ours {
            self.enter_connection(now, vip, from, packet, out)?;
        }
        let result = self.protect(now, slot, epoch, from, packet, out);
        self.mark_dirty(now, slot);
        if result == Err(DropReason::Expired) || result == Err(DropReason::Exhausted) {
            self.check_expiry(now, slot);
        }
        result
    }

    fn enter_connection(
        &mut self,
        now: Timestamp,
        vip: usize,
        from: Option<u16>,
        packet: &Packet<'_>,
        out: &mut dyn Sink,
    ) -> Result<(), DropReason> {
        let Some((flow, segment)) = flow_of(packet, false) else { return Ok(()) };
        let state = self.vip(vip)?;
        let distributor = &mut state.distributor;
        // Two targets have opened the same connection from the VIP: the second is told, so that its
        // application fails at once and tries again from another port.
        let opens = segment.opens() && !distributor.is_service(&flow);
        let news = state.waiting.len() > 0 && distributor.holder(&flow).is_none();
        let answer = match from {
            Some(from) => distributor.answer(now, &flow, segment, from),
            None => distributor.late_answer(now, &flow, segment),
        };
        if news {
            self.retry_waiting(now, vip, out);
        }
        match answer {
            Answer::Pass => Ok(()),
            Answer::WrongTarget => {
                if opens && from.is_some() {
                    let to = packet.tuple.destination;
                    let answer = icmp::unreachable(to, packet.bytes(), icmp::Unreachable::Port);
                    self.answer_inside(now, vip, from, true, answer.as_deref(), out)?;
                }
                Err(DropReason::WrongTarget)
            }
            Answer::Unknown => Err(DropReason::UnknownConnection),
            Answer::Full => Err(DropReason::TableFull),
        }
    }

    /// Seals a packet, in parts if need be and allowed.
    fn protect(
        &mut self,
        now: Timestamp,
        slot: u32,
        epoch: Epoch,
        from: Option<u16>,
        packet: &Packet<'_>,
        out: &mut dyn Sink,
    ) -> Result<(), DropReason> {
        let sa = self.sad.get_mut(slot).ok_or(DropReason::NoSa)?;
        let (vip, constant) = (sa.vip, &*sa.constant);
        let live = sa.live.as_deref_mut().ok_or(DropReason::NoSa)?;
        live.enter_outbound(epoch, self.random.as_mut()).map_err(|error| match error {
            EnterError::Stale => DropReason::NotOwner,
            EnterError::Exhausted => DropReason::Exhausted,
        })?;
        let room = live.room(now, constant, &self.mtus);
        let length = packet.bytes().len();
        let is_ipv4 = packet.tuple.source.is_ipv4();
        if length <= room || (!is_ipv4 && length <= IPV6_MIN_MTU) {
            return self.seal(now, slot, packet, room, out);
        }
        if packet.dont_fragment {
            let mtu = if is_ipv4 { room } else { room.max(IPV6_MIN_MTU) };
            return self.too_big(now, vip, from, packet, mtu, out);
        }
        if constant.mode == Mode::Transport {
            // Fragments follow ESP here.
            return self.seal(now, slot, packet, room, out);
        }
        let mut part = core::mem::take(&mut self.scratch);
        let mut result = Ok(());
        let cut = fragment(packet.bytes(), room, &mut part, |part| {
            let sealed = Packet::parse(part)
                .map_err(|_| DropReason::Malformed)
                .and_then(|part| self.seal(now, slot, &part, room, out));
            if result.is_ok() {
                result = sealed;
            }
        });
        self.scratch = part;
        if cut { result } else { Err(DropReason::TooBig) }
    }

    fn seal(
        &mut self,
        now: Timestamp,
        slot: u32,
        packet: &Packet<'_>,
        room: usize,
        out: &mut dyn Sink,
    ) -> Result<(), DropReason> {
        let sa = self.sad.get_mut(slot).ok_or(DropReason::NoSa)?;
        let mss_max = self.vips[sa.vip].as_ref().and_then(|vip| vip.mss_max);
        let live = sa.live.as_deref_mut().ok_or(DropReason::NoSa)?;
        let (next_header, content) = content(packet, sa.constant.mode)?;
        let syn_at = packet.transport_at.checked_sub(content.start).filter(|_| is_syn(packet));
        let clamp = syn_at.map(|at| {
            let room = room.min(usize::from(self.config.limits.inner_mtu));
            (at, mss(room, packet.tuple.source.is_ipv4(), mss_max))
        });
        let bytes = &packet.bytes()[content];
        let max = live.outbound.sealed_length(bytes.len());
        let at = live.outbound.payload_offset();
        let (outbound, ivs) = (&mut live.outbound, &mut self.ivs);
        let mut failure = None;
        // What need not, or must not, be cut inside is cut outside (RFC 4301 section 7).
        let may_fragment = packet.bytes().len() > room;
        let route = route(&sa.constant, packet.traffic_class, may_fragment);
        out.emit(route, max, &mut |place| {
            let Some(payload) = place.get_mut(at..at + bytes.len()) else { return 0 };
            payload.copy_from_slice(bytes);
            if let Some((at, limit)) = clamp {
                tcp::clamp_mss(&mut payload[at..], limit);
            }
            match outbound.seal(now, next_header, place, bytes.len(), ivs) {
                Ok(length) => length,
                Err(error) => {
                    failure = Some(error);
                    0
                }
            }
        });
        match failure {
            None => Ok(()),
            Some(SealError::Expired) => Err(DropReason::Expired),
            Some(SealError::Exhausted) => Err(DropReason::Exhausted),
            Some(SealError::NotEntered) => Err(DropReason::NotOwner),
            Some(SealError::NoRoom) => Err(DropReason::TooBig),
        }
    }

    /// Tells the sender of a packet what would fit (RFC 4301 section 8.2.1). The answer comes from
    /// the address that the packet was for, so that it is routed like an answer of the peer.
    fn too_big(
        &mut self,
        now: Timestamp,
        vip: usize,
        from: Option<u16>,
        packet: &Packet<'_>,
        mtu: usize,
        out: &mut dyn Sink,
    ) -> Result<(), DropReason> {
        let mtu = u32::try_from(mtu).unwrap_or(u32::MAX);
        let Some(answer) = icmp::too_big(packet.tuple.destination, packet.bytes(), mtu) else {
            return Err(DropReason::TooBig);
        };
        let ours = self.vip(vip)?.distributor.is_ours(packet.tuple.source);
        self.answer_inside(now, vip, from, ours, Some(&answer), out)?;
        Err(DropReason::TooBig)
    }

    /// Gives the sender of a packet from inside an answer; `ours`: it has sent it from an address of
    /// the VIP, and may be another node.
    fn answer_inside(
        &mut self,
        now: Timestamp,
        vip: usize,
        from: Option<u16>,
        ours: bool,
        answer: Option<&[u8]>,
        out: &mut dyn Sink,
    ) -> Result<(), DropReason> {
        let Some(answer) = answer else { return Ok(()) };
        match from {
            Some(from) if ours && from != self.own => {
                self.send_to_target(now, vip, from, answer, out)
            }
            _ => {
                out.inner(answer);
                Ok(())
            }
        }
    }

    /// The largest segment that fits through the SA for a packet; `None` when there is none.
    pub(crate) fn mss_limit(
        &mut self,
        now: Timestamp,
        vip: usize,
        outbound: &Tuple,
    ) -> Option<u16> {
        let state = self.vips.get(vip)?.as_ref()?;
        let slot = state.spd.find(outbound)?;
        let sa = self.sad.get_mut(slot)?;
        let room = sa.live.as_deref_mut()?.room(now, &sa.constant, &self.mtus);
        let room = room.min(usize::from(self.config.limits.inner_mtu));
        Some(mss(room, outbound.source.is_ipv4(), state.mss_max))
    }
}

/// The maximum segment size for packets of at most `room` bytes (RFC 6691).
fn mss(room: usize, is_ipv4: bool, configured: Option<u16>) -> u16 {
    let headers = if is_ipv4 { 40 } else { 60 };
    let fits = u16::try_from(room.saturating_sub(headers)).unwrap_or(u16::MAX);
    fits.min(configured.unwrap_or(u16::MAX))
}

/// What of a packet goes into ESP, and as which next header.
fn content(packet: &Packet<'_>, mode: Mode) -> Result<(u8, Range<usize>), DropReason> {
    match mode {
        Mode::Transport => transport::payload(packet).ok_or(DropReason::NextHeader),
        Mode::Tunnel if packet.tuple.source.is_ipv4() => {
            Ok((protocol::IPV4, 0..packet.bytes().len()))
        }
        Mode::Tunnel => Ok((protocol::IPV6, 0..packet.bytes().len())),
    }
}

fn route(sa: &ChildSa, traffic_class: u8, may_fragment: bool) -> Route {
    let endpoints = &sa.endpoints;
    let tos = ecn::encapsulate(traffic_class);
    //= RFC 7296 section 2.23 #6: in UDP where there is a NAT
    if endpoints.encapsulated {
        Route::Udp { local: endpoints.local, remote: endpoints.remote, tos, may_fragment }
    } else {
        let (local, remote) = (endpoints.local.ip(), endpoints.remote.ip());
        Route::Esp { local, remote, tos, may_fragment }
    }
}
