//! Why bytes could not be read. One type for all parsers of this crate, so that a caller can count
//! by reason and name the place.

/// What a parser met that it could not read. Always the sender's doing, never ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum ParseError {
    /// The bytes end inside the named field.
    #[error("{0}: truncated")]
    Truncated(&'static str),
    /// A length field contradicts the bytes that are there.
    #[error("{0}: length field does not fit")]
    Length(&'static str),
    /// A value that the named field must not have.
    #[error("{0}: invalid value")]
    Value(&'static str),
    /// A version that this program does not speak.
    #[error("{what}: version {version} is not supported")]
    Version {
        /// The structure whose version it is.
        what: &'static str,
        /// The version found.
        version: u16,
    },
    /// A checksum that does not match.
    #[error("{0}: wrong checksum")]
    Checksum(&'static str),
    /// A payload of an unknown type with the critical bit set (RFC 7296 section 2.5).
    #[error("unknown critical payload {0}")]
    Critical(u8),
}
