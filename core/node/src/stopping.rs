//! The way out in order: what this node owns goes to a backup that is ready, by a transfer that loses
//! nothing; what has no such backup is given up. Then late packets are forwarded for a moment more.

use crate::node::Node;
use core::time::Duration;
use vipsec_wire::id::Vip;
use vipsec_wire::time::Timestamp;

/// Longest wait for the transfers.
const TRANSFER_LIMIT: Duration = Duration::from_secs(3);
/// Longest wait for the last writes where there is no backup.
const WRITE_LIMIT: Duration = Duration::from_millis(500);
/// How long late packets are still forwarded to whoever owns the VIP now.
const LINGER: Duration = Duration::from_millis(500);

/// A stop that is under way.
#[derive(Debug)]
pub(crate) struct Stopping {
    /// When what is still owned is given up.
    give_up: Timestamp,
    /// A transfer was begun, so that late packets may come.
    transferred: bool,
    /// When nothing was owned any more.
    free_since: Option<Timestamp>,
}

impl Node {
    /// This node is to stop: it owns nothing any more once [`Node::is_stopped`] says so, and claims
    /// nothing again.
    pub fn handle_stop(&mut self, now: Timestamp) {
        if self.stopping.is_some() {
            return;
        }
        let vips: Vec<Vip> = self.vips.keys().copied().collect();
        let mut transferred = false;
        for vip in vips {
            let successor = self.cluster.best_standby(vip).filter(|_| self.owned(vip).is_some());
            let begun = successor
                .is_some_and(|to| self.cluster.handle_transfer_request(now, vip, &to).is_ok());
            transferred |= begun;
            if !begun {
                self.write_last_edges(now, vip);
            }
        }
        let give_up = now + if transferred { TRANSFER_LIMIT } else { WRITE_LIMIT };
        self.stopping = Some(Stopping { give_up, transferred, free_since: None });
        self.settle(now);
    }

    /// Whether a stop has come to its end, so that the process may go.
    #[must_use]
    pub fn is_stopped(&self, now: Timestamp) -> bool {
        let linger = |stop: &Stopping| if stop.transferred { LINGER } else { Duration::ZERO };
        self.stopping.as_ref().is_some_and(|stop| {
            stop.free_since.is_some_and(|since| now.since(since) >= linger(stop))
        })
    }

    /// Gives up what was not transferred in time, and what has been.
    pub(crate) fn go_on_stopping(&mut self, now: Timestamp) {
        let Some(stop) = &self.stopping else { return };
        if stop.free_since.is_some() {
            return;
        }
        let out_of_time = now >= stop.give_up;
        let vips: Vec<Vip> = self.vips.keys().copied().collect();
        let waits = vips.iter().any(|vip| self.owned(*vip).is_some() && !self.may_go(*vip));
        if waits && !out_of_time {
            return;
        }
        for vip in vips {
            self.cluster.handle_release(now, vip);
        }
        if let Some(stop) = &mut self.stopping {
            stop.free_since = Some(now);
        }
    }

    /// Whether an owned VIP can be given up: it is in no transfer, and all about it is stored.
    fn may_go(&self, vip: Vip) -> bool {
        let views = self.cluster.vips();
        let view = views.iter().find(|view| view.vip == vip);
        let idle = matches!(
            view.map(|view| view.role),
            Some(vipsec_cluster::VipRole::Owner { transfer: None, .. })
        );
        let successor = self.cluster.best_standby(vip).is_some();
        let candidate = self.vips.get(&vip).and_then(|state| state.candidate.as_ref());
        idle && !successor && candidate.is_some_and(crate::vip::Candidate::is_stored)
    }

    /// The edges as they stand, so that the next process knows the exact windows.
    fn write_last_edges(&mut self, now: Timestamp, vip: Vip) {
        if let Some(candidate) = self.candidate(vip) {
            candidate.edges.next_write = Some(now);
        }
        self.write_edges(now, vip);
    }

    pub(crate) fn stop_timeout(&self) -> Option<Timestamp> {
        let stop = self.stopping.as_ref()?;
        Some(stop.free_since.map_or(stop.give_up, |since| since + LINGER))
    }
}
