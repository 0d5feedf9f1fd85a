//! HTTP/1.1 (RFC 9112), as much of it as kept-alive connections with one small page need. Each
//! answer names the node that gave it.

use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpStream};
use std::thread;

use anyhow::{Context, Result, bail, ensure};

use super::echo::write_all;
use super::recorder::Recorder;
use super::{Stop, is_idle};
use crate::clock::{Schedule, now_us};
use crate::flow::FlowRecord;

const PAGE: usize = 1_000;
/// Connections that are opened in search of one for each node, at most.
const TRIES: usize = 200;

/// Keeps one connection to each of the nodes busy until told to end.
pub(super) fn run(
    name: &str,
    to: SocketAddr,
    nodes: &[String],
    interval_us: u64,
    stop: &Stop,
) -> Result<Vec<FlowRecord>> {
    let connections = connect_to_each(to, nodes, stop)?;
    let prefix = if name.is_empty() { "http" } else { name };
    let records = thread::scope(|scope| {
        let threads: Vec<_> = connections
            .into_iter()
            .map(|(node, stream)| {
                scope.spawn(move || drive(&format!("{prefix} {node}"), &stream, interval_us, stop))
            })
            .collect();
        threads.into_iter().filter_map(|thread| thread.join().ok()).collect()
    });
    Ok(records)
}

fn connect_to_each(
    to: SocketAddr,
    nodes: &[String],
    stop: &Stop,
) -> Result<Vec<(String, TcpStream)>> {
    let mut found: Vec<(String, TcpStream)> = Vec::new();
    for _ in 0..TRIES {
        let stream = super::connect(to, stop)?;
        let node = request(&stream, stop).context("no answer to the first request")?;
        let wanted = nodes.contains(&node) && found.iter().all(|(name, _)| *name != node);
        if wanted {
            found.push((node, stream));
        }
        if found.len() == nodes.len() {
            return Ok(found);
        }
        thread::sleep(super::POLL / 4);
    }
    let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
    bail!("of {nodes:?} only {names:?} answered {TRIES} connections")
}

fn drive(name: &str, stream: &TcpStream, interval_us: u64, stop: &Stop) -> FlowRecord {
    let recorder = Recorder::new(name);
    let mut schedule = Schedule::every(interval_us);
    while !stop.is_requested() {
        schedule.wait_without_catching_up();
        match request(stream, stop) {
            Ok(node) => {
                recorder.arrived(PAGE);
                recorder.answered(&node);
            }
            Err(_) if stop.is_requested() => break,
            Err(error) => {
                recorder.broke(&format!("{error:#}"));
                break;
            }
        }
    }
    recorder.finish()
}

/// Asks for the page and returns the name of the node that answered.
fn request(stream: &TcpStream, stop: &Stop) -> Result<String> {
    let sent = write_all(stream, b"GET / HTTP/1.1\r\nHost: lab\r\n\r\n", stop);
    ensure!(sent, "the request cannot be sent");
    let mut reader = BufReader::new(Patient { stream, stop });
    let (mut node, mut length) = (None, None);
    loop {
        let mut line = String::new();
        ensure!(reader.read_line(&mut line)? > 0, "closed by the peer");
        match line.trim_end().split_once(": ") {
            Some(("X-Node", value)) => node = Some(value.to_owned()),
            Some(("Content-Length", value)) => length = Some(value.parse::<usize>()?),
            Some(_) => {}
            None if line.trim_end().is_empty() => break,
            None => ensure!(line.starts_with("HTTP/1.1 200"), "unexpected answer {line:?}"),
        }
    }
    let mut page = vec![0; length.context("an answer without length")?];
    reader.read_exact(&mut page)?;
    ensure!(page.iter().all(|byte| *byte == b'.'), "the page differs from what was sent");
    node.context("an answer without the node's name")
}

/// Answers requests on one connection until it is closed.
pub(super) fn serve(node: &str, stream: &TcpStream, stop: &Stop) {
    let page = ".".repeat(PAGE);
    let answer =
        format!("HTTP/1.1 200 OK\r\nContent-Length: {PAGE}\r\nX-Node: {node}\r\n\r\n{page}");
    let mut reader = BufReader::new(Patient { stream, stop });
    loop {
        let mut line = String::new();
        match reader.read_line(&mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) if !line.trim_end().is_empty() => {}
            Ok(_) => {
                if !write_all(stream, answer.as_bytes(), stop) {
                    return;
                }
            }
        }
    }
}

/// Waits through the read time-outs by which the probers look whether they should end.
struct Patient<'a> {
    stream: &'a TcpStream,
    stop: &'a Stop,
}

impl Read for Patient<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let started = now_us();
        loop {
            match self.stream.read(buffer) {
                Err(error) if is_idle(&error) && !self.stop.is_requested() => {
                    // TCP itself gives up after a quarter of an hour; no test waits as long.
                    if now_us() - started > 300_000_000 {
                        return Err(error);
                    }
                }
                result => return result,
            }
        }
    }
}
