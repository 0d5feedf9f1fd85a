//! The IKE header (RFC 7296 section 3.1).

/// Octets of the header.
pub const HEADER_LENGTH: usize = 28;

/// Both SPIs of an IKE SA; the responder's is 0 in the first message of an IKE_SA_INIT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct IkeSpis {
    /// Chosen by the original initiator, never 0.
    pub initiator: u64,
    /// Chosen by the original responder.
    pub responder: u64,
}

/// Exchange types (RFC 7296 section 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum ExchangeType {
    /// 34
    IkeSaInit,
    /// 35
    IkeAuth,
    /// 36
    CreateChildSa,
    /// 37
    Informational,
    /// Any other number, kept as it is.
    Other(u8),
}

/// The fixed header of every IKE message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The SPIs of the IKE SA.
    pub spis: IkeSpis,
    /// What exchange the message belongs to.
    pub exchange: ExchangeType,
    /// The I flag: the sender is the original initiator of this IKE SA.
    pub from_initiator: bool,
    /// The R flag: the message answers a request.
    pub response: bool,
    /// The V flag: the sender speaks a higher major version.
    pub higher_version: bool,
    /// Message ID (RFC 7296 section 2.2).
    pub message_id: u32,
}
