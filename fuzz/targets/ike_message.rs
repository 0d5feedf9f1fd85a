//! IKE messages as they come from port 500, and what an Encrypted payload holds.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vipsec_wire::ike::{Identity, Message, Payload, PayloadType, emit_chain, parse_chain};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(message) = Message::parse(bytes) {
        // What was not understood is lost in the first writing; then nothing is.
        let again = Message::parse(&message.emit()).expect("what we write is well-formed");
        assert_eq!(Message::parse(&again.emit()), Ok(again));
        if let Some(encrypted) = message.encrypted {
            let _ = parse_chain(encrypted.first, &bytes[encrypted.body_at..]);
        }
    }
    let Some((first, chain)) = bytes.split_first() else { return };
    let Ok(payloads) = parse_chain(PayloadType(*first), chain) else { return };
    let (first, written) = emit_chain(&payloads);
    assert!(parse_chain(first, &written).is_ok());
    for payload in &payloads {
        match payload {
            Payload::Identification(id) => {
                assert_eq!(id.identity.to_string().parse::<Identity>().as_ref(), Ok(&id.identity));
            }
            Payload::TrafficSelectors(ts) => {
                for selector in &ts.selectors {
                    assert!(!selector.prefixes().is_empty());
                    assert!(!selector.to_string().is_empty());
                    assert!(selector.is_subset_of(selector));
                }
            }
            _ => {}
        }
    }
});
