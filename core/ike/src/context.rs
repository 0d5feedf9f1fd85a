//! What an exchange works with: the time, randomness, the configuration, the tables, and where its
//! intentions go.

use crate::config::{Config, Connection};
use crate::error::{Drop, DropCounts};
use crate::ledger::Transaction;
use crate::output::{CloseReason, Event, Output};
use crate::sa::{IkeSa, Sealing};
use crate::tables::Tables;
use core::net::SocketAddr;
use core::time::Duration;
use std::collections::VecDeque;
use vipsec_crypto::Random;
use vipsec_wire::id::{Epoch, EspSpi};
use vipsec_wire::record::v1::{ChildLink, ChildPhase, Continuation, IkeAddresses, IkePhase};
use vipsec_wire::time::Timestamp;

/// What leaves the engine, and what it has dropped.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    pub(crate) outputs: VecDeque<Output>,
    pub(crate) drops: DropCounts,
}

/// The surroundings of one step.
pub(crate) struct Context<'a> {
    pub(crate) now: Timestamp,
    pub(crate) epoch: Epoch,
    pub(crate) rng: &'a mut dyn Random,
    pub(crate) config: &'a Config,
    pub(crate) tables: &'a mut Tables,
    pub(crate) outbox: &'a mut Outbox,
}

impl<'a> Context<'a> {
    /// The configured connection of this name.
    pub(crate) fn connection(&self, name: &str) -> Option<&'a Connection> {
        self.config.connections.iter().find(|connection| connection.name == name)
    }

    /// What messages are sealed with.
    pub(crate) fn sealing(&self) -> Sealing {
        Sealing { epoch: self.epoch, fragment_size: self.config.fragment_size }
    }

    /// Counts a datagram without effect.
    pub(crate) fn drop(&mut self, reason: Drop) {
        self.outbox.drops.count(reason);
    }

    /// Says something at once; what depends on a write is said by its transaction.
    pub(crate) fn event(&mut self, event: Event) {
        self.outbox.outputs.push_back(Output::Event(event));
    }

    /// Sends a message that depends on no write.
    pub(crate) fn transmit(&mut self, local: SocketAddr, remote: SocketAddr, message: Vec<u8>) {
        self.outbox.outputs.push_back(Output::Transmit { after: None, local, remote, message });
    }

    /// Sends a message, or its fragments, that depends on no write.
    pub(crate) fn transmit_all(
        &mut self,
        local: SocketAddr,
        remote: SocketAddr,
        datagrams: Vec<Vec<u8>>,
    ) {
        self.outbox.outputs.extend(Output::transmits(local, remote, datagrams));
    }

    /// As [`Context::transmit_all`], to where an SA's messages go.
    pub(crate) fn transmit_to(&mut self, addresses: &IkeAddresses, datagrams: Vec<Vec<u8>>) {
        self.transmit_all(addresses.local, addresses.remote, datagrams);
    }

    /// A random number below `bound`, or 0 when that is 0. The slight bias does not matter for
    /// jitter, which is all this is for.
    pub(crate) fn jitter(&mut self, bound: u64) -> u64 {
        let mut bytes = [0; 8];
        self.rng.fill(&mut bytes);
        u64::from_be_bytes(bytes).checked_rem(bound).unwrap_or(0)
    }

    /// A random span of time below `bound`.
    pub(crate) fn jitter_span(&mut self, bound: Duration) -> Duration {
        let bound = u64::try_from(bound.as_micros()).unwrap_or(u64::MAX);
        Duration::from_micros(self.jitter(bound))
    }

    /// Ends a Child SA of an IKE SA that lives on.
    pub(crate) fn end_child(&mut self, sa: &mut IkeSa, spi: EspSpi, tx: &mut Transaction) {
        let phase = sa.link(spi).map(|link| &link.phase);
        let replaced = matches!(phase, Some(ChildPhase::Superseded { .. }));
        self.drop_child(sa, spi, replaced, tx);
    }

    fn drop_child(&mut self, sa: &mut IkeSa, spi: EspSpi, replaced: bool, tx: &mut Transaction) {
        sa.children.retain(|link| link.spi != spi);
        sa.live.wanted.rekey.remove(&spi);
        sa.live.wanted.delete.remove(&spi);
        let Some(child) = self.tables.remove_child(spi) else {
            return;
        };
        tx.end_child(&child, replaced);
        tx.events.push(Event::ChildClosed { ike: sa.id(), child: child.sa.child, spi_in: spi });
    }

    /// A collision that is never decided now takes its other product along.
    fn end_undecided(&mut self, sa: &IkeSa, reason: &CloseReason, tx: &mut Transaction) {
        let Some(request) = &sa.outstanding else { return };
        let Continuation::RekeyIke(rekey) = &request.continuation else { return };
        let Some(collision) = &rekey.collision else { return };
        let undecided = |other: &&IkeSa| other.phase == IkePhase::Undecided;
        if self.tables.get(collision.id).filter(undecided).is_some()
            && let Some(other) = self.tables.take(collision.id)
        {
            self.end_sa(other, reason.clone(), tx);
        }
    }

    /// Ends an IKE SA that was taken from the tables, with its Child SAs.
    pub(crate) fn end_sa(&mut self, mut sa: Box<IkeSa>, reason: CloseReason, tx: &mut Transaction) {
        tx.begin(&sa);
        let links: Vec<ChildLink> = sa.children.clone();
        for link in links {
            self.drop_child(&mut sa, link.spi, false, tx);
        }
        self.end_undecided(&sa, &reason, tx);
        self.tables.forget(&sa);
        for address in &sa.about.assigned {
            let before = self.tables.leases.get(*address).cloned();
            if let Some(lease) = self.tables.leases.note_end(*address, self.now) {
                tx.lease(lease, before);
            }
        }
        let (id, connection) = (sa.id(), sa.about.connection.clone());
        tx.end(sa);
        tx.events.push(Event::Closed { id, connection, reason });
    }
}
