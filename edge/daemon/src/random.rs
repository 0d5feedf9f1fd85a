//! The operating system's randomness, in the shape that core asks for.

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use vipsec_crypto::Random;

/// Random bytes from the operating system, through aws-lc-rs.
#[derive(Debug, Default)]
pub struct OsRandom(SystemRandom);

impl Random for OsRandom {
    /// A system that has no randomness left must not go on: keys and nonces would repeat.
    fn fill(&mut self, out: &mut [u8]) {
        if self.0.fill(out).is_err() {
            tracing::error!("the operating system gives no random bytes; stopping at once");
            std::process::abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_draws_differ() {
        let (mut one, mut two) = ([0; 32], [0; 32]);
        OsRandom::default().fill(&mut one);
        OsRandom::default().fill(&mut two);
        assert_ne!(one, two);
        assert_ne!(one, [0; 32]);
    }
}
