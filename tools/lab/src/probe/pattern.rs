//! Bytes whose values follow from their place in a stream, so that a receiver can tell a lost,
//! doubled or foreign byte from the right one without having seen what was sent.

/// Fills `buffer` with the bytes that stand from `offset` on.
pub(super) fn fill(offset: u64, buffer: &mut [u8]) {
    for (place, byte) in (offset..).zip(buffer) {
        *byte = byte_at(place);
    }
}

/// Whether `buffer` holds the bytes that stand from `offset` on.
pub(super) fn matches(offset: u64, buffer: &[u8]) -> bool {
    (offset..).zip(buffer).all(|(place, byte)| *byte == byte_at(place))
}

fn byte_at(place: u64) -> u8 {
    // The top byte of a multiplication by an odd constant has a period beyond any test.
    place.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes()[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shifted_stream_does_not_match() {
        let mut buffer = [0; 256];
        fill(1_000_000, &mut buffer);
        assert!(matches(1_000_000, &buffer));
        assert!(!matches(1_000_001, &buffer));
        assert!(!matches(1_000_000 - 1_448, &buffer));
    }
}
