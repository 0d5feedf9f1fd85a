//! What the cluster has decided, carried out: claims, becoming owner, being deposed, following.

use crate::io::{Output, StoreRequest};
use crate::node::Node;
use crate::sealing;
use crate::vip::{Candidate, Owning, Standing};
use vipsec_cluster::store::{Condition, Key, Operation, Outcome, Revision, Transaction};
use vipsec_cluster::{ClaimOutcome, EpochRecord, How, Output as Decision};
use vipsec_path::{Command, Role};
use vipsec_wire::cluster::Message;
use vipsec_wire::handover::Handover;
use vipsec_wire::id::{Epoch, NodeName, Vip};
use vipsec_wire::record::v1;
use vipsec_wire::time::Timestamp;

impl Node {
    pub(crate) fn carry_out(&mut self, now: Timestamp, decision: Decision) {
        match decision {
            Decision::Send { to, message } => self.send(&to, &Message::Ownership(message)),
            Decision::Claim { vip, expect, record, discard } => {
                self.claim(vip, expect, record, discard);
            }
            Decision::Refresh { vip } => self.refresh(vip),
            Decision::Own { vip, epoch, revision, how } => {
                self.own(now, vip, epoch, revision, how);
            }
            Decision::Refence { vip, revision } => {
                if let Some(candidate) = self.candidate(vip) {
                    candidate.writer.open(Candidate::fence(vip), revision);
                }
            }
            Decision::Depose { vip, epoch, owner } => self.depose(now, vip, epoch, owner),
            Decision::Follow { vip, epoch, owner } => self.follow(vip, epoch, owner),
            Decision::Freeze { vip, .. } => self.freeze(vip),
            Decision::Thaw { vip } => self.thaw(vip),
            Decision::RecordFloor { vip, floor } => {
                self.outputs.push_back(Output::Floor { vip, floor });
            }
            Decision::SetHeartbeat(beat) => {
                let interval = self.heartbeat;
                self.command(Command::Heartbeat { payload: beat.encode(), interval });
            }
            Decision::MemberLost { node, .. } => self.member_usable(&node, false),
            Decision::MemberBack { node, .. } => self.member_usable(&node, true),
            Decision::MemberGone { node } => {
                let vips: Vec<Vip> = self.vips.keys().copied().collect();
                for vip in vips {
                    self.command(Command::TargetGone { vip, node: node.clone() });
                }
            }
            Decision::Event(event) => self.event(crate::Event::Cluster(event)),
        }
    }

    pub(crate) fn candidate(&mut self, vip: Vip) -> Option<&mut Candidate> {
        self.vips.get_mut(&vip)?.candidate.as_mut()
    }

    fn claim(&mut self, vip: Vip, expect: Option<Revision>, record: EpochRecord, discard: bool) {
        let request = self.name_request();
        let key = Key::epoch(vip);
        let Some(store_key) = &self.store.key else { return };
        let stored = v1::EpochRecord {
            epoch: record.epoch,
            owner: record.owner.clone(),
            incarnation: record.incarnation,
        };
        let put = sealing::put(store_key, key.clone(), record.epoch, &stored, self.random.as_mut());
        let mut operations = Vec::new();
        if discard {
            operations.push(Operation::DeletePrefix { prefix: Key::vip_prefix(vip) });
        }
        operations.push(put);
        let conditions = vec![Condition::RevisionIs { key, revision: expect }];
        if let Some(candidate) = self.candidate(vip) {
            candidate.claiming = Some((request, stored));
        }
        let transaction = Transaction { conditions, operations };
        self.outputs.push_back(Output::Store(StoreRequest::Commit { request, transaction }));
    }

    /// The store has judged a claim, or has not.
    pub(crate) fn handle_claim(&mut self, now: Timestamp, vip: Vip, outcome: Option<&Outcome>) {
        let claim = match outcome {
            Some(Outcome::Committed(revision)) => ClaimOutcome::Won(*revision),
            Some(Outcome::Refused { .. }) => ClaimOutcome::Lost,
            None => ClaimOutcome::Failed,
        };
        if let Some(candidate) = self.candidate(vip) {
            candidate.claiming = None;
        }
        self.cluster.handle_claim(now, vip, claim);
    }

    pub(crate) fn refresh(&mut self, vip: Vip) {
        let request = self.name_request();
        self.store.refreshing.insert(request, vip);
        let prefix = Key::epoch(vip).as_str().to_owned();
        self.outputs.push_back(Output::Store(StoreRequest::Load { request, prefix }));
    }

    fn own(&mut self, now: Timestamp, vip: Vip, epoch: Epoch, revision: Revision, how: How) {
        let catch_up = match &how {
            How::Transfer { followed, .. } => revision.max(*followed),
            _ => revision,
        };
        if let Some(candidate) = self.candidate(vip) {
            candidate.owning =
                Some(Owning { epoch, revision, catch_up, how, reported: Vec::new() });
        }
        self.flip_when_ready(now, vip);
    }

    /// Becomes the owner in deed once everything up to the claim is followed.
    pub(crate) fn flip_when_ready(&mut self, now: Timestamp, vip: Vip) {
        let Some(candidate) = self.candidate(vip) else { return };
        let followed = candidate.replica.followed;
        let ready = |owning: &Owning| followed.is_some_and(|at| at >= owning.catch_up);
        if !candidate.owning.as_ref().is_some_and(ready) {
            return;
        }
        let Some(owning) = candidate.owning.take() else { return };
        candidate.writer.open(Candidate::fence(vip), owning.revision);
        candidate.edges.next_write = Some(now + crate::reports::EDGE_WRITE_INTERVAL);
        self.hand_on(vip, owning.epoch, owning.how);
        if let Some(state) = self.vips.get_mut(&vip) {
            state.standing = Standing::Owner(owning.epoch);
            state.straying += if self.workers > 1 { self.workers } else { 0 };
        }
        self.command(Command::SetRole { vip, role: Role::Owner { epoch: owning.epoch } });
        for from in owning.reported {
            self.command(Command::Connections { vip, from, updates: Vec::new(), complete: true });
        }
        self.outputs.push_back(Output::Announce { vip });
        let random = self.random.as_mut();
        if let Some(candidate) = self.vips.get_mut(&vip).and_then(|state| state.candidate.as_mut())
        {
            candidate.engine.become_owner(now, owning.epoch, random);
        }
        self.report_own_connections(vip);
    }

    /// Gives the workers what a transfer has handed over.
    fn hand_on(&mut self, vip: Vip, epoch: Epoch, how: How) {
        let How::Transfer { from, handover, .. } = how else { return };
        match Handover::decode(handover.expose()) {
            Ok(handover) => {
                let handover = Box::new(handover);
                self.command(Command::Handover { vip, epoch, handover });
            }
            // It came over the authenticated link of a member, so this is a fault of ours: what
            // follows is a takeover, with a jump instead of exact numbers.
            Err(error) => self.event(crate::Event::BadMessage(from, error)),
        }
    }

    fn depose(&mut self, now: Timestamp, vip: Vip, epoch: Epoch, owner: Option<NodeName>) {
        self.outputs.push_back(Output::Withdraw { vip });
        self.set_member(vip, epoch, owner);
        let Some(candidate) = self.candidate(vip) else { return };
        candidate.owning = None;
        candidate.freezing = None;
        candidate.edges.next_write = None;
        candidate.writing = None;
        let refused = candidate.writer.close();
        candidate.held.clear();
        candidate.tickets.clear();
        candidate.unprotected.clear();
        drop(refused);
        candidate.engine.become_standby(now);
        // What was not confirmed is not true: the store says what is.
        candidate.replica.followed = None;
        self.reload(vip);
    }

    fn follow(&mut self, vip: Vip, epoch: Epoch, owner: Option<NodeName>) {
        self.set_member(vip, epoch, owner);
        self.report_own_connections(vip);
        self.tell_health(vip);
    }

    fn set_member(&mut self, vip: Vip, epoch: Epoch, owner: Option<NodeName>) {
        let Some(state) = self.vips.get_mut(&vip) else { return };
        state.standing = Standing::Member(epoch, owner.clone());
        self.command(Command::SetRole { vip, role: Role::Member { epoch, owner } });
    }

    /// Asks the workers for the connections that this node holds itself; their answer goes to the
    /// owner.
    fn report_own_connections(&mut self, vip: Vip) {
        self.ask_connections(vip);
    }

    fn member_usable(&mut self, node: &NodeName, usable: bool) {
        let vips: Vec<Vip> = self.vips.keys().copied().collect();
        for vip in vips {
            let node = node.clone();
            self.command(Command::SetTargetHealth { vip, service: None, node, usable });
        }
    }
}
