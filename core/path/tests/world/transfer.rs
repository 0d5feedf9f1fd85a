//! Connections and transfers in the small world.

use super::packets::{ACK, SYN, socket, tcp};
use super::peer::Peer;
use super::{World, vip};
use core::net::IpAddr;
use vipsec_path::{Command, Handover, Report, Role};
use vipsec_wire::id::Epoch;

const WEB: &str = "192.0.2.10:80";

/// Opens a web connection from this port; returns who got it.
pub(crate) fn open_connection(
    world: &mut World,
    peer: &mut Peer,
    owner: &'static str,
    port: u16,
) -> &'static str {
    let client = (IpAddr::from([10, 77, 0, 1]), port).into();
    world.send(owner, peer, &tcp(client, socket(WEB), SYN, &[]));
    let got = ["a", "b", "t1", "t2"].into_iter().find(|node| !world.kernel(node).is_empty());
    let target = got.expect("somebody got it");
    world.arrives_inside(target, &tcp(socket(WEB), client, SYN | ACK, &[]));
    let sent = world.outside();
    peer.open(&sent[0].1, &sent[0].2);
    world.send(owner, peer, &tcp(client, socket(WEB), ACK, &[]));
    assert_eq!(world.kernel(target).len(), 1);
    target
}

pub(crate) fn segment(port: u16, content: &[u8]) -> Vec<u8> {
    tcp((IpAddr::from([10, 77, 0, 1]), port).into(), socket(WEB), ACK, content)
}

/// The hand-over that a frozen node has reported, sent as bytes.
fn handover(world: &mut World, node: &str) -> Handover {
    let reports = world.reports(node).into_iter();
    let parts = reports.filter_map(|report| match report {
        Report::Frozen { handover, .. } => Some(*handover),
        _ => None,
    });
    let whole = parts.reduce(|mut whole, part| {
        whole.merge(part);
        whole
    });
    Handover::decode(&whole.expect("a hand-over").encode()).expect("what was encoded")
}

/// Moves the VIP, the new owner's flip first or last; `meanwhile` happens while it is frozen.
pub(crate) fn transfer(
    world: &mut World,
    (from, to): (&'static str, &'static str),
    epoch: u64,
    flip_first: bool,
    meanwhile: impl FnOnce(&mut World),
) {
    world.command(from, &Command::Freeze { vip: vip() });
    let handover = Box::new(handover(world, from));
    meanwhile(world);
    let epoch = Epoch(epoch);
    world.command(to, &Command::Handover { vip: vip(), epoch, handover });
    let own = Command::SetRole { vip: vip(), role: Role::Owner { epoch } };
    if flip_first {
        world.command(to, &own);
    }
    for other in ["a", "b", "t1", "t2"].into_iter().filter(|&other| other != to) {
        world.follow(other, epoch.0, Some(to));
    }
    if !flip_first {
        world.command(to, &own);
    }
}
