//! What a data plane is told at its start, already checked for form by whoever read it as text.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use vipsec_wire::id::Vip;
use vipsec_wire::time::Timestamp;

/// A range of addresses that share their leading bits. The bits behind the length are zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix {
    address: IpAddr,
    length: u8,
}

impl Prefix {
    /// The prefix of `length` bits around `address`; `None` when the length exceeds the family's
    /// 32 or 128 bits.
    #[must_use]
    pub fn new(address: IpAddr, length: u8) -> Option<Prefix> {
        let address = match address {
            IpAddr::V4(v4) if length <= 32 => {
                let mask = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
                IpAddr::V4((u32::from(v4) & mask).into())
            }
            IpAddr::V6(v6) if length <= 128 => {
                let mask = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
                IpAddr::V6((u128::from(v6) & mask).into())
            }
            _ => return None,
        };
        Some(Prefix { address, length })
    }

    /// The prefix that holds one address alone.
    #[must_use]
    pub fn host(address: IpAddr) -> Prefix {
        let length = if address.is_ipv4() { 32 } else { 128 };
        Prefix { address, length }
    }

    /// The lowest address of the range.
    #[must_use]
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// Number of leading bits that are fixed.
    #[must_use]
    pub fn length(&self) -> u8 {
        self.length
    }

    /// Whether `address` lies in the range.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        address.is_ipv4() == self.address.is_ipv4()
            && Prefix::new(address, self.length).is_some_and(|p| p.address == self.address)
    }

    /// Whether every address of `other` lies in the range.
    #[must_use]
    pub fn covers(&self, other: &Prefix) -> bool {
        self.length <= other.length && self.contains(other.address)
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

/// Prefixes of which none covers another.
#[derive(Debug, Clone, Default)]
pub(crate) struct PrefixSet(BTreeSet<Prefix>);

impl PrefixSet {
    /// Whether one prefix covers all of `prefix`.
    pub(crate) fn covers(&self, prefix: &Prefix) -> bool {
        let mut wider = (0..=prefix.length).filter_map(|n| Prefix::new(prefix.address, n));
        wider.any(|wider| self.0.contains(&wider))
    }

    /// Adds a prefix, and removes and returns those that it covers.
    pub(crate) fn insert(&mut self, prefix: Prefix) -> Vec<Prefix> {
        if self.covers(&prefix) {
            return Vec::new();
        }
        let within = self.0.range(prefix..).take_while(|other| prefix.contains(other.address));
        let within: Vec<Prefix> = within.copied().collect();
        for other in &within {
            self.0.remove(other);
        }
        self.0.insert(prefix);
        within
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Prefix> {
        self.0.iter()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

impl FromIterator<Prefix> for PrefixSet {
    fn from_iter<T: IntoIterator<Item = Prefix>>(prefixes: T) -> PrefixSet {
        let mut set = PrefixSet::default();
        for prefix in prefixes {
            set.insert(prefix);
        }
        set
    }
}

/// The clock that all of a process shares: wall time at its start, counted on monotonically.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    base: Timestamp,
    start: Instant,
}

impl Clock {
    /// Reads the wall clock once; from here on the monotonic clock counts.
    #[must_use]
    pub fn start() -> Clock {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let base = Timestamp(u64::try_from(wall.as_micros()).unwrap_or(u64::MAX));
        Clock { base, start: Instant::now() }
    }

    /// The present time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.base + self.start.elapsed()
    }
}

/// An interface through which hosts behind the gateway reach the peers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InnerSide {
    /// Name of the interface.
    pub interface: String,
    /// Next hop of the protected hosts, answered by the owner; on no interface of any node.
    pub address: Option<IpAddr>,
    /// Prefixes whose every address the owner answers for there (proxy ARP and ND).
    pub proxied: Vec<Prefix>,
}

/// One VIP as the data plane sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VipConfig {
    /// The address itself.
    pub vip: Vip,
    /// Where the owner answers ARP and ND for it; `None` on a node that is a target only.
    pub interface: Option<String>,
    /// Service addresses that belong to the VIP and move with it. They stand on `lo` as it does.
    pub service_addresses: Vec<IpAddr>,
    /// The side of the protected hosts, when the owner answers there too.
    pub inner: Option<InnerSide>,
}

/// The TUN device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TunConfig {
    /// Interface name, at most 15 bytes.
    pub name: String,
    /// Largest inner packet in bytes, 1280 to 9000. 1438 fills an outer packet of 1500 bytes
    /// exactly (AES-GCM, UDP encapsulation, IPv4).
    pub mtu: u16,
}

impl Default for TunConfig {
    fn default() -> TunConfig {
        TunConfig { name: "vipsec0".to_owned(), mtu: 1438 }
    }
}

/// Everything that a data plane needs to know at its start. One data plane stands in a network
/// namespace at a time.
#[derive(Debug, Clone)]
pub struct Config {
    /// Suffix of the packet filter table's name: 1 to 32 characters of `a-z 0-9 _`.
    pub instance: String,
    /// Number of worker threads, 1 to 64.
    pub workers: u16,
    /// The TUN device.
    pub tun: TunConfig,
    /// Mark of the process's own packets (`SO_MARK`): they never enter the TUN.
    pub mark: u32,
    /// Routing table of the protected prefixes.
    pub table: u32,
    /// The VIPs that this node is a candidate or a target for.
    pub vips: Vec<VipConfig>,
    /// Prefixes of the peers: what goes there must go through a tunnel.
    pub protected: Vec<Prefix>,
    /// Own address of the frames between nodes (UDP).
    pub fabric: Option<SocketAddr>,
    /// Whether the node routes between the tunnels and the hosts behind it (candidates do).
    pub forwarding: bool,
    /// The clock of the process.
    pub clock: Clock,
}

/// Default of [`Config::mark`].
pub const DEFAULT_MARK: u32 = 0x7670;
/// Default of [`Config::table`]; also the preference of the rule that leads there.
pub const DEFAULT_TABLE: u32 = 7617;

impl Config {
    /// A configuration with one worker and default names, VIPs and prefixes still to be filled in.
    #[must_use]
    pub fn new(clock: Clock) -> Config {
        Config {
            instance: "main".to_owned(),
            workers: 1,
            tun: TunConfig::default(),
            mark: DEFAULT_MARK,
            table: DEFAULT_TABLE,
            vips: Vec::new(),
            protected: Vec::new(),
            fabric: None,
            forwarding: false,
            clock,
        }
    }

    /// All addresses that stand on `lo`: VIPs and service addresses, each once.
    #[must_use]
    pub fn own_addresses(&self) -> Vec<IpAddr> {
        let services = self.vips.iter().flat_map(|v| v.service_addresses.iter().copied());
        let mut all: Vec<IpAddr> = self.vips.iter().map(|v| v.vip.0).chain(services).collect();
        all.sort_unstable();
        all.dedup();
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(text: &str) -> Prefix {
        let (address, length) = text.split_once('/').expect("has a slash");
        Prefix::new(address.parse().expect("address"), length.parse().expect("length"))
            .expect("length in range")
    }

    #[test]
    fn prefix_clears_host_bits_and_knows_its_members() {
        let p = prefix("10.77.3.9/16");
        assert_eq!(p.to_string(), "10.77.0.0/16");
        assert!(p.contains("10.77.255.1".parse().expect("address")));
        assert!(!p.contains("10.78.0.1".parse().expect("address")));
        assert!(!p.contains("::ffff:10.77.0.1".parse().expect("address")));
        assert!(prefix("0.0.0.0/0").contains("192.0.2.1".parse().expect("address")));
        assert_eq!(Prefix::new("10.0.0.0".parse().expect("address"), 33), None);
    }

    #[test]
    fn covered_prefixes_are_dropped() {
        let all = ["10.77.1.0/24", "2001:db8::/64", "10.77.0.0/16", "10.78.0.0/24", "10.77.0.0/16"];
        let kept: PrefixSet = all.iter().map(|t| prefix(t)).collect();
        let text: Vec<String> = kept.iter().map(Prefix::to_string).collect();
        assert_eq!(text, ["10.77.0.0/16", "10.78.0.0/24", "2001:db8::/64"]);
        assert!(kept.covers(&prefix("10.77.9.9/32")) && !kept.covers(&prefix("10.0.0.0/8")));
    }
}
