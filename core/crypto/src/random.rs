//! Where random bytes come from: outside.

/// A source of bytes that nobody can predict. The real program gives the operating system's, the
/// simulator a seeded one; that is why nothing in core draws randomness by itself.
pub trait Random {
    /// Fills `out` completely. A source that cannot must not return.
    fn fill(&mut self, out: &mut [u8]);
}
