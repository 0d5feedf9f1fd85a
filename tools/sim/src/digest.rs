//! A short name for bytes and for what was seen: 64 bits, the same on every machine. No security
//! rests on it.

use core::hash::{Hash, Hasher};

const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;

/// Collects bytes.
#[derive(Debug, Clone)]
pub(crate) struct Digest(u64);

impl Default for Digest {
    fn default() -> Digest {
        Digest(0x243f_6a88_85a3_08d3)
    }
}

impl Digest {
    fn mix(&mut self, word: u64) {
        let mixed = (self.0 ^ word).wrapping_mul(MULTIPLIER);
        self.0 = mixed ^ (mixed >> 29);
    }
}

impl Hasher for Digest {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.mix(u64::from_le_bytes(*word));
        }
        if !rest.is_empty() {
            let mut last = [0; 8];
            last[..rest.len()].copy_from_slice(rest);
            self.mix(u64::from_le_bytes(last) ^ ((rest.len() as u64) << 56));
        }
    }

    fn finish(&self) -> u64 {
        self.0.wrapping_mul(MULTIPLIER) ^ (self.0 >> 32)
    }
}

/// The name of some bytes.
#[must_use]
pub(crate) fn digest(bytes: &[u8]) -> u64 {
    let mut digest = Digest::default();
    bytes.hash(&mut digest);
    digest.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_counts() {
        let base = [7_u8; 21];
        for at in 0..base.len() {
            let mut other = base;
            other[at] ^= 1;
            assert_ne!(digest(&base), digest(&other), "byte {at}");
        }
        assert_ne!(digest(&[0]), digest(&[0, 0]));
    }
}
