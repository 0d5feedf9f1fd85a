//! Following the store: the first load, the watch, and what each record means to engine and workers.

use crate::io::{Output, RequestId, StoreReply, StoreRequest};
use crate::node::Node;
use crate::replica::{Opened, Place, Step};
use crate::vip::{Installed, Standing};
use core::time::Duration;
use vipsec_cluster::EpochRead;
use vipsec_cluster::store::{Change as StoreChange, Entry, Key, Revision};
use vipsec_ike::Change;
use vipsec_path::Command;
use vipsec_wire::id::{EspSpi, IkeSaId, Vip};
use vipsec_wire::time::Timestamp;

/// Before a failed load is tried again.
const LOAD_RETRY: Duration = Duration::from_millis(500);

impl Node {
    /// The store has answered.
    pub fn handle_store(&mut self, now: Timestamp, reply: StoreReply) {
        match reply {
            StoreReply::Loaded { request, entries, revision } => {
                self.store_health(now, None);
                self.loaded(now, request, &entries, revision);
            }
            StoreReply::Judged { request, outcome } => {
                self.store_health(now, None);
                self.judged(now, request, Some(&outcome));
            }
            StoreReply::Failed { request, error } => {
                self.store_health(now, Some(error));
                self.failed(now, request);
            }
            StoreReply::Changed { changes, up_to } => self.changed(now, &changes, up_to),
            StoreReply::WatchBroken => self.load_everything(),
            StoreReply::Health { error } => {
                let back = error.is_none() && self.store.error.is_some();
                self.store_health(now, error);
                if back && self.store.watched.is_none() && self.store.loading.is_none() {
                    self.load_everything();
                }
            }
        }
        self.settle(now);
    }

    fn loaded(
        &mut self,
        now: Timestamp,
        request: RequestId,
        entries: &[Entry],
        revision: Revision,
    ) {
        if let Some(vip) = self.store.refreshing.remove(&request) {
            return self.refreshed(now, vip, entries, revision);
        }
        if let Some(vip) = self.store.reloading.remove(&request) {
            return self.load_vip(now, vip, entries, revision);
        }
        if self.store.loading != Some(request) {
            return;
        }
        self.store.loading = None;
        let vips: Vec<Vip> = self.vips.keys().copied().collect();
        for vip in vips {
            let prefix = Key::vip_prefix(vip);
            let own = entries.iter().filter(|entry| entry.key.as_str().starts_with(&prefix));
            let own: Vec<Entry> = own.cloned().collect();
            self.load_vip(now, vip, &own, revision);
        }
        self.store.watched = Some(revision);
        self.outputs.push_back(Output::Store(StoreRequest::Watch { after: revision }));
    }

    /// A VIP's records, all of them. An owner's engine knows better than the store; it only learns
    /// whether the epoch record still stands.
    fn load_vip(&mut self, now: Timestamp, vip: Vip, entries: &[Entry], revision: Revision) {
        let Some(state) = self.vips.get_mut(&vip) else { return };
        let owner = matches!(state.standing, Standing::Owner(_));
        let Some(candidate) = state.candidate.as_mut() else { return };
        let Some(store_key) = &self.store.key else { return };
        let steps = candidate.replica.load(store_key, entries, revision, true);
        if !owner {
            candidate.engine.forget_sas();
            candidate.blocks.clear();
        }
        for step in steps {
            self.follow_step(now, vip, step);
        }
        if !owner {
            self.remove_stale(vip);
        }
        self.followed(now, vip);
    }

    /// Takes what no record speaks of any more from the workers.
    fn remove_stale(&mut self, vip: Vip) {
        let Some(candidate) = self.candidate(vip) else { return };
        let engine = &candidate.engine;
        let stale = candidate.installed.keys().filter(|spi| engine.child(**spi).is_none());
        let stale: Vec<EspSpi> = stale.copied().collect();
        for spi_in in stale {
            self.uninstall(vip, spi_in);
        }
    }

    fn uninstall(&mut self, vip: Vip, spi_in: EspSpi) {
        if let Some(candidate) = self.candidate(vip) {
            candidate.uninstall(spi_in);
        }
        self.command(Command::Remove { vip, spi_in, replaced: false });
    }

    /// What a refresh has read: the epoch record alone.
    fn refreshed(&mut self, now: Timestamp, vip: Vip, entries: &[Entry], revision: Revision) {
        let key = Key::epoch(vip);
        let entry = entries.iter().find(|entry| entry.key == key);
        let mut read = EpochRead { record: None, as_of: revision, fresh: true };
        if let (Some(entry), Some(store_key)) = (entry, &self.store.key) {
            match crate::sealing::open::<vipsec_wire::record::v1::EpochRecord>(store_key, entry) {
                Ok((_, record)) => {
                    let record = vipsec_cluster::EpochRecord {
                        epoch: record.epoch,
                        owner: record.owner,
                        incarnation: record.incarnation,
                    };
                    read.record = Some((record, entry.revision));
                }
                Err(error) => {
                    self.event(crate::Event::BadRecord(key, error));
                    let at = entry.revision;
                    return self.cluster.handle_unreadable_record(now, vip, at, read);
                }
            }
        }
        self.cluster.handle_epoch_record(now, vip, read);
    }

    fn changed(&mut self, now: Timestamp, changes: &[StoreChange], up_to: Revision) {
        let vips: Vec<Vip> = self.vips.keys().copied().collect();
        for vip in vips {
            let prefix = Key::vip_prefix(vip);
            for change in changes.iter().filter(|c| c.key().as_str().starts_with(&prefix)) {
                let Some(store_key) = &self.store.key else { return };
                let state = self.vips.get_mut(&vip).and_then(|state| state.candidate.as_mut());
                let step = state.and_then(|c| c.replica.change(store_key, change));
                if let Some(step) = step {
                    self.follow_step(now, vip, step);
                }
            }
            if let Some(candidate) = self.candidate(vip) {
                candidate.replica.reached(up_to);
            }
            self.followed(now, vip);
        }
        if self.store.watched.is_some() {
            self.store.watched = Some(up_to);
        }
    }

    /// The replica has moved on: the cluster may claim, a won claim may become true.
    fn followed(&mut self, now: Timestamp, vip: Vip) {
        let maxima = self.candidate(vip).and_then(|candidate| candidate.replica.maxima());
        if let Some(maxima) = maxima {
            self.cluster.handle_records(now, vip, maxima);
            self.flip_when_ready(now, vip);
        }
    }

    fn follow_step(&mut self, now: Timestamp, vip: Vip, step: Step) {
        let owner = self.vips.get(&vip).is_some_and(|s| matches!(s.standing, Standing::Owner(_)));
        match step {
            Step::Epoch(read) => self.cluster.handle_epoch_record(now, vip, read),
            Step::BadEpoch { error, at, read } => {
                self.event(crate::Event::BadRecord(Key::epoch(vip), error));
                self.cluster.handle_unreadable_record(now, vip, at, read);
            }
            Step::Bad(key, error) => self.event(crate::Event::BadRecord(key, error)),
            // What an owner reads here it has written itself.
            Step::Put(_) | Step::Gone(_) if owner => {}
            Step::Put(opened) => self.apply(now, vip, opened),
            Step::Gone(place) => self.forget(now, vip, place),
        }
    }

    fn apply(&mut self, now: Timestamp, vip: Vip, opened: Opened) {
        let change = match opened {
            Opened::Ike(constant) => Change::IkeConstant(constant),
            Opened::IkeState(id, state) => Change::IkeMutable { id, state },
            Opened::Child(constant) => Change::ChildConstant(constant),
            Opened::Lease(lease) => Change::Lease(lease),
            Opened::ChildState(spi_in, state) => {
                return self.learn_block(vip, spi_in, state.block);
            }
            Opened::Edges(record) => {
                if let Some(candidate) = self.candidate(vip) {
                    candidate.edges.raise(&record.edges);
                }
                return self.command(Command::Edges { vip, edges: record.edges });
            }
        };
        self.replay(now, vip, change);
    }

    fn learn_block(&mut self, vip: Vip, spi_in: EspSpi, block: u32) {
        if let Some(candidate) = self.candidate(vip) {
            candidate.blocks.insert(spi_in, block);
        }
        self.command(Command::ConfirmBlock { vip, spi_in, block });
    }

    /// The engine follows what the owner's engine has stored, and the workers install what comes
    /// of it.
    fn replay(&mut self, now: Timestamp, vip: Vip, change: Change) {
        let touched: Vec<EspSpi> = match &change {
            Change::IkeMutable { state, .. } => state.children.iter().map(|c| c.spi).collect(),
            Change::ChildConstant(record) => vec![record.inbound.spi],
            Change::ChildGone { spi_in, .. } => vec![*spi_in],
            Change::IkeConstant(_)
            | Change::IkeGone(_)
            | Change::Lease(_)
            | Change::LeaseGone(_) => Vec::new(),
        };
        let record = record_of(vip, &change);
        let Some(candidate) = self.candidate(vip) else { return };
        if let Err(error) = candidate.engine.apply(now, change) {
            self.event(crate::Event::BadSa(record, error));
        }
        for spi_in in touched {
            self.reconcile(vip, spi_in);
        }
    }

    /// Brings what the workers have of a Child SA in line with what the engine knows.
    fn reconcile(&mut self, vip: Vip, spi_in: EspSpi) {
        let Some(candidate) = self.candidate(vip) else { return };
        let known = candidate.installed.get(&spi_in).copied();
        let Some(view) = candidate.engine.child(spi_in) else {
            if known.is_some() {
                self.uninstall(vip, spi_in);
            }
            return;
        };
        let endpoints = view.sa.endpoints;
        let wanted = Installed { family: view.sa.ike, outbound: view.outbound, endpoints };
        if known == Some(wanted) {
            return;
        }
        candidate.installed.insert(spi_in, wanted);
        if known.is_none_or(|known| known.outbound != wanted.outbound) {
            let state = candidate.install_state(spi_in, view.outbound);
            self.command(Command::Install(Box::new(view.sa), state));
        }
        if known.is_some_and(|known| known.endpoints != endpoints) {
            self.command(Command::SetEndpoints { vip, spi_in, endpoints });
        }
    }

    fn forget(&mut self, now: Timestamp, vip: Vip, place: Place) {
        let change = match place {
            Place::Ike(id) => Change::IkeGone(id),
            Place::Child(spi_in) => Change::ChildGone { spi_in, ike: IkeSaId(0) },
            Place::Lease(address) => Change::LeaseGone(address),
            Place::IkeState(_) | Place::ChildState(_) | Place::Edges | Place::Epoch => return,
        };
        self.replay(now, vip, change);
    }

    /// Reads the records of one VIP again.
    pub(crate) fn reload(&mut self, vip: Vip) {
        if self.store.loading.is_some() || self.store.key.is_none() {
            return;
        }
        let request = self.name_request();
        self.store.reloading.insert(request, vip);
        let prefix = Key::vip_prefix(vip);
        self.outputs.push_back(Output::Store(StoreRequest::Load { request, prefix }));
    }

    /// A request was not carried out.
    fn failed(&mut self, now: Timestamp, request: RequestId) {
        let load = self.store.loading == Some(request);
        if load || self.store.reloading.remove(&request).is_some() {
            self.store.loading = None;
            self.store.again.everything = true;
        }
        if let Some(vip) = self.store.refreshing.remove(&request) {
            self.store.again.refresh.insert(vip);
        }
        if self.store.again.is_wanted() && self.store.retry_at.is_none() {
            self.store.retry_at = Some(now + LOAD_RETRY);
        }
        self.judged(now, request, None);
    }

    /// Asks again for what the store has failed to read.
    pub(crate) fn load_again(&mut self) {
        self.store.retry_at = None;
        let again = core::mem::take(&mut self.store.again);
        if again.everything {
            self.load_everything();
        }
        for vip in again.refresh {
            self.refresh(vip);
        }
    }

    /// A commit was judged, or (`None`) the store did not do it.
    fn judged(
        &mut self,
        now: Timestamp,
        request: RequestId,
        outcome: Option<&vipsec_cluster::store::Outcome>,
    ) {
        let vips: Vec<Vip> = self.vips.keys().copied().collect();
        for vip in vips {
            let Some(candidate) = self.candidate(vip) else { continue };
            if candidate.claiming.as_ref().is_some_and(|(id, _)| *id == request) {
                return self.handle_claim(now, vip, outcome);
            }
            if candidate.writing == Some(request) {
                return self.written(now, vip, outcome);
            }
        }
    }
}

/// The record that a change comes from.
fn record_of(vip: Vip, change: &Change) -> Key {
    match change {
        Change::IkeConstant(record) => Key::ike(vip, record.id),
        Change::IkeMutable { id, .. } => Key::ike_state(vip, *id),
        Change::IkeGone(id) => Key::ike(vip, *id),
        Change::ChildConstant(record) => Key::child(vip, record.inbound.spi),
        Change::ChildGone { spi_in, .. } => Key::child(vip, *spi_in),
        Change::Lease(lease) => Key::lease(vip, lease.address),
        Change::LeaseGone(address) => Key::lease(vip, *address),
    }
}
