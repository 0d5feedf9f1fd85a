//! How packets form trains, seen on real sockets.

use super::*;
use crate::config::{Clock, Config};
use std::net::{SocketAddr, UdpSocket};

const FABRIC: &str = "127.0.0.1:0";

fn setup() -> (Sockets, Transmit, UdpSocket) {
    let mut config = Config::new(Clock::start());
    config.fabric = Some(FABRIC.parse().expect("address"));
    let sockets = Sockets::open(&config, 0).expect("sockets; this test needs root");
    let transmit = Transmit::new(&sockets, Arc::new(Counters::default()));
    let receiver = UdpSocket::bind(FABRIC).expect("bind");
    receiver.set_read_timeout(Some(Duration::from_secs(2))).expect("timeout");
    (sockets, transmit, receiver)
}

fn emit(transmit: &mut Transmit, sockets: &Sockets, remote: SocketAddr, packet: &[u8]) {
    transmit.emit(sockets, Route::Fabric { remote }, 2000, &mut |to| {
        to[..packet.len()].copy_from_slice(packet);
        packet.len()
    });
}

fn receive(socket: &UdpSocket, count: usize) -> Vec<Vec<u8>> {
    let mut buffer = [0u8; 4096];
    let mut one = || socket.recv(&mut buffer).map(|n| buffer[..n].to_vec());
    (0..count).map(|_| one().expect("arrives")).collect()
}

#[test]
fn equal_packets_form_a_train_that_a_short_one_ends() {
    let (sockets, mut transmit, receiver) = setup();
    let remote = receiver.local_addr().expect("address");
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
fn a_train_keeps_within_the_kernels_limits_and_super_packets_stay_whole() {
    let (sockets, mut transmit, receiver) = setup();
    let remote = receiver.local_addr().expect("address");
    for _ in 0..70 {
        emit(&mut transmit, &sockets, remote, &[7; 50]);
    }
    let sizes: Vec<usize> = transmit.outgoing.iter().map(|o| o.range.len() / 50).collect();
    assert_eq!(sizes, [64, 6]);
    transmit.expect(40, 40 * 1500);
    emit(&mut transmit, &sockets, remote, &[7; 50]);
    assert_eq!(transmit.outgoing.len(), 2, "it fits behind");
    transmit.expect(60, 60 * 50);
    emit(&mut transmit, &sockets, remote, &[7; 50]);
    assert_eq!(transmit.outgoing.len(), 3, "it would not have fitted whole");
    transmit.flush(&sockets);
    assert_eq!(receive(&receiver, 72).len(), 72);
}

#[test]
fn nothing_leaves_for_an_empty_packet_or_an_unknown_socket() {
    let (sockets, mut transmit, receiver) = setup();
    let remote = receiver.local_addr().expect("address");
    emit(&mut transmit, &sockets, remote, &[]);
    let local = "192.0.2.10:4500".parse().expect("address");
    let mut called = false;
    transmit.emit(&sockets, Route::Udp { local, remote, tos: 0 }, 100, &mut |_| {
        called = true;
        10
    });
    assert!(!called && transmit.outgoing.is_empty());
    assert_eq!(transmit.counters.values().send_no_socket, 1);
}

#[test]
fn more_than_the_buffer_holds_is_sent_on_the_way() {
    let (sockets, mut transmit, receiver) = setup();
    let remote = receiver.local_addr().expect("address");
    for index in 0..300u16 {
        let mut packet = vec![0u8; 1400];
        packet[..2].copy_from_slice(&index.to_be_bytes());
        emit(&mut transmit, &sockets, remote, &packet);
        if index % 100 == 99 {
            transmit.flush(&sockets);
            let got = receive(&receiver, 100);
            let last = u16::from_be_bytes([got[99][0], got[99][1]]);
            assert_eq!(last, index, "in order");
        }
    }
}
