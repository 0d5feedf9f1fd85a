//! Traffic selectors: what a configured child means for one peer, and what both sides can agree on
//! (RFC 7296 section 2.9).

use crate::config::Selector;
use core::net::IpAddr;
use vipsec_wire::ike::TrafficSelector;

/// Most selectors of one payload, which counts them in an octet (RFC 7296 section 3.13).
const MAX_SELECTORS: usize = 255;

/// What `dynamic` stands for on one side.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Dynamic<'a> {
    /// These assigned addresses.
    Addresses(&'a [IpAddr]),
    /// Whatever the responder will assign, of these families.
    Anything { ipv4: bool, ipv6: bool },
}

/// The selectors of one side of a child, with `dynamic` filled in.
pub(crate) fn resolve(configured: &[Selector], dynamic: Dynamic<'_>) -> Vec<TrafficSelector> {
    let mut out = Vec::new();
    for selector in configured {
        match (selector, dynamic) {
            (Selector::Fixed(fixed), _) => out.push(*fixed),
            (Selector::Dynamic, Dynamic::Addresses(addresses)) => {
                out.extend(addresses.iter().map(|address| TrafficSelector::host(*address)));
            }
            (Selector::Dynamic, Dynamic::Anything { ipv4, ipv6 }) => {
                out.extend(ipv4.then(TrafficSelector::any_v4));
                out.extend(ipv6.then(TrafficSelector::any_v6));
            }
        }
    }
    out
}

/// What both sides want: every common part, without those that lie in another. The first selector
/// of an offer may be that of the packet that caused it (RFC 7296 section 2.9); it always lies in
/// one that follows, and so vanishes here.
pub(crate) fn narrow(
    ours: &[TrafficSelector],
    offered: &[TrafficSelector],
) -> Vec<TrafficSelector> {
    let pairs = offered.iter().flat_map(|theirs| ours.iter().map(move |own| (own, theirs)));
    let mut common: Vec<TrafficSelector> = Vec::new();
    for part in pairs.filter_map(|(own, theirs)| own.intersect(theirs)) {
        if common.iter().any(|known| part.is_subset_of(known)) {
            continue;
        }
        common.retain(|known| !known.is_subset_of(&part));
        common.push(part);
    }
    // Fewer than both sides would allow is an answer too.
    common.truncate(MAX_SELECTORS);
    common
}

/// The selectors of a side that is behind a NAT, in transport mode: it names the address that it has
/// itself, which is replaced by the one that its packets have here (RFC 7296 section 2.23.1). `None`
/// when it does not name a single address, for then there is no telling which one it is.
pub(crate) fn through_nat(named: &[TrafficSelector], here: IpAddr) -> Option<Vec<TrafficSelector>> {
    let single = |selector: &TrafficSelector| {
        let first = named.first().map(|first| first.first_address);
        selector.first_address == selector.last_address && first == Some(selector.first_address)
    };
    let replace = |selector: &TrafficSelector| TrafficSelector {
        first_address: here,
        last_address: here,
        ..*selector
    };
    named.iter().all(single).then(|| named.iter().map(replace).collect())
}

/// Whether each selector of an answer lies in one that was offered.
pub(crate) fn is_narrowed(answer: &[TrafficSelector], offered: &[TrafficSelector]) -> bool {
    let within = |part: &TrafficSelector| offered.iter().any(|whole| part.is_subset_of(whole));
    !answer.is_empty() && answer.iter().all(within)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str, length: u8) -> TrafficSelector {
        TrafficSelector::from_prefix(text.parse().unwrap(), length).unwrap()
    }

    #[test]
    fn narrowing_keeps_the_common_part() {
        let ours = [net("10.0.0.0", 8), net("2001:db8::", 32)];
        assert_eq!(narrow(&ours, &[TrafficSelector::any_v4()]), vec![ours[0]]);
        assert_eq!(narrow(&ours, &[net("10.1.0.0", 16)]), vec![net("10.1.0.0", 16)]);
        assert_eq!(narrow(&ours, &[net("192.168.0.0", 16)]), vec![]);
        let both = [TrafficSelector::any_v4(), TrafficSelector::any_v6()];
        assert_eq!(narrow(&ours, &both), ours.to_vec());
    }

    #[test]
    fn the_selector_of_the_triggering_packet_is_swallowed() {
        let packet =
            TrafficSelector { protocol: 6, first_port: 80, last_port: 80, ..net("10.1.2.3", 32) };
        let offered = [packet, net("10.1.0.0", 16)];
        assert_eq!(narrow(&[net("10.0.0.0", 8)], &offered), vec![net("10.1.0.0", 16)]);
    }

    #[test]
    fn an_answer_fits_its_payload() {
        let ours = [(6, 1, 99), (6, 100, 199)].map(|(protocol, first_port, last_port)| {
            TrafficSelector { protocol, first_port, last_port, ..net("10.0.0.0", 8) }
        });
        let offered: Vec<_> = (0..200).map(|i| net(&format!("10.{i}.0.0"), 16)).collect();
        assert_eq!(narrow(&ours, &offered).len(), MAX_SELECTORS);
    }

    #[test]
    fn dynamic_is_what_was_assigned_or_may_be() {
        let address: IpAddr = "10.3.0.7".parse().unwrap();
        let configured = [Selector::Dynamic, Selector::Fixed(net("10.9.0.0", 16))];
        let addresses = [address];
        let resolved = resolve(&configured, Dynamic::Addresses(&addresses));
        assert_eq!(resolved, vec![TrafficSelector::host(address), net("10.9.0.0", 16)]);
        let open = resolve(&configured[..1], Dynamic::Anything { ipv4: true, ipv6: true });
        assert_eq!(open, vec![TrafficSelector::any_v4(), TrafficSelector::any_v6()]);
    }

    #[test]
    fn an_answer_must_lie_in_the_offer() {
        let offered = [net("10.0.0.0", 8)];
        assert!(is_narrowed(&[net("10.1.0.0", 16)], &offered));
        assert!(!is_narrowed(&[net("11.0.0.0", 8)], &offered));
        assert!(!is_narrowed(&[], &offered));
    }
}
