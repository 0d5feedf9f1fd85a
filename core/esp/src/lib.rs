//! The Child SA data path: ESP (RFC 4303) with AES-GCM (RFC 4106) or AES-CBC and HMAC-SHA2
//! (RFC 3602, RFC 4868), sealed and opened in place, and the three things that let an SA move
//! between owners: terms for its IVs, blocks for its sequence numbers, windows as values.
//!
//! [`ChildSa`] describes an SA and does not change. From it come the live halves, [`Outbound`] and
//! [`Inbound`], built once when the SA is installed, on the owner and on every backup alike. A half
//! does nothing until it has *entered* an epoch; entering is cheap and is done at first use, so that
//! a takeover costs nothing per SA.
//!
//! What is not here: IP headers, UDP encapsulation, policy look-up, fragmentation (all in `path`),
//! negotiation (`ike`), and any clock or randomness of its own.

mod child;
mod error;
mod inbound;
mod iv;
mod meter;
mod outbound;
mod sequence;
mod transform;
mod window;

pub use child::{ChildSa, Cipher, Endpoints, HalfKeys, HalfSa, Lifetime, Limits, Mode};
pub use error::{EnterError, EspError, SealError};
pub use inbound::{Inbound, InboundSnapshot, Opened, Replay};
pub use meter::{Expiry, Usage};
pub use outbound::{Outbound, OutboundSnapshot};
pub use sequence::{BLOCK, LAST_TERM, MAX_RAISE};
pub use vipsec_crypto::cbc::IvGenerator;
pub use window::WindowSnapshot;

/// Next header of a packet that the receiver discards (RFC 4303 section 2.6).
pub const NEXT_HEADER_DUMMY: u8 = 59;
