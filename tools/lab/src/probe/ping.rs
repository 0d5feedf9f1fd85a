//! ICMP echo (RFC 792, RFC 4443) from a raw socket, on an absolute schedule.

use std::io::Read;
use std::net::{IpAddr, SocketAddr};
use std::thread;

use anyhow::{Context, Result};
use socket2::{Domain, Protocol, Socket, Type};

use super::recorder::{Patience, Recorder};
use super::{POLL, Stop, is_idle};
use crate::clock::{Schedule, now_us};
use crate::flow::FlowRecord;

const HEADER: usize = 8;

/// Sends echo requests until told to end; the sequence numbers of ICMP have 16 bits, so the full
/// number travels in the payload.
pub(super) fn run(
    name: &str,
    to: IpAddr,
    interval_us: u64,
    stop: &Stop,
) -> Result<Vec<FlowRecord>> {
    let (domain, protocol) = match to {
        IpAddr::V4(_) => (Domain::IPV4, Protocol::ICMPV4),
        IpAddr::V6(_) => (Domain::IPV6, Protocol::ICMPV6),
    };
    let socket = Socket::new(domain, Type::RAW, Some(protocol)).context("no raw socket")?;
    socket.set_read_timeout(Some(POLL))?;
    socket.connect(&SocketAddr::new(to, 0).into())?;
    super::datagram::enlarge_buffers(&socket);
    let recorder = Recorder::new(name);
    let identifier = u16::try_from(std::process::id() & 0xFFFF).expect("masked to 16 bits");
    thread::scope(|scope| {
        scope.spawn(|| receive(&socket, to, identifier, &recorder, stop));
        let mut schedule = Schedule::every(interval_us);
        for sequence in 0.. {
            schedule.wait();
            if stop.is_requested() {
                break;
            }
            recorder.sent(sequence, now_us());
            // What cannot be sent is lost, and counted so by its missing echo.
            let _ = socket.send(&request(to, identifier, sequence));
        }
    });
    Ok(vec![recorder.finish()])
}

fn request(to: IpAddr, identifier: u16, sequence: u64) -> Vec<u8> {
    let kind = if to.is_ipv4() { 8 } else { 128 };
    let mut message = vec![kind, 0, 0, 0];
    message.extend(identifier.to_be_bytes());
    message.extend(&sequence.to_be_bytes()[6..]);
    message.extend(sequence.to_be_bytes());
    message.extend([0x5A; 40]);
    if to.is_ipv4() {
        let sum = checksum(&message);
        message[2..4].copy_from_slice(&sum.to_be_bytes());
    }
    message
}

fn receive(socket: &Socket, to: IpAddr, identifier: u16, recorder: &Recorder, stop: &Stop) {
    let mut socket = socket;
    let mut buffer = [0; 2048];
    let mut patience = Patience::default();
    loop {
        match socket.read(&mut buffer) {
            Ok(length) => {
                if let Some(sequence) = reply(to, identifier, &buffer[..length]) {
                    recorder.returned(sequence);
                }
            }
            Err(error) if is_idle(&error) => {}
            Err(error) => recorder.broke(&error.to_string()),
        }
        if patience.is_over(recorder, stop) {
            return;
        }
    }
}

/// The number in an echo reply of ours; `None` for all else that a raw socket hears.
fn reply(to: IpAddr, identifier: u16, packet: &[u8]) -> Option<u64> {
    let (kind, header) = match to {
        IpAddr::V4(_) => (0, usize::from(packet.first()? & 0xF) * 4),
        IpAddr::V6(_) => (129, 0),
    };
    let message = packet.get(header..)?;
    let ours = message.first() == Some(&kind) && message.get(4..6)? == identifier.to_be_bytes();
    let number = message.get(HEADER..HEADER + 8)?;
    ours.then(|| u64::from_be_bytes(number.try_into().expect("eight bytes")))
}

fn checksum(message: &[u8]) -> u16 {
    let words = message
        .chunks(2)
        .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)])));
    let mut sum: u32 = words.sum();
    while sum > 0xFFFF {
        sum = (sum & 0xFFFF) + (sum >> 16);
    }
    !u16::try_from(sum).expect("folded to 16 bits")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_is_recognised_by_its_identifier() {
        let to = IpAddr::from([10, 0, 0, 1]);
        let mut packet = vec![0x45; 20];
        packet.extend(request(to, 7, 70_000));
        assert_eq!(checksum(&packet[20..]), 0);
        assert_eq!(reply(to, 7, &packet), None);
        packet[20] = 0;
        assert_eq!(reply(to, 7, &packet), Some(70_000));
        assert_eq!(reply(to, 8, &packet), None);
        assert_eq!(reply(to, 7, &packet[..30]), None);
    }
}
