//! The owner tells every other member that it owns the VIP, again and again until each has
//! acknowledged. (It stands in every heartbeat, too.)

use crate::vip::{Scene, VipState};
use std::collections::BTreeMap;
use vipsec_wire::cluster::ownership::Body;
use vipsec_wire::id::NodeName;
use vipsec_wire::time::Timestamp;

/// Members that have not acknowledged yet, and when they are told next.
#[derive(Debug, Default)]
pub(crate) struct Tell(BTreeMap<NodeName, Timestamp>);

impl Tell {
    pub(crate) fn begin(&mut self, scene: &Scene<'_>) {
        self.0 = scene.peers.keys().map(|name| (name.clone(), scene.now)).collect();
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    pub(crate) fn acknowledged(&mut self, node: &NodeName) {
        self.0.remove(node);
    }

    /// A new connection, perhaps to a new process: it is told at once.
    pub(crate) fn linked(&mut self, now: Timestamp, node: &NodeName) {
        self.0.insert(node.clone(), now);
    }

    pub(crate) fn poll_timeout(&self, scene: &Scene<'_>) -> Option<Timestamp> {
        self.0.iter().filter(|(node, _)| scene.is_linked(node)).map(|(_, at)| *at).min()
    }
}

impl VipState {
    pub(crate) fn tell_owning(&mut self, scene: &mut Scene<'_>) {
        let (vip, epoch, now) = (self.vip(), self.floor, scene.now);
        for (node, at) in &mut self.tell.0 {
            if *at <= now && scene.is_linked(node) {
                *at = now + scene.config.timers.tell;
                scene.send(node, vip, epoch, Body::Owning);
            }
        }
    }
}
