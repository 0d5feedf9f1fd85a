//! The store's thread over a backend whose faults are scripted.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::mpsc::Receiver;
use vipsec_cluster::store::memory::{Fault, Memory};
use vipsec_cluster::store::{
    Backend, Changes, Condition, Entry, Key, Operation, Outcome, Revision, StoreError, Transaction,
};
use vipsec_store::{Engine, Open, Pace, Reply, RequestId, Store};

/// What the test and the thread share.
#[derive(Default)]
struct Scene {
    memory: Memory,
    /// Opening fails so.
    closed: Option<StoreError>,
    opened: u32,
    batches: Vec<usize>,
    /// Trials of a full store, and whether they fail.
    trials: u32,
    is_crowded: bool,
}

#[derive(Clone, Default)]
struct Stage(Arc<Mutex<Scene>>);

impl Stage {
    fn scene(&self) -> MutexGuard<'_, Scene> {
        self.0.lock().expect("no test panics with the lock")
    }
}

struct Scripted {
    stage: Stage,
    seen: Revision,
}

impl Open for Stage {
    type Engine = Scripted;

    fn open(&mut self) -> Result<Scripted, StoreError> {
        let mut scene = self.scene();
        scene.opened += 1;
        match scene.closed.clone() {
            Some(error) => Err(error),
            None => Ok(Scripted { stage: self.clone(), seen: Revision(0) }),
        }
    }
}

impl Backend for Scripted {
    fn range(&mut self, prefix: &str) -> Result<(Vec<Entry>, Revision), StoreError> {
        self.stage.scene().memory.range(prefix)
    }

    fn commit(&mut self, batch: &[Transaction]) -> Result<Vec<Outcome>, StoreError> {
        let mut scene = self.stage.scene();
        scene.batches.push(batch.len());
        scene.memory.commit(batch)
    }

    fn changes_since(&mut self, after: Revision, limit: usize) -> Result<Changes, StoreError> {
        self.stage.scene().memory.changes_since(after, limit)
    }

    fn revision(&mut self) -> Result<Revision, StoreError> {
        self.stage.scene().memory.revision()
    }

    fn compact(&mut self, up_to: Revision) -> Result<(), StoreError> {
        self.stage.scene().memory.compact(up_to)
    }
}

impl Engine for Scripted {
    fn changed(&mut self) -> Result<bool, StoreError> {
        let revision = self.stage.scene().memory.revision()?;
        Ok(core::mem::replace(&mut self.seen, revision) != revision)
    }

    fn probe(&mut self) -> Result<(), StoreError> {
        self.revision().map(|_| ())
    }

    fn probe_room(&mut self) -> Result<(), StoreError> {
        let mut scene = self.stage.scene();
        scene.trials += 1;
        if scene.is_crowded { Err(StoreError::Full) } else { Ok(()) }
    }
}

fn put(name: &str) -> Transaction {
    let key = Key::new(name).expect("a good key");
    Transaction { conditions: Vec::new(), operations: vec![Operation::Put { key, value: vec![1] }] }
}

fn fenced(name: &str, revision: u64) -> Transaction {
    let key = Key::new("epoch").expect("a good key");
    let condition = Condition::RevisionIs { key, revision: Some(Revision(revision)) };
    Transaction { conditions: vec![condition], ..put(name) }
}

fn start(stage: &Stage) -> (Store, Receiver<Reply>) {
    let pace = Pace {
        look: Duration::from_millis(2),
        retry: Duration::from_millis(20),
        compact: Duration::from_millis(50),
        keep_revisions: 3,
    };
    Store::start(stage.clone(), pace).expect("a thread")
}

fn next(replies: &mut Receiver<Reply>) -> Reply {
    replies.blocking_recv().expect("the thread lives")
}

fn commit_reply(request: u64, outcome: Result<Outcome, StoreError>) -> Reply {
    Reply::Commit { request: RequestId(request), outcome }
}

#[test]
fn what_waits_is_committed_together_and_judged_apart() {
    let stage = Stage::default();
    let (store, mut replies) = start(&stage);
    assert_eq!(next(&mut replies), Reply::Health(Ok(())));
    let hold = stage.scene();
    store.commit(RequestId(0), put("epoch")).expect("room");
    // The thread is now, or will be, stuck in the first commit; the rest queues up.
    std::thread::sleep(Duration::from_millis(30));
    store.commit(RequestId(1), fenced("a", 1)).expect("room");
    store.commit(RequestId(2), fenced("b", 9)).expect("room");
    store.commit(RequestId(3), fenced("c", 1)).expect("room");
    store.range(RequestId(4), "").expect("room");
    drop(hold);
    assert_eq!(next(&mut replies), commit_reply(0, Ok(Outcome::Committed(Revision(1)))));
    assert_eq!(next(&mut replies), commit_reply(1, Ok(Outcome::Committed(Revision(2)))));
    let failed = vec![Key::new("epoch").expect("a good key")];
    assert_eq!(next(&mut replies), commit_reply(2, Ok(Outcome::Refused { failed })));
    assert_eq!(next(&mut replies), commit_reply(3, Ok(Outcome::Committed(Revision(3)))));
    let Reply::Range { outcome: Ok((entries, Revision(3))), .. } = next(&mut replies) else {
        panic!("the range comes after the commits before it");
    };
    assert_eq!(entries.len(), 3);
    assert_eq!(stage.scene().batches, [1, 3], "one commit for all that waited");
    store.stop(replies);
}

#[test]
fn a_full_store_fails_one_request_and_not_its_neighbours() {
    let stage = Stage::default();
    let (store, mut replies) = start(&stage);
    assert_eq!(next(&mut replies), Reply::Health(Ok(())));
    let mut hold = stage.scene();
    store.range(RequestId(0), "").expect("room");
    std::thread::sleep(Duration::from_millis(30));
    for _ in 0..2 {
        hold.memory.push_fault(Fault::Fails(StoreError::Full));
    }
    store.commit(RequestId(1), put("a")).expect("room");
    store.commit(RequestId(2), put("b")).expect("room");
    drop(hold);
    assert!(matches!(next(&mut replies), Reply::Range { .. }));
    assert_eq!(next(&mut replies), Reply::Health(Err(StoreError::Full)));
    assert_eq!(next(&mut replies), Reply::Health(Ok(())));
    assert_eq!(next(&mut replies), commit_reply(1, Err(StoreError::Full)));
    assert_eq!(next(&mut replies), commit_reply(2, Ok(Outcome::Committed(Revision(1)))));
    assert_eq!(stage.scene().opened, 1, "no reason to open it again");
    store.stop(replies);
}

#[test]
fn a_full_store_is_full_until_something_of_size_was_written() {
    let stage = Stage::default();
    let (store, mut replies) = start(&stage);
    assert_eq!(next(&mut replies), Reply::Health(Ok(())));
    let crowd = |crowded: bool| {
        let mut scene = stage.scene();
        scene.is_crowded = crowded;
        if crowded {
            scene.memory.push_fault(Fault::Fails(StoreError::Full));
        }
    };
    crowd(true);
    store.commit(RequestId(0), put("a")).expect("room");
    assert_eq!(next(&mut replies), Reply::Health(Err(StoreError::Full)));
    assert_eq!(next(&mut replies), commit_reply(0, Err(StoreError::Full)));
    std::thread::sleep(Duration::from_millis(150));
    store.commit(RequestId(1), fenced("a", 9)).expect("room");
    let judged = next(&mut replies);
    assert!(matches!(judged, Reply::Commit { outcome: Ok(Outcome::Refused { .. }), .. }), "quiet");
    assert!(stage.scene().trials > 1, "it is tried all the time");
    store.commit(RequestId(2), put("a")).expect("room");
    assert_eq!(next(&mut replies), Reply::Health(Ok(())), "a commit that succeeded");
    assert_eq!(next(&mut replies), commit_reply(2, Ok(Outcome::Committed(Revision(1)))));
    crowd(true);
    store.commit(RequestId(3), put("a")).expect("room");
    assert_eq!(next(&mut replies), Reply::Health(Err(StoreError::Full)));
    assert_eq!(next(&mut replies), commit_reply(3, Err(StoreError::Full)));
    crowd(false);
    assert_eq!(next(&mut replies), Reply::Health(Ok(())), "without anybody who writes, too");
    store.stop(replies);
}

#[test]
fn a_lost_store_is_opened_again_and_the_watch_begins_anew() {
    let stage = Stage::default();
    let (store, mut replies) = start(&stage);
    assert_eq!(next(&mut replies), Reply::Health(Ok(())));
    store.watch(Revision(0)).expect("room");
    {
        let mut scene = stage.scene();
        scene.closed = Some(StoreError::Gone("unmounted".to_owned()));
        scene.memory.push_fault(Fault::AnswerLost);
    }
    store.commit(RequestId(1), put("a")).expect("room");
    let Reply::Health(Err(error)) = next(&mut replies) else { panic!("it is down") };
    assert!(error.is_ambiguous());
    assert_eq!(next(&mut replies), commit_reply(1, Err(error)));
    let gone = StoreError::Gone("unmounted".to_owned());
    assert_eq!(next(&mut replies), Reply::Health(Err(gone.clone())));
    store.commit(RequestId(2), put("b")).expect("room");
    assert_eq!(next(&mut replies), commit_reply(2, Err(gone)), "definitely not committed");
    stage.scene().closed = None;
    assert_eq!(next(&mut replies), Reply::Health(Ok(())));
    assert_eq!(next(&mut replies), Reply::WatchBroken);
    store.range(RequestId(3), "").expect("room");
    let Reply::Range { outcome: Ok((entries, revision)), .. } = next(&mut replies) else {
        panic!("it can be read");
    };
    assert_eq!(entries.len(), 1, "the ambiguous one had been written");
    store.watch(revision).expect("room");
    store.commit(RequestId(4), put("c")).expect("room");
    assert_eq!(next(&mut replies), commit_reply(4, Ok(Outcome::Committed(Revision(2)))));
    let Reply::Changes { changes, up_to: Revision(2) } = next(&mut replies) else {
        panic!("the watch tells own commits, too");
    };
    assert_eq!(changes.len(), 1);
    store.stop(replies);
}

#[test]
fn a_locked_store_answers_at_once_until_the_lock_is_gone() {
    let stage = Stage::default();
    let (store, mut replies) = start(&stage);
    assert_eq!(next(&mut replies), Reply::Health(Ok(())));
    stage.scene().memory.set_down(Some(StoreError::Locked));
    for request in 0..3 {
        store.commit(RequestId(request), put("a")).expect("room");
    }
    assert_eq!(next(&mut replies), Reply::Health(Err(StoreError::Locked)));
    for request in 0..3 {
        assert_eq!(next(&mut replies), commit_reply(request, Err(StoreError::Locked)));
    }
    assert!(stage.scene().batches.len() <= 3);
    stage.scene().memory.set_down(None);
    assert_eq!(next(&mut replies), Reply::Health(Ok(())));
    store.stop(replies);
}

#[test]
fn a_store_that_was_rolled_back_breaks_the_watch() {
    let stage = Stage::default();
    let (store, mut replies) = start(&stage);
    assert_eq!(next(&mut replies), Reply::Health(Ok(())));
    let empty = stage.scene().memory.snapshot();
    store.commit(RequestId(1), put("a")).expect("room");
    assert!(matches!(next(&mut replies), Reply::Commit { .. }));
    store.watch(Revision(1)).expect("room");
    std::thread::sleep(Duration::from_millis(20));
    stage.scene().memory.restore(empty);
    assert_eq!(next(&mut replies), Reply::WatchBroken);
    store.stop(replies);
}

#[test]
fn the_log_is_compacted_and_bounded() {
    let stage = Stage::default();
    let (store, mut replies) = start(&stage);
    assert_eq!(next(&mut replies), Reply::Health(Ok(())));
    for request in 0..10 {
        store.commit(RequestId(request), put("a")).expect("room");
        assert!(matches!(next(&mut replies), Reply::Commit { .. }));
    }
    std::thread::sleep(Duration::from_millis(150));
    let asked = stage.scene().memory.changes_since(Revision(0), 10);
    assert_eq!(asked, Ok(Changes::Compacted));
    store.stop(replies);
}

#[test]
fn the_thread_ends_when_nobody_listens() {
    let stage = Stage::default();
    let (store, replies) = start(&stage);
    drop(replies);
    let mut tries = 0;
    while store.commit(RequestId(1), put("a")).is_ok() {
        tries += 1;
        assert!(tries < 500, "the queue must close");
        std::thread::sleep(Duration::from_millis(5));
    }
}
