//! A store in memory: deterministic, for tests and the simulator, with faults by script.
//!
//! It is durable only as long as it lives. Slowness is not simulated here: who drives it in virtual
//! time holds the answers back.

use super::{
    Backend, Change, Changes, Condition, Entry, Key, Operation, Outcome, Revision, StoreError,
    Transaction,
};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

/// The content, which can be copied and put back: a store restored from a snapshot.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Content {
    /// Values; `None` where one was deleted and the log still says so.
    slots: BTreeMap<Key, Slot>,
    /// The same by last change, for the log.
    by_revision: BTreeSet<(Revision, Key)>,
    revision: Revision,
    compacted: Revision,
}

#[derive(Clone, PartialEq, Eq)]
struct Slot {
    value: Option<Vec<u8>>,
    revision: Revision,
}

impl core::fmt::Debug for Slot {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{:?} bytes@{}", self.value.as_ref().map(Vec::len), self.revision)
    }
}

/// What goes wrong with one commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// It fails, and nothing is written.
    Fails(StoreError),
    /// It is written, but the answer is lost: [`StoreError::Ambiguous`].
    AnswerLost,
}

/// The store.
#[derive(Debug, Default)]
pub struct Memory {
    content: Content,
    down: Option<StoreError>,
    faults: VecDeque<Fault>,
    commits: u64,
}

impl Memory {
    /// An empty store.
    #[must_use]
    pub fn new() -> Memory {
        Memory::default()
    }

    /// Every call fails with this error until it is set to `None` again.
    pub fn set_down(&mut self, error: Option<StoreError>) {
        self.down = error;
    }

    /// The next commit that is not refused by [`Memory::set_down`] goes wrong so; several queue up.
    pub fn push_fault(&mut self, fault: Fault) {
        self.faults.push_back(fault);
    }

    /// A copy of the content.
    #[must_use]
    pub fn snapshot(&self) -> Content {
        self.content.clone()
    }

    /// Puts a copy back: a rollback.
    pub fn restore(&mut self, content: Content) {
        self.content = content;
    }

    /// How many batches were written so far.
    #[must_use]
    pub fn commits(&self) -> u64 {
        self.commits
    }

    fn available(&self) -> Result<(), StoreError> {
        self.down.clone().map_or(Ok(()), Err)
    }
}

impl Content {
    fn holds(&self, condition: &Condition) -> bool {
        let Condition::RevisionIs { key, revision } = condition;
        let live = self.slots.get(key).filter(|slot| slot.value.is_some());
        live.map(|slot| slot.revision) == *revision
    }

    fn commit(&mut self, transaction: &Transaction) -> Outcome {
        let failing = transaction.conditions.iter().filter(|condition| !self.holds(condition));
        let failed: Vec<Key> = failing.map(|condition| condition.key().clone()).collect();
        if !failed.is_empty() {
            return Outcome::Refused { failed };
        }
        let next = Revision(self.revision.0 + 1);
        let mut changed = false;
        for operation in &transaction.operations {
            changed |= self.step(operation, next);
        }
        if changed {
            self.revision = next;
        }
        Outcome::Committed(self.revision)
    }

    fn step(&mut self, operation: &Operation, at: Revision) -> bool {
        match operation {
            Operation::Put { key, value } => {
                self.set(key.clone(), Some(value.clone()), at);
                true
            }
            Operation::Delete { key } => {
                let there = self.slots.get(key).is_some_and(|slot| slot.value.is_some());
                if there {
                    self.set(key.clone(), None, at);
                }
                there
            }
            Operation::DeletePrefix { prefix } => {
                let doomed = self.live(prefix).map(|(key, _)| key.clone()).collect::<Vec<_>>();
                let there = !doomed.is_empty();
                for key in doomed {
                    self.set(key, None, at);
                }
                there
            }
        }
    }

    fn set(&mut self, key: Key, value: Option<Vec<u8>>, revision: Revision) {
        self.by_revision.insert((revision, key.clone()));
        if let Some(old) = self.slots.insert(key.clone(), Slot { value, revision })
            && old.revision != revision
        {
            self.by_revision.remove(&(old.revision, key));
        }
    }

    fn live<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a Key, &'a Slot)> {
        let from = self.slots.range(Key(prefix.to_owned())..);
        from.take_while(move |(key, _)| key.as_str().starts_with(prefix))
            .filter(|(_, slot)| slot.value.is_some())
    }

    fn change(&self, key: &Key) -> Option<Change> {
        let slot = self.slots.get(key)?;
        let (key, revision) = (key.clone(), slot.revision);
        Some(match slot.value.clone() {
            Some(value) => Change::Put(Entry { key, value, revision }),
            None => Change::Deleted { key, revision },
        })
    }

    fn changes_since(&self, after: Revision, limit: usize) -> Changes {
        if after < self.compacted || after > self.revision {
            return Changes::Compacted;
        }
        let mut changes: Vec<Change> = Vec::new();
        let mut up_to = self.revision;
        let mut more = false;
        let first = (Revision(after.0.saturating_add(1)), Key(String::new()));
        for (revision, key) in self.by_revision.range(first..) {
            let last = changes.last().map(Change::revision);
            if changes.len() >= limit && last.is_some_and(|last| last != *revision) {
                up_to = last.unwrap_or(up_to);
                more = true;
                break;
            }
            changes.extend(self.change(key));
        }
        Changes::Some { changes, up_to, more }
    }

    fn compact(&mut self, up_to: Revision) {
        self.compacted = self.compacted.max(up_to.min(self.revision));
        let compacted = self.compacted;
        self.slots.retain(|_, slot| slot.value.is_some() || slot.revision > compacted);
        let slots = &self.slots;
        self.by_revision.retain(|(_, key)| slots.contains_key(key));
    }
}

impl Backend for Memory {
    fn range(&mut self, prefix: &str) -> Result<(Vec<Entry>, Revision), StoreError> {
        self.available()?;
        let live = self.content.live(prefix);
        let entries = live.filter_map(|(key, slot)| {
            let value = slot.value.clone()?;
            Some(Entry { key: key.clone(), value, revision: slot.revision })
        });
        Ok((entries.collect(), self.content.revision))
    }

    fn commit(&mut self, batch: &[Transaction]) -> Result<Vec<Outcome>, StoreError> {
        batch.iter().try_for_each(Transaction::check)?;
        self.available()?;
        let fault = self.faults.pop_front();
        if let Some(Fault::Fails(error)) = fault {
            return Err(error);
        }
        self.commits += 1;
        let outcomes = batch.iter().map(|one| self.content.commit(one)).collect();
        match fault {
            Some(_) => Err(StoreError::Ambiguous("the answer was lost".to_owned())),
            None => Ok(outcomes),
        }
    }

    fn changes_since(&mut self, after: Revision, limit: usize) -> Result<Changes, StoreError> {
        self.available()?;
        Ok(self.content.changes_since(after, limit))
    }

    fn revision(&mut self) -> Result<Revision, StoreError> {
        self.available()?;
        Ok(self.content.revision)
    }

    fn compact(&mut self, up_to: Revision) -> Result<(), StoreError> {
        self.available()?;
        self.content.compact(up_to);
        Ok(())
    }
}

/// One store for several nodes of one thread.
impl<B: Backend> Backend for Rc<RefCell<B>> {
    fn range(&mut self, prefix: &str) -> Result<(Vec<Entry>, Revision), StoreError> {
        self.borrow_mut().range(prefix)
    }

    fn commit(&mut self, batch: &[Transaction]) -> Result<Vec<Outcome>, StoreError> {
        self.borrow_mut().commit(batch)
    }

    fn changes_since(&mut self, after: Revision, limit: usize) -> Result<Changes, StoreError> {
        self.borrow_mut().changes_since(after, limit)
    }

    fn revision(&mut self) -> Result<Revision, StoreError> {
        self.borrow_mut().revision()
    }

    fn compact(&mut self, up_to: Revision) -> Result<(), StoreError> {
        self.borrow_mut().compact(up_to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::contract::{self, Stage};

    struct Shared(Rc<RefCell<Memory>>);

    impl Stage for Shared {
        fn open(&mut self) -> Box<dyn Backend> {
            Box::new(Rc::clone(&self.0))
        }
    }

    #[test]
    fn keeps_the_contract() {
        contract::run(|_| Box::new(Shared(Rc::new(RefCell::new(Memory::new())))));
    }

    fn put(value: u8) -> Transaction {
        let key = Key::new("k").expect("a good key");
        let operations = vec![Operation::Put { key, value: vec![value] }];
        Transaction { conditions: Vec::new(), operations }
    }

    #[test]
    fn scripted_faults_come_in_their_order() {
        let mut store = Memory::new();
        store.push_fault(Fault::Fails(StoreError::Full));
        store.push_fault(Fault::AnswerLost);
        assert_eq!(store.commit(&[put(1)]), Err(StoreError::Full));
        assert_eq!(store.revision(), Ok(Revision(0)));
        assert!(store.commit(&[put(2)]).is_err_and(|error| error.is_ambiguous()));
        assert_eq!(store.revision(), Ok(Revision(1)), "written although the answer was lost");
        assert_eq!(store.commit(&[put(3)]), Ok(vec![Outcome::Committed(Revision(2))]));
        store.set_down(Some(StoreError::Locked));
        assert_eq!(store.range("k"), Err(StoreError::Locked));
        assert_eq!(store.commits(), 2);
    }

    #[test]
    fn a_restored_snapshot_is_the_older_store() {
        let mut store = Memory::new();
        store.commit(&[put(1)]).expect("the store is up");
        let old = store.snapshot();
        store.commit(&[put(2)]).expect("the store is up");
        store.restore(old);
        let (entries, revision) = store.range("").expect("the store is up");
        assert_eq!((entries[0].value.as_slice(), revision), (&[1][..], Revision(1)));
        let asked = store.changes_since(Revision(2), 10).expect("the store is up");
        assert_eq!(asked, Changes::Compacted);
    }
}
