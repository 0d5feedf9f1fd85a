//! The node's instructions, one by one.

use crate::command::{Command, FabricKeys, InstallState, VipConfig};
use crate::counters::DropReason;
use crate::homes::home_of;
use crate::path::{Path, seed};
use crate::report::Report;
use crate::sad::Sa;
use crate::sink::Sink;
use crate::vip::VipState;
use core::time::Duration;
use vipsec_esp::{ChildSa, Endpoints};
use vipsec_wire::cluster::CONNECTIONS_MAX;
use vipsec_wire::id::{Epoch, EspSpi, Vip};
use vipsec_wire::time::Timestamp;

impl Path {
    pub(crate) fn command(&mut self, now: Timestamp, command: Command, out: &mut dyn Sink) {
        let result = match command {
            Command::ConfigureVip(config) => {
                self.configure(*config);
                Ok(())
            }
            Command::RemoveVip { vip } => self.remove_vip(vip),
            Command::SetRole { vip, role } => self.set_role(now, vip, &role, out),
            Command::Install(sa, state) => {
                let vip = sa.vip;
                let result = self.install(now, sa, state);
                self.trapped_may_go(now, vip, out);
                result
            }
            Command::Freeze { vip } => self.freeze(now, vip),
            Command::Thaw { vip } => self.thaw(now, vip, out),
            Command::Handover { vip, epoch, handover } => {
                self.take_over(now, vip, epoch, *handover)
            }
            Command::FabricKeys(keys) => self.fabric_keys(now, &keys, out),
            Command::FabricConfirmed { node } => {
                if let Some(node) = self.member(&node) {
                    self.fabric.confirm(now, node);
                }
                Ok(())
            }
            Command::FabricGone { node } => {
                if let Some(node) = self.member(&node) {
                    self.fabric.remove(node);
                }
                Ok(())
            }
            Command::Heartbeat { payload, interval } => {
                self.set_heartbeat(now, payload, interval, out);
                Ok(())
            }
            other => self.sa_command(now, other, out),
        };
        self.count(result);
    }

    /// Instructions about SAs.
    fn sa_command(
        &mut self,
        now: Timestamp,
        command: Command,
        out: &mut dyn Sink,
    ) -> Result<(), DropReason> {
        match command {
            Command::ActivateOutbound { vip, spi_in } => {
                if let Some(slot) = self.slot_of(vip, spi_in) {
                    self.activate(now, slot);
                    self.trapped_may_go(now, vip, out);
                }
            }
            Command::Remove { vip, spi_in, replaced } => {
                if let Some(slot) = self.slot_of(vip, spi_in) {
                    self.remove(now, slot, replaced);
                }
            }
            Command::ConfirmBlock { vip, spi_in, block } => {
                let index = self.find_vip(vip).ok_or(DropReason::UnknownVip)?;
                if let Some(live) = self.sad.live_mut(index, spi_in) {
                    live.outbound.confirm_block(block);
                }
            }
            Command::SetEndpoints { vip, spi_in, endpoints } => {
                self.set_endpoints(now, vip, spi_in, endpoints);
            }
            Command::Jump { vip, spi_in, inbound, outbound } => {
                let index = self.find_vip(vip).ok_or(DropReason::UnknownVip)?;
                if let Some(live) = self.sad.live_mut(index, spi_in) {
                    live.inbound.jump(inbound);
                    live.outbound.jump(outbound);
                }
                // The store and the backups hear of it without waiting for traffic.
                if let Some(slot) = self.slot_of(vip, spi_in) {
                    self.mark_dirty(now, slot);
                }
            }
            Command::Edges { vip, edges } => {
                let index = self.find_vip(vip).ok_or(DropReason::UnknownVip)?;
                for (spi_in, edge) in edges {
                    if let Some(live) = self.sad.live_mut(index, spi_in) {
                        live.learn_edge(edge);
                    }
                }
            }
            Command::HighWater { vip, marks } => {
                let index = self.find_vip(vip).ok_or(DropReason::UnknownVip)?;
                for (spi_in, sequence) in marks {
                    if let Some(live) = self.sad.live_mut(index, spi_in) {
                        live.outbound.learn_high_water(sequence);
                    }
                }
            }
            other => return self.connection_command(now, other, out),
        }
        Ok(())
    }

    /// Instructions about connections and targets.
    fn connection_command(
        &mut self,
        now: Timestamp,
        command: Command,
        out: &mut dyn Sink,
    ) -> Result<(), DropReason> {
        match command {
            Command::SetTargetHealth { vip, service, node, usable } => {
                let index = self.find_vip(vip).ok_or(DropReason::UnknownVip)?;
                let node = self.member(&node).ok_or(DropReason::NoTarget)?;
                let distributor = &mut self.vip(index)?.distributor;
                distributor.set_usable(service.as_deref(), node, usable);
                Ok(())
            }
            Command::TargetGone { vip, node } => {
                let index = self.find_vip(vip).ok_or(DropReason::UnknownVip)?;
                let target = self.member(&node).ok_or(DropReason::NoTarget)?;
                let state = self.vip(index)?;
                state.distributor.forget_node(target);
                state.unplaced.forget(&node);
                state.reconcile.complete(target);
                self.retry_waiting(now, index, out);
                Ok(())
            }
            Command::Connections { vip, from, updates, complete } => {
                let index = self.find_vip(vip).ok_or(DropReason::UnknownVip)?;
                let result = self.import(now, index, &from, &updates);
                let node = self.member(&from);
                if let (true, Some(node)) = (complete, node) {
                    self.vip(index)?.reconcile.complete(node);
                }
                self.retry_waiting(now, index, out);
                result
            }
            Command::ReportConnections { vip } => self.report_connections(now, vip),
            Command::ListConnections { vip, query, limit } => {
                let index = self.find_vip(vip).ok_or(DropReason::UnknownVip)?;
                let distributor = &self.vip(index)?.distributor;
                let connections = distributor.connections(now, false).take(limit).collect();
                self.reports.push_back(Report::ConnectionList { vip, query, connections });
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn configure(&mut self, config: VipConfig) {
        let index = self.find_vip(config.vip).unwrap_or_else(|| {
            let seeds = [seed(self.random.as_mut()), seed(self.random.as_mut())];
            let (members, limits) = (&self.config.members, &self.config.limits);
            let state = VipState::new(config.vip, members, self.own, limits, seeds);
            if let Some(free) = self.vips.iter().position(Option::is_none) {
                self.vips[free] = Some(state);
                free
            } else {
                self.vips.push(Some(state));
                self.vips.len() - 1
            }
        });
        if let Some(state) = &mut self.vips[index] {
            state.configure(config);
        }
    }

    fn remove_vip(&mut self, vip: Vip) -> Result<(), DropReason> {
        let index = self.find_vip(vip).ok_or(DropReason::UnknownVip)?;
        let sas = self.sad.iter().filter(|(_, sa)| sa.vip == index);
        let slots: Vec<u32> = sas.map(|(slot, _)| slot).collect();
        self.vips[index] = None;
        for slot in slots {
            self.take_out(slot);
        }
        Ok(())
    }

    fn install(
        &mut self,
        now: Timestamp,
        sa: Box<ChildSa>,
        state: InstallState,
    ) -> Result<(), DropReason> {
        let (vip, spi_in, lifetime) = (sa.vip, sa.inbound.spi, sa.lifetime);
        let (endpoints, born) = (sa.endpoints, sa.born);
        let index = self.find_vip(vip).ok_or(DropReason::UnknownVip)?;
        let slot = match self.sad.find(index, spi_in) {
            Some(slot) => {
                self.revive(slot);
                slot
            }
            None => {
                let home = home_of(&sa.remote, self.config.workers);
                let created = sa.created;
                let here = home == self.config.worker;
                let Ok(slot) = self.sad.install(index, home, here, sa, state) else {
                    self.reports.push_back(Report::NotInstalled { vip, spi_in });
                    return Ok(());
                };
                let first = lifetime.soft.seconds.or(lifetime.hard.seconds);
                if let (true, Some(seconds)) = (here, first) {
                    self.timers.watch_lifetime(created + Duration::from_secs(seconds), slot);
                }
                if here {
                    // The exchange that made it passed the NAT.
                    self.keepalives.watch(now, &endpoints, slot, created.min(now));
                    self.inherit(now, index, slot, born);
                }
                slot
            }
        };
        if state.outbound {
            self.activate(now, slot);
        }
        Ok(())
    }

    /// An SA that lingers is there again.
    fn revive(&mut self, slot: u32) {
        let Some(sa) = self.sad.get_mut(slot) else { return };
        if core::mem::take(&mut sa.lingers) {
            sa.active = false;
            self.timers.lingering.retain(|(_, other)| *other != slot);
        }
    }

    /// An SA of a former owner that comes when this node owns already is looked at like the others.
    fn inherit(&mut self, now: Timestamp, vip: usize, slot: u32, born: Epoch) {
        let state = self.vips.get(vip).and_then(Option::as_ref);
        if state.is_some_and(|state| state.is_owner() && born < state.epoch()) {
            let from = self.timers.inherited.unwrap_or(slot).min(slot);
            self.timers.inherited = Some(from);
            self.timers.arm(now, self.config.limits.edge_interval);
        }
    }

    /// Lets an SA send for its selectors, before those that did until now.
    pub(crate) fn activate(&mut self, now: Timestamp, slot: u32) {
        let Some(sa) = self.sad.get_mut(slot) else { return };
        let waits = !sa.active && !sa.lingers;
        if let (true, Some(state)) = (waits, self.vips[sa.vip].as_mut()) {
            sa.active = true;
            state.spd.activate(slot, &sa.constant.local, &sa.constant.remote);
            self.place_connections(now, slot);
        }
    }

    /// Takes an SA out, or lets it be received on for a moment. One that ends for good takes the
    /// predecessors along that its peer still has.
    fn remove(&mut self, now: Timestamp, slot: u32, replaced: bool) {
        let Some(sa) = self.sad.get_mut(slot) else { return };
        if !replaced {
            let (vip, family) = (sa.vip, sa.constant.ike);
            self.take_out(slot);
            let lingering = self.timers.lingering.iter().map(|(_, slot)| *slot);
            let is_related = |sa: &Sa| sa.vip == vip && sa.constant.ike == family;
            let related = lingering.filter(|slot| self.sad.get(*slot).is_some_and(is_related));
            for slot in related.collect::<Vec<u32>>() {
                self.take_out(slot);
            }
        } else if !core::mem::replace(&mut sa.lingers, true) {
            self.silence(slot);
            self.timers.lingering.push_back((now + self.config.limits.linger, slot));
            self.end_lingering(now, self.config.limits.lingering);
        }
    }

    /// Takes out the SAs that have lingered long enough, and the oldest of more than `max`.
    pub(crate) fn end_lingering(&mut self, now: Timestamp, max: usize) {
        while let Some(&(until, slot)) = self.timers.lingering.front()
            && (until <= now || self.timers.lingering.len() > max)
        {
            self.take_out(slot);
        }
    }

    /// An SA sends no more, and nothing is due for it.
    fn silence(&mut self, slot: u32) {
        let Some(sa) = self.sad.get(slot) else { return };
        self.keepalives.unwatch(&sa.constant.endpoints, slot);
        self.timers.unwatch_lifetime(slot);
        if let Some(state) = self.vips[sa.vip].as_mut() {
            state.spd.remove(slot, &sa.constant.remote);
        }
    }

    fn take_out(&mut self, slot: u32) {
        self.silence(slot);
        self.timers.lingering.retain(|(_, other)| *other != slot);
        self.sad.remove(slot);
    }

    fn set_endpoints(&mut self, now: Timestamp, vip: Vip, spi_in: EspSpi, endpoints: Endpoints) {
        let Some(slot) = self.slot_of(vip, spi_in) else { return };
        let Some(sa) = self.sad.get_mut(slot) else { return };
        let before = core::mem::replace(&mut sa.constant.endpoints, endpoints);
        if let Some(live) = &mut sa.live {
            live.moved();
            self.keepalives.unwatch(&before, slot);
            self.keepalives.watch(now, &endpoints, slot, now);
        }
    }

    fn fabric_keys(
        &mut self,
        now: Timestamp,
        keys: &FabricKeys,
        out: &mut dyn Sink,
    ) -> Result<(), DropReason> {
        let node = self.member(&keys.node).filter(|&node| node != self.own);
        let node = node.ok_or(DropReason::NoFabric)?;
        let (worker, workers) = (self.config.worker, self.config.workers.max(1));
        let mine = |spi: EspSpi| spi.0 % u32::from(workers) == u32::from(worker);
        self.fabric
            .add(now, node, keys, mine, self.random.as_mut())
            .map_err(|_| DropReason::NoFabric)?;
        // Shows the other end at once that we have them.
        let payload = self.timers.heartbeat.payload.clone();
        self.send_heartbeat(now, node, &payload, out);
        Ok(())
    }

    fn set_heartbeat(
        &mut self,
        now: Timestamp,
        payload: Vec<u8>,
        interval: Duration,
        out: &mut dyn Sink,
    ) {
        let heartbeat = &mut self.timers.heartbeat;
        let changed = heartbeat.payload != payload;
        heartbeat.payload = payload;
        heartbeat.interval = interval;
        if heartbeat.payload.is_empty() {
            heartbeat.next = None;
        } else if changed || heartbeat.next.is_none() {
            self.send_heartbeats(now, out);
        }
    }

    fn report_connections(&mut self, now: Timestamp, vip: Vip) -> Result<(), DropReason> {
        let index = self.find_vip(vip).ok_or(DropReason::UnknownVip)?;
        let first = self.config.worker == 0;
        let state = self.vip(index)?;
        let own_only = !state.is_owner();
        // All workers keep the same of those that have no SA.
        let unplaced = state.unplaced.all(now).filter(|_| first && !own_only);
        let known = state.distributor.connections(now, own_only);
        let mut updates = known.chain(unplaced).peekable();
        let mut parts = Vec::new();
        while updates.peek().is_some() {
            parts.push(updates.by_ref().take(CONNECTIONS_MAX).collect::<Vec<_>>());
        }
        drop(updates);
        if parts.is_empty() {
            parts.push(Vec::new());
        }
        let last = parts.len() - 1;
        for (index, updates) in parts.into_iter().enumerate() {
            let complete = index == last;
            self.reports.push_back(Report::Connections { vip, updates, complete });
        }
        Ok(())
    }

    fn slot_of(&self, vip: Vip, spi_in: EspSpi) -> Option<u32> {
        self.sad.find(self.find_vip(vip)?, spi_in)
    }
}
