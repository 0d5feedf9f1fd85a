//! Puts load on a path and checks every byte of it: what arrives must be what was sent, whatever was
//! cut and merged on the way.
//!
//! ```text
//! load serve ADDRESS:PORT                  takes one TCP connection and UDP datagrams, prints totals
//! load tcp ADDRESS:PORT BYTES              sends bytes, waits for the server's count, prints Mbit/s
//! load udp ADDRESS:PORT COUNT SIZE         sends datagrams, prints how many arrived whole and in order
//! ```
#![allow(clippy::print_stdout, reason = "a program for people and tests")]

use std::error::Error;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

type Failure = Box<dyn Error>;

/// Bytes of one write or read.
const CHUNK: usize = 256 << 10;

/// Datagrams that are sent before it is asked whether they have arrived.
const BURST: u64 = 16;

/// How often that is asked.
const TRIES: u32 = 20;

/// The byte at an offset: its period is prime, so no shift by a packet's size goes unnoticed.
fn pattern(offset: u64) -> u8 {
    u8::try_from(offset % 251).unwrap_or(0)
}

fn serve(address: SocketAddr) -> Result<(), Failure> {
    let listener = TcpListener::bind(address)?;
    let udp = UdpSocket::bind(address)?;
    println!("ready");
    std::thread::spawn(move || serve_udp(&udp));
    for stream in listener.incoming() {
        let mut stream = stream?;
        let count = take(&mut stream)?;
        stream.write_all(&count.to_be_bytes())?;
        println!("tcp {count}");
    }
    Ok(())
}

/// Reads to the end, checks, and counts.
fn take(stream: &mut TcpStream) -> Result<u64, Failure> {
    let mut buffer = vec![0u8; CHUNK];
    let mut offset = 0u64;
    loop {
        let length = stream.read(&mut buffer)?;
        if length == 0 {
            return Ok(offset);
        }
        for byte in &buffer[..length] {
            if *byte != pattern(offset) {
                return Err(format!("wrong byte at {offset}").into());
            }
            offset += 1;
        }
    }
}

/// Counts datagrams that came in order and whole, and others; answers an empty one with the counts.
/// Number 0 starts anew.
fn serve_udp(socket: &UdpSocket) {
    let mut buffer = vec![0u8; 1 << 16];
    let (mut right, mut wrong, mut next) = (0u64, 0u64, 0u64);
    while let Ok((length, from)) = socket.recv_from(&mut buffer) {
        if length == 0 {
            let _ = socket.send_to(&[right.to_be_bytes(), wrong.to_be_bytes()].concat(), from);
            continue;
        }
        let Some(number) = buffer.first_chunk().map(|b| u64::from_be_bytes(*b)) else { continue };
        if number == 0 {
            (right, wrong, next) = (0, 0, 0);
        }
        let whole = (8..length).all(|i| buffer[i] == pattern(number + i as u64));
        if whole && number >= next {
            right += 1;
            next = number + 1;
        } else {
            wrong += 1;
        }
    }
}

fn send_tcp(address: SocketAddr, bytes: u64) -> Result<(), Failure> {
    let mut stream = TcpStream::connect(address)?;
    let mut buffer = vec![0u8; CHUNK];
    let start = Instant::now();
    let mut offset = 0;
    while offset < bytes {
        for (index, byte) in (0u64..).zip(&mut buffer) {
            *byte = pattern(offset + index);
        }
        let length = usize::try_from(bytes - offset).unwrap_or(CHUNK).min(CHUNK);
        stream.write_all(&buffer[..length])?;
        offset += length as u64;
    }
    stream.shutdown(std::net::Shutdown::Write)?;
    let mut count = [0u8; 8];
    stream.read_exact(&mut count)?;
    let count = u64::from_be_bytes(count);
    let rate = count as f64 * 8.0 / start.elapsed().as_secs_f64() / 1e6;
    println!("tcp {count} bytes, {rate:.0} Mbit/s");
    if count == bytes { Ok(()) } else { Err("bytes are missing".into()) }
}

fn send_udp(address: SocketAddr, count: u64, size: usize) -> Result<(), Failure> {
    let any: SocketAddr = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" }.parse()?;
    let socket = UdpSocket::bind(any)?;
    socket.connect(address)?;
    let mut buffer = vec![0u8; size.max(8)];
    for number in 0..count {
        buffer[..8].copy_from_slice(&number.to_be_bytes());
        for (index, byte) in (0u64..).zip(&mut buffer).skip(8) {
            *byte = pattern(number + index);
        }
        socket.send(&buffer)?;
        if number % BURST == BURST - 1 {
            arrived(&socket, number + 1)?;
        }
    }
    let [right, wrong] = arrived(&socket, count)?;
    println!("udp {right} of {count}, {wrong} wrong");
    if wrong == 0 { Ok(()) } else { Err("datagrams changed or out of order".into()) }
}

/// Asks until as many as were sent have arrived, in order and otherwise, or no more come: no receive
/// buffer on the way can overflow, however slow the machine is.
fn arrived(socket: &UdpSocket, sent: u64) -> Result<[u64; 2], Failure> {
    socket.set_read_timeout(Some(Duration::from_secs(1)))?;
    let mut last = None;
    for _ in 0..TRIES {
        socket.send(&[])?;
        let mut bytes = [0u8; 16];
        let Ok(16) = socket.recv(&mut bytes) else { continue };
        let counts = [0, 8].map(|at| u64::from_be_bytes(core::array::from_fn(|i| bytes[at + i])));
        last = Some(counts);
        if counts.iter().sum::<u64>() >= sent {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    last.ok_or_else(|| "the server does not answer".into())
}

fn main() -> Result<(), Failure> {
    let all: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = all.iter().map(String::as_str).collect();
    match words[..] {
        ["serve", address] => serve(address.parse()?),
        ["tcp", address, bytes] => send_tcp(address.parse()?, bytes.parse()?),
        ["udp", address, count, size] => send_udp(address.parse()?, count.parse()?, size.parse()?),
        _ => Err("load serve ADDRESS | tcp ADDRESS BYTES | udp ADDRESS COUNT SIZE".into()),
    }
}
