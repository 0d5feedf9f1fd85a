//! The store in a real etcd (Debian's `etcd-server`), of one member and of three. Without the program
//! there is nothing to test; the project's own test run brings it.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::sync::mpsc::Receiver;
use vipsec_cluster::store::contract::{self, Stage};
use vipsec_cluster::store::{
    Backend, Changes, Condition, Key, Operation, Outcome, Revision, StoreError, Transaction,
};
use vipsec_store::{
    Engine as _, Etcd, EtcdConfig, EtcdLogin, EtcdTls, Pace, Reply, RequestId, Store,
};

/// Longest wait for anything, on a loaded machine too.
const PATIENCE: Duration = Duration::from_secs(60);

/// The members of an etcd. They are killed when it is dropped.
struct Cluster {
    members: Vec<Child>,
    /// With what each was started.
    arguments: Vec<Vec<String>>,
    endpoints: Vec<String>,
    place: TempDir,
}

/// Ports that nobody has at the moment.
fn free_ports(count: usize) -> Vec<u16> {
    let bind = |_| TcpListener::bind("127.0.0.1:0").expect("a port");
    let held: Vec<_> = (0..count).map(bind).collect();
    held.iter().map(|one| one.local_addr().expect("an address").port()).collect()
}

fn spawn(place: &TempDir, arguments: &[String]) -> Child {
    let log = std::fs::File::create(place.path().join(format!("{}.log", arguments[1])));
    Command::new("etcd")
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log.expect("a file"))
        .spawn()
        .expect("etcd starts")
}

impl Cluster {
    /// Starts members; `None` where there is no etcd.
    fn start(count: usize, more: &[&str]) -> Option<Cluster> {
        if Command::new("etcd").arg("--version").output().is_err() {
            eprintln!("skipped: no etcd here (Debian: etcd-server)");
            return None;
        }
        let scheme = if more.contains(&"--auto-tls") { "https" } else { "http" };
        let place = tempfile::tempdir().expect("a directory");
        let ports = free_ports(2 * count);
        let client = |index: usize| format!("{scheme}://127.0.0.1:{}", ports[index]);
        let peer = |index: usize| format!("http://127.0.0.1:{}", ports[count + index]);
        let all_peers: Vec<_> =
            (0..count).map(|index| format!("m{index}={}", peer(index))).collect();
        let arguments = |index: usize| {
            let data = place.path().join(format!("m{index}")).display().to_string();
            let name = format!("m{index}");
            let mut all = vec!["--name".to_owned(), name, "--data-dir".to_owned(), data];
            for (option, value) in [
                ("--listen-client-urls", client(index)),
                ("--advertise-client-urls", client(index)),
                ("--listen-peer-urls", peer(index)),
                ("--initial-advertise-peer-urls", peer(index)),
                ("--initial-cluster", all_peers.join(",")),
            ] {
                all.extend([option.to_owned(), value]);
            }
            all.extend(more.iter().map(|word| (*word).to_owned()));
            all
        };
        let arguments: Vec<_> = (0..count).map(arguments).collect();
        let members = arguments.iter().map(|words| spawn(&place, words)).collect();
        let endpoints = (0..count).map(client).collect();
        Some(Cluster { members, arguments, endpoints, place })
    }

    fn config(&self, prefix: &str) -> EtcdConfig {
        EtcdConfig {
            endpoints: self.endpoints.clone(),
            prefix: prefix.to_owned(),
            tls: None,
            login: None,
            compacts: true,
            patience: Duration::from_secs(5),
        }
    }

    /// Kills a member.
    fn kill(&mut self, index: usize) {
        self.members[index].kill().expect("it lives");
        self.members[index].wait().expect("it is ours");
    }

    /// Starts a killed member again.
    fn start_again(&mut self, index: usize) {
        self.members[index] = spawn(&self.place, &self.arguments[index]);
    }

    /// Copies what a killed member has on its disk.
    fn copy(&self, from: &str, to: &str) {
        let path = |name| self.place.path().join(name);
        let _ = std::fs::remove_dir_all(path(to));
        let copied = Command::new("cp").arg("-r").args([path(from), path(to)]).status();
        assert!(copied.expect("cp runs").success());
    }

    /// Asks etcd's gateway for JSON.
    fn post(&self, path: &str, body: &str) -> String {
        let address = self.endpoints[0].trim_start_matches("http://");
        let mut stream = TcpStream::connect(address).expect("it listens");
        let head = format!("POST /v3/{path} HTTP/1.0\r\nContent-Length: {}\r\n\r\n", body.len());
        stream.write_all(format!("{head}{body}").as_bytes()).expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        assert!(
            answer.starts_with("HTTP/1.0 200") || answer.starts_with("HTTP/1.1 200"),
            "{answer}"
        );
        answer
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for member in &mut self.members {
            let _ = member.kill();
            let _ = member.wait();
        }
    }
}

/// Opens it as soon as it answers.
fn open(config: &EtcdConfig) -> Etcd {
    let begun = Instant::now();
    loop {
        match Etcd::open(config) {
            Ok(store) => return store,
            Err(error) if begun.elapsed() > PATIENCE => panic!("{error}"),
            Err(_) => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}

fn put(name: &str, value: &[u8]) -> Transaction {
    let key = Key::new(name).expect("a good key");
    let operations = vec![Operation::Put { key, value: value.to_vec() }];
    Transaction { conditions: Vec::new(), operations }
}

/// A prefix of one etcd; each handle talks to the next member first.
struct Prefix {
    config: EtcdConfig,
}

impl Stage for Prefix {
    fn open(&mut self) -> Box<dyn Backend> {
        let store = open(&self.config);
        self.config.endpoints.rotate_left(1);
        Box::new(store)
    }
}

fn keeps_the_contract(members: usize) {
    let Some(cluster) = Cluster::start(members, &[]) else { return };
    let mut number = 0;
    contract::run(|demand| {
        eprintln!("the store's contract: {demand}");
        number += 1;
        Box::new(Prefix { config: cluster.config(&format!("case/{number}")) })
    });
}

#[test]
fn one_member_keeps_the_contract() {
    keeps_the_contract(1);
}

#[test]
fn three_members_keep_the_contract() {
    keeps_the_contract(3);
}

/// A reply that `wanted` takes, with others passed over.
fn wait_for<T>(replies: &mut Receiver<Reply>, mut wanted: impl FnMut(Reply) -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        assert!(Instant::now() < end, "it never comes");
        match replies.try_recv() {
            Ok(reply) => {
                if let Some(found) = wanted(reply) {
                    return found;
                }
            }
            Err(_) => std::thread::sleep(Duration::from_millis(2)),
        }
    }
}

#[test]
fn the_death_of_a_member_is_survived_and_the_log_followed_on() {
    let Some(mut cluster) = Cluster::start(3, &[]) else { return };
    let config = cluster.config("vipsec");
    let mut other =
        open(&EtcdConfig { endpoints: vec![config.endpoints[2].clone()], ..config.clone() });
    let (store, mut replies) = Store::etcd(config, Pace::etcd()).expect("a thread");
    wait_for(&mut replies, |reply| (reply == Reply::Health(Ok(()))).then_some(()));
    store.watch(other.revision().expect("it answers")).expect("room");
    store.commit(RequestId(1), put("a", b"1")).expect("room");
    wait_for(&mut replies, |reply| matches!(reply, Reply::Changes { .. }).then_some(()));
    cluster.kill(0);
    // What is under way when the member dies may fail; it is repeated, as the node's writer does.
    let mut request = 2;
    store.commit(RequestId(request), put("b", b"2")).expect("room");
    wait_for(&mut replies, |reply| match reply {
        Reply::Commit { outcome: Ok(Outcome::Committed(_)), .. } => Some(()),
        Reply::Commit { outcome: Err(_), .. } => {
            request += 1;
            std::thread::sleep(Duration::from_millis(100));
            store.commit(RequestId(request), put("b", b"2")).expect("room");
            None
        }
        _ => None,
    });
    store.range(RequestId(99), "").expect("room");
    let (entries, at) = wait_for(&mut replies, |reply| match reply {
        Reply::Range { outcome, .. } => Some(outcome.expect("it can be read")),
        _ => None,
    });
    assert_eq!(entries.len(), 2);
    store.watch(at).expect("room");
    let committed = (0..100).find_map(|_| {
        std::thread::sleep(Duration::from_millis(100));
        other.commit(&[put("c", b"3")]).ok()
    });
    let Some([Outcome::Committed(revision)]) = committed.as_deref() else {
        panic!("{committed:?}")
    };
    wait_for(&mut replies, |reply| match reply {
        Reply::Changes { up_to, .. } => (up_to >= *revision).then_some(()),
        _ => None,
    });
    store.stop(replies);
}

#[test]
fn without_a_majority_nothing_is_confirmed() {
    let Some(mut cluster) = Cluster::start(3, &[]) else { return };
    let config = EtcdConfig { patience: Duration::from_millis(500), ..cluster.config("vipsec") };
    let mut store = open(&EtcdConfig { patience: Duration::from_secs(5), ..config.clone() });
    store.commit(&[put("a", b"1")]).expect("all are there");
    drop(store);
    let ours = vec![cluster.endpoints[0].clone()];
    let mut store = open(&EtcdConfig { endpoints: ours, ..config });
    cluster.kill(1);
    cluster.kill(2);
    let failed = store.commit(&[put("b", b"1")]).expect_err("one of three");
    assert!(failed.is_ambiguous(), "{failed:?}");
    assert!(store.range("").is_err(), "a read that may be old is none");
}

#[test]
fn a_log_that_was_compacted_by_others_is_a_gap() {
    let Some(cluster) = Cluster::start(1, &[]) else { return };
    let (mut one, mut other) = (open(&cluster.config("p")), open(&cluster.config("p")));
    let begin = one.revision().expect("it answers");
    for number in 0..20_u8 {
        other.commit(&[put("k", &[number])]).expect("it can be written");
    }
    let Changes::Some { up_to, .. } = one.changes_since(begin, 5).expect("it answers") else {
        panic!("nothing was compacted yet")
    };
    let last = other.revision().expect("it answers");
    other.compact(last).expect("it can be compacted");
    assert_eq!(one.changes_since(begin, 5), Ok(Changes::Compacted));
    drop(one);
    let mut again = open(&cluster.config("p"));
    assert_eq!(again.changes_since(up_to, 5), Ok(Changes::Compacted));
    let told = again.changes_since(last, 5).expect("it answers");
    assert_eq!(told, Changes::Some { changes: Vec::new(), up_to: last, more: false });
    drop(again);
    // Others go on, and compact what comes after our last transaction.
    let mut others = open(&cluster.config("others"));
    others.commit(&[put("k", b"1")]).expect("it can be written");
    others.commit(&[put("k", b"2")]).expect("it can be written");
    let beyond = others.revision().expect("it answers");
    others.compact(beyond).expect("it can be compacted");
    let mut again = open(&cluster.config("p"));
    assert_eq!(again.changes_since(last, 5), Ok(told));
    other.commit(&[put("k", b"9")]).expect("it can be written");
    let told = again.changes_since(last, 5).expect("it answers");
    assert!(matches!(&told, Changes::Some { changes, .. } if changes.len() == 1), "{told:?}");
}

#[test]
fn an_etcd_that_was_put_back_is_noticed() {
    let Some(mut cluster) = Cluster::start(1, &[]) else { return };
    let mut store = open(&cluster.config("p"));
    store.commit(&[put("a", b"old")]).expect("it can be written");
    drop(store);
    cluster.kill(0);
    cluster.copy("m0", "backup");
    cluster.start_again(0);
    let mut store = open(&cluster.config("p"));
    store.commit(&[put("a", b"new")]).expect("it can be written");
    let reached = store.revision().expect("it answers");
    drop(store);
    cluster.kill(0);
    cluster.copy("backup", "m0");
    cluster.start_again(0);
    let mut others = open(&cluster.config("others"));
    for _ in 0..9 {
        others.commit(&[put("a", b"1")]).expect("it can be written");
    }
    let mut store = open(&cluster.config("p"));
    store.probe().expect("it can be written");
    let (entries, found) = store.range("").expect("it answers");
    assert_eq!(entries[0].value, b"old");
    assert!(found < reached, "{found} {reached}: what the guard against such stores goes by");
    assert_eq!(store.changes_since(reached, 9), Ok(Changes::Compacted));
}

#[test]
fn keys_of_others_beside_ours_are_neither_seen_nor_harmed() {
    let Some(cluster) = Cluster::start(1, &[]) else { return };
    let mut ours = open(&cluster.config("vipsec"));
    let mut others = open(&cluster.config("vipsec-2"));
    let begin = ours.revision().expect("it answers");
    others.commit(&[put("a", b"1")]).expect("it can be written");
    let Changes::Some { changes, up_to, .. } = ours.changes_since(begin, 9).expect("it answers")
    else {
        panic!("nothing was compacted")
    };
    assert!(changes.is_empty() && up_to == begin, "{changes:?} {up_to}");
    let condition =
        |revision| Condition::RevisionIs { key: Key::new("a").expect("good"), revision };
    let claim = Transaction { conditions: vec![condition(None)], ..put("a", b"2") };
    let outcome = ours.commit(&[claim]).expect("it can be written");
    assert!(matches!(outcome[..], [Outcome::Committed(_)]), "{outcome:?}");
    let never = Transaction { conditions: vec![condition(Some(Revision(0)))], ..put("b", b"2") };
    let outcome = ours.commit(&[never]).expect("it can be written");
    assert!(matches!(outcome[..], [Outcome::Refused { .. }]), "{outcome:?}");
    let doomed = Operation::DeletePrefix { prefix: "a".to_owned() };
    ours.commit(&[Transaction { conditions: vec![], operations: vec![doomed] }]).expect("written");
    assert_eq!(others.range("").expect("it answers").0.len(), 1);
    cluster.post("kv/put", r#"{"key": "eA==", "value": "eA=="}"#);
    cluster.post("kv/put", r#"{"key": "eS9h", "value": "eA=="}"#);
    assert!(matches!(Etcd::open(&cluster.config("y")), Err(StoreError::Foreign(_))));
}

#[test]
fn users_and_passwords_are_asked_for() {
    let Some(cluster) = Cluster::start(1, &[]) else { return };
    drop(open(&cluster.config("p")));
    for (path, body) in [
        ("auth/user/add", r#"{"name": "root", "password": "secret"}"#),
        ("auth/role/add", r#"{"name": "root"}"#),
        ("auth/user/grant", r#"{"user": "root", "role": "root"}"#),
        // One who may read and write below `p/` alone.
        ("auth/user/add", r#"{"name": "vipsec", "password": "sesame"}"#),
        ("auth/role/add", r#"{"name": "vipsec"}"#),
        (
            "auth/role/grant",
            r#"{"name": "vipsec", "perm": {"permType": "READWRITE", "key": "cC8=", "range_end": "cDA="}}"#,
        ),
        ("auth/user/grant", r#"{"user": "vipsec", "role": "vipsec"}"#),
        ("auth/enable", "{}"),
    ] {
        cluster.post(path, body);
    }
    let with = |user: &str, password: &str| {
        let login = Some(EtcdLogin { user: user.to_owned(), password: password.to_owned() });
        Etcd::open(&EtcdConfig { login, ..cluster.config("p") })
    };
    drop(with("root", "secret").expect("let in"));
    let mut store = with("vipsec", "sesame").expect("let in");
    let begin = store.revision().expect("it answers");
    store.commit(&[put("a", b"1")]).expect("it can be written");
    let told = store.changes_since(begin, 9).expect("it can be followed");
    assert!(matches!(&told, Changes::Some { changes, .. } if changes.len() == 1), "{told:?}");
    store.compact(begin).expect("it can be compacted");
    let elsewhere = EtcdConfig {
        login: Some(EtcdLogin { user: "vipsec".to_owned(), password: "sesame".to_owned() }),
        ..cluster.config("q")
    };
    assert!(matches!(Etcd::open(&elsewhere), Err(StoreError::Denied(_))));
    assert!(matches!(with("root", "wrong"), Err(StoreError::Denied(_))));
    let refused = Etcd::open(&cluster.config("p"));
    assert!(matches!(refused, Err(StoreError::Denied(_))), "{refused:?}");
}

#[test]
fn tls_is_spoken_with_who_is_trusted() {
    let Some(cluster) = Cluster::start(1, &["--auto-tls"]) else { return };
    let file = cluster.place.path().join("m0/fixtures/client/cert.pem");
    let end = Instant::now() + PATIENCE;
    let ca = loop {
        match std::fs::read(&file) {
            Ok(pem) if !pem.is_empty() => break pem,
            _ => assert!(Instant::now() < end, "etcd makes no certificate"),
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let config = EtcdConfig { tls: Some(EtcdTls { ca, identity: None }), ..cluster.config("p") };
    let mut store = open(&config);
    store.commit(&[put("a", b"1")]).expect("it can be written");
    let another = include_bytes!("another-ca.pem").to_vec();
    let stranger = EtcdConfig { tls: Some(EtcdTls { ca: another, identity: None }), ..config };
    assert!(Etcd::open(&stranger).is_err(), "a certificate of somebody else");
}

#[test]
fn a_full_etcd_is_a_full_store() {
    let Some(cluster) = Cluster::start(1, &["--quota-backend-bytes", "16777216"]) else { return };
    let mut store = open(&cluster.config("p"));
    let value = vec![7; 1 << 20];
    let failed =
        (0..40).find_map(|number| store.commit(&[put(&format!("k/{number}"), &value)]).err());
    assert_eq!(failed, Some(StoreError::Full));
    assert!(store.range("k/0").is_ok(), "it can still be read");
}
