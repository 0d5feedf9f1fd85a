//! The steps of the plan, carried out.

use super::World;
use crate::blueprint::{CHILD, CONNECTION};
use crate::host::HostId;
use crate::network::Quality;
use crate::observation::Observation;
use crate::plan::Step;
use vipsec_cluster::store::{Key, StoreError};
use vipsec_node::Node;
use vipsec_wire::id::{EspSpi, IkeSaId, Vip};
use vipsec_wire::time::Timestamp;

impl World {
    pub(super) fn step(&mut self, index: usize) {
        let Some((_, step)) = self.plan.steps.get(index).cloned() else { return };
        match step {
            Step::Kill(host, fuse) => self.light(host, fuse),
            Step::Cut(host) => {
                self.cut_links(host);
                self.kill(host);
            }
            Step::KillOwner(fuse) => {
                if let Some(owner) = self.owner() {
                    self.light(owner, fuse);
                }
            }
            Step::Start(host) => self.start(host),
            Step::StartAll => self.plan.nodes().into_iter().for_each(|host| self.start(host)),
            Step::Pause(host) => self.pause(host),
            Step::PauseOwner => {
                if let Some(owner) = self.owner() {
                    self.pause(owner);
                }
            }
            Step::WakeAll => self.plan.nodes().into_iter().for_each(|host| self.wake(host)),
            Step::Transfer(to) => self.transfer(to),
            Step::TransferOn => self.transfer_on(),
            Step::RekeyIke(host) => self.on_node(host, rekey_ike),
            Step::RekeyChildren(host) => self.on_node(host, rekey_children),
            Step::OwnerRekeys => {
                if let Some(owner) = self.owner() {
                    self.on_node(owner, rekey_children);
                }
            }
            Step::Reconnect(host) => self.on_node(host, reconnect),
            Step::AcceptRollback => self.accept_rollback(),
            other => self.disturb(other),
        }
    }

    /// Steps that make wires or the store worse or better.
    fn disturb(&mut self, step: Step) {
        match step {
            Step::Quality(wire, quality) => self.segment(wire).quality = quality,
            Step::Block(from, to) => self.fabric.set_blocked(from, to, true),
            Step::Heal => {
                self.fabric.heal();
                self.unstick();
            }
            Step::StoreDown(down) => self.store_down(down),
            other => self.disturb_store(other),
        }
        self.note_wires();
        self.note_store();
    }

    fn disturb_store(&mut self, step: Step) {
        let Some(store) = self.stores.get_mut(&HostId::candidate(0)) else { return };
        match step {
            Step::StoreStall(stalled) => store.set_stalled(stalled),
            Step::StoreFlaky(permille) => store.flaky = permille,
            Step::StoreCut(host, cut) => {
                store.set_cut(host, cut);
                let error = StoreError::Failed("not reached".to_owned());
                self.tell_health(&[host], cut.then_some(&error));
            }
            Step::Snapshot => store.take_snapshot(),
            Step::RollBack if store.roll_back(&Key::epoch(crate::addresses::VIP)) => {
                self.note(Observation::RolledBack);
                self.wake_watches(HostId::candidate(0));
            }
            _ => {}
        }
    }

    fn store_down(&mut self, down: bool) {
        if let Some(store) = self.stores.get_mut(&HostId::candidate(0)) {
            store.set_down(down);
        }
        let nodes = self.plan.nodes();
        self.tell_health(&nodes, down.then_some(&StoreError::Locked));
    }

    /// The node whose worker is the owner in the highest epoch.
    pub(super) fn owner(&self) -> Option<HostId> {
        let nodes = self.hosts.values().filter(|host| host.id.is_candidate());
        let owners = nodes.filter_map(|host| {
            let role = host.process.as_ref()?.workers.first()?.role;
            role.1.then_some((role.0, host.id))
        });
        owners.max().map(|(_, host)| host)
    }

    fn transfer(&mut self, to: HostId) {
        let Some(owner) = self.owner().filter(|owner| *owner != to) else { return };
        self.on_node(owner, |node, clock, vip| {
            // Whether it is accepted is the cluster's business.
            let _ = node.handle_transfer(clock, vip, &to.node());
        });
    }

    fn transfer_on(&mut self) {
        let Some(owner) = self.owner() else { return };
        let runs = |host: &HostId| self.hosts.get(host).is_some_and(|h| h.process.is_some());
        let candidates: Vec<HostId> =
            self.plan.nodes().into_iter().filter(|h| h.is_candidate() && *h != owner).collect();
        let running: Vec<HostId> = candidates.into_iter().filter(runs).collect();
        if let Some(to) = self.random.pick(&running).copied() {
            self.transfer(to);
        }
    }

    fn accept_rollback(&mut self) {
        for host in self.plan.nodes().into_iter().filter(|host| host.is_candidate()) {
            let mut accepted = false;
            self.on_node(host, |node, clock, vip| {
                accepted = node.handle_accept_rollback(clock, vip).is_ok();
            });
            if accepted {
                let process = self.hosts.get(&host).and_then(|host| host.process.as_ref());
                if let Some(by) = process.map(|process| process.actor) {
                    self.note(Observation::Accepted(by));
                }
                return;
            }
        }
    }

    /// Does something to the node of a process that runs.
    fn on_node(&mut self, id: HostId, act: impl FnOnce(&mut Node, Timestamp, Vip)) {
        let Some(host) = self.hosts.get_mut(&id) else { return };
        let clock = host.clock(self.now);
        let runs = host.process.as_ref().is_some_and(|process| !process.paused);
        let Some(mut process) = host.process.take_if(|_| runs) else { return };
        let vip = crate::blueprint::vip_of(id);
        act(&mut process.node, clock, vip);
        if self.drain(clock, &mut process) {
            if let Some(host) = self.hosts.get_mut(&id) {
                host.process = Some(process);
            }
        } else {
            self.died(id, process.actor);
        }
    }

    /// Everything works from now on.
    pub(super) fn calm_down(&mut self) {
        self.plan.nodes().into_iter().for_each(|host| self.wake(host));
        self.fabric.heal();
        self.outside.quality = Quality { loss: 0, duplication: 0, ..self.plan.outside };
        self.fabric.quality = Quality { loss: 0, duplication: 0, ..self.plan.fabric };
        self.unstick();
        self.store_down(false);
        let nodes = self.plan.nodes();
        if let Some(store) = self.stores.get_mut(&HostId::candidate(0)) {
            store.set_stalled(false);
            store.flaky = 0;
            nodes.iter().for_each(|host| store.set_cut(*host, false));
        }
        nodes.into_iter().for_each(|host| self.start(host));
        self.note_wires();
        self.note_store();
    }
}

fn rekey_children(node: &mut Node, clock: Timestamp, vip: Vip) {
    let sas = node.sas(clock);
    let children = sas.iter().flat_map(|sa| &sa.children);
    let spis = children.filter_map(|child| u32::from_str_radix(&child.spi_in, 16).ok());
    for spi in spis.collect::<Vec<u32>>() {
        // One that is just being rekeyed is left alone.
        let _ = node.handle_rekey_child(clock, vip, EspSpi(spi));
    }
}

fn rekey_ike(node: &mut Node, clock: Timestamp, vip: Vip) {
    for id in ike_ids(node, clock) {
        // As above.
        let _ = node.handle_rekey_ike(clock, vip, id);
    }
}

/// As a user does: what is ended by hand does not begin again by itself.
fn reconnect(node: &mut Node, clock: Timestamp, vip: Vip) {
    for id in ike_ids(node, clock) {
        // As above.
        let _ = node.handle_terminate_ike(clock, vip, id);
    }
    // It may be under way already.
    let _ = node.handle_initiate(clock, vip, CONNECTION, CHILD);
}

fn ike_ids(node: &Node, clock: Timestamp) -> Vec<IkeSaId> {
    let sas = node.sas(clock);
    sas.iter().filter_map(|sa| u64::from_str_radix(&sa.id, 16).ok().map(IkeSaId)).collect()
}
