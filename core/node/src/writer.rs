//! The writes of one VIP: in order, one transaction at a time, each conditional on the epoch being
//! still this node's own. What gathers while one is under way goes with the next (group commit).
//!
//! A failed write stays and is tried again, with back-off, ahead of everything that came after it:
//! no later state of an SA can be overtaken by an earlier one. Only the condition's failing, which
//! means that the VIP is lost, drops what is queued.

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};
use vipsec_cluster::store::{Condition, Key, Operation, Outcome, Revision, Transaction};
use vipsec_ike::Ticket;
use vipsec_wire::id::EspSpi;
use vipsec_wire::time::Timestamp;

/// Most writes that wait; more are refused.
const QUEUE_MAX: usize = 16_384;
/// Most operations of one transaction.
const OPERATIONS_MAX: usize = 1024;
/// Most bytes of keys and values in one transaction, unless one write alone has more: etcd takes
/// 1.5 MiB.
const BYTES_MAX: usize = 1 << 20;
const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(2);

/// Who wants to know when a write is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waiter {
    /// The engine. `new_sa`: it may go on unprotected after the deadline.
    Ticket { ticket: Ticket, new_sa: bool },
    /// The worker of an SA whose block was raised.
    Block { spi_in: EspSpi, block: u32 },
    /// Nobody: the packed edges, of which only the last matter.
    Edges,
}

#[derive(Debug)]
struct Write {
    operations: Vec<Operation>,
    waiter: Waiter,
    queued: Timestamp,
    overdue: bool,
}

/// What became of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Done {
    /// It is in the store.
    Confirmed(Waiter),
    /// It is still waiting, past the deadline for new SAs.
    Overdue(Ticket),
    /// It will never be in the store.
    Refused(Waiter),
}

/// The queue of one VIP's writes.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    fence: Option<(Key, Revision)>,
    queue: VecDeque<Write>,
    /// How many of the queue's front are in the transaction that is under way.
    in_flight: usize,
    retry_at: Option<Timestamp>,
    backoff: Option<Duration>,
    /// Revision of the last write that was confirmed.
    written: Revision,
}

impl Writer {
    /// This node owns the VIP: writes are conditional on this revision of the epoch record.
    pub(crate) fn open(&mut self, epoch_key: Key, revision: Revision) {
        self.fence = Some((epoch_key, revision));
        self.written = self.written.max(revision);
    }

    /// This node owns the VIP no longer: whoever waits is told so.
    pub(crate) fn close(&mut self) -> Vec<Done> {
        self.fence = None;
        // A store that was put back, which somebody has accepted, counts from lower down again.
        self.written = Revision::default();
        self.in_flight = 0;
        self.retry_at = None;
        self.backoff = None;
        self.queue.drain(..).map(|write| Done::Refused(write.waiter)).collect()
    }

    /// Queues a write. It is refused when the VIP is not owned or too much is waiting.
    pub(crate) fn push(
        &mut self,
        now: Timestamp,
        operations: Vec<Operation>,
        waiter: Waiter,
    ) -> Option<Done> {
        if self.fence.is_none() {
            return Some(Done::Refused(waiter));
        }
        if let Some(waiting) = self.superseded(waiter) {
            waiting.operations = operations;
            waiting.waiter = waiter;
            return None;
        }
        if self.queue.len() >= QUEUE_MAX {
            return Some(Done::Refused(waiter));
        }
        self.queue.push_back(Write { operations, waiter, queued: now, overdue: false });
        None
    }

    /// A write that still waits and says less than one with this waiter: counters of the data path,
    /// whose last value is all that matters. So a store that is gone does not fill the queue.
    fn superseded(&mut self, waiter: Waiter) -> Option<&mut Write> {
        let same = |waiting: &Waiter| match (waiting, waiter) {
            (Waiter::Edges, Waiter::Edges) => true,
            (Waiter::Block { spi_in: old, .. }, Waiter::Block { spi_in: new, .. }) => *old == new,
            _ => false,
        };
        self.queue.iter_mut().skip(self.in_flight).find(|write| same(&write.waiter))
    }

    /// The next transaction, if none is under way and something waits.
    pub(crate) fn poll_transaction(&mut self, now: Timestamp) -> Option<Transaction> {
        let (key, revision) = self.fence.clone()?;
        if self.in_flight > 0 || self.queue.is_empty() || self.retry_at.is_some_and(|at| now < at) {
            return None;
        }
        self.retry_at = None;
        let (mut count, mut operations, mut bytes) = (0, 0, 0);
        for write in &self.queue {
            operations += write.operations.len();
            bytes += write.operations.iter().map(size).sum::<usize>();
            if count > 0 && (operations > OPERATIONS_MAX || bytes > BYTES_MAX) {
                break;
            }
            count += 1;
        }
        self.in_flight = count;
        Some(Transaction {
            conditions: vec![Condition::RevisionIs { key, revision: Some(revision) }],
            operations: merge(self.queue.iter().take(count).flat_map(|write| &write.operations)),
        })
    }

    /// The transaction under way was judged.
    pub(crate) fn handle_outcome(&mut self, outcome: &Outcome) -> Vec<Done> {
        let count = core::mem::take(&mut self.in_flight);
        self.backoff = None;
        match outcome {
            Outcome::Committed(revision) => {
                self.written = self.written.max(*revision);
                let done = self.queue.drain(..count.min(self.queue.len()));
                done.map(|write| Done::Confirmed(write.waiter)).collect()
            }
            Outcome::Refused { .. } => self.close(),
        }
    }

    /// The store did not do it. Writing the same values again is harmless if it had after all.
    pub(crate) fn handle_failure(&mut self, now: Timestamp) {
        self.in_flight = 0;
        let wait = self.backoff.map_or(RETRY_FIRST, |last| (last * 2).min(RETRY_MAX));
        self.backoff = Some(wait);
        self.retry_at = Some(now + wait);
    }

    /// New SAs that have waited longer than `deadline`, each said once.
    pub(crate) fn take_overdue(&mut self, now: Timestamp, deadline: Duration) -> Vec<Done> {
        let mut done = Vec::new();
        for write in &mut self.queue {
            if let Waiter::Ticket { ticket, new_sa: true } = write.waiter
                && !write.overdue
                && now.since(write.queued) >= deadline
            {
                write.overdue = true;
                done.push(Done::Overdue(ticket));
            }
        }
        done
    }

    /// When something is due here.
    pub(crate) fn poll_timeout(&self, deadline: Duration) -> Option<Timestamp> {
        let overdue = self
            .queue
            .iter()
            .find(|w| !w.overdue && matches!(w.waiter, Waiter::Ticket { new_sa: true, .. }))
            .map(|write| write.queued + deadline);
        let retry = self.retry_at.filter(|_| !self.queue.is_empty());
        [overdue, retry].into_iter().flatten().min()
    }

    /// Whether everything is in the store.
    pub(crate) fn is_idle(&self) -> bool {
        self.queue.is_empty()
    }

    /// Writes that wait, those of SAs past their deadline among them.
    pub(crate) fn waiting(&self) -> (usize, usize) {
        (self.queue.len(), self.queue.iter().filter(|write| write.overdue).count())
    }

    /// Revision of the last confirmed write.
    pub(crate) fn written(&self) -> Revision {
        self.written
    }
}

fn size(operation: &Operation) -> usize {
    match operation {
        Operation::Put { key, value } => key.as_str().len() + value.len(),
        Operation::Delete { key } => key.as_str().len(),
        Operation::DeletePrefix { prefix } => prefix.len(),
    }
}

/// One operation a key, the last: a transaction may not touch a key twice in every backend.
fn merge<'a>(operations: impl Iterator<Item = &'a Operation>) -> Vec<Operation> {
    let mut last: BTreeMap<&Key, &Operation> = BTreeMap::new();
    for operation in operations {
        match operation {
            Operation::Put { key, .. } | Operation::Delete { key } => {
                last.insert(key, operation);
            }
            // Prefixes are deleted by a claim alone, which does not come through here.
            Operation::DeletePrefix { .. } => {}
        }
    }
    last.into_values().cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use vipsec_wire::id::Vip;

    fn key(name: &str) -> Key {
        Key::new(name).unwrap()
    }

    fn put(name: &str, value: u8) -> Vec<Operation> {
        vec![Operation::Put { key: key(name), value: vec![value] }]
    }

    fn ticket(number: u64, new_sa: bool) -> Waiter {
        Waiter::Ticket { ticket: Ticket(number), new_sa }
    }

    fn owned() -> Writer {
        let mut writer = Writer::default();
        let vip = Vip("192.0.2.10".parse().unwrap());
        writer.open(Key::epoch(vip), Revision(7));
        writer
    }

    const T0: Timestamp = Timestamp(1_000_000);

    #[test]
    fn nothing_is_written_for_a_vip_that_is_not_owned() {
        let mut writer = Writer::default();
        let waiter = ticket(1, true);
        assert_eq!(writer.push(T0, put("x", 1), waiter), Some(Done::Refused(waiter)));
        assert_eq!(writer.poll_transaction(T0), None);
    }

    #[test]
    fn one_transaction_at_a_time_and_the_last_value_of_a_key_wins() {
        let mut writer = owned();
        writer.push(T0, put("x", 1), ticket(1, false));
        let first = writer.poll_transaction(T0).unwrap();
        assert_eq!(first.operations, put("x", 1));
        writer.push(T0, put("x", 2), ticket(2, false));
        writer.push(T0, put("x", 3), ticket(3, false));
        assert_eq!(writer.poll_transaction(T0), None, "one is under way");
        let done = writer.handle_outcome(&Outcome::Committed(Revision(8)));
        assert_eq!(done, vec![Done::Confirmed(ticket(1, false))]);
        let second = writer.poll_transaction(T0).unwrap();
        assert_eq!(second.operations, put("x", 3));
        let done = writer.handle_outcome(&Outcome::Committed(Revision(9)));
        assert_eq!(done.len(), 2);
        assert!(writer.is_idle());
        assert_eq!(writer.written(), Revision(9));
    }

    #[test]
    fn a_transaction_is_no_larger_than_every_store_takes() {
        let mut writer = owned();
        let large = |name: &str| vec![Operation::Put { key: key(name), value: vec![0; 400_000] }];
        for (number, name) in (1..).zip(["a", "b", "c"]) {
            writer.push(T0, large(name), ticket(number, false));
        }
        assert_eq!(writer.poll_transaction(T0).unwrap().operations.len(), 2);
        assert_eq!(writer.handle_outcome(&Outcome::Committed(Revision(8))).len(), 2);
        assert_eq!(writer.poll_transaction(T0).unwrap().operations.len(), 1);
    }

    #[test]
    fn what_an_earlier_ownership_wrote_is_not_waited_for() {
        let mut writer = owned();
        writer.close();
        writer.open(Key::epoch(Vip("192.0.2.10".parse().unwrap())), Revision(3));
        assert_eq!(writer.written(), Revision(3), "the store was put back in between");
    }

    #[test]
    fn a_failed_write_is_tried_again_before_later_ones() {
        let mut writer = owned();
        writer.push(T0, put("x", 1), ticket(1, false));
        writer.poll_transaction(T0).unwrap();
        writer.push(T0, put("y", 1), ticket(2, false));
        writer.handle_failure(T0);
        assert_eq!(writer.poll_transaction(T0), None, "it waits before it tries again");
        let again = writer.poll_transaction(T0 + RETRY_FIRST).unwrap();
        assert_eq!(again.operations.len(), 2);
    }

    #[test]
    fn a_new_sa_is_overdue_once_and_repaired_later() {
        let mut writer = owned();
        let deadline = Duration::from_millis(500);
        writer.push(T0, put("x", 1), ticket(1, true));
        writer.push(T0, put("y", 1), ticket(2, false));
        assert_eq!(writer.poll_timeout(deadline), Some(T0 + deadline));
        assert_eq!(writer.take_overdue(T0, deadline), vec![]);
        let late = T0 + deadline;
        assert_eq!(writer.take_overdue(late, deadline), vec![Done::Overdue(Ticket(1))]);
        assert_eq!(writer.take_overdue(late, deadline), vec![]);
        assert_eq!(writer.waiting(), (2, 1));
        writer.poll_transaction(late).unwrap();
        let done = writer.handle_outcome(&Outcome::Committed(Revision(8)));
        assert_eq!(done[0], Done::Confirmed(ticket(1, true)));
    }

    #[test]
    fn counters_of_the_data_path_do_not_pile_up_while_the_store_is_gone() {
        let mut writer = owned();
        let block = |block| Waiter::Block { spi_in: EspSpi(300), block };
        for round in 0..100 {
            assert_eq!(writer.push(T0, put("edges", round), Waiter::Edges), None);
            assert_eq!(writer.push(T0, put("block", round), block(round.into())), None);
        }
        assert_eq!(writer.waiting(), (2, 0));
        writer.poll_transaction(T0).unwrap();
        writer.push(T0, put("edges", 100), Waiter::Edges);
        assert_eq!(writer.waiting(), (3, 0), "what is under way stays as it is");
        let done = writer.handle_outcome(&Outcome::Committed(Revision(8)));
        assert_eq!(done, vec![Done::Confirmed(Waiter::Edges), Done::Confirmed(block(99))]);
    }

    #[test]
    fn losing_the_epoch_refuses_all_that_waits() {
        let mut writer = owned();
        writer.push(T0, put("x", 1), ticket(1, false));
        writer.poll_transaction(T0).unwrap();
        writer.push(T0, put("y", 1), Waiter::Edges);
        let done = writer.handle_outcome(&Outcome::Refused { failed: vec![] });
        assert_eq!(done, vec![Done::Refused(ticket(1, false)), Done::Refused(Waiter::Edges)]);
        assert_eq!(writer.poll_transaction(T0), None);
    }
}
