//! Frames from another node, and what stands around them: ESP and its UDP encapsulation.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vipsec_wire::esp;
use vipsec_wire::fabric::{Header, LateOuter};

fuzz_target!(|bytes: &[u8]| {
    let _ = esp::Encapsulated::parse(bytes);
    if let Ok(header) = esp::Header::parse(bytes) {
        assert_eq!(header.emit(), bytes[..8]);
    }
    if let Ok((header, content)) = Header::parse(bytes) {
        let mut written = vec![0; header.length()];
        assert_eq!(header.emit(&mut written), Some(bytes.len() - content.len()));
        assert_eq!(Header::parse(&written), Ok((header, &[][..])));
    }
    if let Ok((late, _)) = LateOuter::parse(bytes) {
        assert_eq!(LateOuter::parse(&late.emit()), Ok((late, &[][..])));
    }
});
