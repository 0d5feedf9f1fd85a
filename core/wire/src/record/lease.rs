//! The record of an address that a peer has from one of our pools, version 1. There is one for each
//! address, so that the store itself cannot hold two peers with the same.

use crate::ike::Identity;
use crate::time::Timestamp;
use core::net::IpAddr;
use serde::{Deserialize, Serialize};

/// Whose an address is, and since when nobody has used it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The address.
    pub address: IpAddr,
    /// Name of the pool that it is from.
    pub pool: String,
    /// Who has proven to be this.
    pub identity: Identity,
    /// When the last IKE SA with the address ended; `None` while there is one.
    pub released: Option<Timestamp>,
}
