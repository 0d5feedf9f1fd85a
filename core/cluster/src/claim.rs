//! Claiming a VIP: when it has no owner, who goes first, and what becomes of a claim.

use crate::EpochRecord;
use crate::config::{Candidate, TakeBack};
use crate::damping::{doubled, penalty};
use crate::event::Event;
use crate::guard::{Evidence, Terms, Verdict};
use crate::input::ClaimOutcome;
use crate::output::{How, Output};
use crate::store::Revision;
use crate::transfer::Received;
use crate::view::Presence;
use crate::vip::{Role, Scene, VipState};
use core::time::Duration;
use vipsec_wire::cluster::ownership::{Body, Declined, Standing};
use vipsec_wire::id::{Epoch, NodeName};
use vipsec_wire::time::Timestamp;

/// A claim that is on its way to the store.
#[derive(Debug)]
pub(crate) struct Claim {
    pub(crate) epoch: Epoch,
    pub(crate) discard: bool,
    /// Who owned the VIP before.
    pub(crate) from: Option<NodeName>,
    /// What that owner has handed over.
    pub(crate) received: Option<Received>,
}

/// Whether the VIP has an owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    Lives,
    /// It may turn up; somebody's timer says when to ask again.
    MayLive(Timestamp),
    None,
}

impl VipState {
    fn life(&self, scene: &Scene<'_>) -> Life {
        let owner = self.owner.as_ref().filter(|_| !self.given_up);
        let presence = owner.map(|owner| scene.presence(owner));
        match presence {
            Some(Presence::Alive | Presence::Suspected) => Life::Lives,
            // Whatever the store says, another candidate may know better.
            _ if self.is_any_unheard(scene) => {
                Life::MayLive(scene.started + scene.config.timers.settle)
            }
            Some(Presence::Lost) if scene.now < self.trusted_until => {
                Life::MayLive(self.trusted_until)
            }
            _ => Life::None,
        }
    }

    /// Whether the floor of a candidate is not known yet that may still be there: not heard since the
    /// start of this process, nor for long enough to be taken for lost.
    fn is_any_unheard(&self, scene: &Scene<'_>) -> bool {
        let mut others = self.config.candidates.iter();
        others.any(|other| scene.presence(&other.node) == Presence::Unknown)
    }

    fn judge(&self) -> Option<Verdict> {
        let (read, maxima) = (self.read.as_ref()?, self.maxima.as_ref()?);
        let evidence = Evidence {
            vip: self.vip(),
            read,
            maxima,
            unreadable: self.unreadable,
            floor: self.mark(),
            witness: [&self.witness, &self.progress.witness],
            read_at_floor: self.read_at_floor,
            accepted: self.accepted,
        };
        Some(evidence.judge())
    }

    /// Looks whether this node should claim now, or when. Called after everything that happens.
    pub(crate) fn consider(&mut self, scene: &mut Scene<'_>) {
        self.claim_at = None;
        if !matches!(self.role, Role::Follower) || !self.is_candidate(&scene.config.node) {
            return;
        }
        let Some(verdict) = self.judge() else { return };
        self.set_refusal(scene, &verdict);
        match self.life(scene) {
            Life::Lives => {
                self.vacant_since = None;
                self.consider_takeback(scene);
                return;
            }
            Life::MayLive(until) => {
                self.vacant_since = None;
                self.takeback_at = None;
                self.claim_at = Some(until);
                return;
            }
            Life::None => self.takeback_at = None,
        }
        if !scene.store_up || self.released {
            return;
        }
        match verdict {
            Verdict::Stale => self.ask(scene),
            Verdict::Claim(terms) if self.asked.is_none() => self.claim_in_turn(scene, terms),
            Verdict::Claim(_) => self.ask(scene),
            Verdict::Refused(_) => {}
        }
    }

    fn set_refusal(&mut self, scene: &mut Scene<'_>, verdict: &Verdict) {
        let refusal = match verdict {
            Verdict::Refused(refusal) => Some(refusal.clone()),
            Verdict::Claim(_) => None,
            Verdict::Stale => return,
        };
        if self.refusal != refusal {
            self.refusal.clone_from(&refusal);
            if let Some(refusal) = refusal {
                scene.event(Event::Refused { vip: self.vip(), refusal });
            }
        }
    }

    fn claim_in_turn(&mut self, scene: &mut Scene<'_>, terms: Terms) {
        let since = self.vacant_since.unwrap_or(scene.now);
        if self.vacant_since.is_none() {
            self.vacant_since = Some(scene.now);
            self.damp(scene);
        }
        let due = (since + self.wait_for_turn(scene)).max(self.not_before);
        if scene.now < due {
            self.claim_at = Some(due);
        } else {
            let from = self.owner.clone();
            self.claim(scene, &terms, from, None);
        }
    }

    /// A vacancy has begun: whoever has won too often lately lets others go first.
    fn damp(&mut self, scene: &mut Scene<'_>) {
        let most = scene.config.timers.retry_max;
        let wait = self.own_claims.penalty(scene.now, most);
        let starts = penalty(scene.config.recent_starts, most);
        let until = (scene.now + wait).max(scene.started + starts);
        if until > scene.now {
            self.not_before = self.not_before.max(until);
            let wait = until.since(scene.now);
            scene.event(Event::Damped { vip: self.vip(), wait });
        }
    }

    /// How much later than the first this node's turn is. The last owner, if it is back, goes before
    /// every rank: its applications are there.
    fn wait_for_turn(&self, scene: &Scene<'_>) -> Duration {
        let (own, timers) = (&scene.config.node, &scene.config.timers);
        let owner = self.owner.as_ref().filter(|_| self.floor > Epoch(0));
        if owner == Some(own) {
            return Duration::ZERO;
        }
        let is_ahead = |node: &NodeName| owner == Some(node) || self.config.precedes(node, own);
        let first_of_all = self.floor == Epoch(0);
        let mut wait = Duration::ZERO;
        for Candidate { node, .. } in self.config.candidates.iter().filter(|c| is_ahead(&c.node)) {
            match scene.standing(node, self.vip()).map(|said| said.standing) {
                // Nobody's traffic waits yet: the better rank may be slow to hear the others.
                Some(_) if first_of_all => wait = wait.max(timers.settle),
                Some(Standing::Ready | Standing::Owner) => wait += timers.stagger,
                _ => {}
            }
        }
        wait
    }

    pub(crate) fn claim(
        &mut self,
        scene: &mut Scene<'_>,
        terms: &Terms,
        from: Option<NodeName>,
        received: Option<Received>,
    ) {
        let (vip, epoch) = (self.vip(), terms.epoch);
        if terms.emptied && !terms.discard {
            scene.event(Event::StoreEmptied { vip, floor: self.floor });
        }
        scene.event(Event::Claiming { vip, epoch });
        scene.out.push_back(Output::Claim {
            vip,
            expect: terms.expect,
            record: own_record(scene, epoch),
            discard: terms.discard,
        });
        self.vacant_since = None;
        self.role = Role::Claiming(Claim { epoch, discard: terms.discard, from, received });
    }

    /// The terms on which a transfer from the living owner of the floor's epoch may be claimed.
    pub(crate) fn transfer_terms(&self) -> Result<Terms, Declined> {
        let current = self.read.as_ref().and_then(|read| read.record.as_ref());
        if current.is_none_or(|(record, _)| record.epoch != self.floor) || self.asked.is_some() {
            return Err(Declined::NotReady);
        }
        match self.judge() {
            Some(Verdict::Claim(terms)) => Ok(terms),
            Some(Verdict::Refused(_)) => Err(Declined::Refused),
            Some(Verdict::Stale) | None => Err(Declined::NotReady),
        }
    }

    pub(crate) fn handle_claim(&mut self, scene: &mut Scene<'_>, outcome: ClaimOutcome) {
        if matches!(&self.role, Role::Owner(ownership) if ownership.rewriting) {
            return self.handle_rewrite(scene, outcome);
        }
        if !matches!(self.role, Role::Claiming(_)) {
            return;
        }
        let Role::Claiming(claim) = core::mem::replace(&mut self.role, Role::Follower) else {
            return;
        };
        match outcome {
            ClaimOutcome::Won(revision) => self.win(scene, claim, revision),
            ClaimOutcome::Lost => self.fail(scene, &claim, false),
            ClaimOutcome::Failed => {
                self.fail(scene, &claim, true);
                self.doubtful = Some(claim);
            }
        }
    }

    fn win(&mut self, scene: &mut Scene<'_>, claim: Claim, revision: Revision) {
        if self.is_beyond(scene, claim.epoch) {
            // Somebody has claimed above us already.
            self.ask(scene);
            return;
        }
        if self.released {
            self.rise_released(scene, claim.epoch);
            return;
        }
        let epoch = claim.epoch;
        let how = how(scene, claim);
        self.own(scene, epoch, revision, how);
    }

    /// Whether an epoch that this node has claimed is of no use any more. (Others may have seen
    /// the claim in the store, and said so, before its answer came here.)
    fn is_beyond(&self, scene: &Scene<'_>, epoch: Epoch) -> bool {
        let other = self.owner.as_ref().is_some_and(|owner| *owner != scene.config.node);
        epoch < self.floor || (epoch == self.floor && other)
    }

    /// The claim was committed after this node had left: nobody owns the epoch.
    fn rise_released(&mut self, scene: &mut Scene<'_>, epoch: Epoch) {
        let own = scene.config.node.clone();
        let process = Some(scene.config.incarnation);
        self.learn(scene, epoch, Some((&own, process)), crate::event::Witness::Own);
        self.given_up = true;
        self.announce_release(scene);
    }

    fn fail(&mut self, scene: &mut Scene<'_>, claim: &Claim, store: bool) {
        let (vip, epoch) = (self.vip(), claim.epoch);
        scene.event(Event::ClaimFailed { vip, epoch, store });
        if let (Some(received), Some(from)) = (&claim.received, &claim.from) {
            let body = Body::Declined { transfer: received.id, reason: Declined::ClaimFailed };
            scene.send(from, vip, self.floor, body);
        }
        if store {
            let timers = &scene.config.timers;
            self.not_before = scene.now + doubled(timers.retry, self.failures, timers.retry_max);
            self.failures += 1;
        }
        // Whatever is in the store now, we have to know it before we try again.
        self.asked = None;
        self.ask(scene);
    }

    /// The record says that this very process owns an epoch that it does not know to own: a claim
    /// whose answer has not come yet, or was lost. Returns whether that was so.
    pub(crate) fn adopt(&mut self, scene: &mut Scene<'_>, epoch: Epoch, at: Revision) -> bool {
        let claimed = match &self.role {
            Role::Claiming(claim) => claim.epoch == epoch,
            Role::Follower => self.doubtful.as_ref().is_some_and(|claim| claim.epoch == epoch),
            Role::Owner(_) => false,
        };
        if !claimed || self.is_beyond(scene, epoch) {
            return false;
        }
        let role = core::mem::replace(&mut self.role, Role::Follower);
        let claim = match role {
            Role::Claiming(claim) => Some(claim),
            _ => self.doubtful.take(),
        };
        if let Some(claim) = claim {
            self.win(scene, claim, at);
        }
        true
    }

    /// A higher rank asks the owner to hand over, if it is configured so and all has been quiet.
    fn consider_takeback(&mut self, scene: &mut Scene<'_>) {
        let own = &scene.config.node;
        let outranks = |owner: &&NodeName| self.config.precedes(own, owner);
        let wanted = self.config.takeback == TakeBack::Auto && self.is_ready(scene);
        let owner = self.owner.as_ref().filter(outranks).filter(|_| wanted).cloned();
        let Some(owner) = owner.filter(|_| !self.better_is_ready(scene)) else {
            self.takeback_at = None;
            return;
        };
        let timers = &scene.config.timers;
        let flaps = self.changes.recent(scene.now).saturating_sub(1) + self.takeback_tries;
        let wait = doubled(timers.takeback, flaps, timers.takeback * 64);
        let at = *self.takeback_at.get_or_insert(scene.now + wait);
        if scene.now >= at {
            let to = own.clone();
            self.takeback_at = Some(scene.now + wait * 2);
            self.takeback_tries = (self.takeback_tries + 1).min(6);
            scene.send(&owner, self.vip(), self.floor, Body::TransferWanted { to });
        }
    }

    fn better_is_ready(&self, scene: &Scene<'_>) -> bool {
        let better = |node: &NodeName| self.config.precedes(node, &scene.config.node);
        self.config.candidates.iter().filter(|other| better(&other.node)).any(|other| {
            let said = scene.standing(&other.node, self.vip());
            said.is_some_and(|said| said.standing == Standing::Ready)
        })
    }
}

fn how(scene: &Scene<'_>, claim: Claim) -> How {
    let limit = scene.config.timers.transfer_limit;
    match (claim.received, claim.from) {
        _ if claim.discard => How::Reset,
        (Some(received), Some(from)) if scene.now.since(received.ready_at) <= limit => {
            let (handover, followed) = (received.state, received.written);
            How::Transfer { from, handover, followed }
        }
        (_, None) => How::First,
        (_, Some(from)) if from == scene.config.node => How::Restart,
        (_, Some(from)) => How::Takeover { from },
    }
}

pub(crate) fn own_record(scene: &Scene<'_>, epoch: Epoch) -> EpochRecord {
    EpochRecord { epoch, owner: scene.config.node.clone(), incarnation: scene.config.incarnation }
}
