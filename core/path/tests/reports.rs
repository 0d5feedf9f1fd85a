//! A node that does not fetch its reports: what can wait, waits in bounded room.

mod world;

use core::time::Duration;
use vipsec_path::{Limits, Report};
use vipsec_wire::cluster::ConnectionState;
use world::packets::{RST, SYN, socket, tcp};
use world::peer::Peer;
use world::{Collected, World};

const WEB: &str = "192.0.2.10:80";

#[test]
fn news_of_connections_wait_in_the_table_while_nobody_fetches_reports() {
    let limits = Limits { reports: 4, connections: 100, ..Limits::default() };
    let mut world = World::new(1, &limits);
    world.own("a", 1);
    world.complete("a", "b");
    world.complete("a", "t1");
    world.complete("a", "t2");
    let mut peer = Peer::number(1);
    world.install(&peer);
    let path = &mut world.nodes.get_mut("a").expect("a node").workers[0];
    let (mut now, mut out) = (world.now, Collected::default());
    let endpoints = peer.child.endpoints;
    while path.poll_report().is_some() {}
    for round in 0..200_u16 {
        // The same twenty connections come, go and come again.
        let client = socket(&format!("10.77.0.1:{}", 4000 + round % 20));
        let flags = if round / 20 % 2 == 0 { SYN } else { RST };
        let mut packet = peer.seal(&tcp(client, socket(WEB), flags, &[]));
        path.handle_udp(now, endpoints.local, endpoints.remote, 0, &mut packet, &mut out);
        now = now + Duration::from_millis(20);
        path.handle_timeout(now, &mut out);
    }
    let told: Vec<_> = core::iter::from_fn(|| path.poll_report()).collect();
    assert!(told.len() <= 8, "{}", told.len());
    // There is room again: what has not been said yet is said.
    now = now + Duration::from_secs(2);
    path.handle_timeout(now, &mut out);
    now = now + Duration::from_secs(2);
    path.handle_timeout(now, &mut out);
    let rest: Vec<_> = core::iter::from_fn(|| path.poll_report()).collect();
    let mut last = std::collections::BTreeMap::new();
    for report in told.into_iter().chain(rest) {
        if let Report::Connections { updates, .. } = report {
            last.extend(updates.into_iter().map(|update| (update.flow.peer.port(), update.state)));
        }
    }
    let expected = (4000..4020).map(|port| (port, ConnectionState::Reset));
    assert_eq!(last.into_iter().collect::<Vec<_>>(), expected.collect::<Vec<_>>());
}
