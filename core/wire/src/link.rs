//! What the owner of a VIP says on a link: ARP for IPv4, neighbour discovery for IPv6, in Ethernet
//! frames.

pub mod arp;
pub mod ethernet;
pub mod ndp;

pub use arp::Arp;
pub use ethernet::{EtherType, Mac};
pub use ndp::{NeighborAdvertisement, NeighborSolicitation};

#[cfg(test)]
mod tests;
