//! SQLite against the contract, and what it does with files that are not as they should be.

use super::*;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use tempfile::TempDir;
use vipsec_cluster::store::contract::{self, Stage};

struct OneFile(TempDir);

impl Stage for OneFile {
    fn open(&mut self) -> Box<dyn Backend> {
        Box::new(Sqlite::open(&config(&self.0)).expect("a good file"))
    }
}

fn directory() -> TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

fn config(directory: &TempDir) -> SqliteConfig {
    SqliteConfig {
        lock_wait: Duration::from_millis(50),
        ..SqliteConfig::new(directory.path().join("store.db"))
    }
}

fn put(name: &str, bytes: usize) -> Transaction {
    let key = Key::new(name).expect("a good key");
    Transaction {
        conditions: Vec::new(),
        operations: vec![Operation::Put { key, value: vec![7; bytes] }],
    }
}

fn delete(name: &str) -> Transaction {
    let key = Key::new(name).expect("a good key");
    Transaction { conditions: Vec::new(), operations: vec![Operation::Delete { key }] }
}

#[test]
fn keeps_the_contract() {
    contract::run(|demand| {
        // The last line before a panic says what was demanded.
        eprintln!("the store's contract: {demand}");
        Box::new(OneFile(directory()))
    });
}

#[test]
fn what_was_committed_is_there_after_opening_again() {
    let place = directory();
    let mut store = Sqlite::open(&config(&place)).expect("a new store");
    store.commit(&[put("a", 1)]).expect("a commit");
    drop(store);
    let mut store = Sqlite::reopen(&config(&place)).expect("the same store");
    let (entries, revision) = store.range("").expect("a range");
    assert_eq!((entries.len(), revision), (1, Revision(1)));
    store.settle();
    drop(store);
    let log = fs::metadata(file::log_path(&config(&place).path)).map(|log| log.len());
    assert!(log.map_or(true, |bytes| bytes == 0), "settled means that the file alone is whole");
}

#[test]
fn nobody_else_may_read_it() {
    let place = directory();
    let path = config(&place).path;
    let mode = |path: &Path| fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
    let mut store = Sqlite::open(&config(&place)).expect("a new store");
    store.commit(&[put("a", 1)]).expect("a commit");
    for suffix in ["", "-wal", "-shm"] {
        assert_eq!(mode(&file::beside(&path, suffix)), 0o600, "store.db{suffix}");
    }
    drop(store);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("chmod");
    let _store = Sqlite::open(&config(&place)).expect("the same store");
    assert_eq!(mode(&path), 0o600);
    let left: Vec<_> = fs::read_dir(place.path()).expect("a directory").collect();
    assert_eq!(left.len(), 3, "no draft is left: {left:?}");
}

/// Opens a file with this content and says why it was refused; the file must not change.
fn refusal(content: &[u8]) -> StoreError {
    let place = directory();
    let path = config(&place).path;
    fs::write(&path, content).expect("a file");
    let error = Sqlite::open(&config(&place)).expect_err("it is refused");
    assert_eq!(fs::read(&path).expect("it is there"), content, "left as it is");
    assert_eq!(fs::read_dir(place.path()).expect("a directory").count(), 1, "nothing beside it");
    error
}

fn good_file() -> Vec<u8> {
    let place = directory();
    let mut store = Sqlite::open(&config(&place)).expect("a new store");
    for number in 0..200 {
        store.commit(&[put(&format!("k/{number}"), 500)]).expect("a commit");
    }
    store.settle();
    fs::read(config(&place).path).expect("the file")
}

#[test]
fn foreign_files_are_refused_and_left_as_they_are() {
    assert!(matches!(refusal(b""), StoreError::Foreign(_)));
    assert!(matches!(refusal(&[b'x'; 4096]), StoreError::Foreign(_)));
    let mut other = good_file();
    other[68..72].copy_from_slice(&[0; 4]);
    let error = refusal(&other);
    assert!(error.to_string().contains("another program"), "{error}");
    let mut later = good_file();
    later[60..64].copy_from_slice(&9_u32.to_be_bytes());
    assert_eq!(refusal(&later), StoreError::TooNew { found: 9, known: 1 });
}

#[test]
fn a_damaged_file_is_refused() {
    let mut damaged = good_file();
    for byte in &mut damaged[4096..] {
        *byte = 0xaa;
    }
    let error = refusal_of_damaged(&damaged);
    assert!(matches!(error, StoreError::Corrupt(_)), "{error}");
    let cut = &good_file()[..6000];
    let error = refusal_of_damaged(cut);
    assert!(matches!(error, StoreError::Corrupt(_)), "{error}");
}

fn refusal_of_damaged(content: &[u8]) -> StoreError {
    let place = directory();
    let path = config(&place).path;
    fs::write(&path, content).expect("a file");
    let error = match Sqlite::reopen(&config(&place)) {
        Err(error) => error,
        Ok(mut store) => store.range("").expect_err("it is damaged"),
    };
    assert_eq!(fs::read(&path).expect("it is there"), content, "left as it is");
    error
}

#[test]
fn a_file_that_was_removed_or_replaced_is_gone_until_it_is_back() {
    let place = directory();
    let (path, aside) = (config(&place).path, place.path().join("aside"));
    let mut store = Sqlite::open(&config(&place)).expect("a new store");
    store.commit(&[put("a", 1)]).expect("a commit");
    fs::rename(&path, &aside).expect("moved away");
    assert!(matches!(store.commit(&[put("b", 1)]), Err(StoreError::Gone(_))));
    assert!(matches!(store.range(""), Err(StoreError::Gone(_))));
    let looked: Vec<_> = (0..LOOKS_PER_CHECK).map(|_| store.changed()).collect();
    assert!(looked.iter().any(Result::is_err), "looking alone notices it, too");
    assert!(matches!(Sqlite::reopen(&config(&place)), Err(StoreError::Gone(_))));
    fs::write(&path, good_file()).expect("another file in its place");
    assert!(matches!(store.commit(&[put("b", 1)]), Err(StoreError::Gone(_))));
    fs::rename(&aside, &path).expect("moved back");
    drop(store);
    let mut store = Sqlite::reopen(&config(&place)).expect("the old store");
    assert_eq!(store.range("").expect("a range").0.len(), 1);
}

#[test]
fn a_log_that_was_removed_is_noticed() {
    let place = directory();
    let mut store = Sqlite::open(&config(&place)).expect("a new store");
    store.commit(&[put("a", 1)]).expect("a commit");
    fs::remove_file(file::log_path(&config(&place).path)).expect("removed");
    let error = store.commit(&[put("b", 1)]).expect_err("commits would be lost");
    assert!(matches!(error, StoreError::Gone(_)), "{error}");
}

#[test]
fn a_full_store_still_deletes_and_reads() {
    let place = directory();
    let small = SqliteConfig { max_bytes: 256 << 10, ..config(&place) };
    let mut store = Sqlite::open(&small).expect("a new store");
    store.commit(&[put("first", 20_000)]).expect("there is room");
    let filling = (0..100).map(|n| store.commit(&[put(&format!("k/{n}"), 20_000)]));
    let error = filling.filter_map(Result::err).next().expect("it is full in the end");
    assert_eq!(error, StoreError::Full);
    let (entries, before) = store.range("").expect("it can be read");
    assert_eq!(store.probe(), Ok(()), "something tiny can be written");
    assert_eq!(store.probe_room(), Err(StoreError::Full));
    store.commit(&[delete("first")]).expect("it can delete");
    assert_eq!(store.revision(), Ok(Revision(before.0 + 1)));
    let all = Operation::DeletePrefix { prefix: "k/".to_owned() };
    let emptied = Transaction { conditions: Vec::new(), operations: vec![all] };
    store.commit(&[emptied]).expect("it can delete more");
    store.compact(Revision(before.0 + 2)).expect("compacted");
    for _ in 0..3 {
        assert_eq!(store.probe_room(), Ok(()));
    }
    assert!(entries.len() > 2 && store.range("").expect("readable").0.is_empty());
    let left: u32 = store
        .connection
        .query_row("SELECT count(*) FROM entry WHERE revision = 0", [], |row| row.get(0))
        .expect("readable");
    assert_eq!(left, 0, "the trial leaves nothing");
}

#[test]
fn a_lock_held_by_another_process_is_waited_for_and_then_named() {
    let place = directory();
    let mut store = Sqlite::open(&config(&place)).expect("a new store");
    let other = Connection::open(&config(&place).path).expect("another connection");
    other.execute_batch("BEGIN IMMEDIATE").expect("the lock");
    let begun = std::time::Instant::now();
    assert_eq!(store.commit(&[put("a", 1)]), Err(StoreError::Locked));
    assert!(begun.elapsed() >= Duration::from_millis(50), "it has waited");
    assert_eq!(store.probe(), Err(StoreError::Locked));
    assert_eq!(store.range("").expect("reading needs no lock").0.len(), 0);
    other.execute_batch("ROLLBACK").expect("unlocked");
    assert_eq!(store.probe(), Ok(()));
    assert_eq!(store.commit(&[put("a", 1)]), Ok(vec![Outcome::Committed(Revision(1))]));
}

#[test]
fn two_that_make_the_file_at_once_share_one() {
    let place = directory();
    let opened: Vec<_> = (0..8)
        .map(|number| {
            let config = config(&place);
            std::thread::spawn(move || {
                let mut store = Sqlite::open(&config)?;
                let mut tries = (0..20).map(|_| store.commit(&[put(&format!("{number}"), 1)]));
                tries.find(|tried| *tried != Err(StoreError::Locked)).unwrap_or(Ok(Vec::new()))
            })
        })
        .collect();
    for thread in opened {
        thread.join().expect("no panic").expect("opened and committed");
    }
    let mut store = Sqlite::open(&config(&place)).expect("the store");
    assert_eq!(store.range("").expect("a range").0.len(), 8);
}

#[test]
fn the_end_of_a_prefix_is_after_all_that_begin_so() {
    assert_eq!(beyond("a/"), Some("a0".to_owned()));
    assert_eq!(beyond("a\u{10ffff}"), Some("b".to_owned()));
    assert_eq!(beyond("\u{d7ff}"), Some("\u{e000}".to_owned()), "no half of a pair");
    assert_eq!(beyond("\u{10ffff}"), None);
    assert_eq!(beyond(""), None);
}
