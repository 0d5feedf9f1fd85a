//! UDP echo at a steady rate: the number of each datagram is checked where it is echoed and where
//! it comes back.

use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::socket::{setsockopt, sockopt};

use super::recorder::{Patience, Recorder};
use super::{POLL, Stop, is_idle};
use crate::clock::{Schedule, now_us};
use crate::flow::FlowRecord;

/// Number and sending time in front, the rest is filling.
const LENGTH: usize = 120;
const BUFFER: usize = 8 << 20;

pub(super) fn run(
    name: &str,
    to: SocketAddr,
    interval_us: u64,
    stop: &Stop,
) -> Result<Vec<FlowRecord>> {
    let any: SocketAddr = if to.is_ipv4() { ([0; 4], 0).into() } else { ([0u16; 8], 0).into() };
    let socket = UdpSocket::bind(any).context("no UDP socket")?;
    socket.connect(to).with_context(|| format!("no route to {to}"))?;
    socket.set_read_timeout(Some(POLL))?;
    enlarge_buffers(&socket);
    let recorder = Recorder::new(name);
    thread::scope(|scope| {
        scope.spawn(|| receive(&socket, &recorder, stop));
        let mut schedule = Schedule::every(interval_us);
        let mut message = [0xA5; LENGTH];
        for sequence in 0u64.. {
            schedule.wait();
            if stop.is_requested() {
                break;
            }
            let now = now_us();
            message[..8].copy_from_slice(&sequence.to_be_bytes());
            message[8..16].copy_from_slice(&now.to_be_bytes());
            recorder.sent(sequence, now);
            // What cannot be sent is lost, and counted so by its missing echo.
            let _ = socket.send(&message);
        }
    });
    Ok(vec![recorder.finish()])
}

fn receive(socket: &UdpSocket, recorder: &Recorder, stop: &Stop) {
    let mut buffer = [0; 2048];
    let mut patience = Patience::default();
    loop {
        match socket.recv(&mut buffer) {
            Ok(length) => match read(&buffer[..length]) {
                Some((sequence, _, node)) => {
                    recorder.returned(sequence);
                    recorder.answered(node);
                }
                None => recorder.corrupt(),
            },
            Err(error) if is_idle(&error) => {}
            // A port that is unreachable for a moment shows as loss; the flow goes on.
            Err(_) => thread::sleep(Duration::from_millis(1)),
        }
        if patience.is_over(recorder, stop) {
            return;
        }
    }
}

/// Number, sending time and, in an echo, the name of the node.
fn read(message: &[u8]) -> Option<(u64, u64, &str)> {
    let sequence = u64::from_be_bytes(message.get(..8)?.try_into().expect("eight bytes"));
    let sent_us = u64::from_be_bytes(message.get(8..16)?.try_into().expect("eight bytes"));
    let filling = message.get(16..LENGTH)?;
    let node = std::str::from_utf8(&message[LENGTH..]).ok()?;
    filling.iter().all(|byte| *byte == 0xA5).then_some((sequence, sent_us, node))
}

/// Echoes datagrams with the node's name behind them, and records what came.
pub(super) fn serve(node: &str, socket: &UdpSocket, recorder: &Recorder, stop: &Stop) {
    let mut buffer = [0; 2048];
    while !stop.is_requested() {
        let (length, from) = match socket.recv_from(&mut buffer) {
            Ok(came) => came,
            Err(error) => {
                if !is_idle(&error) {
                    recorder.broke(&error.to_string());
                }
                continue;
            }
        };
        match read(&buffer[..length]) {
            Some((sequence, sent_us, "")) => recorder.received(sequence, sent_us),
            _ => recorder.corrupt(),
        }
        buffer[length..length + node.len()].copy_from_slice(node.as_bytes());
        let _ = socket.send_to(&buffer[..length + node.len()], from);
    }
}

/// Makes room for a burst, so that a prober that the scheduler forgot for a moment does not count
/// its own drops as losses of the network.
pub(super) fn enlarge_buffers(socket: &impl AsFd) {
    // Needs privileges that a prober in the lab has; without them the default remains.
    let _ = setsockopt(socket, sockopt::RcvBufForce, &BUFFER);
    let _ = setsockopt(socket, sockopt::SndBufForce, &BUFFER);
}
