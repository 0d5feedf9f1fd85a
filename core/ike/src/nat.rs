//! NAT detection (RFC 7296 section 2.23). What a peer that moves says of NATs is
//! in `exchange::mobike`.

use core::net::{IpAddr, SocketAddr};
use vipsec_crypto::digest::sha1;
use vipsec_wire::ike::{IkeSpis, Notify, NotifyType, Payload};

/// The port of IKE.
pub(crate) const IKE_PORT: u16 = 500;
/// The port of IKE and ESP in UDP (RFC 3948).
pub(crate) const ENCAPSULATION_PORT: u16 = 4500;

/// What the notifications of an IKE_SA_INIT message say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Detected {
    /// We are behind a NAT.
    pub(crate) local: bool,
    /// The peer is behind a NAT, or pretends to be.
    pub(crate) remote: bool,
    /// The peer does NAT traversal at all.
    pub(crate) supported: bool,
}

fn hash(spis: IkeSpis, address: SocketAddr) -> [u8; 20] {
    let (initiator, responder) = (spis.initiator.to_be_bytes(), spis.responder.to_be_bytes());
    let port = address.port().to_be_bytes();
    match address.ip() {
        IpAddr::V4(ip) => sha1(&[&initiator, &responder, &ip.octets(), &port]),
        IpAddr::V6(ip) => sha1(&[&initiator, &responder, &ip.octets(), &port]),
    }
}

/// The two notifications for a message from `local` to `remote`. With `force`, the source is
/// hashed wrongly, so that the peer takes us to be behind a NAT and ESP goes in UDP.
pub(crate) fn notifies(
    spis: IkeSpis,
    local: SocketAddr,
    remote: SocketAddr,
    force: bool,
) -> [Payload; 2] {
    let mut source = hash(spis, local);
    if force {
        source.iter_mut().for_each(|octet| *octet = !*octet);
    }
    let notify = |kind, hash: [u8; 20]| Payload::Notify(Notify::new(kind, hash.to_vec()));
    [
        notify(NotifyType::NAT_DETECTION_SOURCE_IP, source),
        notify(NotifyType::NAT_DETECTION_DESTINATION_IP, hash(spis, remote)),
    ]
}

/// Compares a peer's notifications with the addresses that its message had here.
//= RFC 7296 section 2.23 #9: compared with the addresses of the message
pub(crate) fn detect(
    payloads: &[Payload],
    spis: IkeSpis,
    local: SocketAddr,
    remote: SocketAddr,
) -> Detected {
    let notifies = payloads.iter().filter_map(|payload| match payload {
        Payload::Notify(notify) => Some(notify),
        _ => None,
    });
    compare(notifies, spis, local, remote)
}

/// Whether a message has both notifications.
pub(crate) fn is_asked(notifies: &[Notify]) -> bool {
    let both = [NotifyType::NAT_DETECTION_SOURCE_IP, NotifyType::NAT_DETECTION_DESTINATION_IP];
    both.iter().all(|kind| notifies.iter().any(|notify| notify.kind == *kind))
}

/// As [`detect`]. There may be several notifications about the source, of which one has to match.
pub(crate) fn compare<'a>(
    notifies: impl IntoIterator<Item = &'a Notify>,
    spis: IkeSpis,
    local: SocketAddr,
    remote: SocketAddr,
) -> Detected {
    let notifies: Vec<&Notify> = notifies.into_iter().collect();
    let said = |wanted: NotifyType| {
        let said = notifies.iter().filter(|notify| notify.kind == wanted);
        said.map(|notify| notify.data.as_slice()).collect::<Vec<_>>()
    };
    let sources = said(NotifyType::NAT_DETECTION_SOURCE_IP);
    let destinations = said(NotifyType::NAT_DETECTION_DESTINATION_IP);
    if sources.is_empty() || destinations.is_empty() {
        return Detected::default();
    }
    Detected {
        local: !destinations.contains(&&hash(spis, local)[..]),
        remote: !sources.contains(&&hash(spis, remote)[..]),
        supported: true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPIS: IkeSpis = IkeSpis { initiator: 1, responder: 2 };

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn no_nat_between() {
        let (a, b) = (at("192.0.2.1:500"), at("192.0.2.2:500"));
        let found = detect(&notifies(SPIS, a, b, false), SPIS, b, a);
        assert_eq!(found, Detected { local: false, remote: false, supported: true });
    }

    #[test]
    fn either_side_or_a_pretended_one() {
        let (a, b) = (at("192.0.2.1:500"), at("192.0.2.2:500"));
        let sent = notifies(SPIS, at("10.0.0.1:500"), b, false);
        assert!(detect(&sent, SPIS, b, a).remote);
        let sent = notifies(SPIS, a, b, false);
        assert!(detect(&sent, SPIS, at("10.0.0.2:500"), a).local);
        let forced = notifies(SPIS, a, b, true);
        let found = detect(&forced, SPIS, b, a);
        assert!(found.remote && !found.local);
    }

    #[test]
    fn a_peer_without_nat_traversal() {
        assert_eq!(detect(&[], SPIS, at("[::1]:500"), at("[::2]:500")), Detected::default());
    }
}
