//! cluster: to be filled.

pub mod connection;
pub mod ownership;

pub use connection::{CONNECTIONS_MAX, ConnectionState, ConnectionUpdate, Flow, Protocol};
