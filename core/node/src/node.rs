//! The node itself: its parts, its clock, its outputs.

use crate::config::{Config, WhenUnavailable};
use crate::io::{Link, Output, RequestId, StoreRequest};
use crate::vip::VipState;
use core::net::SocketAddr;
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use vipsec_cluster::store::{Revision, StoreError};
use vipsec_cluster::{Cluster, LinkChange, StoreHealth};
use vipsec_crypto::Random;
use vipsec_crypto::seal::StoreKey;
use vipsec_path::{Command, DropCounts};
use vipsec_wire::cluster::Message;
use vipsec_wire::id::{NodeName, Vip};
use vipsec_wire::time::Timestamp;

/// One node of a cluster.
pub struct Node {
    pub(crate) name: NodeName,
    pub(crate) incarnation: u64,
    pub(crate) cluster: Cluster,
    /// Who may own each VIP.
    pub(crate) candidates: BTreeMap<Vip, Vec<NodeName>>,
    /// Where each member receives frames.
    pub(crate) fabric: BTreeMap<NodeName, SocketAddr>,
    pub(crate) heartbeat: Duration,
    pub(crate) vips: BTreeMap<Vip, VipState>,
    pub(crate) linked: BTreeSet<NodeName>,
    pub(crate) stopping: Option<crate::stopping::Stopping>,
    pub(crate) listings: Vec<crate::listing::Listing>,
    /// What each worker has dropped.
    pub(crate) drops: BTreeMap<u16, DropCounts>,
    pub(crate) store: StoreState,
    pub(crate) workers: u16,
    pub(crate) when_unavailable: WhenUnavailable,
    pub(crate) random: Box<dyn Random + Send>,
    pub(crate) outputs: VecDeque<Output>,
    next_name: u64,
}

/// What this node knows of the store.
pub(crate) struct StoreState {
    /// `None` on a node that is no candidate.
    pub(crate) key: Option<StoreKey>,
    /// Why it does not answer; `None` when it does.
    pub(crate) error: Option<StoreError>,
    /// A load of everything is under way.
    pub(crate) loading: Option<RequestId>,
    /// Loads of single VIPs, after a loss of ownership.
    pub(crate) reloading: BTreeMap<RequestId, Vip>,
    /// Reads of an epoch record.
    pub(crate) refreshing: BTreeMap<RequestId, Vip>,
    /// The watch has brought everything up to here; `None` while there is none.
    pub(crate) watched: Option<Revision>,
    /// What the store has failed to read.
    pub(crate) again: Again,
    /// When that is tried again.
    pub(crate) retry_at: Option<Timestamp>,
}

/// Reads that failed.
#[derive(Debug, Default)]
pub(crate) struct Again {
    pub(crate) everything: bool,
    pub(crate) refresh: BTreeSet<Vip>,
}

impl Again {
    pub(crate) fn is_wanted(&self) -> bool {
        self.everything || !self.refresh.is_empty()
    }
}

impl Node {
    /// A node before its start. `random` is all the chance that core will ever draw.
    #[must_use]
    pub fn new(config: Config, random: Box<dyn Random + Send>) -> Node {
        let name = config.cluster.node.clone();
        let vips = config.vips.into_iter().map(|vip| (vip.vip, VipState::new(&name, vip)));
        Node {
            incarnation: config.cluster.incarnation,
            candidates: config.cluster.vips.iter().map(candidates_of).collect(),
            fabric: config.cluster.members.iter().map(|m| (m.name.clone(), m.fabric)).collect(),
            heartbeat: config.cluster.timers.heartbeat,
            vips: vips.collect(),
            cluster: Cluster::new(config.cluster),
            linked: BTreeSet::new(),
            drops: BTreeMap::new(),
            stopping: None,
            listings: Vec::new(),
            store: StoreState::new(config.store_key),
            workers: config.workers.max(1),
            when_unavailable: config.when_unavailable,
            random,
            outputs: VecDeque::new(),
            next_name: 1,
            name,
        }
    }

    /// This node's name.
    #[must_use]
    pub fn name(&self) -> &NodeName {
        &self.name
    }

    /// The process has started, the workers stand.
    pub fn handle_start(&mut self, now: Timestamp) {
        let vips: Vec<Vip> = self.vips.keys().copied().collect();
        for vip in vips {
            let config = self.vips[&vip].config.path.clone();
            self.command(Command::ConfigureVip(Box::new(config)));
        }
        if self.store.key.is_some() {
            self.load_everything();
        }
        self.cluster.handle_start(now);
        self.settle(now);
    }

    /// The control connection with a member has changed.
    pub fn handle_link(&mut self, now: Timestamp, node: &NodeName, link: Link) {
        let change = match link {
            Link::Up(secrets) => {
                let Some(remote) = self.fabric.get(node).copied() else { return };
                for (worker, keys) in (0_u16..).zip(secrets.derive(node, remote, self.workers)) {
                    let command = Box::new(Command::FabricKeys(Box::new(keys)));
                    self.outputs.push_back(Output::Worker { worker: Some(worker), command });
                }
                self.linked.insert(node.clone());
                self.greet(node);
                LinkChange::Up
            }
            Link::Closed => LinkChange::Closed,
            Link::Lost => LinkChange::Lost,
        };
        if change != LinkChange::Up {
            self.linked.remove(node);
        }
        self.cluster.handle_link(now, node, change);
        self.settle(now);
    }

    /// The result of an [`Output::Probe`].
    pub fn handle_probe(&mut self, now: Timestamp, probe: u64, success: bool) {
        let vips: Vec<Vip> = self.vips.keys().copied().collect();
        for vip in vips {
            let Some(state) = self.vips.get_mut(&vip) else { continue };
            if let Some((service, healthy)) = state.checks.handle_probe(probe, success) {
                self.own_health_changed(vip, service, healthy);
            }
        }
        self.settle(now);
    }

    /// The time of [`Node::poll_timeout`] has come.
    pub fn handle_timeout(&mut self, now: Timestamp) {
        self.cluster.handle_timeout(now);
        if self.store.retry_at.is_some_and(|at| at <= now) {
            self.load_again();
        }
        let vips: Vec<Vip> = self.vips.keys().copied().collect();
        for vip in vips {
            self.engine_timeout(now, vip);
            self.write_edges(now, vip);
            self.poll_probes(now, vip);
        }
        self.settle(now);
    }

    /// When [`Node::handle_timeout`] wants to be called; asked anew after every `handle_*`.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        let vips = self.vips.values().filter_map(|vip| self.vip_timeout(vip));
        let stop = self.stop_timeout();
        vips.chain(self.cluster.poll_timeout()).chain(self.store.retry_at).chain(stop).min()
    }

    fn vip_timeout(&self, vip: &VipState) -> Option<Timestamp> {
        let candidate = vip.candidate.as_ref().and_then(|candidate| {
            let engine = candidate.engine.poll_timeout().filter(|_| candidate.freezing.is_none());
            let writer = candidate.writer.poll_timeout(self.deadline());
            [engine, writer, candidate.edges.next_write].into_iter().flatten().min()
        });
        [candidate, vip.checks.poll_timeout()].into_iter().flatten().min()
    }

    /// What is to be done next; to be called until `None` after every `handle_*`.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Carries out what the parts have decided, until nothing is left: the last step of every
    /// `handle_*`.
    pub(crate) fn settle(&mut self, now: Timestamp) {
        while let Some(output) = self.cluster.poll_output() {
            self.carry_out(now, output);
        }
        let vips: Vec<Vip> = self.vips.keys().copied().collect();
        for vip in vips {
            self.drain_engine(now, vip);
            self.write_out(now, vip);
            self.report_frozen(now, vip);
        }
        self.go_on_stopping(now);
        while let Some(output) = self.cluster.poll_output() {
            self.carry_out(now, output);
        }
    }

    pub(crate) fn deadline(&self) -> Duration {
        match self.when_unavailable {
            WhenUnavailable::Unprotected(deadline) => deadline,
            WhenUnavailable::Refuse => Duration::MAX,
        }
    }

    pub(crate) fn name_request(&mut self) -> RequestId {
        self.next_name += 1;
        RequestId(self.next_name)
    }

    pub(crate) fn name_probe(&mut self) -> u64 {
        self.next_name += 1;
        self.next_name
    }

    /// An instruction to every worker.
    pub(crate) fn command(&mut self, command: Command) {
        self.outputs.push_back(Output::Worker { worker: None, command: Box::new(command) });
    }

    /// A message to a member; lost when there is no connection.
    pub(crate) fn send(&mut self, to: &NodeName, message: &Message) {
        if self.linked.contains(to) {
            let content = message.encode();
            self.outputs.push_back(Output::Peer { to: to.clone(), content });
        }
    }

    /// The other candidates of a VIP.
    pub(crate) fn other_candidates(&self, vip: Vip) -> Vec<NodeName> {
        let all = self.candidates.get(&vip).into_iter().flatten();
        all.filter(|name| **name != self.name).cloned().collect()
    }

    pub(crate) fn load_everything(&mut self) {
        let request = self.name_request();
        self.store.loading = Some(request);
        self.store.watched = None;
        let prefix = "vip/".to_owned();
        self.outputs.push_back(Output::Store(StoreRequest::Load { request, prefix }));
    }

    /// Tells the cluster about the store when that has changed.
    pub(crate) fn store_health(&mut self, now: Timestamp, error: Option<StoreError>) {
        let was_up = self.store.error.is_none();
        let health = if error.is_none() { StoreHealth::Up } else { StoreHealth::Down };
        match (&error, was_up) {
            (Some(error), true) => self.event(crate::Event::StoreDown(error.clone())),
            (None, false) => self.event(crate::Event::StoreUp),
            _ => {}
        }
        let up = error.is_none();
        self.store.error = error;
        for candidate in self.vips.values_mut().filter_map(|state| state.candidate.as_mut()) {
            candidate.engine.handle_store_health(now, up);
        }
        self.cluster.handle_store_health(now, health);
    }

    pub(crate) fn event(&mut self, event: crate::Event) {
        self.outputs.push_back(Output::Event(event));
    }
}

fn candidates_of(vip: &vipsec_cluster::VipConfig) -> (Vip, Vec<NodeName>) {
    (vip.vip, vip.candidates.iter().map(|candidate| candidate.node.clone()).collect())
}

impl StoreState {
    fn new(key: Option<StoreKey>) -> StoreState {
        StoreState {
            key,
            error: None,
            loading: None,
            reloading: BTreeMap::new(),
            refreshing: BTreeMap::new(),
            watched: None,
            again: Again::default(),
            retry_at: None,
        }
    }
}
