//! Tests of this module's types: round trips, cuts, and bytes written by hand.

use super::*;
use crate::id::{Epoch, EspSpi, NodeName};

fn epoch_record() -> v1::EpochRecord {
    let owner = NodeName::try_from("a".to_owned()).unwrap();
    v1::EpochRecord { epoch: Epoch(7), owner, incarnation: 300 }
}

#[test]
fn a_record_has_kind_and_version_up_front() {
    let bytes = encode(&epoch_record());
    assert_eq!(bytes.expose(), [1, 1, 7, 1, b'a', 0xac, 0x02]);
    assert_eq!(decode(bytes.expose()), Ok(epoch_record()));
}

#[test]
fn another_kind_another_version_and_a_longer_record_are_refused() {
    let bytes = encode(&epoch_record()).expose().to_vec();
    let with = |at: usize, value: u8| {
        let mut changed = bytes.clone();
        changed[at] = value;
        decode::<v1::EpochRecord>(&changed)
    };
    assert_eq!(with(0, 2), Err(ParseError::Value("record kind")));
    assert_eq!(with(1, 2), Err(ParseError::Version { what: "record", version: 2 }));
    let longer = [&bytes[..], &[0]].concat();
    assert_eq!(decode::<v1::EpochRecord>(&longer), Err(ParseError::Length("record")));
    for end in 0..bytes.len() {
        assert!(decode::<v1::EpochRecord>(&bytes[..end]).is_err(), "cut at {end}");
    }
}

#[test]
fn a_count_that_the_bytes_cannot_hold_is_refused_without_making_room_for_it() {
    let forged = [6, 1, 0, 0xff, 0xff, 0xff, 0xff, 0x0f];
    assert_eq!(decode::<v1::Edges>(&forged), Err(ParseError::Value("record")));
    let edges = v1::Edges { epoch: Epoch(2), edges: vec![(EspSpi(256), 1 << 40)] };
    assert_eq!(decode(encode(&edges).expose()), Ok(edges));
}

#[test]
fn a_sealed_record_shows_its_epoch_only() {
    let sealed = Sealed { epoch: Epoch(0x0102), body: vec![9; 40] };
    let bytes = sealed.emit();
    assert_eq!(bytes[..10], [1, 0, 0, 0, 0, 0, 0, 1, 2, 9]);
    assert_eq!(Sealed::parse(&bytes), Ok(sealed));
    assert!(Sealed::parse(&bytes[..8]).is_err());
    let at = |path| Sealed::associated_data(path, Epoch(1));
    assert_ne!(at("vip/192.0.2.1/epoch"), at("vip/192.0.2.2/epoch"));
}
