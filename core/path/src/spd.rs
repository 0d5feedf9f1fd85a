//! Which SA protects an outbound packet (RFC 4301 section 4.4.1): the SAs that send, by their
//! selectors. Peers with a single inner address are found by it at once; the others stand in a
//! list. Of two SAs that match, the one that was activated later is taken, so that a rekeyed SA
//! gives way to its successor.

use core::net::IpAddr;
use std::collections::HashMap;
use vipsec_distributor::flow_map::SeededState;
use vipsec_wire::ike::traffic_selector::TrafficSelector;
use vipsec_wire::ip::Tuple;

#[derive(Debug, Clone)]
struct Policy {
    slot: u32,
    local: Box<[TrafficSelector]>,
    remote: Box<[TrafficSelector]>,
}

/// The outbound policy of one VIP, which names SAs by their slot in the SAD.
#[derive(Debug)]
pub(crate) struct Spd {
    hosts: HashMap<u128, Vec<Policy>, SeededState>,
    /// SAs with a selector of more than one remote address, the latest first.
    wide: Vec<Policy>,
}

impl Spd {
    pub(crate) fn new(seed: u64) -> Spd {
        Spd { hosts: HashMap::with_hasher(SeededState::new(seed)), wide: Vec::new() }
    }

    /// Lets an SA send, before all others with the same selectors.
    pub(crate) fn activate(
        &mut self,
        slot: u32,
        local: &[TrafficSelector],
        remote: &[TrafficSelector],
    ) {
        self.remove(slot, remote);
        let policy = Policy { slot, local: local.into(), remote: remote.into() };
        if remote.iter().all(is_host) {
            for selector in remote {
                let policies = self.hosts.entry(key(selector.first_address)).or_default();
                policies.insert(0, policy.clone());
            }
        } else {
            self.wide.insert(0, policy);
        }
    }

    /// Takes an SA out; `remote` as it was given with it.
    pub(crate) fn remove(&mut self, slot: u32, remote: &[TrafficSelector]) {
        if !remote.iter().all(is_host) {
            self.wide.retain(|policy| policy.slot != slot);
            return;
        }
        for selector in remote {
            let key = key(selector.first_address);
            if let Some(policies) = self.hosts.get_mut(&key) {
                policies.retain(|policy| policy.slot != slot);
                if policies.is_empty() {
                    self.hosts.remove(&key);
                }
            }
        }
    }

    /// The SA that protects a packet.
    pub(crate) fn find(&self, tuple: &Tuple) -> Option<u32> {
        let hosts = self.hosts.get(&key(tuple.destination)).into_iter().flatten();
        let found = hosts.chain(&self.wide).find(|policy| policy.covers(tuple));
        found.map(|policy| policy.slot)
    }
}

impl Policy {
    fn covers(&self, tuple: &Tuple) -> bool {
        covers(&self.local, &self.remote, tuple)
    }
}

/// Whether an outbound packet is within selectors. An inbound one is when its reversed tuple is.
pub(crate) fn covers(
    local: &[TrafficSelector],
    remote: &[TrafficSelector],
    outbound: &Tuple,
) -> bool {
    let (source_port, destination_port) = match outbound.ports {
        Some((source, destination)) => (Some(source), Some(destination)),
        None => (None, None),
    };
    let protocol = outbound.protocol;
    remote.iter().any(|s| s.contains(outbound.destination, protocol, destination_port))
        && local.iter().any(|s| s.contains(outbound.source, protocol, source_port))
}

fn is_host(selector: &TrafficSelector) -> bool {
    selector.first_address == selector.last_address
}

fn key(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selector(text: &str, length: u8) -> TrafficSelector {
        let address = text.parse().expect("an address");
        TrafficSelector::from_prefix(address, length).expect("a prefix")
    }

    fn tuple(source: &str, destination: &str) -> Tuple {
        Tuple {
            source: source.parse().expect("an address"),
            destination: destination.parse().expect("an address"),
            protocol: 6,
            ports: Some((80, 4000)),
        }
    }

    #[test]
    fn the_latest_matching_sa_sends_and_its_removal_brings_the_former_back() {
        let mut spd = Spd::new(1);
        let local = [selector("10.3.0.0", 24)];
        let host = [selector("10.77.0.10", 32)];
        let wide = [selector("10.77.0.0", 16), selector("2001:db8::", 32)];
        spd.activate(1, &local, &wide);
        spd.activate(2, &local, &host);
        let packet = tuple("10.3.0.5", "10.77.0.10");
        assert_eq!(spd.find(&packet), Some(2));
        spd.activate(3, &local, &host);
        assert_eq!(spd.find(&packet), Some(3));
        spd.remove(3, &host);
        assert_eq!(spd.find(&packet), Some(2));
        spd.remove(2, &host);
        assert_eq!(spd.find(&packet), Some(1));
        spd.remove(1, &wide);
        assert_eq!(spd.find(&packet), None);
    }

    #[test]
    fn both_sides_protocol_and_ports_must_match() {
        let mut spd = Spd::new(1);
        let mut local = selector("10.3.0.5", 32);
        local.protocol = 6;
        (local.first_port, local.last_port) = (80, 80);
        let mut remote = selector("10.77.0.10", 32);
        remote.protocol = 6;
        spd.activate(1, &[local], &[remote]);
        let good = tuple("10.3.0.5", "10.77.0.10");
        assert_eq!(spd.find(&good), Some(1));
        assert_eq!(spd.find(&Tuple { protocol: 17, ..good }), None);
        assert_eq!(spd.find(&Tuple { ports: Some((81, 4000)), ..good }), None);
        assert_eq!(spd.find(&Tuple { ports: None, ..good }), None, "a later fragment");
        assert_eq!(spd.find(&tuple("10.3.0.6", "10.77.0.10")), None);
        assert_eq!(spd.find(&tuple("10.3.0.5", "10.77.0.11")), None);
    }
}
