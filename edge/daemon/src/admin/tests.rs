//! The API over a real socket, with a stand-in for the node.

use super::events::EventLog;
use super::*;
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use vipsec_wire::time::Timestamp;

async fn exchange(path: &Path, request: &str) -> String {
    let mut stream = UnixStream::connect(path).await.expect("connected");
    stream.write_all(request.as_bytes()).await.expect("written");
    let mut answer = Vec::new();
    let reading = stream.read_to_end(&mut answer);
    let _ = tokio::time::timeout(Duration::from_millis(300), reading).await;
    String::from_utf8_lossy(&answer).into_owned()
}

fn start(path: &Path) -> (mpsc::Receiver<Request>, Arc<EventLog>, Served) {
    let (sender, requests) = mpsc::channel(4);
    let events = Arc::new(EventLog::default());
    let served = serve(path, sender, events.clone()).expect("served");
    (requests, events, served)
}

#[tokio::test]
async fn the_socket_is_its_owner_s_and_is_not_taken_from_a_living_one() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("sock");
    drop(std::os::unix::net::UnixListener::bind(&path).expect("left behind"));
    let living = start(&path);
    let mode = std::fs::metadata(&path).expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let again = serve(&path, mpsc::channel(1).0, Arc::default()).expect_err("taken");
    assert_eq!(again.kind(), io::ErrorKind::AddrInUse);
    drop(living);
    assert!(!path.exists(), "an end leaves no socket behind");
    let file = dir.path().join("file");
    std::fs::write(&file, "text").expect("written");
    assert!(serve(&file, mpsc::channel(1).0, Arc::default()).is_err());
    assert_eq!(std::fs::read(&file).expect("still there"), b"text");
}

#[tokio::test]
async fn events_are_streamed_as_lines() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("sock");
    let (_requests, events, _served) = start(&path);
    events.note(Timestamp(1), "one", "first", BTreeMap::new());
    events.note(Timestamp(2), "two", "second", BTreeMap::new());
    let later = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(100)).await;
        events.note(Timestamp(3), "three", "third", BTreeMap::new());
    });
    let answer = exchange(&path, "GET /v1/events?past=1 HTTP/1.1\r\nhost: x\r\n\r\n").await;
    later.await.expect("done");
    assert!(!answer.contains("first") && answer.contains("application/x-ndjson"), "{answer}");
    assert!(answer.contains("second") && answer.contains("\"event\":\"three\""), "{answer}");
}

#[tokio::test]
async fn a_follower_that_takes_nothing_is_cut_off_and_counted() {
    let events = EventLog::default();
    let _stalled = events.follow(0).expect("there is room");
    let gone = events.follow(0).expect("there is room");
    drop(gone);
    let note = || events.note(Timestamp(1), "one", "first", BTreeMap::new());
    let cut_off: Vec<usize> = (0..2000).map(|_| note()).filter(|slow| *slow > 0).collect();
    assert_eq!(cut_off, [1]);
}

#[tokio::test]
async fn bad_requests_are_answered_and_do_not_reach_the_node() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("sock");
    let (mut requests, _events, _served) = start(&path);
    let post = |path: &str, body: &str| {
        let length = body.len();
        format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
        )
    };
    for (request, status) in [
        (post("/v1/transfer", "{}"), "400"),
        (post("/v1/transfer", "{\"vip\":\"x\",\"to\":\"b\"}"), "400"),
        (post("/v1/rekey", "{\"kind\":\"tunnel\",\"name\":\"1\"}"), "400"),
        (post("/v1/stop", "{\"opne\":true}"), "400"),
        (post("/v1/nothing", ""), "404"),
        ("GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".to_owned(), "404"),
    ] {
        let answer = exchange(&path, &request).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{request}: {answer}");
        assert!(answer.contains("{\"error\":"), "{answer}");
    }
    assert!(requests.try_recv().is_err());
}

#[tokio::test]
async fn metrics_are_plain_text() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("sock");
    let (mut requests, _events, _served) = start(&path);
    tokio::spawn(async move {
        let Some(Request { command: Command::Metrics, reply }) = requests.recv().await else {
            return;
        };
        let _ = reply.send(Ok(Value::String("vipsec_up 1\n".to_owned())));
    });
    let answer = exchange(&path, "GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert!(answer.contains("text/plain") && answer.ends_with("vipsec_up 1\n"), "{answer}");
}
