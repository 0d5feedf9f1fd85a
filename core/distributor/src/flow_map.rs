//! The compact key of a connection, and a hasher that is quick, seeded (a peer that chooses its
//! ports cannot aim at one bucket) and, for a given seed, the same on every run.

use core::hash::{BuildHasher, Hash, Hasher};
use core::net::{IpAddr, Ipv6Addr, SocketAddr};
use vipsec_wire::cluster::{Flow, Protocol};

/// A [`Flow`] in 40 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key([u64; 5]);

impl Key {
    /// Bit of the last word that marks IPv4 addresses, so that IPv4-mapped ones stay apart.
    const IPV4: u64 = 1 << 40;

    /// Packs a flow. Scope and flow label of IPv6 socket addresses do not count.
    #[must_use]
    pub fn new(flow: &Flow) -> Key {
        let (local, ipv4) = halves(flow.local.ip());
        let (peer, _) = halves(flow.peer.ip());
        let ports = u64::from(flow.local.port()) << 16 | u64::from(flow.peer.port());
        let protocol = u64::from(flow.protocol.number()) << 32;
        let family = if ipv4 { Key::IPV4 } else { 0 };
        Key([local[0], local[1], peer[0], peer[1], ports | protocol | family])
    }

    /// Unpacks it.
    #[must_use]
    pub fn flow(&self) -> Flow {
        let [l0, l1, p0, p1, last] = self.0;
        let ipv4 = last & Key::IPV4 != 0;
        let [_, _, _, _, l_hi, l_lo, p_hi, p_lo] = last.to_be_bytes();
        let tcp = (last >> 32) & 0xff == u64::from(Protocol::Tcp.number());
        Flow {
            protocol: if tcp { Protocol::Tcp } else { Protocol::Udp },
            local: SocketAddr::new(address([l0, l1], ipv4), u16::from_be_bytes([l_hi, l_lo])),
            peer: SocketAddr::new(address([p0, p1], ipv4), u16::from_be_bytes([p_hi, p_lo])),
        }
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        for word in self.0 {
            state.write_u64(word);
        }
    }
}

fn halves(address: IpAddr) -> ([u64; 2], bool) {
    let (bits, ipv4) = match address {
        IpAddr::V4(v4) => (v4.to_ipv6_mapped().to_bits(), true),
        IpAddr::V6(v6) => (v6.to_bits(), false),
    };
    let [high, low] = [bits >> 64, bits & u128::from(u64::MAX)];
    let narrow = |half: u128| u64::try_from(half).expect("half of 128 bits");
    ([narrow(high), narrow(low)], ipv4)
}

fn address([high, low]: [u64; 2], ipv4: bool) -> IpAddr {
    let v6 = Ipv6Addr::from_bits(u128::from(high) << 64 | u128::from(low));
    if ipv4 { v6.to_canonical() } else { IpAddr::V6(v6) }
}

/// Makes [`SeededHasher`]s.
#[derive(Debug, Clone, Copy)]
pub struct SeededState(u64);

impl SeededState {
    /// From a secret, random seed.
    #[must_use]
    pub fn new(seed: u64) -> SeededState {
        SeededState(seed)
    }
}

impl BuildHasher for SeededState {
    type Hasher = SeededHasher;

    fn build_hasher(&self) -> SeededHasher {
        SeededHasher(self.0)
    }
}

/// Folds 64 bits at a time by a full multiplication.
#[derive(Debug, Clone)]
pub struct SeededHasher(u64);

impl SeededHasher {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;

    fn fold(&mut self, word: u64) {
        let product =
            u128::from(self.0 ^ word) * u128::from(SeededHasher::ODD ^ self.0.rotate_left(29) | 1);
        let (high, low) = (product >> 64, product & u128::from(u64::MAX));
        self.0 = u64::try_from(high ^ low).expect("halves of 128 bits");
    }
}

impl Hasher for SeededHasher {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.fold(u64::from_le_bytes(word) ^ (chunk.len() as u64) << 56);
        }
    }

    fn write_u16(&mut self, value: u16) {
        self.fold(value.into());
    }

    fn write_u32(&mut self, value: u32) {
        self.fold(value.into());
    }

    fn write_u64(&mut self, value: u64) {
        self.fold(value);
    }

    fn finish(&self) -> u64 {
        self.0 ^ self.0 >> 32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_flow() -> impl Strategy<Value = Flow> {
        let v4 = any::<([u8; 4], [u8; 4])>().prop_map(|(a, b)| (IpAddr::from(a), IpAddr::from(b)));
        let v6 =
            any::<([u8; 16], [u8; 16])>().prop_map(|(a, b)| (IpAddr::from(a), IpAddr::from(b)));
        (prop_oneof![v4, v6], any::<(u16, u16, bool)>()).prop_map(|((local, peer), (l, p, tcp))| {
            Flow {
                protocol: if tcp { Protocol::Tcp } else { Protocol::Udp },
                local: SocketAddr::new(local, l),
                peer: SocketAddr::new(peer, p),
            }
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn a_key_unpacks_to_its_flow(flow in any_flow()) {
            prop_assert_eq!(Key::new(&flow).flow(), flow);
        }
    }

    #[test]
    fn neighbouring_flows_spread_over_the_buckets() {
        let state = SeededState::new(42);
        let mut buckets = [0_u32; 64];
        for port in 0..6400_u16 {
            let flow = Flow {
                protocol: Protocol::Tcp,
                local: "192.0.2.1:80".parse().expect("an address"),
                peer: SocketAddr::new("198.51.100.7".parse().expect("an address"), port),
            };
            let hash = state.hash_one(Key::new(&flow));
            buckets[usize::try_from(hash % 64).expect("below 64")] += 1;
        }
        assert!(buckets.iter().all(|&n| (50..160).contains(&n)), "{buckets:?}");
    }
}
