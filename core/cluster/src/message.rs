//! Messages of other members about one VIP.

use crate::store::Revision;
use crate::vip::{Scene, VipState};
use vipsec_wire::cluster::ownership::Body;
use vipsec_wire::id::{Epoch, NodeName};

impl VipState {
    pub(crate) fn handle_body(
        &mut self,
        scene: &mut Scene<'_>,
        from: &NodeName,
        epoch: Epoch,
        body: Body,
    ) {
        let owning = body == Body::Owning;
        if owning && epoch == self.floor && self.ownership().is_some() {
            return self.conflict(scene, from);
        }
        self.hear(scene, from, epoch, owning, None, None);
        if epoch != self.floor {
            // It does not know the present epoch; it will from this.
            let (vip, floor) = (self.vip(), self.floor);
            if body != Body::Following && epoch < floor {
                scene.send(from, vip, floor, Body::Following);
            }
            return;
        }
        let from_owner = self.owner.as_ref() == Some(from);
        match body {
            Body::Owning => scene.send(from, self.vip(), epoch, Body::Following),
            Body::Following => self.tell.acknowledged(from),
            Body::Released if from_owner => self.given_up = true,
            Body::TransferWanted { to } if self.is_candidate(from) => {
                // Who asked sees what becomes of it in the heartbeats.
                let _ = self.begin_transfer(scene, &to);
            }
            Body::Offer { transfer, revision } if from_owner => {
                self.handle_offer(scene, from, transfer, Revision(revision));
            }
            Body::Ready { transfer } => self.handle_ready(scene, from, transfer),
            Body::Handover { transfer, revision, state } if from_owner => {
                self.handle_handover(scene, from, transfer, Revision(revision), state);
            }
            Body::Declined { transfer, reason } => {
                self.handle_declined(scene, from, transfer, reason);
            }
            Body::Aborted { transfer } => self.handle_aborted(from, transfer),
            _ => {}
        }
    }
}
