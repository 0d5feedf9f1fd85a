//! The bytes of every record, held against those of `record_golden.txt`: what one version of the
//! program has written, the next must read. Postcard has no names and no lengths of fields, so that a
//! field that is added, moved or retyped changes the bytes without a word.

mod arbitrary;

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::fmt::Debug;
use vipsec_wire::id::{Epoch, EspSpi, IkeSaId, NodeName, Vip};
use vipsec_wire::ike::{
    Encryption, Esn, Group, Identity, IkeSpis, Integrity, Prf, Proposal, Protocol,
    SecurityAssociation, TrafficSelector, Transform,
};
use vipsec_wire::record::v1::{
    AddressCheck, ChildAgreed, ChildCollision, ChildConstant, ChildKeys, ChildLimit, ChildLink,
    ChildMutable, ChildOffer, ChildPhase, Continuation, CreateChild, EapProgress, EapStep, Edges,
    Ended, EpochRecord, Extensions, Floors, Followup, HalfOpenAuth, HalfOpenInitiator,
    HalfOpenResponder, HalfOpenStep, IkeAddresses, IkeAlgorithms, IkeCollision, IkeConstant,
    IkeKeys, IkeMutable, IkePhase, Intermediate, IntermediateProof, Lease, Mirrored, MobikeRole,
    Mobility, PrivateValue, Product, RekeyIke, StoredRequest, StoredResponse, Synchronisation,
    Synchronise, Synchronised, Told,
};
use vipsec_wire::record::{self, FORMS, Record, Sealed};
use vipsec_wire::secret::SecretBytes;
use vipsec_wire::time::Timestamp;

/// A line for each value: its name and its bytes in hexadecimal digits.
const GOLDEN: &str = include_str!("record_golden.txt");

/// What whoever has changed a record has to know.
const RULE: &str = "The bytes of a record have changed: what a released version has written can not \
    be read any more. Leave the form as it is, and write the change as a new version beside it \
    (`record::v2`, its line in `records!`, the old version's reader kept in `decode`). Only as long as \
    nothing is released (CHANGELOG: stores are not kept) the new bytes may take the place of the old \
    ones in core/wire/tests/record_golden.txt:";

/// What the table says of a name.
fn golden(name: &str) -> Option<&'static str> {
    GOLDEN.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|octet| format!("{octet:02x}")).collect()
}

/// Values become the bytes of the table, which become the values.
fn check<T: Record + PartialEq + Debug>(name: &str, values: &[T]) {
    let mut changed = Vec::new();
    for (index, value) in values.iter().enumerate() {
        let name = format!("{name}.{index}");
        let bytes = record::encode(value);
        assert_eq!(record::decode::<T>(bytes.expose()).as_ref(), Ok(value));
        let bytes = hex(bytes.expose());
        if golden(&name) != Some(&*bytes) {
            changed.push(format!("{name} {bytes}"));
        }
    }
    let name = format!("{name}.shape");
    let shape = format!("{:016x}", shape::<T>());
    if golden(&name) != Some(&*shape) {
        changed.push(format!("{name} {shape}"));
    }
    assert!(changed.is_empty(), "{RULE}\n\n{}\n", changed.join("\n"));
}

/// A digest (FNV-1a) of many arbitrary values' bytes: the variants that no value here has.
fn shape<T: Record>() -> u64 {
    let mut digest = 0xcbf2_9ce4_8422_2325_u64;
    for seed in 0..256 {
        for octet in record::encode(&arbitrary::value::<T>(seed)).expose() {
            digest = (digest ^ u64::from(*octet)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
    digest
}

macro_rules! golden_tests {
    ($($name:ident $record:ty, $values:expr;)*) => {
        $(#[test]
        fn $name() {
            check::<$record>(stringify!($record), &$values);
        })*

        #[test]
        fn every_form_has_golden_bytes() {
            let here = [$((<$record>::KIND, <$record>::VERSION)),*];
            assert_eq!(FORMS, here, "a record without golden bytes: give it some above");
        }
    };
}

golden_tests! {
    epoch_records EpochRecord, [epoch_record()];
    ike_constants IkeConstant, [ike_constant()];
    ike_mutables IkeMutable, each_continuation();
    child_constants ChildConstant, [child_constant()];
    child_mutables ChildMutable, [ChildMutable { block: 300 }];
    edges Edges, [Edges { epoch: Epoch(7), edges: vec![(EspSpi(256), 1 << 40), (EspSpi(257), 3)] }];
    floors Floors, [Floors { floors: vec![(vip(), Epoch(7)), (Vip(v6(1)), Epoch(300))] }];
    mirrored Mirrored, each_mirrored();
    leases Lease, each_identity();
}

/// The outer form is the same for all records.
#[test]
fn sealed() {
    let sealed = Sealed { epoch: Epoch(0x0102), body: vec![0xaa, 0xbb] };
    let (form, data) = (sealed.emit(), Sealed::associated_data("vip/192.0.2.1/epoch", Epoch(7)));
    assert_eq!(Sealed::parse(&form), Ok(sealed));
    let found = [("sealed.form", hex(&form)), ("sealed.associated_data", hex(&data))];
    let changed = found.iter().filter(|(name, bytes)| golden(name) != Some(bytes));
    let changed: Vec<_> = changed.map(|(name, bytes)| format!("{name} {bytes}")).collect();
    assert!(changed.is_empty(), "{RULE}\n\n{}\n", changed.join("\n"));
}

fn v4(last: u8) -> IpAddr {
    Ipv4Addr::new(192, 0, 2, last).into()
}

fn v6(last: u16) -> IpAddr {
    Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last).into()
}

fn vip() -> Vip {
    Vip(v4(1))
}

/// Two octets that stand nowhere else.
fn secret(first: u8) -> SecretBytes {
    SecretBytes::new(vec![first, !first])
}

fn epoch_record() -> EpochRecord {
    let owner = NodeName::try_from("a".to_owned()).expect("a name");
    EpochRecord { epoch: Epoch(7), owner, incarnation: 300 }
}

fn algorithms() -> IkeAlgorithms {
    let mut additional = [Group::None; 7];
    additional[0] = Group::MlKem768;
    IkeAlgorithms {
        encryption: Encryption::AesGcm16 { bits: 256 },
        integrity: Integrity::HmacSha2_384_192,
        prf: Prf::HmacSha2_512,
        group: Group::X25519,
        additional,
    }
}

fn keys() -> IkeKeys {
    IkeKeys {
        d: secret(1),
        ai: secret(2),
        ar: secret(3),
        ei: secret(4),
        er: secret(5),
        pi: secret(6),
        pr: secret(7),
    }
}

fn ike_constant() -> IkeConstant {
    IkeConstant {
        id: IkeSaId(0x0102_0304_0506_0708),
        family: IkeSaId(9),
        vip: vip(),
        spis: IkeSpis { initiator: 10, responder: 11 },
        initiator: true,
        connection: "road".into(),
        local_identity: Identity::Fqdn("gw.test".into()),
        remote_identity: Identity::Email("a@b.test".into()),
        algorithms: algorithms(),
        keys: keys(),
        born: Epoch(12),
        created: Timestamp(13),
        authenticated: Timestamp(14),
        rekey_at: Timestamp(15),
        expires_at: Timestamp(1_700_000_000_000_000),
        assigned: vec![v4(16)],
        obtained: vec![v6(17)],
        extensions: Extensions {
            fragmentation: true,
            mobike: Some(MobikeRole::Responder),
            message_id_sync: false,
            replay_counter_sync: true,
            redirect: false,
            crash_token: Some(secret(18)),
        },
        told: Told {
            name_servers: vec![v4(19)],
            domains: vec!["inside.test".into()],
            subnets: vec![(v4(0), 24)],
            version: Some("peer 1".into()),
        },
    }
}

fn addresses(first: u8) -> IkeAddresses {
    IkeAddresses {
        local: SocketAddr::new(v4(first), 500),
        remote: SocketAddr::new(v6(u16::from(first) + 1), 4500),
        local_nat: true,
        remote_nat: false,
        pretended_nat: true,
    }
}

fn selectors(protocol: u8) -> Vec<TrafficSelector> {
    let (first_port, last_port) = (1, 65_535);
    let (first_address, last_address) = (v4(0), v4(255));
    vec![TrafficSelector { protocol, first_port, last_port, first_address, last_address }]
}

fn offered() -> SecurityAssociation {
    let transforms = vec![
        Transform::Encryption(Encryption::ChaCha20Poly1305),
        Transform::Prf(Prf::HmacSha2_256),
        Transform::Integrity(Integrity::HmacSha2_256_128),
        Transform::Group(Group::EcpP384),
        Transform::Esn(Esn::Yes),
        Transform::AdditionalGroup { place: 1, group: Group::MlKem1024 },
        Transform::Unknown { kind: 200, id: 300 },
    ];
    let proposal = Proposal { number: 1, protocol: Protocol::Esp, spi: vec![1, 2], transforms };
    let other =
        Proposal { number: 2, protocol: Protocol::Other(9), spi: vec![], transforms: vec![] };
    SecurityAssociation { proposals: vec![proposal, other] }
}

fn offer() -> ChildOffer {
    ChildOffer {
        child: "lan".into(),
        spi: EspSpi(0x0c00_0001),
        proposals: offered(),
        local: selectors(6),
        remote: selectors(17),
        transport: true,
    }
}

fn private(first: u8) -> PrivateValue {
    PrivateValue { group: Group::EcpP256, value: secret(first) }
}

fn agreed() -> ChildAgreed {
    ChildAgreed {
        child: "lan".into(),
        encryption: Encryption::AesCbc { bits: 128 },
        integrity: Integrity::HmacSha2_512_256,
        esn: true,
        spi_in: EspSpi(258),
        spi_out: EspSpi(259),
        local: selectors(6),
        remote: selectors(17),
        transport: false,
    }
}

fn followup(product: Product) -> Option<Box<Followup>> {
    Some(Box::new(Followup {
        link: vec![1],
        remaining: vec![Group::MlKem512, Group::Modp3072],
        secrets: vec![secret(20), secret(21)],
        initiator_nonce: vec![22],
        responder_nonce: vec![23],
        born: Epoch(24),
        product,
    }))
}

fn create_child() -> CreateChild {
    CreateChild {
        offer: offer(),
        rekeys: Some(EspSpi(260)),
        nonce: vec![25],
        private: Some(private(26)),
        born: Epoch(27),
        collision: Some(ChildCollision { spi: EspSpi(261), lower_nonce: vec![28] }),
        followup: followup(Product::Child { agreed: agreed(), rekeys: Some(EspSpi(262)) }),
    }
}

fn rekey_ike() -> RekeyIke {
    RekeyIke {
        id: IkeSaId(29),
        proposals: offered(),
        nonce: vec![30],
        private: private(31),
        born: Epoch(32),
        collision: Some(IkeCollision { id: IkeSaId(33), lower_nonce: vec![34] }),
        followup: followup(Product::Ike { id: IkeSaId(35), peer: 36, algorithms: algorithms() }),
    }
}

/// A value for each of the ways in which a request of ours may go on, and for each phase.
fn each_continuation() -> Vec<IkeMutable> {
    let check = || Box::new(AddressCheck { cookie: vec![37], addresses: addresses(38) });
    let continuations = [
        Continuation::Liveness,
        Continuation::UpdateAddresses(check()),
        Continuation::Routability(check()),
        Continuation::Synchronise(Synchronise { nonce: [1, 2, 3, 4], jump: 1 << 30 }),
        Continuation::DeleteIke,
        Continuation::DeleteChildren(vec![EspSpi(263), EspSpi(264)]),
        Continuation::CreateChild(Box::new(create_child())),
        Continuation::RekeyIke(Box::new(rekey_ike())),
    ];
    let phases = [
        IkePhase::Established,
        IkePhase::Undecided,
        IkePhase::Superseded { by_us: true, since: Timestamp(39) },
    ];
    let pairs = continuations.into_iter().zip(phases.into_iter().cycle());
    pairs.map(|(continuation, phase)| ike_mutable(continuation, phase)).collect()
}

fn ike_mutable(continuation: Continuation, phase: IkePhase) -> IkeMutable {
    let superseded = ChildPhase::Superseded { by_us: false, since: Timestamp(40) };
    let synchronised =
        Synchronised { request: [41; 32], send: 42, jump: 1 << 40, response: vec![43] };
    IkeMutable {
        phase,
        next_request: 44,
        expected_request: 45,
        peer_window: 46,
        last_response: Some(StoredResponse { id: 47, datagrams: vec![vec![48, 49], vec![50]] }),
        outstanding: Some(StoredRequest { id: 51, datagrams: vec![vec![52]], continuation }),
        addresses: addresses(53),
        mobility: Mobility {
            additional: vec![v6(54)],
            esp: Some(addresses(55)),
            update: true,
            seen_as: vec![56],
        },
        synchronisation: Synchronisation { sent: Some(57), seen: Some(synchronised) },
        children: vec![
            ChildLink { spi: EspSpi(265), phase: ChildPhase::Active, outbound: true },
            ChildLink { spi: EspSpi(266), phase: superseded, outbound: false },
        ],
        followup: None,
    }
}

fn child_keys(spi: u32, first: u8) -> ChildKeys {
    ChildKeys { spi: EspSpi(spi), encryption: secret(first), integrity: secret(first + 1) }
}

fn child_constant() -> ChildConstant {
    let limit = |bytes| ChildLimit { bytes: Some(bytes), packets: None, seconds: Some(bytes + 1) };
    ChildConstant {
        vip: vip(),
        family: IkeSaId(58),
        connection: "road".into(),
        child: "lan".into(),
        inbound: child_keys(267, 59),
        outbound: child_keys(268, 61),
        encryption: Encryption::Other(99, Some(64)),
        integrity: Integrity::None,
        transport: false,
        esn: true,
        replay_window: 1024,
        local: selectors(1),
        remote: selectors(58),
        born: Epoch(63),
        created: Timestamp(64),
        soft: limit(65),
        hard: limit(67),
        takeover_reserve: 40,
        local_endpoint: SocketAddr::new(v4(69), 4500),
        remote_endpoint: SocketAddr::new(v6(70), 4501),
        encapsulated: true,
    }
}

fn responder() -> HalfOpenResponder {
    HalfOpenResponder {
        id: IkeSaId(71),
        spis: IkeSpis { initiator: 72, responder: 73 },
        created: Timestamp(74),
        born: Epoch(75),
        addresses: addresses(76),
        algorithms: algorithms(),
        private: private(77),
        peer_public: vec![78],
        initiator_nonce: vec![79],
        responder_nonce: vec![80],
        request: vec![81],
        response: vec![82],
        fragmentation: true,
        intermediate: Some(Box::new(Intermediate {
            count: 83,
            keys: keys(),
            proof: IntermediateProof { initiator: vec![84], responder: vec![85] },
            request: vec![86],
            response: vec![vec![87], vec![88]],
        })),
        eap: Some(Box::new(EapProgress {
            rounds: 110,
            keys: keys(),
            connection: "road".into(),
            first: 35,
            asked: vec![111],
            step: EapStep::Success { identifier: 112, user: "user".into(), msk: secret(113) },
            request: vec![114],
            response: vec![vec![115]],
        })),
    }
}

fn initiator(step: HalfOpenStep) -> HalfOpenInitiator {
    HalfOpenInitiator {
        id: IkeSaId(89),
        created: Timestamp(90),
        born: Epoch(91),
        connection: "branch".into(),
        children: vec!["lan".into(), "wan".into()],
        addresses: addresses(92),
        private: private(93),
        nonce: vec![94],
        request: vec![95],
        cookie: vec![96],
        solution: vec![97],
        restarts: 98,
        auth: Some(HalfOpenAuth {
            spis: IkeSpis { initiator: 99, responder: 100 },
            algorithms: algorithms(),
            keys: keys(),
            responder_nonce: vec![101],
            response: vec![102],
            intermediates: 103,
            proof: IntermediateProof { initiator: vec![104], responder: vec![105] },
            fragmentation: false,
            datagrams: vec![vec![106]],
            step,
        }),
    }
}

fn each_mirrored() -> [Mirrored; 5] {
    let response = StoredResponse { id: 107, datagrams: vec![vec![108]] };
    let ended = Ended { id: IkeSaId(109), request: vec![110], response: vec![vec![111]] };
    [
        Mirrored::Responder(Box::new(responder())),
        Mirrored::Initiator(Box::new(initiator(HalfOpenStep::Intermediate(private(112))))),
        Mirrored::Initiator(Box::new(initiator(HalfOpenStep::Auth(offer())))),
        Mirrored::Answered { id: IkeSaId(113), response },
        Mirrored::Ended(Box::new(ended)),
    ]
}

/// One for each kind of identity.
fn each_identity() -> Vec<Lease> {
    let identities = [
        Identity::Ipv4(Ipv4Addr::new(198, 51, 100, 1)),
        Identity::Fqdn("host.test".into()),
        Identity::Email("a@b.test".into()),
        Identity::Ipv6(Ipv6Addr::LOCALHOST),
        Identity::KeyId(vec![1, 2, 3]),
        Identity::Other(9, vec![0x30]),
    ];
    let lease = |identity| Lease {
        address: v4(114),
        pool: "road".into(),
        released: matches!(identity, Identity::KeyId(_)).then_some(Timestamp(115)),
        identity,
    };
    identities.map(lease).into()
}
