//! Several processes on one SQLite file: what one commits the others see soon, what was confirmed
//! survives SIGKILL, and waiting costs next to nothing.
//!
//! The second process is this same test binary, told by a variable what to be.

#![allow(clippy::print_stdout)] // measurements are for who runs the test

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tokio::sync::mpsc::Receiver;
use vipsec_cluster::store::{Key, Operation, Outcome, Revision, Transaction};
use vipsec_store::{Pace, Reply, RequestId, SqliteConfig, Store};

/// Where the second process finds the file.
const FILE: &str = "VIPSEC_STORE_TEST_FILE";

fn put(name: &str, value: &[u8]) -> Transaction {
    let key = Key::new(name).expect("a good key");
    let operations = vec![Operation::Put { key, value: value.to_vec() }];
    Transaction { conditions: Vec::new(), operations }
}

fn open(path: &Path) -> (Store, Receiver<Reply>) {
    let (store, mut replies) =
        Store::sqlite(SqliteConfig::new(path), Pace::default()).expect("a thread");
    assert_eq!(replies.blocking_recv(), Some(Reply::Health(Ok(()))));
    (store, replies)
}

/// This binary again, running the one test that is the writer.
fn writer(path: &Path) -> Child {
    let own = std::env::current_exe().expect("this binary");
    Command::new(own)
        .args(["--exact", "second_process", "--nocapture", "--test-threads=1"])
        .env(FILE, path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a second process")
}

/// For each line on its input one commit, whose key is the line; then the revision on its output.
#[test]
fn second_process() {
    let Some(path) = std::env::var_os(FILE).map(PathBuf::from) else { return };
    let (store, mut replies) = open(&path);
    for line in std::io::stdin().lines() {
        let name = line.expect("a line");
        store.commit(RequestId(1), put(&name, b"from the second process")).expect("room");
        match replies.blocking_recv() {
            Some(Reply::Commit { outcome: Ok(Outcome::Committed(Revision(at))), .. }) => {
                let mut out = std::io::stdout();
                writeln!(out, "committed {at}").and_then(|()| out.flush()).expect("a reader");
            }
            other => panic!("not committed: {other:?}"),
        }
    }
}

struct Writer {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Writer {
    fn start(path: &Path) -> Writer {
        let mut child = writer(path);
        let lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        Writer { child, lines }
    }

    fn ask(&mut self, name: &str) {
        let input = self.child.stdin.as_mut().expect("it is piped");
        writeln!(input, "{name}").and_then(|()| input.flush()).expect("the writer reads");
    }

    fn confirmed(&mut self) -> u64 {
        for line in self.lines.by_ref() {
            let line = line.expect("text");
            if let Some((_, at)) = line.split_once("committed ") {
                return at.parse().expect("a number");
            }
        }
        panic!("the writer has ended");
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn sorted(mut times: Vec<Duration>) -> Vec<Duration> {
    times.sort();
    times
}

#[test]
fn a_commit_of_another_process_is_told_within_20_ms() {
    let place = tempfile::tempdir().expect("a directory");
    let path = place.path().join("store.db");
    let (store, mut replies) = open(&path);
    let mut writer = Writer::start(&path);
    writer.ask("warm");
    writer.confirmed();
    store.watch(Revision(1)).expect("room");
    let mut late = Vec::new();
    for round in 0..40 {
        // Uneven pauses, so that the commits do not fall into step with the looks.
        std::thread::sleep(Duration::from_micros(3_000 + 700 * (round % 7)));
        writer.ask(&format!("k/{round}"));
        writer.confirmed();
        let confirmed = Instant::now();
        let Some(Reply::Changes { changes, .. }) = replies.blocking_recv() else {
            panic!("a change is told");
        };
        assert_eq!(changes[0].key().as_str(), format!("k/{round}"));
        late.push(confirmed.elapsed());
    }
    let late = sorted(late);
    println!("watch across processes: median {:?}, longest {:?}", late[20], late[39]);
    // One may be late: the machine does other things, too.
    assert!(late[38] <= Duration::from_millis(20), "the last but one of 40: {:?}", late[38]);
    store.stop(replies);
}

#[test]
fn what_was_confirmed_survives_a_kill() {
    let place = tempfile::tempdir().expect("a directory");
    let path = place.path().join("store.db");
    let mut last = 0;
    for round in 0..3 {
        let mut writer = Writer::start(&path);
        for number in 0..20 {
            writer.ask(&format!("k/{round}/{number}"));
        }
        for _ in 0..10 {
            last = writer.confirmed();
        }
        writer.child.kill().expect("SIGKILL");
    }
    let (store, mut replies) = open(&path);
    store.range(RequestId(1), "k/").expect("room");
    let Some(Reply::Range { outcome: Ok((entries, Revision(at))), .. }) = replies.blocking_recv()
    else {
        panic!("it can be read");
    };
    assert!(at >= last, "confirmed up to {last}, found {at}");
    assert_eq!(entries.len() as u64, at, "each commit put one key");
    for round in 0..3 {
        for number in 0..10 {
            let name = format!("k/{round}/{number}");
            assert!(entries.iter().any(|entry| entry.key.as_str() == name), "{name} is lost");
        }
    }
    store.stop(replies);
}

#[test]
fn latency_of_a_commit_is_measured() {
    let place = tempfile::tempdir().expect("a directory");
    let (store, mut replies) = open(&place.path().join("store.db"));
    let mut single = Vec::new();
    for number in 0..200_u64 {
        let begun = Instant::now();
        let name = format!("k/{number}");
        store.commit(RequestId(number), put(&name, &[0; 1000])).expect("room");
        assert!(matches!(replies.blocking_recv(), Some(Reply::Commit { outcome: Ok(_), .. })));
        single.push(begun.elapsed());
    }
    let begun = Instant::now();
    for number in 0..2000 {
        let name = format!("g/{number}");
        store.commit(RequestId(number), put(&name, &[0; 1000])).expect("room");
    }
    for _ in 0..2000 {
        assert!(matches!(replies.blocking_recv(), Some(Reply::Commit { outcome: Ok(_), .. })));
    }
    let group = begun.elapsed();
    let single = sorted(single);
    println!(
        "commit of 1000 bytes: median {:?}, 95 % {:?}, longest {:?}; 2000 at once: {group:?}",
        single[100], single[190], single[199]
    );
    store.stop(replies);
}

/// Nanoseconds that the store's thread has spent on a CPU (proc(5), schedstat).
fn cpu_ns_of_store_thread() -> u64 {
    let tasks = std::fs::read_dir("/proc/self/task").expect("proc is mounted");
    let of = |task: PathBuf| {
        let name = std::fs::read_to_string(task.join("comm")).ok()?;
        let stat = std::fs::read_to_string(task.join("schedstat")).ok()?;
        let spent: u64 = stat.split(' ').next()?.parse().ok()?;
        (name.trim() == "vipsec-store").then_some(spent)
    };
    tasks.filter_map(|task| of(task.ok()?.path())).sum()
}

#[test]
fn watching_an_idle_store_costs_little() {
    if std::env::var_os(FILE).is_none() {
        // Alone in a process of its own, so that no other test's thread is counted.
        let place = tempfile::tempdir().expect("a directory");
        let own = std::env::current_exe().expect("this binary");
        let name = "watching_an_idle_store_costs_little";
        let status = Command::new(own)
            .args(["--exact", name, "--nocapture", "--test-threads=1"])
            .env(FILE, place.path().join("store.db"))
            .status()
            .expect("a second process");
        assert!(status.success());
        return;
    }
    let path = std::env::var_os(FILE).map(PathBuf::from).expect("it is set");
    let (store, replies) = open(&path);
    store.watch(Revision(0)).expect("room");
    std::thread::sleep(Duration::from_millis(100));
    let (before, begun) = (cpu_ns_of_store_thread(), Instant::now());
    std::thread::sleep(Duration::from_secs(2));
    let spent = Duration::from_nanos(cpu_ns_of_store_thread() - before);
    let share = spent.as_secs_f64() / begun.elapsed().as_secs_f64();
    println!("watching an idle store: {:.2} % of one CPU", share * 100.0);
    assert!(share < 0.03, "{:.2} % of one CPU for nothing", share * 100.0);
    store.stop(replies);
}
