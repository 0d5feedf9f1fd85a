//! Addresses of pools over time: those that wait too long for their peer are forgotten.

use crate::engine::Engine;
use crate::lease::LeaseView;
use crate::ledger::Transaction;
use core::net::IpAddr;
use vipsec_wire::time::Timestamp;

/// Leases that are forgotten in one write.
const BATCH: usize = 256;

impl Engine {
    /// All addresses of the pools that peers have or are kept for peers, in their order.
    pub fn leases(&self) -> impl Iterator<Item = LeaseView> {
        self.tables.leases.views()
    }

    /// When leases are to be forgotten; not while the store is down.
    pub(super) fn lease_timeout(&self) -> Option<Timestamp> {
        self.tables.leases.next_expiry().filter(|_| !self.holding)
    }

    pub(super) fn expire_leases(&mut self, now: Timestamp) {
        if self.holding {
            return;
        }
        let mut tx = Transaction::default();
        for _ in 0..BATCH {
            let Some(address) = self.tables.leases.superfluous(now) else { break };
            let Some(lease) = self.tables.leases.remove(address) else { break };
            tx.end_lease(lease);
        }
        self.commit(tx);
    }

    /// Leases without IKE SA, be it that its record could not be read, begin to wait for their peer
    /// when there is an owner.
    pub(super) fn end_orphans(&mut self, now: Timestamp) {
        let mut tx = Transaction::default();
        let orphans: Vec<IpAddr> = self.tables.leases.orphans();
        for address in orphans {
            let before = self.tables.leases.get(address).cloned();
            if let Some(lease) = self.tables.leases.note_end(address, now) {
                tx.lease(lease, before);
            }
        }
        self.commit(tx);
    }
}
