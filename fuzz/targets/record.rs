//! Records as they come from the store.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vipsec_wire::record::{self, Record, Sealed, v1};

fn check<T: Record + PartialEq + core::fmt::Debug>(bytes: &[u8]) {
    if let Ok(value) = record::decode::<T>(bytes) {
        assert_eq!(record::decode(record::encode(&value).expose()), Ok(value));
    }
}

fuzz_target!(|bytes: &[u8]| {
    if let Ok(sealed) = Sealed::parse(bytes) {
        assert_eq!(sealed.emit(), bytes);
    }
    check::<v1::EpochRecord>(bytes);
    check::<v1::IkeConstant>(bytes);
    check::<v1::IkeMutable>(bytes);
    check::<v1::ChildConstant>(bytes);
    check::<v1::ChildMutable>(bytes);
    check::<v1::Edges>(bytes);
    check::<v1::Floors>(bytes);
    check::<v1::Mirrored>(bytes);
    check::<v1::Lease>(bytes);
});
