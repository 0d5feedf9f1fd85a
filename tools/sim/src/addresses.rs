//! The numbering of the world.

use crate::host::HostId;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use vipsec_wire::id::Vip;
use vipsec_wire::ike::TrafficSelector;

/// The VIP of the cluster.
pub const VIP: Vip = Vip(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 10)));
/// Its inner-side VIP: the next hop of the protected host.
pub const INNER_VIP: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 3, 0, 254));
/// An inner address that belongs to the VIP.
pub const INNER_SERVICE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 3, 0, 80));
/// The protected host.
pub const PROTECTED: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 3, 0, 5));
/// First and last address of the pool.
pub const POOL: (IpAddr, IpAddr) =
    (IpAddr::V4(Ipv4Addr::new(10, 77, 0, 10)), IpAddr::V4(Ipv4Addr::new(10, 77, 0, 250)));
/// The network that the pool is in.
pub const PEERS_NETWORK: (IpAddr, IpAddr) =
    (IpAddr::V4(Ipv4Addr::new(10, 77, 0, 0)), IpAddr::V4(Ipv4Addr::new(10, 77, 0, 255)));
/// The network behind the gateways.
pub const INSIDE_NETWORK: (IpAddr, IpAddr) =
    (IpAddr::V4(Ipv4Addr::new(10, 3, 0, 0)), IpAddr::V4(Ipv4Addr::new(10, 3, 0, 255)));
/// The port of UDP services.
pub const ECHO: u16 = 7;
/// The port of TCP services.
pub const WEB: u16 = 80;

/// The outer address of a peer, which is its own VIP.
#[must_use]
pub fn peer(host: HostId) -> IpAddr {
    Ipv4Addr::new(198, 51, 100, host.number()).into()
}

/// Where a node accepts control connections.
#[must_use]
pub fn control(host: HostId) -> SocketAddr {
    SocketAddr::new(Ipv4Addr::new(10, 1, 0, host.number()).into(), 7400)
}

/// Where a node receives frames.
#[must_use]
pub fn fabric(host: HostId) -> SocketAddr {
    SocketAddr::new(Ipv4Addr::new(10, 1, 0, host.number()).into(), 7401)
}

/// Whether an address lies in a network.
#[must_use]
pub fn is_in(network: (IpAddr, IpAddr), address: IpAddr) -> bool {
    (network.0..=network.1).contains(&address)
}

/// All traffic of a network.
///
/// # Panics
/// Never: the networks here have their ends in order.
#[must_use]
pub fn selector(network: (IpAddr, IpAddr)) -> TrafficSelector {
    TrafficSelector::range(network.0, network.1).expect("ends in order")
}
