//! An owner's writes: what the engine changes and the workers count, sealed and queued; and what
//! follows from their being confirmed.

use crate::exchange::subjects;
use crate::io::{Output, StoreRequest};
use crate::node::Node;
use crate::sealing;
use crate::vip::{Candidate, Standing};
use crate::writer::{Done, Waiter};
use vipsec_cluster::store::{Key, Operation, Outcome};
use vipsec_ike::{Change, Stored, Ticket};
use vipsec_path::Command;
use vipsec_wire::id::{Epoch, EspSpi, Vip};
use vipsec_wire::record::{Record, v1};
use vipsec_wire::time::Timestamp;

impl Node {
    /// Queues what the engine wants to have stored.
    pub(crate) fn persist(
        &mut self,
        now: Timestamp,
        vip: Vip,
        ticket: Ticket,
        new_sa: bool,
        changes: &[Change],
    ) {
        let Some(epoch) = self.owned(vip) else {
            return self.settle_ticket(now, vip, ticket, Stored::Refused);
        };
        let operations = changes.iter().flat_map(|change| self.operations(vip, epoch, change));
        let operations: Vec<Operation> = operations.collect();
        let Some(candidate) = self.candidate(vip) else { return };
        candidate.held.open(ticket);
        candidate.tickets.insert(ticket, subjects(changes));
        let waiter = Waiter::Ticket { ticket, new_sa };
        let refused = candidate.writer.push(now, operations, waiter);
        if let Some(done) = refused {
            self.done(now, vip, done);
        }
    }

    /// The epoch in which this node owns the VIP.
    pub(crate) fn owned(&self, vip: Vip) -> Option<Epoch> {
        match self.vips.get(&vip)?.standing {
            Standing::Owner(epoch) => Some(epoch),
            Standing::Member(..) => None,
        }
    }

    fn operations(&mut self, vip: Vip, epoch: Epoch, change: &Change) -> Vec<Operation> {
        match change {
            Change::IkeConstant(record) => self.put(Key::ike(vip, record.id), epoch, &**record),
            Change::IkeMutable { id, state } => self.put(Key::ike_state(vip, *id), epoch, &**state),
            Change::IkeGone(id) => delete([Key::ike(vip, *id), Key::ike_state(vip, *id)]),
            Change::ChildConstant(record) => {
                self.put(Key::child(vip, record.inbound.spi), epoch, &**record)
            }
            Change::ChildGone { spi_in, .. } => {
                delete([Key::child(vip, *spi_in), Key::child_state(vip, *spi_in)])
            }
            Change::Lease(lease) => self.put(Key::lease(vip, lease.address), epoch, &**lease),
            Change::LeaseGone(address) => delete([Key::lease(vip, *address)]),
        }
    }

    fn put<T: Record>(&mut self, key: Key, epoch: Epoch, record: &T) -> Vec<Operation> {
        let Some(store_key) = &self.store.key else { return Vec::new() };
        vec![sealing::put(store_key, key, epoch, record, self.random.as_mut())]
    }

    /// Queues the raise of a block of sequence numbers.
    pub(crate) fn raise_block(&mut self, now: Timestamp, vip: Vip, spi_in: EspSpi, block: u32) {
        let Some(epoch) = self.owned(vip) else { return };
        // The worker's wish may cross the removal of its SA.
        if !self.candidate(vip).is_some_and(|c| c.installed.contains_key(&spi_in)) {
            return;
        }
        let record = v1::ChildMutable { block };
        let operations = self.put(Key::child_state(vip, spi_in), epoch, &record);
        if let Some(candidate) = self.candidate(vip) {
            // A refusal needs no answer: the SA goes on and announces its high-water mark.
            let _ = candidate.writer.push(now, operations, Waiter::Block { spi_in, block });
        }
    }

    /// Once a second, the right edges of the windows that have moved, packed into one record.
    pub(crate) fn write_edges(&mut self, now: Timestamp, vip: Vip) {
        let Some(epoch) = self.owned(vip) else { return };
        let Some(candidate) = self.candidate(vip) else { return };
        if candidate.edges.next_write.is_none_or(|at| now < at) {
            return;
        }
        candidate.edges.next_write = Some(now + crate::reports::EDGE_WRITE_INTERVAL);
        if !core::mem::take(&mut candidate.edges.changed) || candidate.freezing.is_some() {
            return;
        }
        let edges = candidate.packed_edges();
        let operations = self.put(Key::edges(vip), epoch, &v1::Edges { epoch, edges });
        if let Some(candidate) = self.candidate(vip) {
            // A refusal needs no answer: the next second brings the next edges.
            let _ = candidate.writer.push(now, operations, Waiter::Edges);
        }
    }

    /// Sends the next transaction, and lets new SAs go that have waited too long.
    pub(crate) fn write_out(&mut self, now: Timestamp, vip: Vip) {
        let deadline = self.deadline();
        let Some(candidate) = self.candidate(vip) else { return };
        let overdue = candidate.writer.take_overdue(now, deadline);
        let transaction = candidate.writer.poll_transaction(now);
        if let Some(transaction) = transaction {
            let request = self.name_request();
            if let Some(candidate) = self.candidate(vip) {
                candidate.writing = Some(request);
            }
            self.outputs.push_back(Output::Store(StoreRequest::Commit { request, transaction }));
        }
        for done in overdue {
            self.done(now, vip, done);
        }
    }

    /// The write under way was judged, or (`None`) not carried out.
    pub(crate) fn written(&mut self, now: Timestamp, vip: Vip, outcome: Option<&Outcome>) {
        let Some(candidate) = self.candidate(vip) else { return };
        candidate.writing = None;
        let done = match outcome {
            Some(outcome) => candidate.writer.handle_outcome(outcome),
            None => {
                candidate.writer.handle_failure(now);
                Vec::new()
            }
        };
        for done in done {
            self.done(now, vip, done);
        }
        if matches!(outcome, Some(Outcome::Refused { .. })) {
            // Somebody else has the VIP: the epoch record says who.
            self.refresh(vip);
        }
    }

    fn done(&mut self, now: Timestamp, vip: Vip, done: Done) {
        match done {
            Done::Confirmed(Waiter::Ticket { ticket, .. }) => {
                self.settle_ticket(now, vip, ticket, Stored::Confirmed);
            }
            Done::Overdue(ticket) => self.settle_ticket(now, vip, ticket, Stored::Unprotected),
            Done::Refused(Waiter::Ticket { ticket, .. }) => {
                self.settle_ticket(now, vip, ticket, Stored::Refused);
            }
            Done::Confirmed(Waiter::Block { spi_in, block }) => {
                self.command(Command::ConfirmBlock { vip, spi_in, block });
            }
            Done::Confirmed(Waiter::Edges)
            | Done::Refused(Waiter::Block { .. } | Waiter::Edges) => {}
        }
    }
}

fn delete<const N: usize>(keys: [Key; N]) -> Vec<Operation> {
    keys.into_iter().map(|key| Operation::Delete { key }).collect()
}

impl Candidate {
    /// Whether everything that the engine has decided is in the store.
    pub(crate) fn is_stored(&self) -> bool {
        self.writer.is_idle() && self.writing.is_none()
    }
}
