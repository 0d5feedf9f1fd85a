//! Sealing and opening through the public interface: published packets, sizes, trailers, limits and
//! everything malformed.

#![allow(clippy::unwrap_used)]

#[allow(dead_code, reason = "each program uses its part")]
mod fixture;

use core::time::Duration;
use fixture::{BORN, CBC, GCM, NOW, Seeded, child_sa, ivs};
use proptest::prelude::*;
use vipsec_crypto::Random;
use vipsec_crypto::aead::AeadAlgorithm;
use vipsec_esp::{
    ChildSa, Cipher, EnterError, EspError, Expiry, Inbound, Limits, Outbound, OutboundSnapshot,
    Replay, SealError,
};
use vipsec_wire::id::{Epoch, EspSpi};
use vipsec_wire::secret::SecretBytes;

fn pair(sa: &ChildSa) -> (Outbound, Inbound) {
    let (mut outbound, mut inbound) = (Outbound::new(sa).unwrap(), Inbound::new(sa).unwrap());
    outbound.enter(BORN, 0, 0, &mut Seeded(1)).unwrap();
    inbound.enter(BORN, Replay::Bounded).unwrap();
    (outbound, inbound)
}

fn seal(outbound: &mut Outbound, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0; outbound.sealed_length(payload.len())];
    let start = outbound.payload_offset();
    packet[start..start + payload.len()].copy_from_slice(payload);
    let length = outbound.seal(NOW, 4, &mut packet, payload.len(), &mut ivs()).unwrap();
    assert_eq!(length, packet.len());
    packet
}

struct Fixed([u8; 8]);

impl Random for Fixed {
    fn fill(&mut self, out: &mut [u8]) {
        out.copy_from_slice(&self.0[..out.len()]);
    }
}

/// draft-mcgrew-gcm-test-01 section 4, the packets whose IV an owner of ours could choose: key and
/// salt, IV, SPI, sequence number, payload, packet after the IV.
const CHOSEN: [(&str, u64, u32, u64, &str, &str); 3] = [
    (
        "abbccddef00112233445566778899aababbccddef00112233445566778899aab11223344",
        0x0102_0304_0506_0708,
        0x4a2c_bfe3,
        2,
        "4500003069a6400080062690c0a801029389155e0a9e008b2dc57ee0000000007002400020bf0000\
         020405b401010402",
        "ff425c9b724599df7a3bcd510194e00d6a78107f1b0b1cbf06efae9d65a5d763748a637985771d34\
         7f0545659f14e99def842d8eb335f4eecfdbf831824b4c4915956c96",
    ),
    (
        "0000000000000000000000000000000000000000",
        0,
        0,
        1,
        "4500003c99c500008001cb7a40679318010101010800075c02004400616263646566676869\
         6a6b6c6d6e6f7071727374757677616263646566676869",
        "4688daf2f973a392732909c331d56d60f694abaa414b5e7ff5fdcdfff5e9a284456476492719ffb6\
         4de7d9dca1e1d894bc3bd57873ed4d181d19d4d5c8c18af3f821d496eeb096e98ad2b69e4799c71d",
    ),
    (
        "7d773d00c144c525ac619d18c84a3f47d9664267",
        0x4345_7e91_8244_3bc6,
        0x3354_67ae,
        0xffff_ffff,
        "",
        "437f866bcb3f699fe9b0822bac961c4504bef270",
    ),
];

#[test]
fn packets_of_draft_mcgrew() {
    for (key, iv, spi, sequence, payload, sealed) in CHOSEN {
        let (key, payload) = (hex::decode(key).unwrap(), hex::decode(payload).unwrap());
        let algorithm = match key.len() {
            20 => AeadAlgorithm::Aes128Gcm16,
            _ => AeadAlgorithm::Aes256Gcm16,
        };
        let mut sa = child_sa(Cipher::Aead(algorithm), false);
        sa.outbound.spi = EspSpi(spi);
        sa.outbound.encryption = SecretBytes::new(key);
        sa.inbound = sa.outbound.clone();

        let mut outbound = Outbound::new(&sa).unwrap();
        let epoch = Epoch(BORN.0 + (iv >> 48));
        let snapshot = OutboundSnapshot { next: sequence, ..OutboundSnapshot::default() };
        let mut random = Fixed(iv.to_be_bytes());
        outbound.continue_from(epoch, &snapshot, &mut random).unwrap();
        let mut packet = vec![0; outbound.sealed_length(payload.len())];
        packet[16..16 + payload.len()].copy_from_slice(&payload);
        outbound.seal(NOW, 1, &mut packet, payload.len(), &mut ivs()).unwrap();
        let head = format!("{spi:08x}{sequence:08x}{iv:016x}");
        assert_eq!(hex::encode(&packet), format!("{head}{sealed}"));

        // The draft has an SPI of 0, which is none on the wire.
        if spi != 0 {
            let mut inbound = Inbound::new(&sa).unwrap();
            inbound.enter(BORN, Replay::Bounded).unwrap();
            let opened = inbound.open(NOW, &mut packet).unwrap();
            assert_eq!((opened.next_header, opened.sequence), (1, sequence));
            assert_eq!(packet[opened.payload], payload);
        }
    }
}

#[test]
fn every_length_survives_with_every_cipher() {
    let ciphers = [GCM, CBC, Cipher::Aead(AeadAlgorithm::Aes128Gcm16)];
    for cipher in ciphers {
        for esn in [false, true] {
            let (mut outbound, mut inbound) = pair(&child_sa(cipher, esn));
            for length in (0..70).chain([576, 1399, 1400, 9000]) {
                let payload: Vec<u8> = (1..=255).cycle().take(length).collect();
                let mut packet = seal(&mut outbound, &payload);
                let opened = inbound.open(NOW, &mut packet).unwrap();
                assert_eq!(&packet[opened.payload], payload);
                assert_eq!(opened.next_header, 4);
            }
            assert_eq!(outbound.usage(), inbound.usage());
            assert_eq!(outbound.usage().packets, 74);
            assert_eq!(inbound.edge() + 1, outbound.next_sequence());
        }
    }
}

#[test]
fn the_longest_payload_fits_and_one_more_does_not() {
    for cipher in [GCM, CBC] {
        let outbound = Outbound::new(&child_sa(cipher, false)).unwrap();
        for room in 60..2000 {
            let longest = outbound.longest_payload(room);
            assert!(outbound.sealed_length(longest) <= room, "{room}");
            assert!(outbound.sealed_length(longest + 1) > room, "{room}");
        }
        assert_eq!(outbound.longest_payload(0), 0);
    }
}

#[test]
fn a_buffer_without_room_costs_no_sequence_number() {
    let (mut outbound, _) = pair(&child_sa(GCM, true));
    let mut packet = vec![0; outbound.sealed_length(100) - 1];
    let refused = outbound.seal(NOW, 4, &mut packet, 100, &mut ivs());
    assert_eq!(refused, Err(SealError::NoRoom));
    assert_eq!(outbound.next_sequence(), 1);
    let absurd = outbound.seal(NOW, 4, &mut packet, usize::MAX, &mut ivs());
    assert_eq!(absurd, Err(SealError::NoRoom));
}

#[test]
fn halves_may_move_to_a_worker() {
    fn movable<T: Send + 'static>() {}
    movable::<Outbound>();
    movable::<Inbound>();
    movable::<vipsec_esp::IvGenerator>();
}

#[test]
fn a_half_that_entered_no_epoch_does_nothing() {
    let sa = child_sa(GCM, true);
    let (mut outbound, mut inbound) = (Outbound::new(&sa).unwrap(), Inbound::new(&sa).unwrap());
    let refused = outbound.seal(NOW, 4, &mut [0; 100], 10, &mut ivs());
    assert_eq!(refused, Err(SealError::NotEntered));
    assert_eq!(inbound.open(NOW, &mut [1; 100]), Err(EspError::NotEntered));
    assert_eq!(outbound.block_low(NOW), None);
    assert_eq!(outbound.high_water(), None);
    assert_eq!(outbound.expiry(NOW), None);
}

#[test]
fn a_replay_is_dropped() {
    let (mut outbound, mut inbound) = pair(&child_sa(GCM, true));
    let packets: Vec<_> = (0..5).map(|_| seal(&mut outbound, b"payload")).collect();
    for at in [0, 3, 1, 4, 2] {
        assert!(inbound.open(NOW, &mut packets[at].clone()).is_ok());
        assert_eq!(inbound.open(NOW, &mut packets[at].clone()), Err(EspError::Replayed));
    }
    assert_eq!(inbound.usage().packets, 5);
}

/// Whatever bit is flipped: dropped, and the window, the counters and the edge stay as they were.
#[test]
fn a_changed_packet_changes_nothing() {
    for (cipher, esn) in [(GCM, true), (GCM, false), (CBC, true), (CBC, false)] {
        let (mut outbound, mut inbound) = pair(&child_sa(cipher, esn));
        let packet = seal(&mut outbound, b"some payload");
        let before = inbound.snapshot();
        for bit in 32..packet.len() * 8 {
            let mut changed = packet.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(inbound.open(NOW, &mut changed).is_err(), "bit {bit}");
        }
        for length in 0..packet.len() {
            assert!(inbound.open(NOW, &mut packet[..length].to_vec()).is_err());
        }
        assert_eq!(inbound.snapshot(), before);
        assert!(inbound.open(NOW, &mut packet.clone()).is_ok());
    }
}

/// Packets that a peer with the right key made against RFC 4303 section 2.4.
#[test]
fn malformed_padding_is_dropped_though_authentic() {
    let trailers: [&[u8]; 4] =
        [&[1, 2, 3, 77, 200, 4], &[9, 9, 2, 4], &[2, 1, 2, 4], &[0, 0, 0, 255, 255, 4]];
    for trailer in trailers {
        let sa = child_sa(GCM, false);
        let (_, mut inbound) = pair(&sa);
        let key = vipsec_crypto::aead::AeadKey::new(
            AeadAlgorithm::Aes256Gcm16,
            sa.outbound.encryption.expose(),
        );
        let mut packet = [&[0x11, 0x22, 0x33, 0x44, 0, 0, 0, 9][..], &[7; 8]].concat();
        packet.resize(16 + trailer.len().next_multiple_of(4) - trailer.len(), 0x55);
        packet.extend_from_slice(trailer);
        let (head, body) = packet.split_at_mut(16);
        let tag = key.unwrap().seal([7; 8], &head[..8], body);
        packet.extend_from_slice(&tag);
        assert_eq!(inbound.open(NOW, &mut packet), Err(EspError::Padding), "{trailer:?}");
        assert_eq!(inbound.edge(), 9, "it was authentic, so its number is used up");
    }
}

//= RFC 7296 section 2.8 #1: by use
#[test]
fn hard_limits_stop_both_halves() {
    let mut sa = child_sa(GCM, true);
    sa.lifetime.soft.packets = Some(2);
    sa.lifetime.hard.packets = Some(3);
    let (mut outbound, mut inbound) = pair(&sa);
    for (count, expiry) in [(1, None), (2, Some(Expiry::Soft)), (3, Some(Expiry::Hard))] {
        let mut packet = seal(&mut outbound, b"x");
        assert!(inbound.open(NOW, &mut packet).is_ok());
        assert_eq!(outbound.expiry(NOW), expiry, "{count}");
        assert_eq!(inbound.expiry(NOW), expiry, "{count}");
    }
    assert_eq!(outbound.seal(NOW, 4, &mut [0; 64], 1, &mut ivs()), Err(SealError::Expired));
    assert_eq!(inbound.open(NOW, &mut [1; 64]), Err(EspError::Expired));
}

//= RFC 7296 section 2.8 #1: by time
#[test]
fn time_ends_an_sa_that_nobody_uses() {
    let mut sa = child_sa(GCM, true);
    sa.lifetime.soft = Limits { seconds: Some(3000), ..Limits::default() };
    sa.lifetime.hard = Limits { seconds: Some(3600), ..Limits::default() };
    let (mut outbound, mut inbound) = pair(&sa);
    let at = |s| NOW + Duration::from_secs(s);
    assert_eq!(outbound.expiry(at(2999)), None);
    assert_eq!(outbound.expiry(at(3000)), Some(Expiry::Soft));
    assert_eq!(inbound.expiry(at(3600)), Some(Expiry::Hard));
    let refused = outbound.seal(at(3600), 4, &mut [0; 64], 1, &mut ivs());
    assert_eq!(refused, Err(SealError::Expired));
}

#[test]
fn the_last_sequence_number_is_sent_and_then_none() {
    let (mut outbound, mut inbound) = pair(&child_sa(GCM, false));
    outbound.learn_high_water(u64::from(u32::MAX) - 1);
    assert_eq!(outbound.expiry(NOW), Some(Expiry::Soft));
    let mut packet = seal(&mut outbound, b"last");
    assert_eq!(inbound.open(NOW, &mut packet).unwrap().sequence, u64::from(u32::MAX));
    let refused = outbound.seal(NOW, 4, &mut [0; 64], 1, &mut ivs());
    assert_eq!(refused, Err(SealError::Exhausted));
    assert_eq!(outbound.expiry(NOW), Some(Expiry::Hard));
    let entered = outbound.enter(Epoch(BORN.0 + 1), 0, 0, &mut Seeded(1));
    assert_eq!(entered, Err(EnterError::Exhausted));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn arbitrary_bytes_never_panic_and_never_count(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        aead in any::<bool>(),
        esn in any::<bool>(),
    ) {
        let (_, mut inbound) = pair(&child_sa(if aead { GCM } else { CBC }, esn));
        let before = inbound.snapshot();
        prop_assert!(inbound.open(NOW, &mut bytes.clone()).is_err());
        prop_assert_eq!(inbound.snapshot(), before);
    }
}
