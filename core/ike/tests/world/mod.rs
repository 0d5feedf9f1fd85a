//! Two engines with a network, stores and time of their own, and what must hold whatever happens:
//! no IV is used twice under a key, and both ends have the same SAs in the end.
#![allow(dead_code, clippy::unwrap_used, clippy::cast_possible_truncation)]

pub(crate) mod forge;
pub(crate) mod site;

use core::net::SocketAddr;
use core::time::Duration;
use site::Site;
use std::collections::{BTreeMap, VecDeque};
use vipsec_crypto::Random;
use vipsec_ike::{
    Authentication, Child, Config, Connection, FRAGMENT_SIZE, Limits, Ppk, RemoteAddresses,
    Retransmit, Selector,
};
use vipsec_wire::id::{EspSpi, IkeSaId, Vip};
use vipsec_wire::ike::{ExchangeType, Group, Identity, Message, TrafficSelector};
use vipsec_wire::secret::SecretBytes;
use vipsec_wire::time::Timestamp;

/// A repeatable source of bytes (xorshift64*).
pub(crate) struct Seeded(pub u64);

impl Random for Seeded {
    fn fill(&mut self, out: &mut [u8]) {
        for byte in out {
            self.0 ^= self.0 >> 12;
            self.0 ^= self.0 << 25;
            self.0 ^= self.0 >> 27;
            *byte = (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 56) as u8;
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Side {
    Left,
    Right,
}

impl Side {
    pub(crate) fn other(self) -> Side {
        match self {
            Side::Left => Side::Right,
            Side::Right => Side::Left,
        }
    }
}

pub(crate) const LEFT: &str = "192.0.2.1";
pub(crate) const RIGHT: &str = "192.0.2.2";

#[derive(Debug, Clone)]
pub(crate) struct Packet {
    pub to: Side,
    pub source: SocketAddr,
    pub destination: SocketAddr,
    pub message: Vec<u8>,
}

impl Packet {
    /// Exchange, message ID, whether it is a response.
    pub(crate) fn kind(&self) -> (ExchangeType, u32, bool) {
        let header = Message::parse(&self.message).expect("engines emit messages").header;
        (header.exchange, header.message_id, header.response)
    }
}

pub(crate) struct World {
    pub now: Timestamp,
    pub rng: Seeded,
    pub left: Site,
    pub right: Site,
    pub wire: VecDeque<Packet>,
    /// Everything that was sent, in order.
    pub sent: Vec<Packet>,
    ivs: BTreeMap<(u64, u64, bool, [u8; 8]), Vec<u8>>,
    esp_terms: BTreeMap<(Vec<u8>, u64), u64>,
    /// Which messages get lost.
    pub loss: Box<dyn FnMut(&Packet) -> bool>,
    /// What the way does to the addresses of a packet.
    pub translate: Box<dyn FnMut(&mut Packet)>,
    /// Counts small steps; a takeover of the side happens when it reaches the number.
    pub steps: usize,
    pub takeover_at: Option<(usize, Side, site::Fate)>,
}

pub(crate) fn net(text: &str) -> TrafficSelector {
    let (address, length) = text.split_once('/').unwrap();
    TrafficSelector::from_prefix(address.parse().unwrap(), length.parse().unwrap()).unwrap()
}

pub(crate) fn fixed(text: &str) -> Selector {
    Selector::Fixed(net(text))
}

pub(crate) fn fqdn(name: &str) -> Option<Identity> {
    Some(Identity::Fqdn(name.to_owned()))
}

/// The configuration of one side: a connection "c" with a child "net".
pub(crate) fn config(side: Side) -> Config {
    let (own, other, name, peer) = match side {
        Side::Left => (LEFT, RIGHT, "left", "right"),
        Side::Right => (RIGHT, LEFT, "right", "left"),
    };
    let mut connection = Connection::new("c", Authentication::psk(b"a shared key"));
    connection.local_id = fqdn(name);
    connection.remote_id = fqdn(peer);
    connection.proposals.retain(|proposal| proposal.additional.is_empty());
    connection.remote = RemoteAddresses::List(vec![other.parse().unwrap()]);
    let (local, remote) = match side {
        Side::Left => ("10.1.0.0/16", "10.2.0.0/16"),
        Side::Right => ("10.2.0.0/16", "10.1.0.0/16"),
    };
    connection.children = vec![
        Child::new("net", vec![fixed(local)], vec![fixed(remote)]),
        Child::new("second", vec![fixed(local)], vec![fixed(remote)]),
    ];
    Config {
        vip: Vip(own.parse().unwrap()),
        connections: vec![connection],
        limits: Limits::default(),
        retransmit: Retransmit { initial_ms: 1000, base_percent: 150, tries: 5 },
        fragment_size: Some(FRAGMENT_SIZE),
    }
}

/// As [`config`], with additional key exchanges everywhere: two for the IKE SA, one for children.
pub(crate) fn hybrid(side: Side) -> Config {
    let mut config = config(side);
    for proposal in &mut config.connections[0].proposals {
        proposal.additional = vec![vec![Group::MlKem512], vec![Group::MlKem768]];
    }
    for child in &mut config.connections[0].children {
        for proposal in &mut child.proposals {
            proposal.groups = vec![Group::X25519];
            proposal.additional = vec![vec![Group::MlKem512]];
        }
    }
    config
}

/// As [`config`], with messages in fragments that fit in IP datagrams of `size` octets.
pub(crate) fn fragmenting(side: Side, size: u16) -> Config {
    Config { fragment_size: Some(size), ..config(side) }
}

impl World {
    pub(crate) fn new() -> World {
        World::with(config(Side::Left), config(Side::Right))
    }

    pub(crate) fn with(left: Config, right: Config) -> World {
        let now = Timestamp(1_700_000_000_000_000);
        let mut rng = Seeded(0x9E37_79B9_7F4A_7C15);
        let left = Site::new(Side::Left, left, now, &mut rng);
        let right = Site::new(Side::Right, right, now, &mut rng);
        World {
            now,
            rng,
            left,
            right,
            wire: VecDeque::new(),
            sent: Vec::new(),
            ivs: BTreeMap::new(),
            esp_terms: BTreeMap::new(),
            loss: Box::new(|_| false),
            translate: Box::new(|_| ()),
            steps: 0,
            takeover_at: None,
        }
    }

    pub(crate) fn site(&mut self, side: Side) -> &mut Site {
        match side {
            Side::Left => &mut self.left,
            Side::Right => &mut self.right,
        }
    }

    fn step(&mut self) {
        if let Some((at, side, fate)) = self.takeover_at
            && at == self.steps
        {
            self.take_over(side, fate);
        }
        self.steps += 1;
    }

    /// Another owner goes on with what is in the store and the mirror.
    pub(crate) fn take_over(&mut self, side: Side, fate: site::Fate) {
        let now = self.now;
        let mut rng = Seeded(self.rng.0 ^ 0x1234_5678);
        self.site(side).take_over(now, fate, &mut rng);
        self.rng.fill(&mut [0; 8]);
    }

    /// Handles what the engines want until they want nothing; messages wait in `wire`.
    pub(crate) fn outputs(&mut self) {
        loop {
            let mut quiet = true;
            for side in [Side::Left, Side::Right] {
                let now = self.now;
                let mut rng = Seeded(self.rng.0);
                while let Some(packet) = self.site(side).poll(now, &mut rng) {
                    quiet = false;
                    if let Some(packet) = packet {
                        self.note(&packet);
                        self.sent.push(packet.clone());
                        self.wire.push_back(packet);
                    }
                    self.step();
                }
                self.rng = rng;
                self.rng.fill(&mut [0; 1]);
            }
            if quiet {
                return self.check_terms();
            }
        }
    }

    /// Delivers the first waiting message to `side`. Outputs wait.
    pub(crate) fn deliver(&mut self, to: Side) -> Packet {
        let place = self.wire.iter().position(|packet| packet.to == to).expect("a message");
        let packet = self.wire.remove(place).expect("it is there");
        self.arrive(&packet);
        packet
    }

    /// Loses the first waiting message to `side`.
    pub(crate) fn lose(&mut self, to: Side) -> Packet {
        let place = self.wire.iter().position(|packet| packet.to == to).expect("a message");
        self.wire.remove(place).expect("it is there")
    }

    pub(crate) fn arrive(&mut self, packet: &Packet) {
        let now = self.now;
        let mut rng = Seeded(self.rng.0);
        let packet = &mut packet.clone();
        (self.translate)(packet);
        let engine = &mut self.site(packet.to).engine;
        engine.handle_datagram(now, packet.destination, packet.source, &packet.message, &mut rng);
        self.rng = rng;
        self.step();
    }

    /// Until nothing is under way.
    pub(crate) fn run(&mut self) {
        self.outputs();
        while let Some(packet) = self.wire.pop_front() {
            if !(self.loss)(&packet) {
                self.arrive(&packet);
            }
            self.outputs();
        }
    }

    /// Time passes, and what falls due in it happens.
    pub(crate) fn pass(&mut self, span: Duration) {
        let end = self.now + span;
        self.run();
        while let Some(due) = self.due().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.tick();
            self.run();
        }
        self.now = end;
    }

    /// Whatever is due now happens; messages wait.
    pub(crate) fn tick(&mut self) {
        let now = self.now;
        let mut rng = Seeded(self.rng.0);
        self.left.engine.handle_timeout(now, &mut rng);
        self.right.engine.handle_timeout(now, &mut rng);
        self.rng = rng;
    }

    fn due(&self) -> Option<Timestamp> {
        let sides = [self.left.engine.poll_timeout(), self.right.engine.poll_timeout()];
        sides.into_iter().flatten().min()
    }

    pub(crate) fn initiate(&mut self, side: Side, child: &str) -> IkeSaId {
        let now = self.now;
        let mut rng = Seeded(self.rng.0);
        let id = self.site(side).engine.initiate(now, "c", child, &mut rng).expect("configured");
        self.rng = rng;
        id
    }

    /// The left side begins, and IKE_SA_INIT is done: its next request is on the wire.
    pub(crate) fn begin(&mut self) {
        self.initiate(Side::Left, "net");
        self.outputs();
        for side in [Side::Right, Side::Left] {
            self.deliver(side);
            self.outputs();
        }
    }

    /// Two engines that use additional key exchanges.
    pub(crate) fn hybrid() -> World {
        World::with(hybrid(Side::Left), hybrid(Side::Right))
    }

    /// A pair of engines with a post-quantum pre-shared key.
    pub(crate) fn with_ppk() -> World {
        let side = |side| {
            let key = SecretBytes::new(vec![7; 32]);
            let mut config = config(side);
            config.connections[0].ppk = Some(Ppk { id: b"one".to_vec(), key, required: true });
            config
        };
        World::with(side(Side::Left), side(Side::Right))
    }

    /// An established pair of engines that use additional key exchanges.
    pub(crate) fn established_hybrid() -> World {
        let mut world = World::hybrid();
        world.initiate(Side::Left, "net");
        world.run();
        world.check_agreement(1, 1);
        world
    }

    /// An established pair of engines.
    pub(crate) fn established() -> World {
        let mut world = World::new();
        world.initiate(Side::Left, "net");
        world.run();
        world.check_agreement(1, 1);
        world
    }

    pub(crate) fn rekey_child(&mut self, side: Side) {
        let spi = self.site(side).active_child();
        let now = self.now;
        let mut rng = Seeded(self.rng.0);
        self.site(side).engine.rekey_child(now, spi, &mut rng).expect("it is there");
        self.rng = rng;
    }

    pub(crate) fn rekey_ike(&mut self, side: Side) {
        let id = self.site(side).ike();
        let now = self.now;
        let mut rng = Seeded(self.rng.0);
        self.site(side).engine.rekey_ike(now, id, &mut rng).expect("it is there");
        self.rng = rng;
    }

    pub(crate) fn terminate_child(&mut self, side: Side, spi: EspSpi) {
        let now = self.now;
        let mut rng = Seeded(self.rng.0);
        self.site(side).engine.terminate_child(now, spi, &mut rng).expect("it is there");
        self.rng = rng;
    }

    pub(crate) fn terminate_ike(&mut self, side: Side) {
        let id = self.site(side).ike();
        let now = self.now;
        let mut rng = Seeded(self.rng.0);
        self.site(side).engine.terminate_ike(now, id, &mut rng).expect("it is there");
        self.rng = rng;
    }

    /// No IV twice under one key, unless the whole message is a repetition.
    fn note(&mut self, packet: &Packet) {
        let message = Message::parse(&packet.message).expect("engines emit messages");
        let Some(encrypted) = message.encrypted else { return };
        let iv = packet.message[encrypted.body_at..][..8].try_into().expect("eight octets");
        let spis = message.header.spis;
        let key = (spis.initiator, spis.responder, message.header.from_initiator, iv);
        let before = self.ivs.insert(key, packet.message.clone());
        assert!(before.is_none_or(|before| before == packet.message), "an IV was used twice");
    }

    /// No term twice under one ESP key, unless by the same owner.
    fn check_terms(&mut self) {
        for site in [&self.left, &self.right] {
            for installed in site.installed.values() {
                let key = installed.sa.outbound.encryption.expose().to_vec();
                let term = site.epoch.0 - installed.sa.born.0;
                let owner = *self.esp_terms.entry((key, term)).or_insert(site.epoch.0);
                assert_eq!(owner, site.epoch.0, "two owners in one term of an ESP key");
            }
        }
    }

    /// What has happened, for a test that fails.
    fn story(&self, site: &Site) -> String {
        let drops: Vec<_> = site.engine.drops().iter().collect();
        let sent: Vec<_> = self.sent.iter().map(|p| (p.to, p.kind())).collect();
        let events = &site.events;
        format!(
            "{:?} held {} waiting {} mode: drops {drops:?}, events {events:#?}, sent {sent:#?}",
            site.side,
            site.held.len(),
            site.waiting.len()
        )
    }

    /// Both ends have the same SAs: so many IKE SAs, and so many Child SAs in all.
    pub(crate) fn check_agreement(&mut self, ike: usize, children: usize) {
        assert!(self.wire.is_empty(), "messages are under way");
        for site in [&self.right, &self.left] {
            let story = self.story(site);
            assert_eq!(site.engine.ike_sas().count(), ike, "IKE SAs; {story}");
            assert_eq!(site.installed.len(), children, "Child SAs; {story}");
            assert_eq!(site.engine.children().count(), children, "children of {:?}", site.side);
            site.check_store();
        }
        for view in self.left.engine.ike_sas() {
            let mut others = self.right.engine.ike_sas();
            let other = others.find(|other| other.spis == view.spis).expect("the same IKE SA");
            assert_ne!(view.initiator, other.initiator);
            assert_eq!(view.children.len(), other.children.len());
        }
        for installed in self.left.installed.values() {
            let (sa, twin) = (&installed.sa, &self.right.installed[&installed.sa.outbound.spi]);
            assert_eq!(sa.outbound, twin.sa.inbound);
            assert_eq!(sa.inbound, twin.sa.outbound);
            assert_eq!((&sa.local, &sa.remote), (&twin.sa.remote, &twin.sa.local));
            assert_eq!((sa.cipher, sa.mode, sa.esn), (twin.sa.cipher, twin.sa.mode, twin.sa.esn));
            assert_eq!(sa.endpoints.encapsulated, twin.sa.endpoints.encapsulated);
        }
    }
}
