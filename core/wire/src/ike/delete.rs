//! The Delete payload (RFC 7296 section 3.11).

/// The payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delete {
    /// The IKE SA that the message belongs to.
    Ike,
    /// ESP SAs, by the SPIs at which the sender of the payload receives.
    Esp(Vec<crate::id::EspSpi>),
    /// SAs of another protocol, ignored.
    Other(u8),
}
