//! What administrators ask for, and what they are shown.

use crate::error::Error;
use crate::input::TransferAccepted;
use crate::output::Output;
use crate::view::{VipRole, VipView};
use crate::vip::{Role, Scene, VipState};
use vipsec_wire::cluster::ownership::{Body, Standing, VipStanding};
use vipsec_wire::id::{Epoch, NodeName};
use vipsec_wire::time::Timestamp;

impl VipState {
    pub(crate) fn request_transfer(
        &mut self,
        scene: &mut Scene<'_>,
        to: &NodeName,
    ) -> Result<TransferAccepted, Error> {
        let (vip, node) = (self.vip(), to.clone());
        if !self.is_candidate(to) {
            return Err(Error::NotCandidate { vip, node });
        }
        if matches!(self.role, Role::Owner(_)) {
            return self.begin_transfer(scene, to).map(|()| TransferAccepted::Begun);
        }
        let owner = self.owner.clone().filter(|owner| scene.is_linked(owner));
        let Some(owner) = owner.filter(|_| !self.given_up) else {
            return Err(Error::NoOwner(vip));
        };
        if owner == *to {
            return Err(Error::AlreadyOwner { vip, node });
        }
        if !self.is_candidate(&scene.config.node) {
            return Err(Error::NotCandidate { vip, node: scene.config.node.clone() });
        }
        scene.send(&owner, vip, self.floor, Body::TransferWanted { to: node });
        Ok(TransferAccepted::Forwarded)
    }

    pub(crate) fn accept_rollback(&mut self, scene: &mut Scene<'_>) -> Result<(), Error> {
        let lost = self.ownership().is_some_and(|ownership| ownership.record_lost);
        if self.refusal.is_none() && !lost {
            return Err(Error::NothingToAccept(self.vip()));
        }
        if lost {
            let epoch = self.floor;
            self.depose(scene, epoch, None);
            self.given_up = true;
        }
        self.refusal = None;
        self.accepted = true;
        self.ask(scene);
        Ok(())
    }

    /// After everything that happens.
    pub(crate) fn tick(&mut self, scene: &mut Scene<'_>) {
        if self.asked.is_some() {
            self.ask(scene);
        }
        self.tick_outgoing(scene);
        self.tick_incoming(scene);
        if matches!(self.role, Role::Owner(_)) {
            self.tell_owning(scene);
        }
        self.consider(scene);
        self.progress.ripen(scene.now);
        if self.progress.file_at().is_some_and(|at| at <= scene.now) {
            self.record_floor(scene);
        }
    }

    /// Notes how far the store has come, if that is news.
    pub(crate) fn record_floor(&mut self, scene: &mut Scene<'_>) {
        if self.progress.file(scene.now).is_some() {
            scene.out.push_back(Output::RecordFloor { vip: self.vip(), floor: self.mark() });
        }
    }

    pub(crate) fn poll_timeout(&self, scene: &Scene<'_>) -> Option<Timestamp> {
        let again = self.asked.map(|asked| asked.at + scene.config.timers.settle);
        let timers = [
            self.claim_at,
            self.outgoing_timeout(scene),
            self.incoming_timeout(),
            self.tell.poll_timeout(scene),
            self.takeback_at.filter(|_| self.ownership().is_none()),
            again.filter(|_| scene.store_up),
            self.progress.file_at(),
        ];
        timers.into_iter().flatten().min()
    }

    /// This VIP in the heartbeat. Who has given it up does not name itself as its owner.
    pub(crate) fn said(&self, scene: &Scene<'_>) -> VipStanding {
        let left = self.given_up && self.owner.as_ref() == Some(&scene.config.node);
        VipStanding {
            vip: self.vip(),
            epoch: self.floor,
            owner: self.owner.clone().filter(|_| !left),
            revision: self.progress.told().0,
            standing: self.standing(scene),
        }
    }

    pub(crate) fn view(&self, scene: &Scene<'_>) -> VipView {
        let role = match (&self.role, self.standing(scene)) {
            (Role::Owner(ownership), _) => VipRole::Owner {
                revision: ownership.revision,
                transfer: ownership.transfer.as_ref().map(|transfer| transfer.phase.view()),
            },
            (Role::Claiming(_), _) => VipRole::Claiming,
            (_, Standing::Target) => VipRole::Target,
            (_, Standing::Ready) => VipRole::Ready,
            _ => VipRole::NotReady,
        };
        let others = self.config.candidates.iter().filter(|c| c.node != scene.config.node);
        let backup = |node: &NodeName| {
            let said = scene.standing(node, self.vip());
            said.is_some_and(|said| said.standing == Standing::Ready)
        };
        let mut backups: Vec<_> =
            others.map(|c| (c.node.clone(), c.rank, backup(&c.node))).collect();
        backups.sort_by(|one, other| other.1.cmp(&one.1).then_with(|| one.0.cmp(&other.0)));
        VipView {
            vip: self.vip(),
            role,
            epoch: self.floor,
            owner: self.owner.clone().filter(|_| self.floor > Epoch(0)),
            backups,
            refusal: self.refusal.clone(),
        }
    }
}
