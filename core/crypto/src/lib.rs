//! The cryptography that IKEv2, ESP and the store need: AEAD, CBC, MAC, PRF, key exchange, signatures
//! and certificates, node identity, record sealing. A thin, typed layer over aws-lc-rs; the one piece of
//! arithmetic of our own is the MODP group, over crypto-bigint.
//!
//! What is not here: any protocol state, any choice of nonces (the callers own uniqueness), any
//! source of randomness. Random bytes come in through [`Random`], so that a private value can be
//! replayed by the simulator and stored for the next owner. Only signing with RSA-PSS and ECDSA draws
//! inside the library.
//!
//! Faults of ours ([`KeyError`]) and of the peer ([`OpenError`], [`KexError`]) are different types.

pub mod aead;
pub mod cbc;
pub mod certificate;
pub mod digest;
mod error;
pub mod identity;
pub mod kex;
pub mod mac;
pub mod mschapv2;
pub mod prf;
mod random;
pub mod seal;
mod secret;
pub mod signature;

pub use error::{KexError, KeyError, OpenError};
pub use random::Random;
pub use secret::Secret;
