//! Requests to the stores and what comes back, with time between.

use super::World;
use crate::event::{Event, Input};
use crate::host::HostId;
use crate::observation::{Actor, Observation};
use crate::process::{Channel, Process};
use crate::sabotage::Sabotage;
use crate::tap;
use core::time::Duration;
use vipsec_cluster::store::{Changes, Key, Operation, Outcome, Revision, StoreError, Transaction};
use vipsec_node::{StoreReply, StoreRequest};
use vipsec_wire::record;

/// How often a stalled store is looked at.
const STALL: Duration = Duration::from_millis(50);
/// After which time a node is told at the latest that the store has failed or is back.
const HEALTH: Duration = Duration::from_millis(250);

impl World {
    /// A node asks the store.
    pub(super) fn ask_store(&mut self, process: &mut Process, request: StoreRequest) {
        let actor = process.actor;
        if let StoreRequest::Watch { after } = request {
            process.watch = Some(after);
            process.watching = true;
            return self.later(Duration::from_millis(1), process, Input::Watch);
        }
        if self.plan.sabotage == Some(Sabotage::WriteAtTakeover) && is_claim(&request) {
            self.oddities += 1;
            self.queue.push(
                self.now + Duration::from_micros(1),
                Event::StoreRequest(actor.host, actor.process, superfluous()),
            );
        }
        let delay = self.store_delay(actor.host);
        let at = process.in_order(Channel::Requests, self.now + delay);
        self.queue.push(at, Event::StoreRequest(actor.host, actor.process, request));
    }

    /// Half of what a request takes.
    fn store_delay(&mut self, host: HostId) -> Duration {
        let store = self.store_of(host);
        let Some(pace) = self.stores.get(&store).map(|store| store.pace) else {
            return Duration::ZERO;
        };
        self.random.span(pace.latency, pace.latency + pace.jitter) / 2
    }

    /// A request has reached the store.
    pub(super) fn store_request(&mut self, host: HostId, process: u64, request: StoreRequest) {
        let name = self.store_of(host);
        if self.stores.get(&name).is_some_and(crate::store::Store::is_stalled) {
            let event = Event::StoreRequest(host, process, request);
            return self.queue.push(self.now + STALL, event);
        }
        let by = Actor { host, process };
        if let Some(reply) = self.forgetful(host, &request) {
            return self.answer(by, reply);
        }
        let Some(store) = self.stores.get_mut(&name) else { return };
        let (reply, committed) = store.handle(&mut self.random, host, request);
        if let Some((transaction, _)) = committed {
            self.note_commit(by, &transaction);
            self.wake_watches(name);
        }
        let odd = matches!(reply, Some(StoreReply::Failed { .. }));
        if let Some(reply) = reply {
            self.answer(by, reply);
        }
        if odd && self.stores.get(&name).is_some_and(|store| store.reaches(host)) {
            // The shell finds out soon that it was just that one.
            self.tell_health(&[host], None);
        }
    }

    /// A store that says that it has done what it has not.
    fn forgetful(&mut self, host: HostId, request: &StoreRequest) -> Option<StoreReply> {
        let StoreRequest::Commit { request: name, .. } = request else { return None };
        let on = self.plan.sabotage == Some(Sabotage::ForgetfulStore) && host.is_node();
        let outcome = Outcome::Committed(Revision(0));
        let forgets = on && !is_claim(request);
        forgets.then_some(StoreReply::Judged { request: *name, outcome })
    }

    fn answer(&mut self, to: Actor, reply: StoreReply) {
        let delay = self.store_delay(to.host);
        let host = self.hosts.get_mut(&to.host);
        let process = host.and_then(|host| host.process.as_mut());
        let Some(process) = process.filter(|p| p.actor == to) else { return };
        let at = process.in_order(Channel::Replies, self.now + delay);
        self.queue.push(at, Event::Process(to.host, to.process, Input::Store(reply)));
    }

    fn note_commit(&mut self, by: Actor, transaction: &Transaction) {
        let vip = crate::blueprint::vip_of(by.host);
        let Some(store) = self.stores.get(&self.store_of(by.host)) else { return };
        let records = tap::records(&store.key(), vip, transaction);
        self.note(Observation::Committed { by, vip, records });
    }

    /// Those who watch a store will look.
    pub(super) fn wake_watches(&mut self, store: HostId) {
        let Some(latest) = self.stores.get(&store).map(|store| store.pace.watch) else { return };
        let watching: Vec<Actor> = self
            .hosts
            .iter_mut()
            .filter(|(id, _)| {
                (id.is_peer() && **id == store) || (!id.is_peer() && !store.is_peer())
            })
            .filter_map(|(_, host)| host.process.as_mut())
            .filter(|process| process.watch.is_some() && !process.watching)
            .map(|process| {
                process.watching = true;
                process.actor
            })
            .collect();
        for actor in watching {
            let after = self.random.span(Duration::ZERO, latest);
            let event = Event::Process(actor.host, actor.process, Input::Watch);
            self.queue.push(self.now + after, event);
        }
    }

    /// A process looks what has changed.
    pub(super) fn look(&mut self, process: &mut Process) {
        process.watching = false;
        let host = process.actor.host;
        let name = self.store_of(host);
        let (Some(after), Some(store)) = (process.watch, self.stores.get_mut(&name)) else {
            return;
        };
        match store.changes(host, after) {
            Some(Changes::Some { changes, up_to, more }) => {
                process.watch = Some(up_to);
                if up_to > after {
                    let reply = StoreReply::Changed { changes, up_to };
                    self.enqueue_reply(process, reply);
                }
                if more {
                    process.watching = true;
                    self.later(Duration::from_micros(100), process, Input::Watch);
                }
            }
            Some(Changes::Compacted) => {
                process.watch = None;
                self.enqueue_reply(process, StoreReply::WatchBroken);
            }
            None => {
                process.watching = true;
                self.later(Duration::from_millis(100), process, Input::Watch);
            }
        }
    }

    fn enqueue_reply(&mut self, process: &mut Process, reply: StoreReply) {
        let delay = self.thread_delay();
        self.enqueue(delay, process, Channel::Replies, Input::Store(reply));
    }

    /// The nodes of the cluster are told that the store fails, or does not.
    pub(super) fn tell_health(&mut self, hosts: &[HostId], error: Option<&StoreError>) {
        for host in hosts {
            let delay = self.random.span(Duration::from_millis(1), HEALTH);
            let process = self.hosts.get(host).and_then(|host| host.process.as_ref());
            let Some(actor) = process.map(|process| process.actor) else { continue };
            let input = Input::Store(StoreReply::Health { error: error.cloned() });
            self.queue.push(self.now + delay, Event::Process(*host, actor.process, input));
        }
    }

    /// Says whether the cluster's store fails, after something has changed.
    pub(super) fn note_store(&mut self) {
        let failing = self.stores.get(&HostId::candidate(0)).is_some_and(|s| s.is_failing());
        self.note(Observation::StoreFailing(failing));
    }
}

fn is_claim(request: &StoreRequest) -> bool {
    let StoreRequest::Commit { transaction, .. } = request else { return false };
    let epoch = Key::epoch(crate::addresses::VIP);
    let puts = |one: &Operation| matches!(one, Operation::Put { key, .. } if *key == epoch);
    transaction.operations.iter().any(puts)
}

/// A write that nobody needs.
fn superfluous() -> StoreRequest {
    let key = Key::edges(crate::addresses::VIP);
    let edges = record::v1::Edges { epoch: vipsec_wire::id::Epoch(0), edges: Vec::new() };
    let value = record::encode(&edges).expose().to_vec();
    let operations = vec![Operation::Put { key, value }];
    let transaction = Transaction { conditions: Vec::new(), operations };
    StoreRequest::Commit { request: vipsec_node::RequestId(u64::MAX), transaction }
}
