//! Everything that is serialised: records, messages between nodes, heartbeats, hand-overs. What was
//! written is read as it was, and whatever else arrives is refused without a panic.

mod arbitrary;

use proptest::prelude::*;
use std::fmt::Debug;
use vipsec_wire::ParseError;
use vipsec_wire::cluster::{Heartbeat, Message};
use vipsec_wire::handover::Handover;
use vipsec_wire::record::{self, Record, v1};

/// Failures are told by their seed alone, and leave no file behind.
fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

/// A record is read as it was written, no beginning of it is read, and neither it nor anything of
/// another kind passes for one.
fn check_record<T: Record + PartialEq + Debug>(seed: u64) {
    let value: T = arbitrary::value(seed);
    let bytes = record::encode(&value);
    let bytes = bytes.expose();
    assert_eq!(bytes[..2], [T::KIND, T::VERSION]);
    assert_eq!(record::decode::<T>(bytes).as_ref(), Ok(&value));
    for end in 0..bytes.len() {
        assert!(record::decode::<T>(&bytes[..end]).is_err(), "{value:?} cut at {end}");
    }
    let longer = [bytes, &[0]].concat();
    assert_eq!(record::decode::<T>(&longer), Err(ParseError::Length("record")));
    let mut other = bytes.to_vec();
    other[0] ^= 0x40;
    assert_eq!(record::decode::<T>(&other), Err(ParseError::Value("record kind")));
}

/// Bytes that begin like a record are refused or are a record that can be written again.
fn check_forged<T: Record + PartialEq + Debug>(fields: &[u8]) {
    let forged = [&[T::KIND, T::VERSION], fields].concat();
    if let Ok(value) = record::decode::<T>(&forged) {
        assert_eq!(record::decode(record::encode(&value).expose()), Ok(value));
    }
}

macro_rules! record_tests {
    ($($name:ident $record:ty;)*) => {
        $(mod $name {
            use super::*;

            proptest! {
                #![proptest_config(cases(64))]

                #[test]
                fn survives_the_round_trip(seed: u64) {
                    check_record::<$record>(seed);
                }

                #[test]
                fn forged_is_refused_or_harmless(
                    fields in proptest::collection::vec(prop_oneof![0..3u8, any::<u8>()], 0..300),
                ) {
                    check_forged::<$record>(&fields);
                }
            }
        })*
    };
}

record_tests! {
    epoch_record v1::EpochRecord;
    ike_constant v1::IkeConstant;
    ike_mutable v1::IkeMutable;
    child_constant v1::ChildConstant;
    child_mutable v1::ChildMutable;
    edges v1::Edges;
    floors v1::Floors;
    mirrored v1::Mirrored;
    lease v1::Lease;
}

proptest! {
    #![proptest_config(cases(128))]

    #[test]
    fn a_message_survives_the_round_trip(seed: u64) {
        let mut message: Message = arbitrary::value(seed);
        if let Message::Hello(hello) = &mut message {
            hello.workers = 1 + hello.workers % 256;
        }
        let bytes = message.encode();
        let bytes = bytes.expose();
        prop_assert_eq!(Message::decode(bytes), Ok(message));
        for end in 0..bytes.len() {
            prop_assert!(Message::decode(&bytes[..end]).is_err(), "cut at {}", end);
        }
    }

    #[test]
    fn a_heartbeat_survives_the_round_trip(seed: u64) {
        let heartbeat: Heartbeat = arbitrary::value(seed);
        let bytes = heartbeat.encode();
        prop_assert_eq!(Heartbeat::decode(&bytes), Ok(heartbeat));
        for end in 0..bytes.len() {
            prop_assert!(Heartbeat::decode(&bytes[..end]).is_err(), "cut at {}", end);
        }
    }

    #[test]
    fn a_handover_survives_the_round_trip(seed: u64) {
        let handover: Handover = arbitrary::value(seed);
        let bytes = handover.encode();
        prop_assert_eq!(Handover::decode(&bytes), Ok(handover));
        for end in 0..bytes.len() {
            prop_assert!(Handover::decode(&bytes[..end]).is_err(), "cut at {}", end);
        }
    }

    #[test]
    fn forged_messages_are_refused_or_harmless(
        fields in proptest::collection::vec(prop_oneof![0..8u8, any::<u8>()], 0..300),
    ) {
        let forged = [&[1], &fields[..]].concat();
        if let Ok(message) = Message::decode(&forged) {
            prop_assert_eq!(Message::decode(message.encode().expose()), Ok(message));
        }
        if let Ok(heartbeat) = Heartbeat::decode(&fields) {
            prop_assert_eq!(Heartbeat::decode(&heartbeat.encode()), Ok(heartbeat));
        }
        if let Ok(handover) = Handover::decode(&forged) {
            prop_assert_eq!(Handover::decode(&handover.encode()), Ok(handover));
        }
    }
}

#[test]
fn a_secret_is_not_shown() {
    let constant: v1::IkeConstant = arbitrary::value(1);
    let shown = format!("{:?}", constant.keys);
    assert!(shown.contains("SecretBytes("), "{shown}");
    assert!(!shown.contains('['), "{shown}");
}
