//! Every byte that leaves a vipsec process: IKE messages, ESP, IP and link headers, messages
//! between nodes and stored records, with the small vocabulary that they share.
//!
//! What is not here: cryptography, protocol state, any decision. A type in this crate either
//! mirrors bytes or names something that appears in them.
//!
//! Each protocol has one file. A parser returns a [`ParseError`] that names the field; nothing in
//! this crate panics on any input.

pub mod cluster;
pub mod error;
pub mod esp;
pub mod fabric;
pub mod handover;
pub mod id;
pub mod ike;
pub mod ip;
pub mod link;
mod reader;
pub mod record;
pub mod secret;
pub mod time;

pub use error::ParseError;
