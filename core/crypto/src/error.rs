//! What can go wrong, told apart by whose doing it is.

/// A key or buffer that we handed over ourselves does not fit the algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum KeyError {
    /// The key has the wrong number of bytes.
    #[error("{what}: key of {found} bytes where {wanted} are needed")]
    KeyLength {
        /// The algorithm.
        what: &'static str,
        /// Bytes given.
        found: usize,
        /// Bytes needed.
        wanted: usize,
    },
    /// The private value or key document is not one of this algorithm.
    #[error("{0}: not a valid private key")]
    PrivateKey(&'static str),
    /// CBC works on whole blocks of 16 bytes.
    #[error("length {0} is not a multiple of the block")]
    NotWholeBlocks(usize),
    /// More output was asked for than the PRF can give (255 blocks, RFC 7296 section 2.13).
    #[error("prf+ cannot give {0} bytes")]
    OutputLength(usize),
    /// The source of randomness gave nothing usable in many tries: it is broken.
    #[error("the random source gives no usable private value")]
    Random,
}

/// The bytes were not made by somebody who has the key, or not for this place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[error("authentication failed")]
pub struct OpenError;

/// The peer's public value cannot be used (RFC 7296 section 2.12, RFC 6989).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum KexError {
    /// It has the wrong length for the group.
    #[error("public value of {found} bytes where the group has {wanted}")]
    Length {
        /// Bytes that the peer sent.
        found: usize,
        /// Bytes of a public value of the group.
        wanted: usize,
    },
    /// It is out of range, not on the curve, or leads to a shared secret that everybody knows.
    #[error("public value is invalid for the group")]
    Value,
}
