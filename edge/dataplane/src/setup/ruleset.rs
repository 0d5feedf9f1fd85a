//! The packet filter's side of the fence, as text for `nft`. Pure: the text is made here and loaded
//! in `fence.rs`.
//!
//! What it says, for every interface but `lo` and the TUN:
//! - to a VIP come only IKE, ESP and the ICMP messages that path MTU discovery needs, to any other
//!   address of ours nothing;
//! - from a VIP or another address of ours leaves only what carries the process's mark: so there is
//!   no RST, no ICMP error and no echo reply from a kernel whose vipsec is dead;
//! - what is from or to a protected prefix neither comes in, nor is forwarded, nor leaves, but for
//!   the marked packets of the process.

use std::fmt::Write;
use std::net::IpAddr;

use crate::config::{Config, Prefix, PrefixSet};

/// Name of the packet filter table of an instance.
pub(super) fn table_name(instance: &str) -> String {
    format!("vipsec_{instance}")
}

/// What is dropped, counted by reason: to or from an address of ours and neither IKE nor ESP; from a
/// protected prefix in clear; to a protected prefix in clear.
const COUNTERS: [&str; 3] = ["fence_own", "fence_in", "fence_out"];

/// Everything that the rules depend on.
#[derive(Debug, Clone)]
pub(super) struct Ruleset {
    pub(super) instance: String,
    pub(super) tun: String,
    pub(super) mark: u32,
    pub(super) vips: Vec<IpAddr>,
    pub(super) own: Vec<IpAddr>,
    pub(super) protected: PrefixSet,
}

impl Ruleset {
    /// The rules that a configuration asks for, with these protected prefixes.
    pub(super) fn new(config: &Config, protected: &PrefixSet) -> Ruleset {
        Ruleset {
            instance: config.instance.clone(),
            tun: config.tun.name.clone(),
            mark: config.mark,
            vips: config.vips.iter().map(|v| v.vip.0).collect(),
            own: config.own_addresses(),
            protected: protected.clone(),
        }
    }

    /// A script that replaces the table as a whole, in one transaction.
    pub(super) fn script(&self) -> String {
        let table = table_name(&self.instance);
        let mut text = format!("table inet {table} {{}}\ndelete table inet {table}\n");
        let _ = writeln!(text, "table inet {table} {{");
        for name in COUNTERS {
            let _ = writeln!(text, "  counter {name} {{}}");
        }
        self.sets(&mut text);
        self.input(&mut text);
        self.forward(&mut text);
        self.output(&mut text);
        text.push_str("}\n");
        text
    }

    fn sets(&self, text: &mut String) {
        let hosts = |all: &[IpAddr], v4: bool| -> Vec<String> {
            let mut own: Vec<IpAddr> = all.iter().copied().filter(|a| a.is_ipv4() == v4).collect();
            own.sort_unstable();
            own.dedup();
            own.iter().map(IpAddr::to_string).collect()
        };
        for (suffix, v4) in [("4", true), ("6", false)] {
            set(text, &format!("vip{suffix}"), v4, false, &hosts(&self.vips, v4));
            set(text, &format!("own{suffix}"), v4, false, &hosts(&self.own, v4));
            let ranges = self.protected.iter().filter(|p| p.address().is_ipv4() == v4);
            let ranges: Vec<String> = ranges.flat_map(elements).collect();
            set(text, &format!("protected{suffix}"), v4, true, &ranges);
        }
    }

    /// IPv6 fragments reach this hook before they are put together (IPv4's do not). The first is
    /// judged by its ports, the others pass: without the first, nothing is put together.
    fn input(&self, text: &mut String) {
        let _ = write!(
            text,
            "  chain input {{
    type filter hook input priority -10; policy accept;
    iifname {{ \"lo\", \"{tun}\" }} accept
    ip daddr @vip4 udp dport {{ 500, 4500 }} accept
    ip daddr @vip4 ip protocol esp accept
    ip daddr @vip4 icmp type destination-unreachable icmp code frag-needed accept
    ip6 daddr @vip6 frag frag-off > 0 accept
    ip6 daddr @vip6 udp dport {{ 500, 4500 }} accept
    ip6 daddr @vip6 meta l4proto esp accept
    ip6 daddr @vip6 icmpv6 type packet-too-big accept
    ip daddr @own4 counter name fence_own drop
    ip6 daddr @own6 counter name fence_own drop
    icmpv6 type {{ nd-neighbor-solicit, nd-neighbor-advert, nd-router-advert }} accept
    ip saddr @protected4 counter name fence_in drop
    ip6 saddr @protected6 counter name fence_in drop
  }}
",
            tun = self.tun
        );
    }

    fn forward(&self, text: &mut String) {
        let _ = write!(
            text,
            "  chain forward {{
    type filter hook forward priority -10; policy accept;
    iifname != \"{tun}\" ip saddr @protected4 counter name fence_in drop
    iifname != \"{tun}\" ip6 saddr @protected6 counter name fence_in drop
    oifname != \"{tun}\" ip daddr @protected4 counter name fence_out drop
    oifname != \"{tun}\" ip6 daddr @protected6 counter name fence_out drop
    oifname != \"{tun}\" ip saddr @own4 counter name fence_own drop
    oifname != \"{tun}\" ip6 saddr @own6 counter name fence_own drop
    iifname != \"{tun}\" ip daddr @own4 counter name fence_own drop
    iifname != \"{tun}\" ip6 daddr @own6 counter name fence_own drop
  }}
",
            tun = self.tun
        );
    }

    fn output(&self, text: &mut String) {
        let _ = write!(
            text,
            "  chain output {{
    type filter hook output priority -10; policy accept;
    oifname {{ \"lo\", \"{tun}\" }} accept
    meta mark {mark:#x} accept
    ip saddr @own4 counter name fence_own drop
    ip6 saddr @own6 counter name fence_own drop
    icmpv6 type {{ nd-neighbor-solicit, nd-neighbor-advert, nd-router-solicit }} accept
    ip daddr @protected4 counter name fence_out drop
    ip6 daddr @protected6 counter name fence_out drop
  }}
",
            tun = self.tun,
            mark = self.mark
        );
    }
}

/// Reads what `nft list counters` says of a table.
pub(super) fn counted(listing: &str) -> Vec<(&'static str, u64)> {
    let count = |part: &str| {
        let name = COUNTERS.into_iter().find(|name| part.starts_with(name))?;
        let packets = part.split_whitespace().skip_while(|word| *word != "packets").nth(1)?;
        Some((name, packets.parse().ok()?))
    };
    listing.split("counter ").filter_map(count).collect()
}

/// A script that adds prefixes to those that the table of an instance protects.
pub(super) fn additions(instance: &str, prefixes: &[Prefix]) -> String {
    let table = table_name(instance);
    let mut text = String::new();
    for (set, v4) in [("protected4", true), ("protected6", false)] {
        let family = prefixes.iter().filter(|prefix| prefix.address().is_ipv4() == v4);
        let elements: Vec<String> = family.flat_map(elements).collect();
        if !elements.is_empty() {
            let _ = writeln!(text, "add element inet {table} {set} {{ {} }}", elements.join(", "));
        }
    }
    text
}

/// `nft` takes no prefix of length zero in a set: it becomes two halves.
fn elements(prefix: &Prefix) -> Vec<String> {
    match (prefix.length(), prefix.address().is_ipv4()) {
        (0, true) => vec!["0.0.0.0/1".to_owned(), "128.0.0.0/1".to_owned()],
        (0, false) => vec!["::/1".to_owned(), "8000::/1".to_owned()],
        _ => vec![prefix.to_string()],
    }
}

fn set(text: &mut String, name: &str, v4: bool, interval: bool, elements: &[String]) {
    let kind = if v4 { "ipv4_addr" } else { "ipv6_addr" };
    let _ = write!(text, "  set {name} {{\n    type {kind}\n");
    if interval {
        text.push_str("    flags interval\n");
    }
    if !elements.is_empty() {
        let _ = writeln!(text, "    elements = {{ {} }}", elements.join(", "));
    }
    text.push_str("  }\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ruleset(protected: &[Prefix]) -> Ruleset {
        Ruleset {
            instance: "test".to_owned(),
            tun: "vipsec0".to_owned(),
            mark: 0x7670,
            vips: vec!["192.0.2.10".parse().expect("address")],
            own: vec![
                "192.0.2.10".parse().expect("address"),
                "2001:db8::10".parse().expect("address"),
            ],
            protected: protected.iter().copied().collect(),
        }
    }

    #[test]
    fn script_replaces_the_table_and_holds_its_sets() {
        let net = Prefix::new("10.77.0.0".parse().expect("address"), 24).expect("length");
        let text = ruleset(&[net]).script();
        assert!(text.starts_with("table inet vipsec_test {}\ndelete table inet vipsec_test\n"));
        assert!(text.contains("elements = { 10.77.0.0/24 }"));
        assert!(text.contains("elements = { 2001:db8::10 }"));
        assert!(text.contains("meta mark 0x7670 accept"));
    }

    #[test]
    fn every_drop_is_counted() {
        let text = ruleset(&[]).script();
        let uncounted =
            |line: &&str| line.contains("drop") && !line.contains("counter name fence_");
        assert_eq!(text.lines().find(uncounted), None);
        let listing = "table inet vipsec_test {
\tcounter fence_own {
\t\tpackets 7 bytes 420
\t}
\tcounter fence_out {
\t\tpackets 0 bytes 0
\t}
}";
        assert_eq!(counted(listing), [("fence_own", 7), ("fence_out", 0)]);
    }

    #[test]
    fn the_whole_internet_is_written_as_halves() {
        let all = Prefix::new("0.0.0.0".parse().expect("address"), 0).expect("length");
        assert!(ruleset(&[all]).script().contains("{ 0.0.0.0/1, 128.0.0.0/1 }"));
    }
}
