//! The security associations of a strongSwan daemon, read from what `swanctl --list-sas` prints.

use std::str::SplitWhitespace;

/// An IKE SA as strongSwan sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IkeSa {
    /// Name of its connection.
    pub name: String,
    /// `ESTABLISHED`, `REKEYED`, `DELETING`…
    pub state: String,
    /// SPIs of initiator and responder, in hexadecimal.
    pub spis: (String, String),
    /// Its Child SAs.
    pub children: Vec<ChildSa>,
}

/// A Child SA as strongSwan sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChildSa {
    /// Name of its configuration.
    pub name: String,
    /// `INSTALLED`, `REKEYED`, `DELETING`…
    pub state: String,
    /// Its own (inbound) SPI, in hexadecimal.
    pub spi_in: String,
    /// The peer's (outbound) SPI, in hexadecimal.
    pub spi_out: String,
    /// Packets in and out.
    pub packets: (u64, u64),
}

/// Reads the listing.
#[must_use]
pub fn parse_sas(listing: &str) -> Vec<IkeSa> {
    let mut sas: Vec<IkeSa> = Vec::new();
    for line in listing.lines() {
        let words = line.split_whitespace();
        match line.len() - line.trim_start().len() {
            0 => sas.extend(ike_sa(words)),
            2 => {
                if let (Some(sa), Some(child)) = (sas.last_mut(), child_sa(words)) {
                    sa.children.push(child);
                }
            }
            _ => {
                if let Some(child) = sas.last_mut().and_then(|sa| sa.children.last_mut()) {
                    add_counters(child, words);
                }
            }
        }
    }
    sas
}

/// `gw: #1, ESTABLISHED, IKEv2, 5f4a1c2d_i* 9c8b7a60_r`
fn ike_sa(mut words: SplitWhitespace<'_>) -> Option<IkeSa> {
    let name = words.next()?.strip_suffix(':')?.to_owned();
    let state = words.nth(1)?.trim_end_matches(',').to_owned();
    let spi = |word: &str| word.split('_').next().unwrap_or_default().to_owned();
    let spis = (spi(words.nth(1)?), spi(words.next()?));
    Some(IkeSa { name, state, spis, children: Vec::new() })
}

/// `net: #1, reqid 1, INSTALLED, TUNNEL-in-UDP, ESP:AES_GCM_16-256`
fn child_sa(mut words: SplitWhitespace<'_>) -> Option<ChildSa> {
    let name = words.next()?.strip_suffix(':')?.to_owned();
    let state = words.nth(3)?.trim_end_matches(',').to_owned();
    Some(ChildSa { name, state, ..ChildSa::default() })
}

/// `in  9cd25a68,      0 bytes,     0 packets`
fn add_counters(child: &mut ChildSa, mut words: SplitWhitespace<'_>) {
    let direction = words.next();
    let spi = words.next().unwrap_or_default().split([',', ' ']).next().unwrap_or_default();
    let packets = words.nth(2).and_then(|count| count.parse().ok()).unwrap_or(0);
    match direction {
        Some("in") => (child.spi_in, child.packets.0) = (spi.to_owned(), packets),
        Some("out") => (child.spi_out, child.packets.1) = (spi.to_owned(), packets),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As strongSwan 5.9.8 prints it.
    const LISTING: &str = "\
gw: #1, ESTABLISHED, IKEv2, 5f4a1c2d00000001_i* 9c8b7a6000000002_r
  local  'client@test' @ 192.0.2.1[4500] [10.77.0.10]
  remote 'gw@test' @ 192.0.2.10[4500]
  AES_GCM_16-256/PRF_HMAC_SHA2_256/CURVE_25519
  established 3s ago, rekeying in 13589s
  net: #1, reqid 1, INSTALLED, TUNNEL-in-UDP, ESP:AES_GCM_16-256
    installed 3s ago, rekeying in 3258s, expires in 3960s
    in  9cd25a68,   4200 bytes,    50 packets,     0s ago
    out 1c0a2a06,   4284 bytes,    51 packets,     0s ago
    local  10.77.0.10/32
    remote 10.3.0.0/24 192.0.2.10/32
";

    #[test]
    fn a_listing_tells_states_spis_and_packets() {
        let sas = parse_sas(LISTING);
        assert_eq!(sas.len(), 1);
        assert_eq!(sas[0].state, "ESTABLISHED");
        assert_eq!(sas[0].spis, ("5f4a1c2d00000001".into(), "9c8b7a6000000002".into()));
        let child = &sas[0].children[0];
        assert_eq!((child.name.as_str(), child.state.as_str()), ("net", "INSTALLED"));
        assert_eq!((child.spi_in.as_str(), child.spi_out.as_str()), ("9cd25a68", "1c0a2a06"));
        assert_eq!(child.packets, (50, 51));
        assert_eq!(sas[0].children.len(), 1);
    }
}
