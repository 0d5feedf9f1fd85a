//! A peer: the other end of one Child SA, as strict as RFC 4303 asks.

use super::{Counting, VIP, ip};
use core::net::{IpAddr, SocketAddr};
use vipsec_crypto::aead::AeadAlgorithm;
use vipsec_esp::{
    ChildSa, Cipher, Endpoints, HalfKeys, Inbound, IvGenerator, Lifetime, Mode, Outbound, Replay,
};
use vipsec_path::Route;
use vipsec_wire::id::{Epoch, EspSpi, IkeSaId, Vip};
use vipsec_wire::ike::traffic_selector::TrafficSelector;
use vipsec_wire::secret::SecretBytes;
use vipsec_wire::time::Timestamp;

/// See the module's text.
pub(crate) struct Peer {
    /// The SA as the gateway knows it.
    pub(crate) child: ChildSa,
    outbound: Outbound,
    inbound: Inbound,
    ivs: IvGenerator,
    /// Full sequence numbers of the packets that were accepted.
    pub(crate) sequences: Vec<u64>,
}

/// A Child SA in tunnel mode with AES-GCM, encapsulated, between everything behind the gateway and
/// one address of the peer.
pub(crate) fn child(number: u32, inner: IpAddr) -> ChildSa {
    let half = |spi| HalfKeys {
        spi: EspSpi(spi),
        encryption: SecretBytes::new((0..20).map(|i| spi.to_be_bytes()[i % 4] ^ 0x5a).collect()),
        integrity: SecretBytes::default(),
    };
    let last = u8::try_from(number).expect("a small number");
    let any = |address: IpAddr| match address {
        IpAddr::V4(_) => TrafficSelector::any_v4(),
        IpAddr::V6(_) => TrafficSelector::any_v6(),
    };
    ChildSa {
        vip: Vip(ip(VIP)),
        ike: IkeSaId(number.into()),
        connection: "road".to_owned(),
        child: "net".to_owned(),
        inbound: half(0x1000 + number),
        outbound: half(0x2000 + number),
        cipher: Cipher::Aead(AeadAlgorithm::Aes128Gcm16),
        mode: Mode::Tunnel,
        esn: false,
        replay_window: 1024,
        local: vec![any(inner)],
        remote: vec![TrafficSelector::host(inner)],
        born: Epoch(1),
        created: Timestamp(1_000_000_000_000),
        lifetime: Lifetime::default(),
        endpoints: Endpoints {
            local: SocketAddr::new(ip(VIP), 4500),
            remote: SocketAddr::new(IpAddr::from([198, 51, 100, last]), 4500),
            encapsulated: true,
            local_nat: false,
        },
    }
}

impl Peer {
    pub(crate) fn new(child: ChildSa) -> Peer {
        let mirrored = ChildSa {
            inbound: child.outbound.clone(),
            outbound: child.inbound.clone(),
            ..child.clone()
        };
        let mut random = Counting(77);
        let mut outbound = Outbound::new(&mirrored).expect("good keys");
        outbound.enter(child.born, 0, 0, &mut random).expect("the first epoch");
        let mut inbound = Inbound::new(&mirrored).expect("good keys");
        inbound.enter(child.born, Replay::Bounded).expect("the first epoch");
        let ivs = IvGenerator::new(&mut random).expect("a seed");
        Peer { child, outbound, inbound, ivs, sequences: Vec::new() }
    }

    /// The usual one.
    pub(crate) fn number(number: u32) -> Peer {
        let last = u8::try_from(number).expect("a small number");
        Peer::new(child(number, IpAddr::from([10, 77, 0, last])))
    }

    /// An ESP packet around an inner packet, or with any payload.
    pub(crate) fn seal_as(&mut self, next_header: u8, payload: &[u8]) -> Vec<u8> {
        let mut packet = vec![0; self.outbound.sealed_length(payload.len())];
        let at = self.outbound.payload_offset();
        packet[at..at + payload.len()].copy_from_slice(payload);
        let now = Timestamp(1_000_000_000_000);
        let ivs = &mut self.ivs;
        let sealed = self.outbound.seal(now, next_header, &mut packet, payload.len(), ivs);
        assert_eq!(sealed, Ok(packet.len()));
        packet
    }

    /// An ESP packet around an inner packet.
    pub(crate) fn seal(&mut self, inner: &[u8]) -> Vec<u8> {
        self.seal_as(if inner[0] >> 4 == 4 { 4 } else { 41 }, inner)
    }

    /// The payload of a packet that left the gateway; panics when the peer would refuse it.
    pub(crate) fn open(&mut self, route: &Route, packet: &[u8]) -> Vec<u8> {
        let endpoints = self.child.endpoints;
        match *route {
            Route::Udp { local, remote, .. } => {
                assert!(endpoints.encapsulated);
                assert_eq!((local, remote), (endpoints.local, endpoints.remote));
            }
            Route::Esp { local, remote, .. } => {
                assert!(!endpoints.encapsulated);
                assert_eq!((local, remote), (endpoints.local.ip(), endpoints.remote.ip()));
            }
            Route::Fabric { .. } => panic!("a frame is not for a peer"),
        }
        let mut packet = packet.to_vec();
        let now = Timestamp(1_000_000_000_000);
        let opened = self.inbound.open(now, &mut packet).expect("the peer accepts it");
        self.sequences.push(opened.sequence);
        packet[opened.payload].to_vec()
    }
}
