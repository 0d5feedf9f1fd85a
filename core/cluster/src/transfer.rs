//! A planned transfer: offer, ready, freeze, handover; the successor's compare-and-swap is the
//! commit.
//!
//! The owner may go on after a failed transfer only when the successor can no longer win with what
//! was handed over, or both would send the same sequence numbers. So it rewrites its own epoch
//! record, which makes the successor's claim fail. Where the store does not answer it waits until
//! `transfer_limit` has passed since the successor's `Ready`: a successor that wins later than that
//! jumps to the next block as after a death, and does not use the exact numbers.

use crate::claim::own_record;
use crate::error::Error;
use crate::event::{Abort, Event};
use crate::input::ClaimOutcome;
use crate::output::Output;
use crate::store::Revision;
use crate::view::TransferPhase;
use crate::vip::{Ownership, Role, Scene, VipState};
use vipsec_wire::cluster::ownership::{Body, Declined, TransferId};
use vipsec_wire::id::NodeName;
use vipsec_wire::secret::SecretBytes;
use vipsec_wire::time::Timestamp;

/// The owner's side.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) id: TransferId,
    pub(crate) to: NodeName,
    pub(crate) phase: Phase,
    /// When the present phase takes too long.
    pub(crate) deadline: Timestamp,
    /// When the successor's `Ready` came.
    ready_at: Timestamp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Offered,
    Freezing,
    HandedOver,
    /// Makes the successor's claim impossible, for this reason.
    Reclaiming(Abort),
}

impl Phase {
    pub(crate) fn view(self) -> TransferPhase {
        match self {
            Phase::Offered => TransferPhase::Offered,
            Phase::Freezing => TransferPhase::Freezing,
            Phase::HandedOver => TransferPhase::HandedOver,
            Phase::Reclaiming(_) => TransferPhase::Reclaiming,
        }
    }
}

/// The successor's side, before the handover.
#[derive(Debug)]
pub(crate) struct Incoming {
    id: TransferId,
    from: NodeName,
    /// The store must have been followed up to here before `Ready`.
    needed: Revision,
    ready_at: Option<Timestamp>,
    until: Timestamp,
}

/// What the successor has been handed.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) id: TransferId,
    pub(crate) state: SecretBytes,
    pub(crate) written: Revision,
    /// When this node had said that it is ready.
    pub(crate) ready_at: Timestamp,
}

impl VipState {
    /// Begins a transfer of the VIP that this node owns.
    pub(crate) fn begin_transfer(
        &mut self,
        scene: &mut Scene<'_>,
        to: &NodeName,
    ) -> Result<(), Error> {
        let (vip, node) = (self.vip(), to.clone());
        let candidate = self.is_candidate(to);
        self.transfers += 1;
        let id = TransferId(self.transfers);
        let Role::Owner(ownership) = &mut self.role else { return Err(Error::NoOwner(vip)) };
        let ready = scene.standing(to, vip).map(|said| said.standing);
        if *to == scene.config.node {
            return Err(Error::AlreadyOwner { vip, node });
        } else if !candidate {
            return Err(Error::NotCandidate { vip, node });
        } else if ownership.transfer.is_some() {
            return Err(Error::TransferRunning(vip));
        } else if !scene.store_up {
            return Err(Error::StoreDown);
        } else if !scene.is_linked(to) || ready.is_none() {
            return Err(Error::Unreachable(node));
        } else if ready == Some(vipsec_wire::cluster::ownership::Standing::NotReady) {
            return Err(Error::NotReady { vip, node });
        }
        let deadline = scene.now + scene.config.timers.transfer_offer;
        let (phase, ready_at) = (Phase::Offered, scene.now);
        ownership.transfer = Some(Outgoing { id, to: node.clone(), phase, deadline, ready_at });
        let (epoch, revision) = (ownership.epoch, ownership.revision.0);
        scene.event(Event::TransferBegun { vip, to: node });
        scene.send(to, vip, epoch, Body::Offer { transfer: id, revision });
        Ok(())
    }

    fn outgoing(&mut self, from: &NodeName, id: TransferId) -> Option<&mut Outgoing> {
        let Role::Owner(Ownership { transfer: Some(transfer), .. }) = &mut self.role else {
            return None;
        };
        (transfer.to == *from && transfer.id == id).then_some(transfer)
    }

    pub(crate) fn handle_ready(&mut self, scene: &mut Scene<'_>, from: &NodeName, id: TransferId) {
        let (vip, deadline) = (self.vip(), scene.now + scene.config.timers.transfer_freeze);
        if let Some(transfer) = self.outgoing(from, id)
            && transfer.phase == Phase::Offered
        {
            transfer.phase = Phase::Freezing;
            transfer.deadline = deadline;
            transfer.ready_at = scene.now;
            scene.out.push_back(Output::Freeze { vip, to: from.clone() });
        }
    }

    pub(crate) fn handle_frozen(
        &mut self,
        scene: &mut Scene<'_>,
        state: SecretBytes,
        written: Revision,
    ) {
        let vip = self.vip();
        let Role::Owner(Ownership { transfer: Some(transfer), epoch, .. }) = &mut self.role else {
            return;
        };
        if transfer.phase == Phase::Freezing {
            transfer.phase = Phase::HandedOver;
            let (to, epoch) = (transfer.to.clone(), *epoch);
            let body = Body::Handover { transfer: transfer.id, revision: written.0, state };
            scene.send(&to, vip, epoch, body);
        }
    }

    pub(crate) fn handle_declined(
        &mut self,
        scene: &mut Scene<'_>,
        from: &NodeName,
        id: TransferId,
        reason: Declined,
    ) {
        if let Some(transfer) = self.outgoing(from, id) {
            let phase = transfer.phase;
            self.call_off(scene, phase, Abort::Declined(reason));
        }
    }

    /// The transfer will not be. How to go on depends on how far it had come.
    fn call_off(&mut self, scene: &mut Scene<'_>, phase: Phase, why: Abort) {
        match phase {
            Phase::Offered => self.abort(scene, why, false),
            Phase::Freezing => self.abort(scene, why, true),
            Phase::HandedOver => {
                if let Role::Owner(Ownership { transfer: Some(transfer), .. }) = &mut self.role {
                    transfer.phase = Phase::Reclaiming(why);
                    transfer.deadline = scene.now;
                }
                self.rewrite(scene);
            }
            Phase::Reclaiming(_) => {}
        }
    }

    fn abort(&mut self, scene: &mut Scene<'_>, why: Abort, frozen: bool) {
        let vip = self.vip();
        let Role::Owner(ownership) = &mut self.role else { return };
        let epoch = ownership.epoch;
        let Some(transfer) = ownership.transfer.take() else { return };
        if frozen {
            scene.out.push_back(Output::Thaw { vip });
        }
        scene.send(&transfer.to, vip, epoch, Body::Aborted { transfer: transfer.id });
        scene.event(Event::TransferAborted { vip, to: transfer.to, why });
    }

    /// Writes the epoch record anew, as it is: whoever expects its old revision loses.
    fn rewrite(&mut self, scene: &mut Scene<'_>) {
        let (vip, up) = (self.vip(), scene.store_up);
        let Role::Owner(ownership) = &mut self.role else { return };
        let Some(transfer) = &mut ownership.transfer else { return };
        transfer.deadline = scene.now + scene.config.timers.retry;
        if up && !ownership.rewriting {
            ownership.rewriting = true;
            let record = own_record(scene, ownership.epoch);
            let expect = Some(ownership.revision);
            scene.out.push_back(Output::Claim { vip, expect, record, discard: false });
        }
    }

    pub(crate) fn handle_rewrite(&mut self, scene: &mut Scene<'_>, outcome: ClaimOutcome) {
        if let Role::Owner(ownership) = &mut self.role {
            ownership.rewriting = false;
        }
        match outcome {
            ClaimOutcome::Won(revision) => self.refence(scene, revision),
            // Somebody has claimed, or the rewrite was done and its answer lost: look.
            ClaimOutcome::Lost | ClaimOutcome::Failed => {
                self.asked = None;
                self.ask(scene);
            }
        }
    }

    /// The epoch record of this owner has a new revision.
    pub(crate) fn refence(&mut self, scene: &mut Scene<'_>, revision: Revision) {
        let vip = self.vip();
        let Role::Owner(ownership) = &mut self.role else { return };
        if revision <= ownership.revision {
            return;
        }
        ownership.revision = revision;
        ownership.record_lost = false;
        let phase = ownership.transfer.as_ref().map(|transfer| transfer.phase);
        scene.out.push_back(Output::Refence { vip, revision });
        if let Some(Phase::Reclaiming(why)) = phase {
            self.abort(scene, why, true);
        }
    }

    pub(crate) fn tick_outgoing(&mut self, scene: &mut Scene<'_>) {
        let Role::Owner(Ownership { transfer: Some(transfer), .. }) = &self.role else { return };
        let (phase, due) = (transfer.phase, scene.now >= transfer.deadline);
        let there = scene.peers.get(&transfer.to).is_some_and(|peer| peer.is_there());
        let lost = !(there && scene.is_linked(&transfer.to));
        let limit = transfer.ready_at + scene.config.timers.transfer_limit;
        match phase {
            Phase::Reclaiming(_) if scene.now >= limit => {
                self.abort(scene, Abort::StoreSilent, true);
            }
            Phase::Reclaiming(_) if due => self.rewrite(scene),
            Phase::Reclaiming(_) => {}
            _ if lost => self.call_off(scene, phase, Abort::SuccessorLost),
            Phase::Offered if due => self.call_off(scene, phase, Abort::NoAnswer),
            Phase::Freezing if due => self.call_off(scene, phase, Abort::FreezeTooLong),
            Phase::HandedOver if due => self.call_off(scene, phase, Abort::NoClaim),
            _ => {}
        }
    }

    pub(crate) fn outgoing_timeout(&self, scene: &Scene<'_>) -> Option<Timestamp> {
        let transfer = self.ownership()?.transfer.as_ref()?;
        let limit = transfer.ready_at + scene.config.timers.transfer_limit;
        match transfer.phase {
            Phase::Reclaiming(_) => Some(transfer.deadline.min(limit)),
            _ => Some(transfer.deadline),
        }
    }

    /// The owner offers the VIP to this node.
    pub(crate) fn handle_offer(
        &mut self,
        scene: &mut Scene<'_>,
        from: &NodeName,
        id: TransferId,
        needed: Revision,
    ) {
        let until = scene.now + scene.config.timers.transfer_offer / 2;
        let from = from.clone();
        self.incoming = Some(Incoming { id, from, needed, ready_at: None, until });
        self.tick_incoming(scene);
    }

    /// Answers an offer as soon as this node has followed the store far enough.
    pub(crate) fn tick_incoming(&mut self, scene: &mut Scene<'_>) {
        let ready = self.is_ready(scene) && matches!(self.role, Role::Follower);
        let terms = self.transfer_terms().err();
        let followed = self.maxima.map(|maxima| maxima.followed);
        let candidate = self.is_candidate(&scene.config.node);
        let Some(incoming) = &mut self.incoming else { return };
        let reason = match terms {
            _ if !candidate => Declined::NotCandidate,
            Some(Declined::Refused) => Declined::Refused,
            None if ready && followed >= Some(incoming.needed) => {
                if incoming.ready_at.is_none() {
                    incoming.ready_at = Some(scene.now);
                    incoming.until = scene.now + scene.config.timers.transfer_limit;
                    let (from, body) =
                        (incoming.from.clone(), Body::Ready { transfer: incoming.id });
                    scene.send(&from, self.config.vip, self.floor, body);
                } else if scene.now >= incoming.until {
                    self.incoming = None;
                }
                return;
            }
            _ if scene.now < incoming.until => return,
            _ => Declined::NotReady,
        };
        self.decline(scene, reason);
    }

    fn decline(&mut self, scene: &mut Scene<'_>, reason: Declined) {
        if let Some(incoming) = self.incoming.take() {
            let body = Body::Declined { transfer: incoming.id, reason };
            scene.send(&incoming.from, self.vip(), self.floor, body);
        }
    }

    pub(crate) fn handle_handover(
        &mut self,
        scene: &mut Scene<'_>,
        from: &NodeName,
        id: TransferId,
        written: Revision,
        state: SecretBytes,
    ) {
        let Some(incoming) = &self.incoming else { return };
        let Some(ready_at) = incoming.ready_at else { return };
        if incoming.id != id || incoming.from != *from {
            return;
        }
        let in_time = scene.now.since(ready_at) <= scene.config.timers.transfer_limit;
        let free = matches!(self.role, Role::Follower) && self.is_ready(scene) && in_time;
        match self.transfer_terms() {
            Ok(terms) if free => {
                self.incoming = None;
                let received = Received { id, state, written, ready_at };
                self.claim(scene, &terms, Some(from.clone()), Some(received));
            }
            Ok(_) => self.decline(scene, Declined::NotReady),
            Err(reason) => self.decline(scene, reason),
        }
    }

    pub(crate) fn handle_aborted(&mut self, from: &NodeName, id: TransferId) {
        let named = |incoming: &Incoming| incoming.id == id && incoming.from == *from;
        if self.incoming.as_ref().is_some_and(named) {
            self.incoming = None;
        }
    }

    pub(crate) fn incoming_timeout(&self) -> Option<Timestamp> {
        self.incoming.as_ref().map(|incoming| incoming.until)
    }

    /// This node gives the VIP up, if it has it, and does not claim it any more.
    pub(crate) fn release(&mut self, scene: &mut Scene<'_>) {
        self.released = true;
        self.decline(scene, Declined::NotReady);
        if matches!(self.role, Role::Owner(_)) {
            let epoch = self.floor;
            self.depose(scene, epoch, None);
            self.given_up = true;
            self.follow(scene);
            self.announce_release(scene);
        }
        self.record_floor(scene);
    }

    pub(crate) fn announce_release(&mut self, scene: &mut Scene<'_>) {
        let (vip, epoch) = (self.vip(), self.floor);
        let members: Vec<NodeName> = scene.peers.keys().cloned().collect();
        for member in members {
            scene.send(&member, vip, epoch, Body::Released);
        }
    }
}
