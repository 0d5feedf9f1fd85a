//! Small numbered messages over one TCP connection, sent on a schedule whether or not the last
//! one has come back, as an interactive session would.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::thread;

use anyhow::Result;

use super::recorder::Recorder;
use super::{Stop, is_idle, pattern};
use crate::clock::Schedule;
use crate::flow::FlowRecord;

/// Length of a message.
const LENGTH: usize = 64;

pub(super) fn run(
    name: &str,
    to: SocketAddr,
    from: Option<IpAddr>,
    interval_us: u64,
    stop: &Stop,
) -> Result<Vec<FlowRecord>> {
    let stream = super::connect_from(from, to, stop)?;
    let recorder = Recorder::new(name);
    thread::scope(|scope| {
        scope.spawn(|| receive(&stream, &recorder, stop));
        let mut schedule = Schedule::every(interval_us);
        let mut message = [0; LENGTH];
        let mut offset = 0;
        while !stop.is_requested() {
            schedule.wait_without_catching_up();
            pattern::fill(offset, &mut message);
            if !write_all(&stream, &message, stop) {
                break;
            }
            offset += LENGTH as u64;
        }
    });
    Ok(vec![recorder.finish()])
}

/// Reads a stream of pattern bytes until it ends, breaks or nobody wants it any more.
pub(super) fn receive(mut stream: &TcpStream, recorder: &Recorder, stop: &Stop) {
    let mut buffer = vec![0; 64 << 10];
    let mut offset = 0;
    loop {
        match stream.read(&mut buffer) {
            Ok(0) if stop.is_requested() => return,
            Ok(0) => return recorder.broke("closed by the peer"),
            Ok(length) => {
                recorder.arrived(length);
                if !pattern::matches(offset, &buffer[..length]) {
                    recorder.corrupt();
                }
                offset += length as u64;
            }
            Err(error) if is_idle(&error) => {}
            Err(error) => return recorder.broke(&error.to_string()),
        }
        if stop.is_requested() {
            return;
        }
    }
}

/// Writes all of `bytes`, however long the connection stalls; `false` when it broke (the reading
/// side notices that too and records it) or the prober is to end.
pub(super) fn write_all(mut stream: &TcpStream, mut bytes: &[u8], stop: &Stop) -> bool {
    while !bytes.is_empty() && !stop.is_requested() {
        match stream.write(bytes) {
            Ok(0) => return false,
            Ok(length) => bytes = &bytes[length..],
            Err(error) if is_idle(&error) => {}
            Err(_) => return false,
        }
    }
    bytes.is_empty()
}

/// Sends back what comes, until the client has had enough.
pub(super) fn serve(mut stream: &TcpStream, stop: &Stop) {
    let mut buffer = [0; 4096];
    while !stop.is_requested() {
        match stream.read(&mut buffer) {
            Ok(0) => return,
            Ok(length) => {
                if !write_all(stream, &buffer[..length], stop) {
                    return;
                }
            }
            Err(error) if is_idle(&error) => {}
            Err(_) => return,
        }
    }
}
