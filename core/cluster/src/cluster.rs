//! The one value that a node drives: what happens goes in, what is to be done comes out.

use crate::config::Config;
use crate::error::Error;
use crate::event::Event;
use crate::input::{
    ClaimOutcome, EpochRead, LinkChange, RecordMaxima, StoreHealth, TransferAccepted,
};
use crate::member::{Peer, Sign};
use crate::output::Output;
use crate::store::Revision;
use crate::view::{MemberView, Presence, VipView};
use crate::vip::{Role, Scene, VipState};
use std::collections::{BTreeMap, VecDeque};
use vipsec_wire::cluster::ownership::{
    Body, Challenge, HEARTBEAT_LIST_MAX, Heartbeat, Message, Standing,
};
use vipsec_wire::id::{Epoch, NodeName, Vip};
use vipsec_wire::secret::SecretBytes;
use vipsec_wire::time::Timestamp;

/// The cluster as one node sees it.
///
/// Order of use: `handle_start` first; then, for a candidate, `handle_store_health`, and for each
/// VIP the epoch record and then the maxima of the other records, both from one range. Later
/// changes come in the order of the store's log, an epoch record before maxima that are as new.
/// After every `handle_*`, [`Cluster::poll_output`] until it is empty, then
/// [`Cluster::poll_timeout`].
///
/// The heartbeat of [`Output::SetHeartbeat`] has to leave at once and then every interval: that a
/// living member answers a challenge promptly is what makes it safe to believe in a death early.
#[derive(Debug)]
pub struct Cluster {
    config: Config,
    started: Timestamp,
    store_up: bool,
    peers: BTreeMap<NodeName, Peer>,
    vips: BTreeMap<Vip, VipState>,
    beat: Heartbeat,
    /// Numbers for challenges.
    number: u64,
    outputs: VecDeque<Output>,
}

impl Cluster {
    /// A node before its start.
    #[must_use]
    pub fn new(config: Config) -> Cluster {
        let others = config.members.iter().filter(|member| member.name != config.node);
        let peers = others.map(|m| (m.name.clone(), Peer::new(m.name.clone()))).collect();
        let vips = config.vips.iter().map(|vip| (vip.vip, VipState::new(vip.clone()))).collect();
        Cluster {
            started: Timestamp(0),
            store_up: false,
            peers,
            vips,
            beat: Heartbeat { incarnation: config.incarnation, ..Heartbeat::default() },
            number: config.incarnation,
            outputs: VecDeque::new(),
            config,
        }
    }

    /// The process has started: heartbeats begin, members that were never heard get time to
    /// turn up.
    pub fn handle_start(&mut self, now: Timestamp) {
        self.started = now;
        for peer in self.peers.values_mut() {
            peer.start(now);
        }
        self.each_vip(now, VipState::follow);
        self.conclude(now);
    }

    /// The control connection with a member has changed.
    pub fn handle_link(&mut self, now: Timestamp, node: &NodeName, change: LinkChange) {
        self.number += 1;
        let Some(peer) = self.peers.get_mut(node) else { return };
        let sign = peer.handle_link(now, change, self.number);
        self.note(now, node, sign);
        if change == LinkChange::Up {
            self.each_vip(now, |vip, scene| {
                if matches!(vip.role, Role::Owner(_)) {
                    vip.tell.linked(scene.now, node);
                }
            });
        }
        self.conclude(now);
    }

    /// A heartbeat came in over the fabric.
    pub fn handle_heartbeat(&mut self, now: Timestamp, from: &NodeName, beat: &Heartbeat) {
        let Some(peer) = self.peers.get_mut(from) else { return };
        let Some(heard) = peer.handle_heartbeat(now, &self.config.node, beat, &self.config.timers)
        else {
            return;
        };
        self.note(now, from, heard.sign);
        if heard.content {
            for said in beat.vips.iter().take(HEARTBEAT_LIST_MAX) {
                self.with_vip(now, said.vip, |vip, scene| {
                    vip.handle_standing(scene, from, beat.incarnation, said);
                });
            }
        }
        self.conclude(now);
    }

    /// A message came in over the control connection.
    pub fn handle_message(&mut self, now: Timestamp, from: &NodeName, message: Message) {
        if !self.peers.contains_key(from) {
            return;
        }
        let Message { vip, epoch, body } = message;
        if self.vips.contains_key(&vip) {
            self.with_vip(now, vip, |vip, scene| vip.handle_body(scene, from, epoch, body));
        } else if body == Body::Owning {
            // Not configured here: acknowledged all the same, or it would be told for ever.
            let message = Message { vip, epoch, body: Body::Following };
            self.outputs.push_back(Output::Send { to: from.clone(), message });
        }
        self.conclude(now);
    }

    /// The epoch record was read or has changed.
    pub fn handle_epoch_record(&mut self, now: Timestamp, vip: Vip, read: EpochRead) {
        self.with_vip(now, vip, |vip, scene| vip.handle_read(scene, read));
        self.conclude(now);
    }

    /// There is an epoch record of revision `at`, but it cannot be opened: to be put in instead of
    /// [`Cluster::handle_epoch_record`], with `record: None`.
    pub fn handle_unreadable_record(
        &mut self,
        now: Timestamp,
        vip: Vip,
        at: Revision,
        read: EpochRead,
    ) {
        self.with_vip(now, vip, |vip, scene| {
            vip.handle_read(scene, read);
            vip.unreadable = Some(at);
        });
        self.conclude(now);
    }

    /// All other records of the VIP have been read and opened, up to a revision.
    pub fn handle_records(&mut self, now: Timestamp, vip: Vip, maxima: RecordMaxima) {
        self.with_vip(now, vip, |vip, _| vip.handle_records(maxima));
        self.conclude(now);
    }

    /// The answer to an [`Output::Claim`].
    pub fn handle_claim(&mut self, now: Timestamp, vip: Vip, outcome: ClaimOutcome) {
        self.with_vip(now, vip, |vip, scene| vip.handle_claim(scene, outcome));
        self.conclude(now);
    }

    /// The store answers, or does not any more. Assumed down until the first call.
    pub fn handle_store_health(&mut self, now: Timestamp, health: StoreHealth) {
        let was_up = core::mem::replace(&mut self.store_up, health == StoreHealth::Up);
        let back = !was_up && self.store_up;
        self.each_vip(now, |vip, scene| {
            vip.asked = None;
            // Before the first read the node reads by itself.
            if back && vip.read.is_some() {
                vip.ask(scene);
            }
        });
        self.conclude(now);
    }

    /// The answer to an [`Output::Freeze`]: everything is still, this is what is handed over.
    /// `written` is the revision of the last write for the VIP.
    pub fn handle_frozen(
        &mut self,
        now: Timestamp,
        vip: Vip,
        handover: SecretBytes,
        written: Revision,
    ) {
        self.with_vip(now, vip, |vip, scene| vip.handle_frozen(scene, handover, written));
        self.conclude(now);
    }

    /// Somebody wants the VIP to move.
    ///
    /// # Errors
    /// [`Error`]; nothing has changed.
    pub fn handle_transfer_request(
        &mut self,
        now: Timestamp,
        vip: Vip,
        to: &NodeName,
    ) -> Result<TransferAccepted, Error> {
        let asked = self.with_vip(now, vip, |vip, scene| vip.request_transfer(scene, to));
        self.conclude(now);
        asked.unwrap_or(Err(Error::UnknownVip(vip)))
    }

    /// This node wants no part in the VIP any more (it stops): an owner gives it up, and no claim
    /// follows in this process.
    pub fn handle_release(&mut self, now: Timestamp, vip: Vip) {
        self.with_vip(now, vip, VipState::release);
        self.conclude(now);
    }

    /// Somebody accepts that a refused store loses all SAs of the VIP.
    ///
    /// # Errors
    /// [`Error::NothingToAccept`] when nothing was refused.
    pub fn handle_accept_rollback(&mut self, now: Timestamp, vip: Vip) -> Result<(), Error> {
        let accepted = self.with_vip(now, vip, VipState::accept_rollback);
        self.conclude(now);
        accepted.unwrap_or(Err(Error::UnknownVip(vip)))
    }

    /// The time of [`Cluster::poll_timeout`] has come.
    pub fn handle_timeout(&mut self, now: Timestamp) {
        let timers = self.config.timers;
        let slept = self.poll_timeout().is_some_and(|due| now.since(due) > timers.heartbeat);
        if slept {
            self.peers.values_mut().for_each(|peer| peer.excuse(now, &timers));
        }
        let tick = |(name, peer): (&NodeName, &mut Peer)| {
            (name.clone(), peer.handle_timeout(now, &timers))
        };
        let signs: Vec<_> = self.peers.iter_mut().map(tick).collect();
        for (name, sign) in signs {
            self.note(now, &name, sign);
        }
        self.conclude(now);
    }

    /// What is to be done next; to be called until `None` after every `handle_*`.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Cluster::handle_timeout`] wants to be called; asked anew after every `handle_*`.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        let timers = &self.config.timers;
        let peers = self.peers.values().filter_map(|peer| peer.poll_timeout(timers)).min();
        let vips = self.look(VipState::poll_timeout).into_iter().flatten();
        vips.chain(peers).min()
    }

    /// The epoch in which this node owns the VIP, if it does.
    #[must_use]
    pub fn owned_epoch(&self, vip: Vip) -> Option<Epoch> {
        self.vips.get(&vip)?.ownership().map(|ownership| ownership.epoch)
    }

    /// Who would take over: the highest-ranked other candidate that is there and ready.
    #[must_use]
    pub fn best_standby(&self, vip: Vip) -> Option<NodeName> {
        let config = &self.vips.get(&vip)?.config;
        let ready = config.candidates.iter().filter(|other| self.says_ready(&other.node, vip));
        ready
            .max_by_key(|other| (other.rank, core::cmp::Reverse(&other.node)))
            .map(|c| c.node.clone())
    }

    fn says_ready(&self, node: &NodeName, vip: Vip) -> bool {
        let there = self.peers.get(node).filter(|peer| peer.is_there());
        let said = there.and_then(|peer| peer.standings.get(&vip));
        said.is_some_and(|said| said.standing == Standing::Ready)
    }

    /// All VIPs, for `status`.
    #[must_use]
    pub fn vips(&self) -> Vec<VipView> {
        self.look(VipState::view)
    }

    /// All members, for `status`.
    #[must_use]
    pub fn members(&self) -> Vec<MemberView> {
        let view = |member: &crate::config::Member| {
            let peer = self.peers.get(&member.name);
            MemberView {
                name: member.name.clone(),
                roles: member.roles,
                presence: peer.map_or(Presence::Own, Peer::presence),
                linked: peer.is_none_or(|peer| peer.linked),
            }
        };
        self.config.members.iter().map(view).collect()
    }

    fn with_vip<R>(
        &mut self,
        now: Timestamp,
        vip: Vip,
        act: impl FnOnce(&mut VipState, &mut Scene<'_>) -> R,
    ) -> Option<R> {
        let state = self.vips.get_mut(&vip)?;
        let mut scene = Scene {
            now,
            started: self.started,
            config: &self.config,
            peers: &self.peers,
            store_up: self.store_up,
            out: &mut self.outputs,
        };
        Some(act(state, &mut scene))
    }

    /// Looks at every VIP without changing anything.
    fn look<R>(&self, see: impl Fn(&VipState, &Scene<'_>) -> R) -> Vec<R> {
        let mut nothing = VecDeque::new();
        let scene = Scene {
            now: self.started,
            started: self.started,
            config: &self.config,
            peers: &self.peers,
            store_up: self.store_up,
            out: &mut nothing,
        };
        self.vips.values().map(|vip| see(vip, &scene)).collect()
    }

    fn each_vip(&mut self, now: Timestamp, mut act: impl FnMut(&mut VipState, &mut Scene<'_>)) {
        let vips: Vec<Vip> = self.vips.keys().copied().collect();
        for vip in vips {
            self.with_vip(now, vip, &mut act);
        }
    }

    fn note(&mut self, now: Timestamp, node: &NodeName, sign: Option<Sign>) {
        let Some(sign) = sign else { return };
        let node = node.clone();
        let peer = self.peers.get(&node);
        let grace_until = now + self.config.timers.grace;
        match sign {
            Sign::Back { replaced } => {
                if replaced {
                    self.outputs.push_back(Output::MemberLost { node: node.clone(), grace_until });
                }
                let incarnation = peer.and_then(|peer| peer.incarnation).unwrap_or_default();
                self.outputs.push_back(Output::MemberBack { node: node.clone(), incarnation });
                self.outputs.push_back(Output::Event(Event::MemberUp { node }));
            }
            Sign::Suspected => {
                self.outputs.push_back(Output::Event(Event::MemberSuspected { node }));
            }
            Sign::Lost { closed } => {
                let until = peer.and_then(Peer::grace_until).unwrap_or(grace_until);
                let lost = Output::MemberLost { node: node.clone(), grace_until: until };
                self.outputs.push_back(lost);
                self.outputs.push_back(Output::Event(Event::MemberLost { node, closed }));
            }
            Sign::Gone => self.outputs.push_back(Output::MemberGone { node }),
        }
    }

    /// After everything that happens: what follows from it for each VIP, and for the heartbeat.
    fn conclude(&mut self, now: Timestamp) {
        self.each_vip(now, VipState::tick);
        let mut standings = self.look(VipState::said);
        standings.truncate(HEARTBEAT_LIST_MAX);
        let list = |number: fn(&Peer) -> Option<u64>| {
            let all = self.peers.values();
            let some = all.filter_map(|peer| Some((peer.name.clone(), number(peer)?)));
            some.map(|(node, number)| Challenge { node, number }).take(HEARTBEAT_LIST_MAX).collect()
        };
        let beat = Heartbeat {
            incarnation: self.config.incarnation,
            version: self.beat.version,
            challenges: list(Peer::challenge),
            echoes: list(|peer| peer.asked),
            vips: standings,
        };
        if beat != self.beat || self.beat.version == 0 {
            self.beat = Heartbeat { version: beat.version + 1, ..beat };
            self.outputs.push_back(Output::SetHeartbeat(self.beat.clone()));
        }
    }
}
