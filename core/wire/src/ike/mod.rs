//! IKEv2 messages (RFC 7296 section 3): the header here, one file per payload beside it.
//!
//! A [`Message`] is what the engine composes and reads. Encryption is not here: the engine hands
//! the body of an Encrypted payload to the crypto crate and gets the inner payloads back.

pub mod auth;
pub mod configuration;
pub mod delete;
pub mod eap;
pub mod header;
pub mod identification;
pub mod key_exchange;
pub mod message;
pub mod nonce;
pub mod notify;
pub mod puzzle;
pub mod security_association;
pub mod synchronisation;
pub mod traffic_selector;
pub mod vendor;

pub use auth::{Auth, AuthMethod};
pub use configuration::{Attribute, Configuration, ConfigurationType};
pub use delete::Delete;
pub use eap::{EapCode, EapPacket, MsChapV2, eap_type};
pub use header::{ExchangeType, HEADER_LENGTH, Header, IkeSpis, RawHeader};
pub use identification::{BadIdentity, Identification, Identity, Side};
pub use key_exchange::{ADDITIONAL_MAX, AdditionalGroups, Group, KeyExchange};
pub use message::{
    Encrypted, Fragment, Message, Payload, PayloadType, emit_chain, emit_encrypted_header,
    parse_chain,
};
pub use nonce::Nonce;
pub use notify::{Notify, NotifyType};
pub use puzzle::{PUZZLE_KEYS, Puzzle, PuzzleSolution};
pub use security_association::{
    Encryption, Esn, Integrity, Prf, Proposal, Protocol, SecurityAssociation, Transform,
};
pub use synchronisation::{MessageIdSync, emit_counter_sync, parse_counter_sync};
pub use traffic_selector::{TrafficSelector, TrafficSelectors};
pub use vendor::VendorId;

/// A count or length for an 8-bit field. What we compose is bounded far below; a larger value is a
/// fault of the composer, which a peer's parser refuses.
fn length8(length: usize) -> u8 {
    debug_assert!(length <= usize::from(u8::MAX), "{length} does not fit in 8 bits");
    u8::try_from(length).unwrap_or(u8::MAX)
}

/// As [`length8`], for 16 bits.
fn length16(length: usize) -> u16 {
    debug_assert!(length <= usize::from(u16::MAX), "{length} does not fit in 16 bits");
    u16::try_from(length).unwrap_or(u16::MAX)
}

/// As [`length8`], for 32 bits.
fn length32(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}
