//! The Vendor ID payload (RFC 7296 section 3.12).

/// The payload, opaque.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VendorId(pub Vec<u8>);
