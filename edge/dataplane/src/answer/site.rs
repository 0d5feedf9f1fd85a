//! Where addresses are answered for: an interface with its sockets, and what is claimed there.

use std::net::{IpAddr, Ipv4Addr};

use vipsec_wire::id::Vip;
use vipsec_wire::link::arp::Operation;
use vipsec_wire::link::ethernet::{HEADER_LENGTH, Header};
use vipsec_wire::link::{Arp, EtherType, Mac, NeighborAdvertisement, NeighborSolicitation};

use crate::config::{Config, Prefix};
use crate::error::DataPlaneError;
use crate::setup::Netlink;
use crate::sys::{LinkSocket, SolicitedGroup};

/// Ranges larger than this are answered for, but not announced address by address.
const ANNOUNCED: u32 = 1024;

/// What is claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Subject {
    /// One address.
    Host(IpAddr),
    /// Every address of a range (proxy).
    Range(Prefix),
}

/// Something that is answered for while its VIP is owned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Claim {
    pub(crate) vip: Vip,
    pub(crate) subject: Subject,
}

/// One interface.
pub(crate) struct Site {
    pub(super) mac: Mac,
    pub(super) arp: LinkSocket,
    pub(super) solicitations: LinkSocket,
    pub(super) claims: Vec<Claim>,
    /// Holds the memberships; the kernel ends them when it is dropped.
    _groups: Option<SolicitedGroup>,
}

/// Opens the sockets for all interfaces that a configuration names.
pub(crate) async fn open_sites(
    netlink: &Netlink,
    config: &Config,
) -> Result<Vec<Site>, DataPlaneError> {
    let mut sites = Vec::new();
    for (interface, claims) in claims(config) {
        let link = netlink.link(&interface).await?;
        let mac = link.hardware.as_slice().try_into().map(Mac).map_err(|_| {
            DataPlaneError::Config(format!("interface {interface:?} is no Ethernet interface"))
        })?;
        let failed = |e| DataPlaneError::io(format!("open packet sockets on {interface:?}"), e);
        let groups = join_groups(link.index, &claims).map_err(failed)?;
        sites.push(Site {
            mac,
            arp: LinkSocket::arp(link.index).map_err(failed)?,
            solicitations: LinkSocket::neighbour_solicitation(link.index).map_err(failed)?,
            claims,
            _groups: groups,
        });
    }
    Ok(sites)
}

fn join_groups(interface: u32, claims: &[Claim]) -> std::io::Result<Option<SolicitedGroup>> {
    let hosts = claims.iter().filter_map(|c| match c.subject {
        Subject::Host(IpAddr::V6(target)) => Some(target),
        _ => None,
    });
    let mut groups = None;
    for target in hosts {
        let socket = match groups.take() {
            Some(socket) => socket,
            None => SolicitedGroup::new()?,
        };
        socket.join(interface, target)?;
        groups = Some(socket);
    }
    Ok(groups)
}

/// What is claimed on which interface, each interface once.
fn claims(config: &Config) -> Vec<(String, Vec<Claim>)> {
    let mut all: Vec<(String, Vec<Claim>)> = Vec::new();
    let mut add =
        |interface: &str, claim: Claim| match all.iter_mut().find(|(name, _)| name == interface) {
            Some((_, claims)) => claims.push(claim),
            None => all.push((interface.to_owned(), vec![claim])),
        };
    for vip in &config.vips {
        let claim = |subject| Claim { vip: vip.vip, subject };
        if let Some(interface) = &vip.interface {
            add(interface, claim(Subject::Host(vip.vip.0)));
        }
        if let Some(inner) = &vip.inner {
            let next_hop = inner.address.map(Subject::Host);
            let proxied = inner.proxied.iter().map(|p| Subject::Range(*p));
            for subject in next_hop.into_iter().chain(proxied) {
                add(&inner.interface, claim(subject));
            }
        }
    }
    all
}

impl Subject {
    fn covers(&self, address: IpAddr) -> bool {
        match self {
            Subject::Host(host) => *host == address,
            Subject::Range(prefix) => prefix.contains(address),
        }
    }

    /// The addresses to be announced.
    fn announced(&self) -> Vec<IpAddr> {
        match self {
            Subject::Host(host) => vec![*host],
            Subject::Range(prefix) => match prefix.address() {
                IpAddr::V4(first) if prefix.length() >= 22 => {
                    let count = (1u32 << (32 - prefix.length())).min(ANNOUNCED);
                    let first = u32::from(first);
                    (0..count).map(|i| Ipv4Addr::from(first.wrapping_add(i)).into()).collect()
                }
                _ => Vec::new(),
            },
        }
    }
}

impl Claim {
    /// Whether it concerns IPv4.
    pub(super) fn is_v4(&self) -> bool {
        match self.subject {
            Subject::Host(host) => host.is_ipv4(),
            Subject::Range(prefix) => prefix.address().is_ipv4(),
        }
    }

    /// The frames that announce this claim.
    pub(super) fn announcements(&self, mac: Mac) -> Vec<Vec<u8>> {
        self.subject.announced().into_iter().flat_map(|a| announcement(mac, a)).collect()
    }
}

/// Both gratuitous forms of ARP, for neighbours heed one or the other, or an unsolicited
/// advertisement. Linux takes the reply as gratuitous only when it names the sender as its target.
fn announcement(mac: Mac, address: IpAddr) -> Vec<Vec<u8>> {
    match address {
        IpAddr::V4(address) => {
            let operation = Operation::Reply;
            let reply = Arp {
                operation,
                sender_mac: mac,
                sender: address,
                target_mac: mac,
                target: address,
            };
            let header = Header { destination: Mac::BROADCAST, source: mac, kind: EtherType::ARP };
            let request = Arp::announcement(Operation::Request, mac, address);
            vec![request, header.emit(&reply.emit())]
        }
        IpAddr::V6(address) => vec![NeighborAdvertisement::announcement(mac, address)],
    }
}

/// What is asked for in a frame, and the frame that answers it.
pub(super) fn question(frame: &[u8], mac: Mac) -> Option<(IpAddr, Vec<u8>)> {
    let (header, content) = Header::parse(frame).ok()?;
    match header.kind {
        EtherType::ARP => {
            let request = Arp::parse(content).ok()?;
            // Whoever asks for its own address announces it.
            if request.sender == request.target {
                return None;
            }
            Some((request.target.into(), request.answer(mac)?))
        }
        EtherType::IPV6 => {
            let solicitation = NeighborSolicitation::parse(frame.get(HEADER_LENGTH..)?).ok()?;
            Some((solicitation.target.into(), solicitation.answer(mac)))
        }
        _ => None,
    }
}

/// The claims that cover an address.
pub(super) fn claimants(claims: &[Claim], address: IpAddr) -> impl Iterator<Item = Vip> {
    claims.iter().filter(move |c| c.subject.covers(address)).map(|c| c.vip)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);

    #[test]
    fn requests_are_answered_and_announcements_are_not() {
        let target: Ipv4Addr = "192.0.2.10".parse().expect("address");
        let sender: Ipv4Addr = "192.0.2.1".parse().expect("address");
        let asked = Arp::request(Mac([2; 6]), sender, target);
        let (address, answer) = question(&asked, MAC).expect("a question");
        assert_eq!(address, IpAddr::V4(target));
        assert_eq!(Arp::parse(&answer[14..]).expect("ARP").sender_mac, MAC);
        let announced = Arp::announcement(Operation::Request, Mac([2; 6]), target);
        assert_eq!(question(&announced, MAC), None);
        assert_eq!(question(&answer, MAC), None, "a reply asks nothing");
        assert_eq!(question(&asked[..20], MAC), None);
    }

    #[test]
    fn a_gratuitous_reply_names_the_sender_as_target() {
        let frames = announcement(MAC, "192.0.2.10".parse().expect("address"));
        let reply = Arp::parse(&frames[1][14..]).expect("ARP");
        assert_eq!((reply.sender_mac, reply.target_mac), (MAC, MAC));
        assert_eq!(reply.sender, reply.target);
    }

    #[test]
    fn ranges_are_covered_whole_and_announced_up_to_a_bound() {
        let vip = Vip("192.0.2.10".parse().expect("address"));
        let prefix = |l| Prefix::new("10.77.0.0".parse().expect("address"), l).expect("length");
        let claim = |l| Claim { vip, subject: Subject::Range(prefix(l)) };
        let inside: IpAddr = "10.77.0.200".parse().expect("address");
        assert_eq!(claimants(&[claim(24)], inside).collect::<Vec<Vip>>(), [vip]);
        assert_eq!(claimants(&[claim(25)], inside).count(), 0);
        assert_eq!(claim(24).announcements(MAC).len(), 2 * 256);
        assert_eq!(claim(16).announcements(MAC).len(), 0);
    }
}
