//! What may be merged, and above all what may not.

use super::*;
use vipsec_wire::ip::checksum::Sum;

/// A TCP packet over IPv4 with right checksums.
fn tcp(port: u8, sequence: u32, flags: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0u8; 40];
    packet.extend_from_slice(payload);
    let length = u16::try_from(packet.len()).expect("short");
    packet[0] = 0x45;
    packet[2..4].copy_from_slice(&length.to_be_bytes());
    packet[8] = 64;
    packet[9] = 6;
    packet[12..20].copy_from_slice(&[10, 77, 0, 10, 192, 0, 2, 10]);
    packet[20..24].copy_from_slice(&[0, port, 0, 80]);
    packet[24..28].copy_from_slice(&sequence.to_be_bytes());
    packet[32] = 0x50;
    packet[33] = flags;
    reseal(packet)
}

fn reseal(mut packet: Vec<u8>) -> Vec<u8> {
    packet[10..12].fill(0);
    let ip = checksum(&packet[..20]);
    packet[10..12].copy_from_slice(&ip.to_be_bytes());
    packet[36..38].fill(0);
    let mut sum: Sum = pseudo_sum(&packet, true, packet.len() - 20).expect("long enough");
    sum.add(&packet[20..]);
    packet[36..38].copy_from_slice(&sum.finish().to_be_bytes());
    packet
}

/// Merges packets and returns how many went into each write.
fn merge(packets: &[Vec<u8>]) -> Vec<usize> {
    let mut received = Vec::new();
    let mut merger = Merger::new(true);
    for packet in packets {
        let start = received.len();
        received.extend_from_slice(packet);
        assert!(merger.push(Place::Received(start..received.len()), &received, &[]));
    }
    merger.writes().iter().map(|w| w.pieces.len()).collect()
}

const ACK: u8 = 0x10;

#[test]
fn a_stream_merges_across_others() {
    let a = |n: u32| tcp(1, n * 4, ACK, b"abcd");
    let b = |n: u32| tcp(2, n * 4, ACK, b"abcd");
    assert_eq!(merge(&[a(0), b(7), a(1), a(2), b(8)]), [3, 2]);
}

#[test]
fn a_push_or_a_short_segment_ends_a_run() {
    let push = [tcp(1, 0, ACK, b"abcd"), tcp(1, 4, ACK | 8, b"abcd"), tcp(1, 8, ACK, b"abcd")];
    assert_eq!(merge(&push), [2, 1]);
    let short = [tcp(1, 0, ACK, b"abcd"), tcp(1, 4, ACK, b"ab"), tcp(1, 6, ACK, b"abcd")];
    assert_eq!(merge(&short), [2, 1]);
    let longer = [tcp(1, 0, ACK, b"ab"), tcp(1, 2, ACK, b"abcd")];
    assert_eq!(merge(&longer), [1, 1]);
}

#[test]
fn gaps_flags_and_empty_packets_keep_packets_apart() {
    let first = tcp(1, 0, ACK, b"abcd");
    assert_eq!(merge(&[first.clone(), tcp(1, 5, ACK, b"abcd")]), [1, 1], "gap");
    assert_eq!(merge(&[first.clone(), tcp(1, 4, ACK | 1, b"abcd")]), [1, 1], "FIN");
    assert_eq!(merge(&[first.clone(), tcp(1, 4, ACK, b"")]), [1, 1], "no payload");
    let mut window = tcp(1, 4, ACK, b"abcd");
    window[35] ^= 1;
    assert_eq!(merge(&[first.clone(), reseal(window)]), [1, 1], "window");
    let mut tos = tcp(1, 4, ACK, b"abcd");
    tos[1] ^= 3;
    assert_eq!(merge(&[first, reseal(tos)]), [1, 1], "ECN");
}

#[test]
fn packets_keep_their_order_within_a_stream() {
    let packets = [tcp(1, 0, ACK, b"abcd"), tcp(1, 4, ACK | 1, b""), tcp(1, 4, ACK, b"abcd")];
    let mut received = Vec::new();
    let mut merger = Merger::new(true);
    for packet in &packets {
        let start = received.len();
        received.extend_from_slice(packet);
        merger.push(Place::Received(start..received.len()), &received, &[]);
    }
    let starts = merger.writes().iter().map(|w| w.pieces[0].range().start);
    assert_eq!(starts.collect::<Vec<usize>>(), [0, 44, 84]);
}

#[test]
fn a_wrong_checksum_is_neither_merged_nor_vouched_for() {
    let mut bad = tcp(1, 4, ACK, b"abcd");
    bad[42] ^= 0x40;
    assert_eq!(merge(&[tcp(1, 0, ACK, b"abcd"), bad.clone(), tcp(1, 4, ACK, b"abcd")]), [2, 1]);
    let mut merger = Merger::new(true);
    let mut received = bad;
    merger.push(Place::Received(0..received.len()), &received, &[]);
    assert_eq!(merger.writes()[0].finish(&mut received, &mut []), VirtioHeader::PLAIN);
}

#[test]
fn a_merged_packet_carries_push_and_whole_length() {
    let mut received = Vec::new();
    let mut merger = Merger::new(false);
    for packet in [tcp(1, 0, ACK, b"abcd"), tcp(1, 4, ACK | 8, b"efgh")] {
        let start = received.len();
        received.extend_from_slice(&packet);
        merger.push(Place::Received(start..received.len()), &received, &[]);
    }
    let write = merger.writes()[0].clone();
    let header = write.finish(&mut received, &mut []);
    assert_eq!((header.kind, header.segment, header.headers), (Kind::Tcp4, 4, 40));
    assert_eq!(received[33], ACK | 8);
    assert_eq!(received[2..4], 48u16.to_be_bytes());
    assert_eq!(checksum(&received[..20]), 0);
    merger.clear();
    assert!(merger.writes().is_empty());
}
