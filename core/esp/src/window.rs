//! The replay window (RFC 4303 section 3.4.3) as a ring of bits, and the inference of the high half
//! of extended sequence numbers (appendix A2.2).

use crate::EspError;
use crate::sequence::{high_half, low_half};

/// Smallest window, in packets (RFC 4303: 32 must be supported, 64 is preferred).
pub(crate) const MIN_SIZE: u32 = 64;
/// Largest window.
pub(crate) const MAX_SIZE: u32 = 65_536;

const WORD: u64 = u64::BITS as u64;

/// The exact content of a replay window, independent of how it is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct WindowSnapshot {
    /// The highest sequence number that was authenticated.
    pub edge: u64,
    /// Size of the window in packets, 64 to 65536; what is below it counts as seen.
    pub size: u32,
    /// Bit j of word i is set when `edge - (64 i + j)` was seen. Zero words at the end are left out.
    pub seen: Vec<u64>,
}

/// The window. Bits above the edge are always zero.
#[derive(Debug)]
pub(crate) struct Window {
    size: u32,
    edge: u64,
    /// A power of two of words, at least one more than the size needs.
    ring: Box<[u64]>,
}

impl Window {
    pub(crate) fn new(size: u32) -> Window {
        let size = size.clamp(MIN_SIZE, MAX_SIZE);
        let words = (size.div_ceil(u64::BITS) as usize + 1).next_power_of_two();
        Window { size, edge: 0, ring: vec![0; words].into_boxed_slice() }
    }

    pub(crate) fn edge(&self) -> u64 {
        self.edge
    }

    /// Whether a packet with this number may be looked at. Changes nothing.
    pub(crate) fn check(&self, sequence: u64) -> Result<(), EspError> {
        if sequence > self.edge {
            return Ok(());
        }
        if sequence == 0 || self.edge - sequence >= u64::from(self.size) {
            return Err(EspError::OutsideWindow);
        }
        if self.ring[self.slot(sequence / WORD)] & bit(sequence) == 0 {
            Ok(())
        } else {
            Err(EspError::Replayed)
        }
    }

    /// Notes an authenticated packet, which [`Window::check`] let through.
    pub(crate) fn mark(&mut self, sequence: u64) {
        if sequence > self.edge {
            self.advance(sequence);
        }
        let slot = self.slot(sequence / WORD);
        self.ring[slot] |= bit(sequence);
    }

    /// Counts everything up to `edge`, or to the present edge if that is higher, as seen.
    pub(crate) fn close(&mut self, edge: u64) {
        self.edge = self.edge.max(edge);
        self.ring.fill(u64::MAX);
        let top = self.slot(self.edge / WORD);
        self.ring[top] = u64::MAX >> (WORD - 1 - self.edge % WORD);
    }

    /// The full number of a packet of which the low half is on the wire; `None` when it would be
    /// from before the first one or after the last.
    pub(crate) fn infer(&self, low: u32) -> Option<u64> {
        let (edge_high, edge_low) = (high_half(self.edge), low_half(self.edge));
        let bottom = edge_low.wrapping_sub(self.size - 1);
        let high = if edge_low >= self.size - 1 {
            if low >= bottom { edge_high } else { edge_high.checked_add(1)? }
        } else if low >= bottom {
            edge_high.checked_sub(1)?
        } else {
            edge_high
        };
        Some((u64::from(high) << 32) | u64::from(low))
    }

    pub(crate) fn snapshot(&self) -> WindowSnapshot {
        let words = u64::from(self.size.div_ceil(u64::BITS));
        let mut seen: Vec<u64> = (0..words).map(|i| self.below(i * WORD)).collect();
        if let (Some(last), rest @ 1..) = (seen.last_mut(), self.size % u64::BITS) {
            *last &= (1 << rest) - 1;
        }
        while seen.last() == Some(&0) {
            seen.pop();
        }
        WindowSnapshot { edge: self.edge, size: self.size, seen }
    }

    /// Becomes what `snapshot` says; what that window did not cover counts as seen.
    pub(crate) fn restore(&mut self, snapshot: &WindowSnapshot) {
        self.edge = 0;
        self.close(snapshot.edge);
        for age in 0..snapshot.size.min(self.size) {
            let word = snapshot.seen.get(age as usize / 64).copied().unwrap_or(0);
            let seen = word >> (age % u64::BITS) & 1 == 1;
            if let (false, Some(sequence)) = (seen, self.edge.checked_sub(u64::from(age))) {
                let slot = self.slot(sequence / WORD);
                self.ring[slot] &= !bit(sequence);
            }
        }
    }

    fn advance(&mut self, sequence: u64) {
        let (from, to) = (self.edge / WORD, sequence / WORD);
        let fresh = (to - from).min(self.ring.len() as u64);
        for word in 0..fresh {
            let slot = self.slot(to - word);
            self.ring[slot] = 0;
        }
        self.edge = sequence;
    }

    /// The 64 bits that end `age` below the edge, the youngest as bit 0.
    fn below(&self, age: u64) -> u64 {
        let Some(top) = self.edge.checked_sub(age) else { return 0 };
        let shift = WORD - 1 - top % WORD;
        let upper = self.ring[self.slot(top / WORD)] << shift;
        let lower = match (top / WORD).checked_sub(1) {
            Some(word) if shift > 0 => self.ring[self.slot(word)] >> (WORD - shift),
            _ => 0,
        };
        (upper | lower).reverse_bits()
    }

    fn slot(&self, word: u64) -> usize {
        let mask = self.ring.len() - 1;
        usize::try_from(word & mask as u64).unwrap_or(mask)
    }
}

fn bit(sequence: u64) -> u64 {
    1 << (sequence % WORD)
}

#[cfg(test)]
mod tests;
