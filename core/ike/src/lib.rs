//! The IKEv2 engine (RFC 7296) of one VIP: sans-IO, with state that can move to another node.
//!
//! [`Engine`] takes datagrams, time, random bytes and results of writes in, and gives [`Output`]s:
//! datagrams, writes, work for the data path, events. What it must not lose it asks to be written
//! *before* the message that depends on it leaves; what was written makes a standby engine, on
//! another node, that goes on in the middle of any exchange.
//!
//! A file per exchange in `exchange`; what is common to all of them, which is the way of a
//! message through the engine, in `engine`.
//!
//! What is not here: sockets, clock, randomness, the store, ESP packets, configuration text.

mod auth;
mod child;
mod config;
mod context;
mod cookie;
mod crowd;
mod dpd;
mod engine;
mod error;
mod exchange;
mod fragmentation;
mod half_open;
mod keys;
mod lease;
mod ledger;
mod nat;
mod output;
mod proposals;
mod protect;
mod puzzle;
mod retransmit;
mod sa;
mod selectors;
mod snapshot;
mod tables;
mod timers;
mod window;

pub use config::{
    AddressRequest, Authentication, Certificates, Child, ChildLifetime, Config, Connection, Dpd,
    DpdAction, Duplicates, Eap, FRAGMENT_SIZE, IkeLifetime, Limits, Pool, Ppk, PresharedKey,
    RemoteAddresses, RemoteName, Retransmit, Selector, Start,
};
pub use engine::{ChildView, Engine, IkeSaView};
pub use error::{Drop, DropCounts, Error};
pub use lease::LeaseView;
pub use output::{Activity, Change, CloseReason, Event, Output, Stored, Ticket};
pub use proposals::{EspAlgorithms, EspProposal, IkeProposal};
pub use snapshot::{IkeSaSnapshot, child_constant, child_sa};
pub use vipsec_esp::{Endpoints, Expiry, Mode};
