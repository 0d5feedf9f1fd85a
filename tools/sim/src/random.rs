//! All chance of a run: xoshiro256** seeded by splitmix64. Not for keys of anything real.

use core::time::Duration;
use vipsec_crypto::Random;

/// A generator; the same seed gives the same run.
#[derive(Debug, Clone)]
pub struct Generator([u64; 4]);

impl Generator {
    /// A generator from a seed.
    #[must_use]
    pub fn new(seed: u64) -> Generator {
        let mut state = seed;
        Generator([(); 4].map(|()| splitmix(&mut state)))
    }

    /// Another generator, whose numbers do not depend on how many are drawn from this one later.
    #[must_use]
    pub fn fork(&mut self) -> Generator {
        Generator::new(self.number())
    }

    /// The next 64 bits.
    pub fn number(&mut self) -> u64 {
        let state = &mut self.0;
        let result = state[1].wrapping_mul(5).rotate_left(7).wrapping_mul(9);
        let shifted = state[1] << 17;
        state[2] ^= state[0];
        state[3] ^= state[1];
        state[1] ^= state[2];
        state[0] ^= state[3];
        state[2] ^= shifted;
        state[3] = state[3].rotate_left(45);
        result
    }

    /// A number below `bound`, which is at least 1.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.number() % bound.max(1)
    }

    /// A number from `low` to `high`, both included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low).saturating_add(1))
    }

    /// As [`Generator::between`], in microseconds.
    pub fn span(&mut self, low: Duration, high: Duration) -> Duration {
        Duration::from_micros(self.between(micros(low), micros(high)))
    }

    /// True in `permille` of 1000 cases.
    pub fn chance(&mut self, permille: u32) -> bool {
        self.below(1000) < u64::from(permille)
    }

    /// One of several.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        let index = usize::try_from(self.below(from.len().max(1) as u64)).ok()?;
        from.get(index)
    }
}

impl Random for Generator {
    fn fill(&mut self, out: &mut [u8]) {
        for chunk in out.chunks_mut(8) {
            let bytes = self.number().to_le_bytes();
            chunk.copy_from_slice(&bytes[..chunk.len()]);
        }
    }
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

fn splitmix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_itself_and_forks_differ() {
        let draw = |mut g: Generator| [g.number(), g.number(), g.fork().number()];
        assert_eq!(draw(Generator::new(7)), draw(Generator::new(7)));
        assert_ne!(draw(Generator::new(7)), draw(Generator::new(8)));
        let mut one = Generator::new(1);
        let mut fork = one.fork();
        assert_ne!(one.number(), fork.number());
    }

    #[test]
    fn bounds_are_kept() {
        let mut generator = Generator::new(3);
        for _ in 0..1000 {
            assert!((5..=9).contains(&generator.between(5, 9)));
            assert!(generator.below(3) < 3);
        }
        assert_eq!(generator.pick::<u8>(&[]), None);
    }
}
