//! IKEv2 messages (RFC 7296 section 3): the header here, one file per payload beside it.
//!
//! A [`Message`] is what the engine composes and reads. Encryption is not here: the engine hands
//! the body of an Encrypted payload to the crypto crate and gets the inner payloads back.

pub mod auth;
pub mod configuration;
pub mod delete;
pub mod header;
pub mod identification;
pub mod key_exchange;
pub mod message;
pub mod nonce;
pub mod notify;
pub mod security_association;
pub mod traffic_selector;
pub mod vendor;

pub use auth::{Auth, AuthMethod};
pub use configuration::{Attribute, Configuration, ConfigurationType};
pub use delete::Delete;
pub use header::{ExchangeType, Header, IkeSpis};
pub use identification::{Identification, Identity, Side};
pub use key_exchange::{Group, KeyExchange};
pub use message::{Encrypted, Message, Payload, PayloadType};
pub use nonce::Nonce;
pub use notify::{Notify, NotifyType};
pub use security_association::{
    Encryption, Esn, Integrity, Prf, Proposal, Protocol, SecurityAssociation, Transform,
};
pub use traffic_selector::{TrafficSelector, TrafficSelectors};
pub use vendor::VendorId;
