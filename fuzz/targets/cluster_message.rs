//! The stream from another node: cut into frames in two ways, which must agree, then read.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vipsec_wire::cluster::{FrameDecoder, Heartbeat, Message};
use vipsec_wire::handover::Handover;

fn frames(bytes: &[u8], step: usize) -> Vec<Vec<u8>> {
    let mut decoder = FrameDecoder::new();
    let mut found = Vec::new();
    for piece in bytes.chunks(step) {
        decoder.handle_bytes(piece);
        loop {
            match decoder.poll_frame() {
                Ok(Some(content)) => found.push(content.to_vec()),
                Ok(None) => break,
                Err(_) => return found,
            }
        }
    }
    found
}

fuzz_target!(|bytes: &[u8]| {
    let whole = frames(bytes, bytes.len().max(1));
    assert_eq!(whole, frames(bytes, 3));
    for content in whole.iter().map(Vec::as_slice).chain([bytes]) {
        if let Ok(message) = Message::decode(content) {
            assert_eq!(Message::decode(message.encode().expose()), Ok(message));
        }
        if let Ok(heartbeat) = Heartbeat::decode(content) {
            assert_eq!(Heartbeat::decode(&heartbeat.encode()), Ok(heartbeat));
        }
        if let Ok(handover) = Handover::decode(content) {
            assert_eq!(Handover::decode(&handover.encode()), Ok(handover));
        }
    }
});
