//! How packets form trains, seen on real sockets.

use super::*;
use crate::config::{Clock, Config};
use crate::sys::{Fragmentation, ReceiveBatch, udp_socket};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::OwnedFd;
use std::time::Instant;

const FABRIC: &str = "127.0.0.1:0";

fn setup() -> (Sockets, Transmit, OwnedFd, SocketAddr) {
    let any = FABRIC.parse().expect("address");
    let mut config = Config::new(Clock::start());
    config.fabric = Some(any);
    let sockets = Sockets::open(&config, 0).expect("sockets; this test needs root");
    let transmit = Transmit::new(&sockets, Arc::new(Counters::default()));
    let receiver = udp_socket(any, 0, Fragmentation::Never).expect("socket");
    let socket = UdpSocket::from(receiver.try_clone().expect("clone"));
    (sockets, transmit, receiver, socket.local_addr().expect("address"))
}

fn emit(transmit: &mut Transmit, sockets: &Sockets, remote: SocketAddr, packet: &[u8]) {
    transmit.emit(sockets, Route::Fabric { remote }, 2000, &mut |to| {
        to[..packet.len()].copy_from_slice(packet);
        packet.len()
    });
}

/// Takes this many packets, trains cut again.
fn receive(socket: &OwnedFd, count: usize) -> Vec<Vec<u8>> {
    let mut batch = ReceiveBatch::new();
    let mut got = Vec::new();
    let end = Instant::now() + Duration::from_secs(2);
    while got.len() < count && Instant::now() < end {
        for index in 0..batch.receive(socket).unwrap_or(0) {
            let datagram = batch.datagram(index).expect("usable");
            let bytes = &batch.bytes()[datagram.range];
            got.extend(bytes.chunks(datagram.segment).map(<[u8]>::to_vec));
        }
    }
    got
}

#[test]
fn equal_packets_form_a_train_that_a_short_one_ends() {
    let (sockets, mut transmit, receiver, remote) = setup();
    let packets: Vec<Vec<u8>> =
        [100, 100, 40, 100, 120].map(|n: u8| vec![n; usize::from(n)]).into();
    for packet in &packets {
        emit(&mut transmit, &sockets, remote, packet);
    }
    let trains: Vec<(usize, u16)> =
        transmit.outgoing.iter().map(|o| (o.range.len(), o.segment)).collect();
    assert_eq!(trains, [(240, 100), (100, 0), (120, 0)]);
    transmit.flush(&sockets);
    assert_eq!(receive(&receiver, 5), packets);
    assert_eq!(transmit.used, 0);
}

#[test]
fn a_train_keeps_within_the_kernels_limits() {
    let (sockets, mut transmit, receiver, remote) = setup();
    for _ in 0..70 {
        emit(&mut transmit, &sockets, remote, &[7; 50]);
    }
    let sizes: Vec<usize> = transmit.outgoing.iter().map(|o| o.range.len() / 50).collect();
    assert_eq!(sizes, [64, 6]);
    for _ in 0..50 {
        emit(&mut transmit, &sockets, remote, &[8; 1400]);
    }
    let last = transmit.outgoing.last().map(|o| o.range.len());
    assert_eq!(last, Some(4 * 1400), "46 full packets are as much as a datagram holds");
    transmit.flush(&sockets);
    assert_eq!(receive(&receiver, 120).len(), 120);
}

#[test]
fn packets_above_the_links_mtu_are_sent_one_by_one() {
    let (sockets, mut transmit, receiver, remote) = setup();
    for _ in 0..3 {
        emit(&mut transmit, &sockets, remote, &[9; 1000]);
    }
    let train = transmit.outgoing[0].clone();
    let refused = io::Error::from_raw_os_error(libc::EMSGSIZE);
    assert!(transmit.refuses_train(&refused, 0, 0));
    let socket = sockets.get(0).expect("one");
    transmit.send_singly(socket, &train);
    assert_eq!(receive(&receiver, 3), vec![vec![9; 1000]; 3]);
    transmit.flush(&sockets);
    emit(&mut transmit, &sockets, remote, &[9; 1000]);
    emit(&mut transmit, &sockets, remote, &[9; 1000]);
    assert_eq!(transmit.outgoing.len(), 2, "no train of this size any more");
    assert!(!transmit.refuses_train(&refused, 0, 0), "a single packet is no train");
}

#[test]
fn nothing_leaves_for_an_empty_packet_or_an_unknown_socket() {
    let (sockets, mut transmit, _receiver, remote) = setup();
    emit(&mut transmit, &sockets, remote, &[]);
    let local = "192.0.2.10:4500".parse().expect("address");
    let mut called = false;
    transmit.emit(
        &sockets,
        Route::Udp { local, remote, tos: 0, may_fragment: false },
        100,
        &mut |_| {
            called = true;
            10
        },
    );
    assert!(!called && transmit.outgoing.is_empty());
    assert_eq!(transmit.counters.values().send_no_socket, 1);
}

#[test]
fn more_than_the_buffer_holds_is_sent_on_the_way() {
    let (sockets, mut transmit, receiver, remote) = setup();
    for index in 0..300u16 {
        let mut packet = vec![0u8; 1400];
        packet[..2].copy_from_slice(&index.to_be_bytes());
        emit(&mut transmit, &sockets, remote, &packet);
    }
    assert!(transmit.used < 300 * 1400, "the buffer was emptied on the way");
    transmit.flush(&sockets);
    let got = receive(&receiver, 300);
    let numbers: Vec<u16> = got.iter().map(|p| u16::from_be_bytes([p[0], p[1]])).collect();
    assert_eq!(numbers, (0..300).collect::<Vec<u16>>(), "all, in order");
}
