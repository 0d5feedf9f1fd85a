//! One VIP as this node sees it: the highest epoch known, its owner, and what this node is to it.
//!
//! Everything that anybody says about epochs ends in [`VipState::learn`]; nothing else may raise
//! the floor except this node's own committed claim.

use crate::EpochRecord;
use crate::claim::Claim;
use crate::config::{Config, VipConfig};
use crate::damping::History;
use crate::event::{Event, Refusal, Witness};
use crate::floor::{Floor, Progress};
use crate::input::{EpochRead, RecordMaxima};
use crate::member::Peer;
use crate::output::{How, Output};
use crate::store::Revision;
use crate::tell::Tell;
use crate::transfer::{Incoming, Outgoing};
use crate::view::Presence;
use std::collections::{BTreeMap, VecDeque};
use vipsec_wire::cluster::ownership::{Body, Message, Standing, VipStanding};
use vipsec_wire::id::{Epoch, NodeName, Vip};
use vipsec_wire::time::Timestamp;

/// What a VIP's state may look at and add to while something happens.
pub(crate) struct Scene<'a> {
    pub(crate) now: Timestamp,
    pub(crate) started: Timestamp,
    pub(crate) config: &'a Config,
    pub(crate) peers: &'a BTreeMap<NodeName, Peer>,
    pub(crate) store_up: bool,
    pub(crate) out: &'a mut VecDeque<Output>,
}

impl Scene<'_> {
    pub(crate) fn presence(&self, node: &NodeName) -> Presence {
        match self.peers.get(node) {
            _ if *node == self.config.node => Presence::Own,
            Some(peer) => peer.presence(),
            None => Presence::Lost,
        }
    }

    /// What a member that is there says of a VIP.
    pub(crate) fn standing(&self, node: &NodeName, vip: Vip) -> Option<&VipStanding> {
        self.peers.get(node).filter(|peer| peer.is_there())?.standings.get(&vip)
    }

    pub(crate) fn is_linked(&self, node: &NodeName) -> bool {
        self.peers.get(node).is_some_and(|peer| peer.linked)
    }

    pub(crate) fn send(&mut self, to: &NodeName, vip: Vip, epoch: Epoch, body: Body) {
        if self.is_linked(to) {
            self.out
                .push_back(Output::Send { to: to.clone(), message: Message { vip, epoch, body } });
        }
    }

    pub(crate) fn event(&mut self, event: Event) {
        self.out.push_back(Output::Event(event));
    }
}

#[derive(Debug)]
pub(crate) enum Role {
    Follower,
    Claiming(Claim),
    Owner(Ownership),
}

#[derive(Debug)]
pub(crate) struct Ownership {
    pub(crate) epoch: Epoch,
    /// Of the epoch record.
    pub(crate) revision: Revision,
    pub(crate) transfer: Option<Outgoing>,
    /// A rewrite of the epoch record is on its way to the store.
    pub(crate) rewriting: bool,
    /// The store does not know this ownership any more.
    pub(crate) record_lost: bool,
}

/// A read that was asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked {
    pub(crate) at_floor: Floor,
    pub(crate) at: Timestamp,
}

#[derive(Debug)]
pub(crate) struct VipState {
    pub(crate) config: VipConfig,
    pub(crate) role: Role,
    /// The highest epoch that was ever seen committed.
    pub(crate) floor: Epoch,
    pub(crate) witness: Witness,
    /// How far the store has come in that epoch.
    pub(crate) progress: Progress,
    /// The owner of that epoch, and its process, where known.
    pub(crate) owner: Option<NodeName>,
    pub(crate) owner_process: Option<u64>,
    /// The owner of the floor's epoch has given it up, or its process has.
    pub(crate) given_up: bool,
    /// A silent owner that has just claimed is taken to live until then.
    pub(crate) trusted_until: Timestamp,
    pub(crate) read: Option<EpochRead>,
    /// Revision of an epoch record that is there but cannot be opened.
    pub(crate) unreadable: Option<Revision>,
    pub(crate) asked: Option<Asked>,
    /// The floor that was known when the last fresh read was begun.
    pub(crate) read_at_floor: Floor,
    pub(crate) maxima: Option<RecordMaxima>,
    pub(crate) refusal: Option<Refusal>,
    pub(crate) accepted: bool,
    pub(crate) released: bool,
    pub(crate) vacant_since: Option<Timestamp>,
    pub(crate) claim_at: Option<Timestamp>,
    pub(crate) not_before: Timestamp,
    pub(crate) failures: u32,
    /// A claim whose outcome the store could not tell.
    pub(crate) doubtful: Option<Claim>,
    pub(crate) own_claims: History,
    pub(crate) changes: History,
    pub(crate) tell: Tell,
    pub(crate) incoming: Option<Incoming>,
    pub(crate) takeback_at: Option<Timestamp>,
    pub(crate) takeback_tries: u32,
    pub(crate) transfers: u64,
    followed: Option<(Epoch, Option<NodeName>)>,
}

impl VipState {
    pub(crate) fn new(config: VipConfig) -> VipState {
        VipState {
            role: Role::Follower,
            floor: config.floor.epoch,
            witness: Witness::Own,
            progress: Progress::new(config.floor.revision),
            owner: None,
            owner_process: None,
            given_up: false,
            trusted_until: Timestamp(0),
            read: None,
            unreadable: None,
            asked: None,
            read_at_floor: config.floor,
            maxima: None,
            refusal: None,
            accepted: false,
            released: false,
            vacant_since: None,
            claim_at: None,
            not_before: Timestamp(0),
            failures: 0,
            doubtful: None,
            own_claims: History::default(),
            changes: History::default(),
            tell: Tell::default(),
            incoming: None,
            takeback_at: None,
            takeback_tries: 0,
            transfers: 0,
            followed: None,
            config,
        }
    }

    pub(crate) fn vip(&self) -> Vip {
        self.config.vip
    }

    /// The floor with its revision.
    pub(crate) fn mark(&self) -> Floor {
        Floor { epoch: self.floor, revision: self.progress.revision }
    }

    pub(crate) fn is_candidate(&self, node: &NodeName) -> bool {
        self.config.rank(node).is_some()
    }

    pub(crate) fn ownership(&self) -> Option<&Ownership> {
        match &self.role {
            Role::Owner(ownership) => Some(ownership),
            _ => None,
        }
    }

    pub(crate) fn standing(&self, scene: &Scene<'_>) -> Standing {
        match &self.role {
            Role::Owner(_) => Standing::Owner,
            _ if !self.is_candidate(&scene.config.node) => Standing::Target,
            Role::Claiming(_) => Standing::Ready,
            Role::Follower if self.is_ready(scene) => Standing::Ready,
            Role::Follower => Standing::NotReady,
        }
    }

    /// Whether this node could claim now if the VIP had no owner.
    pub(crate) fn is_ready(&self, scene: &Scene<'_>) -> bool {
        self.is_candidate(&scene.config.node)
            && scene.store_up
            && self.read.is_some()
            && self.maxima.is_some()
            && self.refusal.is_none()
            && !self.released
    }

    /// Somebody says that this epoch is committed, and perhaps whose it is.
    pub(crate) fn learn(
        &mut self,
        scene: &mut Scene<'_>,
        epoch: Epoch,
        owner: Option<(&NodeName, Option<u64>)>,
        witness: Witness,
    ) {
        let owner = owner.filter(|(node, _)| self.is_candidate(node));
        if epoch == self.floor && self.owner.is_none() {
            self.owner = owner.map(|(node, _)| node.clone());
            self.owner_process = owner.and_then(|(_, process)| process);
        } else if epoch > self.floor {
            self.rise(scene, epoch, owner, witness);
        }
        self.follow(scene);
    }

    fn rise(
        &mut self,
        scene: &mut Scene<'_>,
        epoch: Epoch,
        owner: Option<(&NodeName, Option<u64>)>,
        witness: Witness,
    ) {
        self.floor = epoch;
        self.witness = witness;
        self.owner = owner.map(|(node, _)| node.clone());
        self.owner_process = owner.and_then(|(_, process)| process);
        self.given_up = false;
        self.accepted = false;
        self.vacant_since = None;
        self.changes.note(scene.now);
        if let Some((node, process)) = owner {
            self.trust(scene, node, process);
        }
        self.depose(scene, epoch, self.owner.clone());
        self.incoming = None;
        self.progress.begin(scene.now, Revision(0));
        scene.out.push_back(Output::RecordFloor { vip: self.vip(), floor: self.mark() });
    }

    /// Who claims lives, even if we do not hear it, and whatever the signs of an earlier process of it
    /// say; but not for ever.
    fn trust(&mut self, scene: &Scene<'_>, claimant: &NodeName, process: Option<u64>) {
        let heard = scene.peers.get(claimant).and_then(|peer| peer.incarnation);
        let another = heard.is_some_and(|heard| process.is_some_and(|process| process > heard));
        if scene.presence(claimant) != Presence::Lost && !another {
            return;
        }
        let flaps = self.changes.recent(scene.now).saturating_sub(1);
        let most = scene.config.timers.grace;
        let hold = crate::damping::doubled(scene.config.timers.settle, flaps, most);
        self.trusted_until = scene.now + hold;
    }

    /// If this node owns the VIP, it does so no longer.
    pub(crate) fn depose(&mut self, scene: &mut Scene<'_>, epoch: Epoch, owner: Option<NodeName>) {
        if !matches!(self.role, Role::Owner(_)) {
            return;
        }
        let role = core::mem::replace(&mut self.role, Role::Follower);
        let vip = self.vip();
        scene.out.push_back(Output::Depose { vip, epoch, owner: owner.clone() });
        if let Role::Owner(Ownership { transfer: Some(transfer), .. }) = role
            && owner.as_ref() == Some(&transfer.to)
        {
            scene.event(Event::TransferDone { vip, to: transfer.to, epoch });
        }
        scene.event(Event::Deposed { vip, epoch, owner });
        self.tell.clear();
        self.takeback_at = None;
    }

    /// Whether the floor's epoch is one that this node has claimed and may well have: others have
    /// seen it in the store, but the answer to the claim has not come here.
    fn is_own_claim(&self, scene: &Scene<'_>) -> bool {
        let claim = match &self.role {
            Role::Claiming(claim) => Some(claim),
            _ => self.doubtful.as_ref(),
        };
        let own = self.owner.as_ref().is_none_or(|owner| *owner == scene.config.node);
        own && claim.is_some_and(|claim| claim.epoch == self.floor)
    }

    /// Tells the data path whom to follow, when that has changed.
    pub(crate) fn follow(&mut self, scene: &mut Scene<'_>) {
        if matches!(self.role, Role::Owner(_)) {
            self.followed = None;
            return;
        }
        if self.is_own_claim(scene) {
            // What comes is ownership: the data path stays with the former owner until then.
            return;
        }
        let owner = self.owner.clone().filter(|owner| *owner != scene.config.node);
        let followed = (self.floor, owner);
        if self.floor > Epoch(0) && self.followed.as_ref() != Some(&followed) {
            let (epoch, owner) = followed.clone();
            scene.out.push_back(Output::Follow { vip: self.vip(), epoch, owner });
            self.followed = Some(followed);
        }
    }

    /// Somebody else owns the VIP in the very epoch in which this node does.
    pub(crate) fn conflict(&mut self, scene: &mut Scene<'_>, other: &NodeName) {
        let (vip, epoch) = (self.vip(), self.floor);
        scene.event(Event::Conflict { vip, epoch, other: other.clone() });
        self.depose(scene, epoch, None);
        self.owner = Some(other.clone());
        self.owner_process = None;
        self.follow(scene);
    }

    /// This node's claim is committed.
    pub(crate) fn own(
        &mut self,
        scene: &mut Scene<'_>,
        epoch: Epoch,
        revision: Revision,
        how: How,
    ) {
        let vip = self.vip();
        let incarnation = scene.config.incarnation;
        let owner = scene.config.node.clone();
        self.floor = epoch;
        self.witness = Witness::Own;
        self.owner = Some(owner.clone());
        self.owner_process = Some(incarnation);
        self.given_up = false;
        self.vacant_since = None;
        self.failures = 0;
        self.doubtful = None;
        self.accepted = false;
        self.refusal = None;
        self.takeback_at = None;
        self.takeback_tries = 0;
        self.incoming = None;
        self.changes.note(scene.now);
        self.own_claims.note(scene.now);
        let record = EpochRecord { epoch, owner, incarnation };
        self.read =
            Some(EpochRead { record: Some((record, revision)), as_of: revision, fresh: false });
        self.progress.begin(scene.now, revision);
        self.read_at_floor = self.mark();
        self.unreadable = None;
        self.role = Role::Owner(Ownership {
            epoch,
            revision,
            transfer: None,
            rewriting: false,
            record_lost: false,
        });
        scene.out.push_back(Output::Own { vip, epoch, revision, how });
        scene.out.push_back(Output::RecordFloor { vip, floor: self.mark() });
        scene.event(Event::Owned { vip, epoch });
        self.follow(scene);
        self.tell.begin(scene);
    }

    /// The store has said what the epoch record is.
    pub(crate) fn handle_read(&mut self, scene: &mut Scene<'_>, read: EpochRead) {
        let older = |known: &EpochRead| read.as_of < known.as_of;
        if !read.fresh && self.read.as_ref().is_some_and(older) {
            return;
        }
        if read.fresh
            && let Some(asked) = self.asked.take()
        {
            self.read_at_floor = asked.at_floor;
        }
        let (record, as_of) = (read.record.clone(), read.as_of);
        self.read = Some(read);
        self.unreadable = None;
        match record {
            Some((record, revision)) if record.epoch >= self.floor => {
                self.handle_record(scene, &record, revision);
                self.saw(as_of);
            }
            found => self.lose_record(scene, found.map(|(record, _)| record.epoch)),
        }
    }

    /// All other records have been followed up to a revision.
    pub(crate) fn handle_records(&mut self, maxima: RecordMaxima) {
        self.maxima = Some(maxima);
        self.saw(maxima.followed);
    }

    /// This node has seen the store at a revision.
    fn saw(&mut self, revision: Revision) {
        let record = self.read.as_ref().and_then(|read| read.record.as_ref());
        if record.is_some_and(|(record, _)| record.epoch == self.floor) {
            self.progress.raise(revision, &Witness::Own);
        }
    }

    fn handle_record(&mut self, scene: &mut Scene<'_>, record: &EpochRecord, revision: Revision) {
        let mine =
            record.owner == scene.config.node && record.incarnation == scene.config.incarnation;
        if mine && self.adopt(scene, record.epoch, revision) {
            return;
        }
        let owned = self.ownership().is_some_and(|owned| owned.epoch == record.epoch);
        match (owned, mine) {
            (true, true) => self.refence(scene, revision),
            (true, false) => self.conflict(scene, &record.owner),
            (false, _) => {
                let owner = Some((&record.owner, Some(record.incarnation)));
                self.learn(scene, record.epoch, owner, Witness::Own);
                if self.floor == record.epoch && self.owner.as_ref() == Some(&record.owner) {
                    self.owner_process = Some(record.incarnation);
                }
            }
        }
    }

    fn lose_record(&mut self, scene: &mut Scene<'_>, found: Option<Epoch>) {
        let vip = self.vip();
        if let Role::Owner(ownership) = &mut self.role
            && !ownership.record_lost
        {
            ownership.record_lost = true;
            let epoch = ownership.epoch;
            scene.event(Event::RecordLost { vip, epoch, found });
        }
    }

    /// Asks for a fresh read, unless one is on its way.
    pub(crate) fn ask(&mut self, scene: &mut Scene<'_>) {
        let recent = |asked: Asked| scene.now.since(asked.at) < scene.config.timers.settle;
        if scene.store_up && !self.asked.is_some_and(recent) {
            self.asked = Some(Asked { at_floor: self.mark(), at: scene.now });
            scene.out.push_back(Output::Refresh { vip: self.vip() });
        }
    }

    /// A heartbeat of `from`, whose process is `process`, says this of the VIP.
    pub(crate) fn handle_standing(
        &mut self,
        scene: &mut Scene<'_>,
        from: &NodeName,
        process: u64,
        said: &VipStanding,
    ) {
        let owning = said.standing == Standing::Owner;
        if owning && said.epoch == self.floor && self.ownership().is_some() {
            return self.conflict(scene, from);
        }
        self.hear(scene, from, said.epoch, owning, said.owner.as_ref(), Some(process));
        let current = said.epoch == self.floor;
        if current && self.is_candidate(from) {
            let witness = Witness::Member(from.clone());
            self.progress.raise(Revision(said.revision), &witness);
        }
        if current && self.ownership().is_some() && said.owner.as_ref() == Some(&scene.config.node)
        {
            self.tell.acknowledged(from);
        }
        if self.owner.as_ref() == Some(from) {
            if self.owner_process.is_none_or(|owner| process >= owner) {
                // It is heard: from now on its silence says something.
                self.trusted_until = Timestamp(0);
            }
            if owning && current {
                self.owner_process = Some(process);
                self.given_up = false;
            } else if (current && said.owner.as_ref() != Some(from))
                || self.owner_process.is_some_and(|owner| process > owner)
            {
                // It says so itself, or it is a later process than the owner. (What the owner had
                // said before it became the owner is only late; and one that names itself has seen
                // its own claim in the store before the answer to it.)
                self.given_up = true;
            }
        }
    }

    /// A member names an epoch. What only a target says is looked up in the store first: a target
    /// must not be able to depose an owner.
    pub(crate) fn hear(
        &mut self,
        scene: &mut Scene<'_>,
        from: &NodeName,
        epoch: Epoch,
        owning: bool,
        owner: Option<&NodeName>,
        process: Option<u64>,
    ) {
        if self.is_candidate(from) {
            let owner = if owning { Some((from, process)) } else { owner.map(|name| (name, None)) };
            self.learn(scene, epoch, owner, Witness::Member(from.clone()));
        } else if epoch > self.floor && self.is_candidate(&scene.config.node) {
            self.ask(scene);
        }
    }
}
