//! What every backend has to do, as cases with a name. A backend's own tests call [`run`].

use super::{
    Backend, CONDITIONS_MAX, Change, Changes, Condition, Entry, Key, Operation, Outcome, Revision,
    StoreError, TRANSACTION_MAX, Transaction, VALUE_BYTES_MAX,
};
use std::collections::BTreeMap;

/// One empty store that can be opened several times, as several processes would.
pub trait Stage {
    /// Another handle to the same store.
    fn open(&mut self) -> Box<dyn Backend>;
}

/// One case: what it demands, and the check.
type Case = (&'static str, fn(&mut dyn Stage));

const CASES: &[Case] = &[
    ("an empty store is empty at revision 0", empty),
    ("what was put is read, by prefix and in order", put_and_range),
    ("each transaction that changes something counts one revision", revisions),
    ("a condition on a revision holds or refuses", compare_and_swap),
    ("a condition on absence holds or refuses", absence),
    ("all failed conditions are named and nothing is changed", refused_whole),
    ("a refused transaction does not fail the others of its batch", batch_is_independent),
    ("later transactions of a batch see the earlier ones", batch_in_order),
    ("a later step of a transaction sees the earlier ones", steps_in_order),
    ("a prefix is deleted and nothing beside it", delete_prefix),
    ("changes are told in order, with values and deletions", changes_in_order),
    ("a limit does not tear a transaction apart", changes_limited),
    ("one handle sees what another has committed", two_handles),
    ("of two handles that claim the same revision one wins", two_claimants),
    ("a compacted log says so, and the entries stay", compaction),
    ("a revision from the future is answered as compacted", future_revision),
    ("what is too large is refused whole", too_large),
    ("values are bytes, keys are text", odd_content),
    ("a thousand random transactions agree with a model", agrees_with_model),
];

/// Runs all cases, each on a store of its own, which `stage` makes; it is told what the case
/// demands, so that it can say so when the case fails.
///
/// # Panics
/// When a case fails.
pub fn run(mut stage: impl FnMut(&'static str) -> Box<dyn Stage>) {
    for (demand, case) in CASES {
        case(&mut FromZero { stage: stage(demand), base: None });
    }
}

/// A stage whose store begins at revision 0, as the cases expect, even where a backend's revisions
/// are older than the store.
struct FromZero {
    stage: Box<dyn Stage>,
    base: Option<u64>,
}

impl Stage for FromZero {
    fn open(&mut self) -> Box<dyn Backend> {
        let mut inner = self.stage.open();
        let base =
            self.base.get_or_insert_with(|| inner.revision().expect("the store can be read").0);
        Box::new(Rebased { base: *base, inner })
    }
}

/// Counts revisions from `base`.
struct Rebased {
    inner: Box<dyn Backend>,
    base: u64,
}

impl Rebased {
    fn out(&self, revision: Revision) -> Revision {
        Revision(revision.0.checked_sub(self.base).expect("a revision of this store"))
    }

    fn entry(&self, entry: Entry) -> Entry {
        Entry { revision: self.out(entry.revision), ..entry }
    }

    fn transaction(&self, transaction: &Transaction) -> Transaction {
        let inside = |condition: &Condition| {
            let Condition::RevisionIs { key, revision } = condition;
            let revision = revision.map(|revision| Revision(revision.0 + self.base));
            Condition::RevisionIs { key: key.clone(), revision }
        };
        let conditions = transaction.conditions.iter().map(inside).collect();
        Transaction { conditions, operations: transaction.operations.clone() }
    }
}

impl Backend for Rebased {
    fn range(&mut self, prefix: &str) -> Result<(Vec<Entry>, Revision), StoreError> {
        let (entries, at) = self.inner.range(prefix)?;
        Ok((entries.into_iter().map(|entry| self.entry(entry)).collect(), self.out(at)))
    }

    fn commit(&mut self, batch: &[Transaction]) -> Result<Vec<Outcome>, StoreError> {
        let batch: Vec<_> = batch.iter().map(|one| self.transaction(one)).collect();
        let outcomes = self.inner.commit(&batch)?.into_iter();
        let outcome = |one| match one {
            Outcome::Committed(revision) => Outcome::Committed(self.out(revision)),
            refused @ Outcome::Refused { .. } => refused,
        };
        Ok(outcomes.map(outcome).collect())
    }

    fn changes_since(&mut self, after: Revision, limit: usize) -> Result<Changes, StoreError> {
        let told = self.inner.changes_since(Revision(after.0 + self.base), limit)?;
        let Changes::Some { changes, up_to, more } = told else { return Ok(told) };
        let change = |one| match one {
            Change::Put(entry) => Change::Put(self.entry(entry)),
            Change::Deleted { key, revision } => {
                Change::Deleted { key, revision: self.out(revision) }
            }
        };
        let changes = changes.into_iter().map(change).collect();
        Ok(Changes::Some { changes, up_to: self.out(up_to), more })
    }

    fn revision(&mut self) -> Result<Revision, StoreError> {
        self.inner.revision().map(|revision| self.out(revision))
    }

    fn compact(&mut self, up_to: Revision) -> Result<(), StoreError> {
        self.inner.compact(Revision(up_to.0 + self.base))
    }
}

fn key(text: &str) -> Key {
    Key::new(text).expect("the suite's keys are good")
}

fn put(name: &str, value: &[u8]) -> Operation {
    Operation::Put { key: key(name), value: value.to_vec() }
}

fn delete(name: &str) -> Operation {
    Operation::Delete { key: key(name) }
}

fn expect(name: &str, revision: Option<u64>) -> Condition {
    Condition::RevisionIs { key: key(name), revision: revision.map(Revision) }
}

fn transaction(conditions: Vec<Condition>, operations: Vec<Operation>) -> Transaction {
    Transaction { conditions, operations }
}

fn commit(store: &mut dyn Backend, conditions: Vec<Condition>, steps: Vec<Operation>) -> Outcome {
    let mut outcomes =
        store.commit(&[transaction(conditions, steps)]).expect("the store can commit");
    assert_eq!(outcomes.len(), 1, "one outcome for one transaction");
    outcomes.remove(0)
}

fn committed(revision: u64) -> Outcome {
    Outcome::Committed(Revision(revision))
}

fn refused(names: &[&str]) -> Outcome {
    Outcome::Refused { failed: names.iter().map(|name| key(name)).collect() }
}

fn range(store: &mut dyn Backend, prefix: &str) -> Vec<(String, Vec<u8>, u64)> {
    let (entries, _) = store.range(prefix).expect("the store can be read");
    let plain = |entry: super::Entry| (entry.key.to_string(), entry.value, entry.revision.0);
    entries.into_iter().map(plain).collect()
}

fn row(name: &str, value: &[u8], revision: u64) -> (String, Vec<u8>, u64) {
    (name.to_owned(), value.to_vec(), revision)
}

/// Changes as (key, value or deleted, revision), where the log was followed to, and if it goes on.
type Log = (Vec<(String, Option<Vec<u8>>, u64)>, u64, bool);

fn log(store: &mut dyn Backend, after: u64, limit: usize) -> Log {
    match store.changes_since(Revision(after), limit).expect("the store can be read") {
        Changes::Some { changes, up_to, more } => {
            let plain = |change: Change| match change {
                Change::Put(entry) => (entry.key.to_string(), Some(entry.value), entry.revision.0),
                Change::Deleted { key, revision } => (key.to_string(), None, revision.0),
            };
            (changes.into_iter().map(plain).collect(), up_to.0, more)
        }
        Changes::Compacted => panic!("the log was not compacted yet"),
    }
}

fn empty(stage: &mut dyn Stage) {
    let mut store = stage.open();
    assert_eq!(store.range("").expect("the store can be read"), (Vec::new(), Revision(0)));
    assert_eq!(log(store.as_mut(), 0, 10), (Vec::new(), 0, false));
}

fn put_and_range(stage: &mut dyn Stage) {
    let mut store = stage.open();
    let steps = vec![put("v/1/b", b"2"), put("v/10/a", b"3"), put("v/1/a", b"1"), put("w", b"4")];
    assert_eq!(commit(store.as_mut(), vec![], steps), committed(1));
    assert_eq!(range(store.as_mut(), "v/1/"), [row("v/1/a", b"1", 1), row("v/1/b", b"2", 1)]);
    assert_eq!(range(store.as_mut(), "").len(), 4);
    assert_eq!(range(store.as_mut(), "v/2").len(), 0);
}

fn revisions(stage: &mut dyn Stage) {
    let mut store = stage.open();
    assert_eq!(commit(store.as_mut(), vec![], vec![put("a", b"1"), put("b", b"1")]), committed(1));
    assert_eq!(commit(store.as_mut(), vec![], vec![put("a", b"1")]), committed(2));
    assert_eq!(commit(store.as_mut(), vec![expect("b", Some(1))], vec![]), committed(2));
    assert_eq!(commit(store.as_mut(), vec![], vec![delete("a")]), committed(3));
    assert_eq!(range(store.as_mut(), ""), [row("b", b"1", 1)]);
    assert_eq!(store.revision(), Ok(Revision(3)));
    let nothing = commit(store.as_mut(), vec![], vec![delete("none")]);
    assert!(nothing == committed(3) || nothing == committed(4), "{nothing:?}");
}

fn compare_and_swap(stage: &mut dyn Stage) {
    let mut store = stage.open();
    commit(store.as_mut(), vec![], vec![put("e", b"1")]);
    assert_eq!(
        commit(store.as_mut(), vec![expect("e", Some(1))], vec![put("e", b"2")]),
        committed(2)
    );
    assert_eq!(
        commit(store.as_mut(), vec![expect("e", Some(1))], vec![put("e", b"3")]),
        refused(&["e"])
    );
    assert_eq!(range(store.as_mut(), ""), [row("e", b"2", 2)]);
}

fn absence(stage: &mut dyn Stage) {
    let mut store = stage.open();
    assert_eq!(commit(store.as_mut(), vec![expect("e", None)], vec![put("e", b"1")]), committed(1));
    assert_eq!(
        commit(store.as_mut(), vec![expect("e", None)], vec![put("e", b"2")]),
        refused(&["e"])
    );
    assert_eq!(commit(store.as_mut(), vec![expect("x", Some(1))], vec![]), refused(&["x"]));
    commit(store.as_mut(), vec![], vec![delete("e")]);
    assert_eq!(
        commit(store.as_mut(), vec![expect("e", Some(1))], vec![put("e", b"3")]),
        refused(&["e"])
    );
    assert_eq!(
        commit(store.as_mut(), vec![expect("e", Some(2))], vec![put("e", b"3")]),
        refused(&["e"])
    );
    assert_eq!(commit(store.as_mut(), vec![expect("e", None)], vec![put("e", b"4")]), committed(3));
}

fn refused_whole(stage: &mut dyn Stage) {
    let mut store = stage.open();
    commit(store.as_mut(), vec![], vec![put("a", b"1"), put("b", b"1")]);
    let conditions = vec![expect("a", Some(9)), expect("b", Some(1)), expect("c", Some(1))];
    assert_eq!(
        commit(store.as_mut(), conditions, vec![put("a", b"2"), delete("b")]),
        refused(&["a", "c"])
    );
    assert_eq!(range(store.as_mut(), ""), [row("a", b"1", 1), row("b", b"1", 1)]);
}

fn batch_is_independent(stage: &mut dyn Stage) {
    let mut store = stage.open();
    let batch = [
        transaction(vec![], vec![put("a", b"1")]),
        transaction(vec![expect("a", Some(7))], vec![put("b", b"1")]),
        transaction(vec![], vec![put("c", b"1")]),
    ];
    let outcomes = store.commit(&batch).expect("the store can commit");
    assert_eq!(outcomes, [committed(1), refused(&["a"]), committed(2)]);
    assert_eq!(range(store.as_mut(), ""), [row("a", b"1", 1), row("c", b"1", 2)]);
    assert_eq!(store.commit(&[]).expect("the store can commit"), []);
}

fn batch_in_order(stage: &mut dyn Stage) {
    let mut store = stage.open();
    let batch = [
        transaction(vec![expect("a", None)], vec![put("a", b"1")]),
        transaction(vec![expect("a", None)], vec![put("a", b"2")]),
        transaction(vec![expect("a", Some(1))], vec![put("a", b"3")]),
    ];
    let outcomes = store.commit(&batch).expect("the store can commit");
    assert_eq!(outcomes, [committed(1), refused(&["a"]), committed(2)]);
    assert_eq!(range(store.as_mut(), ""), [row("a", b"3", 2)]);
}

fn steps_in_order(stage: &mut dyn Stage) {
    let mut store = stage.open();
    commit(store.as_mut(), vec![], vec![put("v/a", b"1"), put("v/b", b"1")]);
    let steps = vec![Operation::DeletePrefix { prefix: "v/".to_owned() }, put("v/a", b"2")];
    assert_eq!(commit(store.as_mut(), vec![expect("v/a", Some(1))], steps), committed(2));
    assert_eq!(range(store.as_mut(), ""), [row("v/a", b"2", 2)]);
    let told = log(store.as_mut(), 1, 10);
    let mut changes = told.0;
    changes.sort();
    assert_eq!(
        changes,
        [("v/a".to_owned(), Some(b"2".to_vec()), 2), ("v/b".to_owned(), None, 2)],
        "one change for each key"
    );
}

fn delete_prefix(stage: &mut dyn Stage) {
    let mut store = stage.open();
    let steps = ["v/1", "v/1/a", "v/1/\u{10ffff}", "v/10/a", "v/2", "v/1%", "V/1/a"];
    commit(store.as_mut(), vec![], steps.iter().map(|name| put(name, b"x")).collect());
    let doomed = Operation::DeletePrefix { prefix: "v/1/".to_owned() };
    assert_eq!(commit(store.as_mut(), vec![], vec![doomed.clone()]), committed(2));
    let left: Vec<String> = range(store.as_mut(), "").into_iter().map(|row| row.0).collect();
    assert_eq!(left, ["V/1/a", "v/1", "v/1%", "v/10/a", "v/2"]);
    let nothing = commit(store.as_mut(), vec![], vec![doomed]);
    assert!(nothing == committed(2) || nothing == committed(3), "nothing was left: {nothing:?}");
}

fn changes_in_order(stage: &mut dyn Stage) {
    let mut store = stage.open();
    commit(store.as_mut(), vec![], vec![put("a", b"1")]);
    commit(store.as_mut(), vec![], vec![put("b", b"2")]);
    commit(store.as_mut(), vec![], vec![delete("a")]);
    commit(store.as_mut(), vec![], vec![put("c", b"3")]);
    let expected = vec![
        ("b".to_owned(), Some(b"2".to_vec()), 2),
        ("a".to_owned(), None, 3),
        ("c".to_owned(), Some(b"3".to_vec()), 4),
    ];
    assert_eq!(log(store.as_mut(), 1, 10), (expected.clone(), 4, false));
    assert_eq!(log(store.as_mut(), 3, 10), (expected[2..].to_vec(), 4, false));
    assert_eq!(log(store.as_mut(), 4, 10), (Vec::new(), 4, false));
}

fn changes_limited(stage: &mut dyn Stage) {
    let mut store = stage.open();
    commit(store.as_mut(), vec![], vec![put("a", b"1"), put("b", b"1"), put("c", b"1")]);
    commit(store.as_mut(), vec![], vec![put("d", b"1")]);
    let (changes, up_to, more) = log(store.as_mut(), 0, 2);
    assert_eq!((changes.len(), up_to, more), (3, 1, true));
    let (changes, up_to, more) = log(store.as_mut(), 1, 2);
    assert_eq!((changes.len(), up_to, more), (1, 2, false));
}

fn two_handles(stage: &mut dyn Stage) {
    let (mut one, mut other) = (stage.open(), stage.open());
    commit(one.as_mut(), vec![], vec![put("a", b"1")]);
    assert_eq!(range(other.as_mut(), ""), [row("a", b"1", 1)]);
    assert_eq!(commit(other.as_mut(), vec![], vec![put("a", b"2")]), committed(2));
    assert_eq!(range(one.as_mut(), ""), [row("a", b"2", 2)]);
    assert_eq!(log(one.as_mut(), 1, 10).1, 2);
}

fn two_claimants(stage: &mut dyn Stage) {
    let (mut one, mut other) = (stage.open(), stage.open());
    commit(one.as_mut(), vec![], vec![put("e", b"0")]);
    let claim = |by: &[u8]| (vec![expect("e", Some(1))], vec![put("e", by)]);
    let (conditions, steps) = claim(b"one");
    assert_eq!(commit(one.as_mut(), conditions, steps), committed(2));
    let (conditions, steps) = claim(b"other");
    assert_eq!(commit(other.as_mut(), conditions, steps), refused(&["e"]));
    assert_eq!(range(other.as_mut(), ""), [row("e", b"one", 2)]);
}

fn compaction(stage: &mut dyn Stage) {
    let mut store = stage.open();
    commit(store.as_mut(), vec![], vec![put("a", b"1"), put("b", b"1")]);
    commit(store.as_mut(), vec![], vec![delete("a")]);
    commit(store.as_mut(), vec![], vec![put("c", b"1")]);
    store.compact(Revision(2)).expect("the store can compact");
    store.compact(Revision(1)).expect("compacting less is nothing");
    let asked = store.changes_since(Revision(1), 10).expect("the store can be read");
    assert_eq!(asked, Changes::Compacted);
    assert_eq!(log(store.as_mut(), 2, 10).0, [("c".to_owned(), Some(b"1".to_vec()), 3)]);
    assert_eq!(range(store.as_mut(), ""), [row("b", b"1", 1), row("c", b"1", 3)]);
    assert_eq!(commit(store.as_mut(), vec![expect("a", None)], vec![put("a", b"2")]), committed(4));
    store.compact(Revision(99)).expect("compacting beyond the end stops there");
    assert_eq!(log(store.as_mut(), 4, 10), (Vec::new(), 4, false));
}

fn future_revision(stage: &mut dyn Stage) {
    let mut store = stage.open();
    commit(store.as_mut(), vec![], vec![put("a", b"1")]);
    let asked = store.changes_since(Revision(2), 10).expect("the store can be read");
    assert!(matches!(asked, Changes::Compacted), "{asked:?}");
}

fn too_large(stage: &mut dyn Stage) {
    let mut store = stage.open();
    let good = transaction(vec![], vec![put("a", b"1")]);
    let mut refuse = |steps: Vec<Operation>| {
        let batch = [good.clone(), transaction(vec![], steps)];
        let refused = store.commit(&batch).expect_err("it is too large");
        assert!(matches!(refused, StoreError::TooLarge(_)), "{refused:?}");
    };
    refuse(vec![put("b", &vec![0; VALUE_BYTES_MAX + 1])]);
    refuse(vec![delete("b"); TRANSACTION_MAX + 1]);
    refuse(vec![Operation::DeletePrefix { prefix: String::new() }]);
    let conditions = vec![expect("b", None); CONDITIONS_MAX + 1];
    let refused = store.commit(&[transaction(conditions, vec![put("b", b"1")])]);
    assert!(matches!(refused, Err(StoreError::TooLarge(_))), "{refused:?}");
    assert_eq!(range(store.as_mut(), ""), [], "nothing of the batch was done");
    let largest = put("b", &vec![7; VALUE_BYTES_MAX]);
    assert_eq!(commit(store.as_mut(), vec![], vec![largest]), committed(1));
    assert_eq!(range(store.as_mut(), "b")[0].1.len(), VALUE_BYTES_MAX);
}

fn odd_content(stage: &mut dyn Stage) {
    let mut store = stage.open();
    let names = ["a'b", "a\"b", "a%b", "a_b", "ä/ö", "vip/2001:db8::1/epoch"];
    let steps = names.iter().map(|name| put(name, &[0, 255, 0])).collect();
    commit(store.as_mut(), vec![], steps);
    for name in names {
        assert_eq!(range(store.as_mut(), name), [row(name, &[0, 255, 0], 1)]);
    }
    assert_eq!(commit(store.as_mut(), vec![], vec![put("empty", b"")]), committed(2));
    assert_eq!(range(store.as_mut(), "empty"), [row("empty", b"", 2)]);
}

/// A small multiplicative generator, so that every backend meets the same thousand.
struct Draw(u64);

impl Draw {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
        (self.0 >> 33) % bound
    }
}

fn agrees_with_model(stage: &mut dyn Stage) {
    let mut store = stage.open();
    let mut model: BTreeMap<String, (Vec<u8>, u64)> = BTreeMap::new();
    let mut mirror: BTreeMap<String, (Vec<u8>, u64)> = BTreeMap::new();
    let (mut draw, mut revision, mut followed) = (Draw(42), 0_u64, 0_u64);
    for round in 0..200_u64 {
        let batch: Vec<Transaction> = (0..5).map(|_| random(&mut draw, revision, round)).collect();
        let outcomes = store.commit(&batch).expect("the store can commit");
        for (one, outcome) in batch.iter().zip(outcomes) {
            let before = revision;
            let expected = apply(&mut model, &mut revision, one);
            if expected == committed(before) && outcome == committed(before + 1) {
                // Steps that find nothing to change may count as well.
                revision += 1;
            } else {
                assert_eq!(outcome, expected);
            }
        }
        if round % 3 == 0 {
            followed = follow(store.as_mut(), &mut mirror, followed);
            assert_eq!(mirror, model, "who follows the log has the same");
        }
        if round == 100 {
            store.compact(Revision(followed)).expect("the store can compact");
        }
    }
    let rows = model.into_iter().map(|(name, (value, at))| (name, value, at));
    assert_eq!(range(store.as_mut(), ""), rows.collect::<Vec<_>>());
}

fn random(draw: &mut Draw, revision: u64, round: u64) -> Transaction {
    let mut name = || format!("k/{}/{}", draw.below(3), draw.below(4));
    let (first, second, third) = (name(), name(), name());
    let condition = match draw.below(4) {
        0 => vec![expect(&first, None)],
        1 => vec![expect(&first, Some(draw.below(revision + 1)))],
        _ => vec![],
    };
    let steps = match draw.below(5) {
        0 => vec![delete(&first), put(&second, &round.to_be_bytes())],
        1 => vec![Operation::DeletePrefix { prefix: format!("k/{}", draw.below(3)) }],
        2 => vec![put(&first, b"a"), put(&first, b"b"), delete(&third)],
        3 => vec![put(&third, b"c"), delete(&third)],
        _ => vec![put(&first, b"d")],
    };
    transaction(condition, steps)
}

fn apply(
    model: &mut BTreeMap<String, (Vec<u8>, u64)>,
    revision: &mut u64,
    one: &Transaction,
) -> Outcome {
    let fails = |condition: &&Condition| {
        let Condition::RevisionIs { key, revision } = condition;
        model.get(key.as_str()).map(|row| Revision(row.1)) != *revision
    };
    let failed: Vec<Key> = one.conditions.iter().filter(fails).map(|c| c.key().clone()).collect();
    if !failed.is_empty() {
        return Outcome::Refused { failed };
    }
    let mut changed = false;
    for step in &one.operations {
        match step {
            Operation::Put { key, value } => {
                model.insert(key.to_string(), (value.clone(), *revision + 1));
                changed = true;
            }
            Operation::Delete { key } => changed |= model.remove(key.as_str()).is_some(),
            Operation::DeletePrefix { prefix } => {
                let before = model.len();
                model.retain(|name, _| !name.starts_with(prefix.as_str()));
                changed |= model.len() != before;
            }
        }
    }
    *revision += u64::from(changed);
    Outcome::Committed(Revision(*revision))
}

fn follow(
    store: &mut dyn Backend,
    mirror: &mut BTreeMap<String, (Vec<u8>, u64)>,
    mut after: u64,
) -> u64 {
    loop {
        let (changes, up_to, more) = log(store, after, 7);
        for (name, value, revision) in changes {
            match value {
                Some(value) => mirror.insert(name, (value, revision)),
                None => mirror.remove(&name),
            };
        }
        after = up_to;
        if !more {
            return after;
        }
    }
}
