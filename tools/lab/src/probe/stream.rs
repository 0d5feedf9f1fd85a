//! One long TCP transfer, both ways at a given rate; each end verifies every byte that it gets.

use std::io::Read;
use std::net::{SocketAddr, TcpStream};
use std::thread;

use anyhow::{Context, Result};

use super::echo::{receive, write_all};
use super::recorder::Recorder;
use super::{Stop, is_idle, pattern};
use crate::clock::Schedule;
use crate::flow::FlowRecord;

/// The server's first words: its name, padded.
const GREETING: usize = 16;
/// Distance of writes.
const TICK_US: u64 = 4_000;

pub(super) fn run(name: &str, to: SocketAddr, kbit_s: u64, stop: &Stop) -> Result<Vec<FlowRecord>> {
    let stream = super::connect(to, stop)?;
    write_all(&stream, &kbit_s.to_be_bytes(), stop);
    let mut greeting = [0; GREETING];
    read_exactly(&stream, &mut greeting, stop).context("the server does not greet")?;
    let recorder = Recorder::new(name);
    recorder.answered(String::from_utf8_lossy(&greeting).trim_end());
    exchange(&stream, kbit_s, &recorder, stop);
    Ok(vec![recorder.finish()])
}

/// The server's half; returns its record of what it received.
pub(super) fn serve(node: &str, stream: &TcpStream, stop: &Stop) -> Result<FlowRecord> {
    let mut rate = [0; 8];
    read_exactly(stream, &mut rate, stop)?;
    write_all(stream, format!("{node:<GREETING$}").as_bytes(), stop);
    let recorder = Recorder::new("stream");
    recorder.answered(node);
    exchange(stream, u64::from_be_bytes(rate), &recorder, stop);
    Ok(recorder.finish())
}

fn exchange(stream: &TcpStream, kbit_s: u64, recorder: &Recorder, stop: &Stop) {
    let bytes_a_tick = kbit_s * TICK_US / 8_000;
    let mut chunk = vec![0; usize::try_from(bytes_a_tick).unwrap_or(usize::MAX)];
    thread::scope(|scope| {
        let receiver = scope.spawn(|| receive(stream, recorder, stop));
        let mut schedule = Schedule::every(TICK_US);
        let mut offset = 0;
        while !stop.is_requested() && !receiver.is_finished() {
            schedule.wait_without_catching_up();
            pattern::fill(offset, &mut chunk);
            if !write_all(stream, &chunk, stop) {
                break;
            }
            offset += chunk.len() as u64;
        }
    });
}

fn read_exactly(mut stream: &TcpStream, buffer: &mut [u8], stop: &Stop) -> Result<()> {
    let mut filled = 0;
    while filled < buffer.len() {
        match stream.read(&mut buffer[filled..]) {
            Ok(0) => anyhow::bail!("closed by the peer"),
            Ok(length) => filled += length,
            Err(error) if is_idle(&error) && !stop.is_requested() => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
