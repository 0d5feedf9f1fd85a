//! The addresses of a site, in IPv4 and in both mixtures with IPv6.

use crate::capture::oracle::Rules;
use crate::node::FABRIC_PORT;

/// A network: what its addresses begin with, and how many bits of them are its own.
#[derive(Debug, Clone, Copy)]
pub struct Net {
    stem: &'static str,
    length: u32,
}

impl Net {
    /// The address with the given end.
    #[must_use]
    pub fn host(self, end: u8) -> String {
        format!("{}{end}", self.stem)
    }

    /// The address with the length of its network, as `ip address add` takes it.
    #[must_use]
    pub fn host_in(self, end: u8) -> String {
        format!("{}{end}/{}", self.stem, self.length)
    }

    /// Whether it is one of IPv6.
    #[must_use]
    pub fn is_ipv6(self) -> bool {
        is_ipv6(self.stem)
    }

    /// The network as a prefix.
    #[must_use]
    pub fn prefix(self) -> String {
        let end = if self.is_ipv6() { "" } else { "0" };
        format!("{}{end}/{}", self.stem, self.length)
    }
}

/// Which addresses a site has.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Where clients are.
    pub outside: Net,
    /// Where protected hosts are.
    pub inside: Net,
    /// Where nodes speak with each other, on the cables of the inside.
    pub cluster: Net,
    /// Where the service addresses stand that are on no wire.
    pub services: Net,
    /// Addresses that clients are given, one of each.
    pub pools: &'static [Net],
    /// The VIP, outside.
    pub vip: &'static str,
    /// Next hop of the protected hosts, moved with the VIP.
    pub inner_vip: &'static str,
    /// A service address that belongs to the VIP.
    pub service: &'static str,
    /// The client's outer address.
    pub client: &'static str,
    /// The protected host.
    pub host: &'static str,
}

const POOL4: Net = Net { stem: "10.77.0.", length: 24 };
const POOL6: Net = Net { stem: "fd77::", length: 64 };

/// IPv4 outside and inside.
pub const IPV4: Plan = Plan {
    outside: Net { stem: "192.0.2.", length: 24 },
    inside: Net { stem: "10.3.0.", length: 24 },
    cluster: Net { stem: "10.1.0.", length: 24 },
    services: Net { stem: "10.20.0.", length: 24 },
    pools: &[POOL4],
    vip: "192.0.2.10",
    inner_vip: "10.3.0.254",
    service: "10.20.0.1",
    client: "192.0.2.1",
    host: "10.3.0.100",
};

/// IPv6 inside the tunnels, IPv4 around them. Clients have an address of each family.
pub const IPV6_INSIDE: Plan = Plan {
    inside: Net { stem: "fd03::", length: 64 },
    services: Net { stem: "fd20::", length: 64 },
    pools: &[POOL4, POOL6],
    inner_vip: "fd03::254",
    service: "fd20::1",
    host: "fd03::100",
    ..IPV4
};

/// IPv6 around the tunnels and between the nodes; inside, IPv4 for the protected hosts and IPv6 for
/// the services on the VIP.
pub const IPV6_OUTSIDE: Plan = Plan {
    outside: Net { stem: "2001:db8::", length: 64 },
    cluster: Net { stem: "fd01::", length: 64 },
    pools: &[POOL4, POOL6],
    vip: "2001:db8::10",
    client: "2001:db8::1",
    ..IPV4
};

impl Plan {
    /// Everything that the client reaches through its tunnel.
    #[must_use]
    pub fn behind(&self) -> [String; 3] {
        let length = if is_ipv6(self.vip) { 128 } else { 32 };
        [format!("{}/{length}", self.vip), self.inside.prefix(), self.services.prefix()]
    }

    /// What the oracle is to hold against the outside wire.
    #[must_use]
    pub fn outside_rules(&self) -> Rules {
        let mut tunnelled: Vec<String> = self.pools.iter().map(|pool| pool.prefix()).collect();
        tunnelled.extend([self.inside, self.cluster, self.services].map(Net::prefix));
        self.rules(&tunnelled)
    }

    /// What the oracle is to hold against the inside wire, where the protected host speaks in clear
    /// to the clients and the services do not.
    #[must_use]
    pub fn inside_rules(&self) -> Rules {
        self.rules(&[self.outside.prefix(), self.services.prefix()])
    }

    /// # Panics
    /// Never: the prefixes are constants.
    fn rules(&self, tunnelled: &[String]) -> Rules {
        let prefix = |text: &str| text.parse().expect("a constant prefix");
        Rules {
            service: vec![prefix(self.vip), prefix(self.service)],
            tunnelled: tunnelled.iter().map(|text| prefix(text)).collect(),
            fabric_port: FABRIC_PORT,
        }
    }

    /// `[[vip.pool]]` sections, and their names as a list.
    pub(super) fn pool_sections(&self) -> (String, String) {
        let name = |pool: &Net| if pool.is_ipv6() { "clients6" } else { "clients" };
        let section = |pool: &Net| {
            let (name, first, last) = (name(pool), pool.host(10), pool.host(99));
            format!("[[vip.pool]]\nname = \"{name}\"\nrange = \"{first}-{last}\"\n")
        };
        let names: Vec<&str> = self.pools.iter().map(name).collect();
        (self.pools.iter().map(section).collect(), format!("{names:?}"))
    }

    /// What the client asks for in its configuration request.
    pub(super) fn request(&self) -> String {
        let any = |pool: &Net| if pool.is_ipv6() { "::" } else { "0.0.0.0" };
        self.pools.iter().map(any).collect::<Vec<_>>().join(",")
    }
}

/// The address of a URL or socket: IPv6 in brackets.
#[must_use]
pub fn bracketed(address: &str) -> String {
    if is_ipv6(address) { format!("[{address}]") } else { address.to_owned() }
}

/// Whether the text is one of IPv6.
#[must_use]
pub fn is_ipv6(address: &str) -> bool {
    address.contains(':')
}
