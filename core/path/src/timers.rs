//! What a worker does by time: the reports of edges, counters and connections, heartbeats,
//! lifetimes, and the ends of waits. All work is cut into pieces of bounded size.

use crate::counters::DropReason;
use crate::path::Path;
use crate::report::{Report, SaCounters};
use crate::sink::Sink;
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use vipsec_esp::{Expiry, Replay};
use vipsec_wire::cluster::CONNECTIONS_MAX;
use vipsec_wire::fabric::{Header, Kind};
use vipsec_wire::id::{Epoch, EspSpi, Vip};
use vipsec_wire::time::Timestamp;

/// Connections that are looked at for their age in one go.
const EXPIRE_BUDGET: usize = 1024;
/// SAs whose counters go into one report.
const COUNTERS_MAX: usize = 1024;
/// When the lifetime of an SA, or the NAT before it, is looked at again if this node is not its
/// owner.
pub(crate) const NOT_OWNER_AGAIN: Duration = Duration::from_secs(5);

/// What is due when.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    /// The next short tick.
    tick: Option<Timestamp>,
    last_tick: Timestamp,
    /// The next report of counters and drops.
    long_tick: Option<Timestamp>,
    /// SAs with traffic since the last tick.
    dirty: VecDeque<u32>,
    /// SAs with traffic since the last report of counters.
    counted: VecDeque<u32>,
    pub(crate) drops_changed: bool,
    /// Where the look at inherited SAs goes on.
    pub(crate) inherited: Option<u32>,
    pub(crate) heartbeat: Heartbeat,
    /// When the lifetime in seconds of which SA is to be looked at.
    lifetimes: BTreeSet<(Timestamp, u32)>,
    /// The same by SA, so that one that is gone is not looked at.
    watched: BTreeMap<u32, Timestamp>,
    /// Replaced SAs, and until when they are received on.
    pub(crate) lingering: VecDeque<(Timestamp, u32)>,
}

/// What is sent to the other nodes.
#[derive(Debug, Default)]
pub(crate) struct Heartbeat {
    pub(crate) payload: Vec<u8>,
    pub(crate) interval: Duration,
    pub(crate) next: Option<Timestamp>,
}

impl Timers {
    /// Makes sure that the short tick comes, at most one an interval.
    pub(crate) fn arm(&mut self, now: Timestamp, interval: Duration) {
        if self.tick.is_none() {
            self.tick = Some((self.last_tick + interval).max(now));
        }
    }

    /// Looks at the lifetime of an SA at that time.
    pub(crate) fn watch_lifetime(&mut self, at: Timestamp, slot: u32) {
        self.unwatch_lifetime(slot);
        self.lifetimes.insert((at, slot));
        self.watched.insert(slot, at);
    }

    /// An SA is gone: its slot may soon be another's.
    pub(crate) fn unwatch_lifetime(&mut self, slot: u32) {
        if let Some(at) = self.watched.remove(&slot) {
            self.lifetimes.remove(&(at, slot));
        }
    }
}

type PerVip<T> = BTreeMap<Vip, Vec<T>>;

impl Path {
    /// Notes that an SA has had traffic.
    pub(crate) fn mark_dirty(&mut self, now: Timestamp, slot: u32) {
        let Some(sa) = self.sad.get_mut(slot) else { return };
        let Some(live) = sa.live.as_deref_mut() else { return };
        if live.dirty {
            return;
        }
        live.dirty = true;
        self.timers.dirty.push_back(slot);
        self.timers.arm(now, self.config.limits.edge_interval);
        if !live.counted {
            live.counted = true;
            self.timers.counted.push_back(slot);
        }
        if self.timers.long_tick.is_none() {
            self.timers.long_tick = Some(now + self.config.limits.counter_interval);
        }
    }

    /// Reports a lifetime that is over or near its end, once an epoch.
    pub(crate) fn check_expiry(&mut self, now: Timestamp, slot: u32) {
        let Some(sa) = self.sad.get_mut(slot) else { return };
        let Some(live) = sa.live.as_deref_mut() else { return };
        let expiry = live.inbound.expiry(now).max(live.outbound.expiry(now));
        let epoch = self.vips[sa.vip].as_ref().map_or(Epoch(0), |vip| vip.epoch());
        if let Some(expiry) = expiry {
            self.tell_expiry(slot, epoch, expiry);
        }
    }

    pub(crate) fn tell_expiry(&mut self, slot: u32, epoch: Epoch, expiry: Expiry) {
        let Some(sa) = self.sad.get_mut(slot) else { return };
        let spi_in = sa.spi();
        let Some(live) = sa.live.as_deref_mut() else { return };
        let told = live.expiry_told.is_some_and(|(at, what)| at == epoch && what >= expiry);
        let vip = self.vips[sa.vip].as_ref().map(|state| state.vip);
        if let (false, Some(vip)) = (told, vip) {
            live.expiry_told = Some((epoch, expiry));
            self.reports.push_back(Report::Expiry { vip, spi_in, expiry });
        }
    }

    pub(crate) fn next_timeout(&self) -> Option<Timestamp> {
        let limits = &self.config.limits;
        let timers = &self.timers;
        let vips = self.vips.iter().flatten().flat_map(|state| {
            let held = state.held.oldest().filter(|_| !state.frozen);
            [
                state.waiting.deadline().filter(|_| !state.frozen),
                held.map(|oldest| oldest + limits.early),
                state.distributor.table().next_expiry(),
                state.traps.deadline(),
            ]
        });
        let drops = timers.drops_changed && timers.long_tick.is_none();
        let own = [
            drops.then_some(timers.last_tick),
            timers.tick,
            timers.long_tick,
            timers.heartbeat.next,
            timers.lifetimes.first().map(|(at, _)| *at),
            timers.lingering.front().map(|(at, _)| *at),
            self.keepalives.next(),
            self.fabric.poll_timeout(),
        ];
        own.into_iter().chain(vips).flatten().min()
    }

    pub(crate) fn timeout(&mut self, now: Timestamp, out: &mut dyn Sink) {
        if self.timers.heartbeat.next.is_some_and(|at| at <= now) {
            self.send_heartbeats(now, out);
        }
        for node in self.fabric.handle_timeout(now) {
            let node = self.config.members[usize::from(node)].clone();
            self.reports.push_back(Report::FabricConfirmed { node });
        }
        for vip in 0..self.vips.len() {
            self.vip_timeout(now, vip, out);
        }
        self.lifetimes(now);
        self.end_lingering(now, self.config.limits.lingering);
        self.keepalives(now, out);
        if self.timers.tick.is_some_and(|at| at <= now) {
            self.tick(now);
        }
        if self.timers.long_tick.is_some_and(|at| at <= now) {
            self.long_tick(now);
        } else if self.timers.drops_changed && self.timers.long_tick.is_none() {
            self.timers.long_tick = Some(now + self.config.limits.counter_interval);
        }
    }

    /// Sends the heartbeat to every node, and sets when the next goes.
    pub(crate) fn send_heartbeats(&mut self, now: Timestamp, out: &mut dyn Sink) {
        let payload = core::mem::take(&mut self.timers.heartbeat.payload);
        let nodes: Vec<u16> = self.fabric.nodes().collect();
        for node in nodes {
            self.send_heartbeat(now, node, &payload, out);
        }
        let heartbeat = &mut self.timers.heartbeat;
        heartbeat.next = (!payload.is_empty()).then(|| now + heartbeat.interval);
        heartbeat.payload = payload;
    }

    /// Sends a heartbeat to one node; an empty one only shows which keys we have.
    pub(crate) fn send_heartbeat(
        &mut self,
        now: Timestamp,
        node: u16,
        payload: &[u8],
        out: &mut dyn Sink,
    ) {
        let vip = Vip(core::net::IpAddr::from([0, 0, 0, 0]));
        let header = Header { kind: Kind::Heartbeat, vip, epoch: Epoch(0) };
        let parts = [payload];
        let sent = self.fabric.send(now, node, &header, &parts, &mut self.ivs, out);
        self.count(sent);
        self.fabric.send_probe(now, node, &header, &parts, &mut self.ivs, out);
    }

    fn vip_timeout(&mut self, now: Timestamp, vip: usize, out: &mut dyn Sink) {
        let (early, interval) = (self.config.limits.early, self.config.limits.edge_interval);
        let Some(state) = self.vips.get_mut(vip).and_then(Option::as_mut) else { return };
        state.distributor.expire(now, EXPIRE_BUDGET);
        if state.distributor.table().has_news() {
            self.timers.arm(now, interval);
        }
        let over = match state.held.oldest() {
            Some(oldest) if !state.frozen && oldest + early <= now => {
                let before = Timestamp(now.0.saturating_sub(micros(early)));
                state.held.expire(before)
            }
            _ => 0,
        };
        let retry = state.waiting.deadline().is_some_and(|at| at <= now);
        let trapped = state.traps.deadline().is_some_and(|at| at <= now);
        for _ in 0..over {
            self.drop_packet(DropReason::FreezeExpired);
        }
        if retry {
            self.retry_waiting(now, vip, out);
        }
        if trapped {
            self.retry_trapped(now, vip, out);
        }
    }

    /// Time-based lifetimes.
    fn lifetimes(&mut self, now: Timestamp) {
        for _ in 0..COUNTERS_MAX {
            let Some(&(_, slot)) = self.timers.lifetimes.first().filter(|(at, _)| *at <= now)
            else {
                return;
            };
            self.timers.unwatch_lifetime(slot);
            let Some(sa) = self.sad.get(slot) else { continue };
            let owner = self.vips[sa.vip].as_ref().is_some_and(|vip| vip.is_owner());
            let next = sa
                .constant
                .lifetime
                .hard
                .seconds
                .map(|s| sa.constant.created + Duration::from_secs(s));
            if owner {
                self.check_expiry(now, slot);
                if let Some(hard) = next.filter(|&hard| hard > now) {
                    self.timers.watch_lifetime(hard, slot);
                }
            } else {
                self.timers.watch_lifetime(now + NOT_OWNER_AGAIN, slot);
            }
        }
    }

    /// Every few milliseconds while there is traffic: edges, blocks, news of connections.
    fn tick(&mut self, now: Timestamp) {
        self.timers.tick = None;
        self.timers.last_tick = now;
        if !self.has_room() {
            return self.timers.arm(now, self.config.limits.edge_interval);
        }
        let budget = self.config.limits.edges;
        let (mut edges, mut marks) = (PerVip::new(), PerVip::new());
        let mut done = 0;
        while done < budget
            && let Some(slot) = self.timers.dirty.pop_front()
        {
            self.look_at(now, slot, &mut edges, &mut marks);
            done += 1;
        }
        self.inherited(budget - done, &mut edges);
        for (vip, edges) in edges {
            let told = self.report(Report::Edges { vip, edges });
            self.count(told);
        }
        for (vip, marks) in marks {
            self.reports.push_back(Report::HighWater { vip, marks });
        }
        let news = self.news(now);
        if news || !self.timers.dirty.is_empty() || self.timers.inherited.is_some() {
            self.timers.arm(now, self.config.limits.edge_interval);
        }
    }

    /// News of connections for the backups; those that find no room wait in the table, where a
    /// later change of the same connection takes the place of an earlier one. Returns whether there
    /// are more.
    fn news(&mut self, now: Timestamp) -> bool {
        let mut more = false;
        for index in 0..self.vips.len() {
            let room = self.has_room();
            let Some(state) = self.vips[index].as_mut() else { continue };
            if room {
                let updates = state.distributor.take_news(now, CONNECTIONS_MAX);
                if !updates.is_empty() {
                    let vip = state.vip;
                    self.reports.push_back(Report::Connections { vip, updates, complete: false });
                }
            }
            more |= state.distributor.table().has_news();
        }
        more
    }

    /// Whether the node keeps up with the reports. What can wait, waits while it does not.
    fn has_room(&self) -> bool {
        self.reports.len() < self.config.limits.reports
    }

    /// One SA that has had traffic.
    fn look_at(
        &mut self,
        now: Timestamp,
        slot: u32,
        edges: &mut PerVip<(EspSpi, u64)>,
        marks: &mut PerVip<(EspSpi, u64)>,
    ) {
        let Some(sa) = self.sad.get_mut(slot) else { return };
        let spi_in = sa.spi();
        let Some(state) = self.vips[sa.vip].as_ref() else { return };
        let vip = state.vip;
        let Some(live) = sa.live.as_deref_mut() else { return };
        live.dirty = false;
        let edge = live.edge();
        if edge > live.edge_told {
            live.edge_told = edge;
            edges.entry(vip).or_default().push((spi_in, edge));
        }
        if let Some(sequence) = live.outbound.high_water() {
            marks.entry(vip).or_default().push((spi_in, sequence));
        }
        if let Some(wanted) = live.outbound.block_low(now) {
            self.reports.push_back(Report::BlockLow { vip, spi_in, wanted });
        }
        self.check_expiry(now, slot);
    }

    /// A new owner looks at what it inherited, a few SAs a tick: streams the edges on, and asks for
    /// the rekey of those that accept nothing without it.
    fn inherited(&mut self, budget: usize, edges: &mut PerVip<(EspSpi, u64)>) {
        let Some(from) = self.timers.inherited else { return };
        let step = u32::try_from(budget).unwrap_or(u32::MAX);
        let end = from.saturating_add(step).min(self.sad.slots());
        for slot in from..end {
            let Some(sa) = self.sad.get_mut(slot) else { continue };
            let spi_in = sa.spi();
            let Some(state) = self.vips[sa.vip].as_ref().filter(|vip| vip.is_owner()) else {
                continue;
            };
            let Some(live) = sa.live.as_deref_mut() else { continue };
            let edge = live.edge();
            if edge > live.edge_told {
                live.edge_told = edge;
                edges.entry(state.vip).or_default().push((spi_in, edge));
            }
            let (epoch, replay) = (state.epoch(), state.replay);
            let entered = replay == Replay::Strict && live.enter_inbound(epoch, replay).is_ok();
            if entered && live.inbound.is_awaiting_rekey() {
                self.tell_expiry(slot, epoch, Expiry::Soft);
            }
        }
        self.timers.inherited = (end < self.sad.slots()).then_some(end);
    }

    /// About once a second: counters and drops.
    fn long_tick(&mut self, now: Timestamp) {
        self.timers.long_tick = None;
        if !self.has_room() {
            self.timers.long_tick = Some(now + self.config.limits.counter_interval);
            return;
        }
        let mut reports = PerVip::new();
        for _ in 0..COUNTERS_MAX {
            let Some(slot) = self.timers.counted.pop_front() else { break };
            let Some(sa) = self.sad.get_mut(slot) else { continue };
            let spi_in = sa.spi();
            let Some(vip) = self.vips[sa.vip].as_ref().map(|state| state.vip) else { continue };
            let Some(live) = sa.live.as_deref_mut() else { continue };
            live.counted = false;
            let (received, sent) = (live.inbound.usage(), live.outbound.usage());
            reports.entry(vip).or_insert_with(Vec::new).push(SaCounters {
                spi_in,
                in_packets: received.packets,
                in_bytes: received.bytes,
                out_packets: sent.packets,
                out_bytes: sent.bytes,
                last_in: received.last.unwrap_or_default(),
                last_out: sent.last.unwrap_or_default(),
            });
        }
        for (vip, counters) in reports {
            self.reports.push_back(Report::Counters { vip, counters });
        }
        if core::mem::take(&mut self.timers.drops_changed) {
            self.reports.push_back(Report::Drops(self.drops.clone()));
        }
        if !self.timers.counted.is_empty() {
            self.timers.long_tick = Some(now + self.config.limits.counter_interval);
        }
    }
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}
