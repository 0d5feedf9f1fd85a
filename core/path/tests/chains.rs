//! Any sequence of transfers, with packets arriving anywhere at any moment: nothing is lost, nothing
//! is delivered twice, and the peer's window never sees a step back.

mod world;

use proptest::prelude::*;
use vipsec_path::DropReason;
use world::packets::{ACK, socket, tcp, udp};
use world::peer::Peer;
use world::transfer::{open_connection, segment, transfer};
use world::{NAMES, World};

const CLIENT: &str = "10.77.0.1:4000";
const WEB: &str = "192.0.2.10:80";
const HOST: &str = "10.3.0.5:9";

/// One packet.
#[derive(Debug, Clone, Copy)]
enum Traffic {
    /// From the peer, of connection 0 to 2, at the owner or at the other candidate.
    Segment { connection: u16, astray: bool },
    /// From the peer to a protected host.
    ToHost { astray: bool },
    /// From the target of a connection.
    Answer { connection: u16 },
    /// From a protected host, at the owner or at the other candidate.
    FromHost { astray: bool },
}

#[derive(Debug, Clone)]
struct Round {
    before: Vec<Traffic>,
    frozen: Vec<Traffic>,
    flip_first: bool,
}

fn any_traffic() -> impl Strategy<Value = Traffic> {
    prop_oneof![
        (0..3_u16, any::<bool>())
            .prop_map(|(connection, astray)| Traffic::Segment { connection, astray }),
        any::<bool>().prop_map(|astray| Traffic::ToHost { astray }),
        (0..3_u16).prop_map(|connection| Traffic::Answer { connection }),
        any::<bool>().prop_map(|astray| Traffic::FromHost { astray }),
    ]
}

fn any_round() -> impl Strategy<Value = Round> {
    let some = || proptest::collection::vec(any_traffic(), 0..6);
    (some(), some(), any::<bool>()).prop_map(|(before, frozen, flip_first)| Round {
        before,
        frozen,
        flip_first,
    })
}

/// Sends one packet; counts it as `(inbound, outbound)`.
fn send(
    world: &mut World,
    peer: &mut Peer,
    (owner, other): (&'static str, &'static str),
    traffic: Traffic,
    counts: &mut (usize, usize),
) {
    let place = |astray| if astray { other } else { owner };
    match traffic {
        Traffic::Segment { connection, astray } => {
            world.send(place(astray), peer, &segment(4000 + connection, b"x"));
            counts.0 += 1;
        }
        Traffic::ToHost { astray } => {
            world.send(place(astray), peer, &udp(socket(CLIENT), socket(HOST), b"x"));
            counts.0 += 1;
        }
        Traffic::Answer { connection } => {
            let client = socket(&format!("10.77.0.1:{}", 4000 + connection));
            let target = ["b", "t1", "t2"][usize::from(connection)];
            world.arrives_inside(target, &tcp(socket(WEB), client, ACK, b"y"));
            counts.1 += 1;
        }
        Traffic::FromHost { astray } => {
            world.arrives_inside(place(astray), &udp(socket(HOST), socket(CLIENT), b"y"));
            counts.1 += 1;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn transfers_lose_nothing(rounds in proptest::collection::vec(any_round(), 1..6)) {
        let mut peer = Peer::number(1);
        let mut world = World::owned_by_a();
        world.install(&peer);
        for connection in 0..3 {
            open_connection(&mut world, &mut peer, "a", 4000 + connection);
        }
        let opened = peer.sequences.len();
        // The first owner has no predecessor to which a packet could go astray.
        let (mut owner, mut other) = ("a", "a");
        let mut counts = (0, 0);
        for (epoch, round) in (2..).zip(rounds) {
            for traffic in round.before {
                send(&mut world, &mut peer, (owner, other), traffic, &mut counts);
            }
            let next = if owner == "a" { "b" } else { "a" };
            transfer(&mut world, (owner, next), epoch, round.flip_first, |world| {
                for traffic in round.frozen {
                    send(world, &mut peer, (owner, other), traffic, &mut counts);
                }
            });
            (owner, other) = (next, owner);
        }
        for (_, route, packet) in world.outside() {
            peer.open(&route, &packet);
        }
        let delivered: usize = NAMES.into_iter().map(|node| world.kernel(node).len()).sum();
        prop_assert_eq!(world.all_drops(), []);
        prop_assert_eq!((delivered, peer.sequences.len() - opened), counts);
        prop_assert!(peer.sequences.is_sorted(), "{:?}", peer.sequences);
        let last = peer.sequences.len() as u64;
        prop_assert_eq!(peer.sequences.last().copied(), Some(last), "no number was left out");
        prop_assert_eq!(world.drops(owner, DropReason::NoSa), 0);
    }
}
