//! Super-packets made by hand are cut, and every piece is checked byte by byte.

use super::super::flow::Flow;
use super::super::merge::{Merger, Place};
use super::*;
use proptest::prelude::*;

/// A super-packet as the kernel hands it over: pseudo sum in the checksum field, virtio header in
/// front.
pub(super) fn super_packet(v4: bool, udp: bool, payload: &[u8], segment: u16) -> Vec<u8> {
    let (ip, transport) = (if v4 { 20 } else { 40 }, if udp { 8 } else { 32 });
    let mut packet = vec![0u8; ip + transport];
    packet.extend_from_slice(payload);
    let length = u16::try_from(packet.len() - ip).expect("short");
    if v4 {
        packet[0] = 0x45;
        packet[2..4].copy_from_slice(&(length + 20).to_be_bytes());
        packet[4..6].copy_from_slice(&0xfffeu16.to_be_bytes());
        packet[6] = 0x40;
        packet[8] = 64;
        packet[9] = if udp { 17 } else { 6 };
        packet[12..20].copy_from_slice(&[10, 77, 0, 10, 192, 0, 2, 10]);
    } else {
        packet[0] = 0x60;
        packet[4..6].copy_from_slice(&length.to_be_bytes());
        packet[6] = if udp { 17 } else { 6 };
        packet[7] = 64;
        packet[8..40].fill(0x20);
    }
    packet[ip..ip + 4].copy_from_slice(&[0x80, 0x01, 0x00, 0x50]);
    if udp {
        packet[ip + 4..ip + 6].copy_from_slice(&length.to_be_bytes());
    } else {
        packet[ip + 4..ip + 8].copy_from_slice(&0xffff_ff00u32.to_be_bytes());
        packet[ip + 12] = 0x80;
        packet[ip + 13] = 0x18 | 0x80 | 0x01;
        packet[ip + 20..ip + 32].fill(1);
    }
    let field = ip + if udp { 6 } else { 16 };
    let sum = !pseudo_sum(&packet, v4, packet.len() - ip).expect("long enough").finish();
    packet[field..field + 2].copy_from_slice(&sum.to_be_bytes());
    let header = VirtioHeader {
        kind: match (udp, v4) {
            (true, _) => Kind::Udp,
            (false, true) => Kind::Tcp4,
            (false, false) => Kind::Tcp6,
        },
        segment,
        headers: u16::try_from(ip + transport).expect("short"),
        open_checksum: Some((
            u16::try_from(ip).expect("short"),
            u16::try_from(field - ip).expect("short"),
        )),
        verified: false,
    };
    [&header.bytes()[..], &packet].concat()
}

pub(super) fn cut(mut bytes: Vec<u8>) -> Vec<Vec<u8>> {
    let mut segments = Segments::new(&mut bytes).expect("can be cut");
    let mut all = Vec::new();
    while let Some(packet) = segments.next() {
        all.push(packet.to_vec());
    }
    all
}

#[test]
fn tcp_flags_sequence_and_identification_follow_the_rules() {
    let payload: Vec<u8> = (0..=255).cycle().take(250).collect();
    let all = cut(super_packet(true, false, &payload, 100));
    assert_eq!(all.len(), 3);
    let sequence = |p: &[u8]| u32::from_be_bytes([p[24], p[25], p[26], p[27]]);
    let ids: Vec<u16> = all.iter().map(|p| u16::from_be_bytes([p[4], p[5]])).collect();
    assert_eq!(ids, [0xfffe, 0xffff, 0]);
    let numbers: Vec<u32> = all.iter().map(|p| sequence(p)).collect();
    assert_eq!(numbers, [0xffff_ff00, 0xffff_ff64, 0xffff_ffc8]);
    let flags: Vec<u8> = all.iter().map(|p| p[33]).collect();
    assert_eq!(flags, [0x90, 0x10, 0x19], "CWR first only, FIN and PSH last only");
    assert_eq!(all.iter().flat_map(|p| p[52..].to_vec()).collect::<Vec<u8>>(), payload);
}

#[test]
fn a_single_packet_gets_its_open_checksum() {
    let mut bytes = super_packet(false, true, b"hello", 5);
    bytes[1] = 0;
    let all = cut(bytes);
    assert_eq!(all.len(), 1);
    assert!(Flow::of(&all[0]).is_some(), "checksum is right");
}

#[test]
fn nonsense_from_the_device_is_refused() {
    let good = super_packet(true, false, &[7; 100], 10);
    for length in 0..good.len() - 100 {
        assert!(Segments::new(&mut good[..length].to_vec()).is_none() || length == 10);
    }
    let mut zero = good.clone();
    zero[4..6].fill(0);
    assert!(Segments::new(&mut zero).is_none(), "segment size zero");
    let mut short = good;
    short[10 + 20 + 12] = 0x20;
    assert!(Segments::new(&mut short).is_none(), "TCP header of eight bytes");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn what_is_cut_is_merged_again(
        v4: bool,
        udp: bool,
        segment in 8u16..1400,
        payload in proptest::collection::vec(any::<u8>(), 1..9000),
    ) {
        prop_assume!(payload.len() / usize::from(segment) < 60);
        // FIN and CWR never merge; a plain stream does.
        let mut bytes = super_packet(v4, udp, &payload, segment);
        if !udp {
            bytes[10 + if v4 { 33 } else { 53 }] = 0x10;
        }
        let whole = bytes[10..].to_vec();
        let all = cut(bytes);
        let mut received: Vec<u8> = Vec::new();
        let mut merger = Merger::new(true);
        for packet in &all {
            let start = received.len();
            received.extend_from_slice(packet);
            prop_assert!(Flow::of(packet).is_some(), "checksums are right");
            prop_assert!(merger.push(Place::Received(start..received.len()), &received, &[]));
        }
        prop_assert_eq!(merger.writes().len(), 1);
        let header = merger.writes()[0].finish(&mut received, &mut []);
        let pieces = merger.writes()[0].pieces.iter();
        let merged: Vec<u8> = pieces.flat_map(|p| p.bytes(&received, &[]).to_vec()).collect();
        if all.len() == 1 {
            prop_assert!(header.verified && header.kind == Kind::Single);
        } else {
            prop_assert_eq!(usize::from(header.segment), usize::from(segment));
            // The kernel leaves the IPv4 checksum of a super-packet open; ours is filled in.
            let same = |a: &[u8], b: &[u8]| a[..10] == b[..10] && a[12..] == b[12..];
            let equal = if v4 { same(&merged, &whole) } else { merged == whole };
            prop_assert!(equal);
        }
    }
}
