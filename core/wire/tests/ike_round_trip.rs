//! Whatever IKE message can be composed is read back as it was; whatever else arrives is refused
//! without a panic, and what is accepted can be written again.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use vipsec_wire::id::EspSpi;
use vipsec_wire::ike::{
    Attribute, Auth, AuthMethod, Configuration, ConfigurationType, Delete, ExchangeType, Group,
    Header, Identification, Identity, IkeSpis, KeyExchange, Message, Nonce, Notify, NotifyType,
    Payload, Proposal, Protocol, SecurityAssociation, Side, TrafficSelector, TrafficSelectors,
    Transform, VendorId, emit_chain, emit_encrypted_header, parse_chain,
};

fn side() -> impl Strategy<Value = Side> {
    prop_oneof![Just(Side::Initiator), Just(Side::Responder)]
}

fn header() -> impl Strategy<Value = Header> {
    let flags = any::<(bool, bool, bool)>();
    (1..=u64::MAX, any::<u64>(), any::<u8>(), flags, any::<u32>()).prop_map(
        |(initiator, responder, exchange, flags, message_id)| Header {
            spis: IkeSpis { initiator, responder },
            exchange: ExchangeType::from_number(exchange),
            from_initiator: flags.0,
            response: flags.1,
            higher_version: flags.2,
            message_id,
        },
    )
}

fn transform() -> impl Strategy<Value = Transform> {
    let number = prop_oneof![0..40u16, any::<u16>()];
    let bits = prop_oneof![Just(128), Just(192), Just(256), any::<u16>()];
    (0..7u8, number, proptest::option::of(bits)).prop_map(|(kind, id, bits)| {
        let bits = if kind == 1 { bits } else { None };
        Transform::from_number(kind, id, bits)
    })
}

fn proposal() -> impl Strategy<Value = Proposal> {
    let start = prop_oneof![
        Just((Protocol::Ike, 0)),
        Just((Protocol::Ike, 8)),
        Just((Protocol::Esp, 4)),
        Just((Protocol::Other(77), 3)),
    ];
    let start = start.prop_flat_map(|(protocol, size)| (Just(protocol), vec(any::<u8>(), size)));
    (start, vec(transform(), 0..12)).prop_map(|((protocol, spi), transforms)| Proposal {
        number: 1,
        protocol,
        spi,
        transforms,
    })
}

fn security_association() -> impl Strategy<Value = SecurityAssociation> {
    vec(proposal(), 1..6).prop_map(|mut proposals| {
        for (proposal, number) in proposals.iter_mut().zip(1..) {
            proposal.number = number;
        }
        SecurityAssociation { proposals }
    })
}

fn identity() -> impl Strategy<Value = Identity> {
    (prop_oneof![0..12u8, any::<u8>()], vec(any::<u8>(), 0..20), any::<u128>(), "\\PC{0,12}")
        .prop_map(|(kind, data, address, text)| {
            let octets = address.to_be_bytes();
            let data = match kind {
                1 => octets[..4].to_vec(),
                5 => octets.to_vec(),
                2 | 3 if data.len() % 2 == 0 => text.into_bytes(),
                _ => data,
            };
            Identity::from_data(kind, &data).expect("addresses of the right length")
        })
}

fn selector() -> impl Strategy<Value = TrafficSelector> {
    let addresses = prop_oneof![
        any::<(u32, u32)>()
            .prop_map(|(a, b)| (a.min(b).to_be_bytes(), a.max(b).to_be_bytes()))
            .prop_map(|(a, b)| TrafficSelector::range(a.into(), b.into())),
        any::<(u128, u128)>()
            .prop_map(|(a, b)| (a.min(b).to_be_bytes(), a.max(b).to_be_bytes()))
            .prop_map(|(a, b)| TrafficSelector::range(a.into(), b.into())),
    ];
    let ports = prop_oneof![
        Just((0, u16::MAX)),
        Just((u16::MAX, 0)),
        any::<(u16, u16)>().prop_map(|(a, b)| (a.min(b), a.max(b))),
    ];
    (addresses, prop_oneof![Just(0), Just(6), any::<u8>()], ports).prop_map(
        |(range, protocol, (first_port, last_port))| {
            let range = range.expect("in order");
            TrafficSelector { protocol, first_port, last_port, ..range }
        },
    )
}

fn attribute() -> impl Strategy<Value = Attribute> {
    prop_oneof![
        any::<Option<[u8; 4]>>().prop_map(|a| Attribute::InternalIp4Address(a.map(Into::into))),
        any::<Option<[u8; 4]>>().prop_map(|a| Attribute::InternalIp4Netmask(a.map(Into::into))),
        any::<Option<[u8; 4]>>().prop_map(|a| Attribute::InternalIp4Dns(a.map(Into::into))),
        any::<Option<[u8; 16]>>().prop_map(|a| Attribute::InternalIp6Dns(a.map(Into::into))),
        proptest::option::of((any::<[u8; 16]>(), 0..=128u8))
            .prop_map(|p| Attribute::InternalIp6Address(p.map(|(a, l)| (a.into(), l)))),
        proptest::option::of((any::<[u8; 16]>(), 0..=128u8))
            .prop_map(|p| Attribute::InternalIp6Subnet(p.map(|(a, l)| (a.into(), l)))),
        any::<Option<([u8; 4], [u8; 4])>>()
            .prop_map(|p| Attribute::InternalIp4Subnet(p.map(|(a, m)| (a.into(), m.into())))),
        vec(any::<u8>(), 0..20).prop_map(Attribute::ApplicationVersion),
        option::of("[a-z0-9]{1,9}(\\.[a-z]{2,9}){0,3}").prop_map(Attribute::InternalDnsDomain),
        (26..0x8000u16, vec(any::<u8>(), 0..20)).prop_map(|(k, v)| Attribute::Other(k, v)),
    ]
}

fn notify() -> impl Strategy<Value = Notify> {
    let sa = prop_oneof![
        Just(None),
        any::<[u8; 4]>().prop_map(|spi| Some((Protocol::Esp, spi.to_vec()))),
        any::<[u8; 8]>().prop_map(|spi| Some((Protocol::Ike, spi.to_vec()))),
    ];
    (sa, any::<u16>(), vec(any::<u8>(), 0..40)).prop_map(|(sa, kind, data)| Notify {
        sa,
        kind: NotifyType(kind),
        data,
    })
}

fn configuration() -> impl Strategy<Value = Configuration> {
    (any::<u8>(), vec(attribute(), 0..6)).prop_map(|(kind, attributes)| Configuration {
        kind: ConfigurationType::from_number(kind),
        attributes,
    })
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..40)
}

fn payload() -> impl Strategy<Value = Payload> {
    prop_oneof![
        security_association().prop_map(Payload::SecurityAssociation),
        (any::<u16>(), bytes()).prop_map(|(group, public)| Payload::KeyExchange(KeyExchange {
            group: Group::from_number(group),
            public,
        })),
        (side(), identity()).prop_map(|(side, identity)| Payload::Identification(Identification {
            side,
            identity
        })),
        bytes().prop_map(Payload::Certificate),
        bytes().prop_map(Payload::CertificateRequest),
        (any::<u8>(), bytes()).prop_map(|(method, data)| Payload::Auth(Auth {
            method: AuthMethod::from_number(method),
            data,
        })),
        vec(any::<u8>(), 16..=256).prop_map(|nonce| Payload::Nonce(Nonce(nonce))),
        notify().prop_map(Payload::Notify),
        prop_oneof![
            Just(Delete::Ike),
            vec(any::<u32>().prop_map(EspSpi), 0..6).prop_map(Delete::Esp),
            (4..=u8::MAX).prop_map(Delete::Other),
        ]
        .prop_map(Payload::Delete),
        bytes().prop_map(|id| Payload::Vendor(VendorId(id))),
        (side(), vec(selector(), 0..6)).prop_map(|(side, selectors)| Payload::TrafficSelectors(
            TrafficSelectors { side, selectors }
        )),
        configuration().prop_map(Payload::Configuration),
        bytes().prop_map(Payload::Eap),
    ]
}

fn message() -> impl Strategy<Value = Message> {
    (header(), vec(payload(), 0..8)).prop_map(|(header, payloads)| Message::new(header, payloads))
}

/// Puts the real length into the header, so that the payloads are what is wrong.
fn set_length(bytes: &mut [u8]) {
    let length = u32::try_from(bytes.len()).expect("short");
    if let Some(field) = bytes.get_mut(24..28) {
        field.copy_from_slice(&length.to_be_bytes());
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 128,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_message_in_clear(message in message()) {
        let bytes = message.emit();
        prop_assert_eq!(Message::parse(&bytes), Ok(message));
        for end in 0..bytes.len() {
            prop_assert!(Message::parse(&bytes[..end]).is_err(), "cut at {}", end);
            let mut cut = bytes[..end].to_vec();
            set_length(&mut cut);
            prop_assert!(Message::parse(&cut).is_err(), "cut at {}", end);
        }
    }

    #[test]
    fn an_encrypted_message(header in header(), payloads in vec(payload(), 0..8)) {
        let (first, inside) = emit_chain(&payloads);
        let mut bytes = emit_encrypted_header(&header, first, None, inside.len());
        bytes.extend_from_slice(&inside);
        let message = Message::parse(&bytes).expect("well-formed");
        prop_assert_eq!(message.header, header);
        let encrypted = message.encrypted.expect("it ends with one");
        let body = &bytes[encrypted.body_at..];
        prop_assert_eq!(parse_chain(encrypted.first, body), Ok(payloads));
    }

    #[test]
    fn a_damaged_message(message in message(), damage in vec(any::<(u16, u8)>(), 1..6)) {
        let mut bytes = message.emit();
        for (at, value) in damage {
            let at = usize::from(at) % bytes.len();
            bytes[at] = value;
        }
        set_length(&mut bytes);
        if let Ok(read) = Message::parse(&bytes) {
            // What was not understood is lost in the first writing; then nothing is.
            let again = Message::parse(&read.emit()).expect("what we write is well-formed");
            prop_assert_eq!(Message::parse(&again.emit()), Ok(again));
        }
    }

    #[test]
    fn random_bytes(mut bytes in vec(any::<u8>(), 0..400)) {
        let _ = Message::parse(&bytes);
        set_length(&mut bytes);
        if let Some(version) = bytes.get_mut(17) {
            *version = 0x20;
        }
        let _ = Message::parse(&bytes);
    }

    #[test]
    fn an_identity_as_text(identity in identity()) {
        let text = identity.to_string();
        prop_assert!(text.bytes().all(|octet| octet.is_ascii_graphic()), "{}", text);
        prop_assert_eq!(text.parse(), Ok(identity));
    }

    #[test]
    fn an_intersection_is_what_both_match(a in selector(), b in selector(), at: u128, port: u16) {
        let both = a.intersect(&b);
        prop_assert_eq!(both, b.intersect(&a));
        prop_assert!(a.is_subset_of(&a));
        let addresses = [a.first_address, b.last_address, at.to_be_bytes().into()];
        for address in addresses {
            for protocol in [0, 6, a.protocol, b.protocol] {
                for port in [None, Some(port), Some(a.first_port)] {
                    let matches = |s: &TrafficSelector| s.contains(address, protocol, port);
                    let expected = matches(&a) && matches(&b);
                    prop_assert_eq!(both.as_ref().is_some_and(matches), expected);
                }
            }
        }
        if let Some(both) = both {
            prop_assert!(both.is_subset_of(&a) && both.is_subset_of(&b));
        }
    }

    #[test]
    fn prefixes_cover_the_range_and_nothing_else(selector in selector()) {
        let mut next = Some(selector.first_address);
        let mut last = None;
        for (network, length) in selector.prefixes() {
            prop_assert_eq!(Some(network), next);
            let prefix = TrafficSelector::from_prefix(network, length).expect("a real length");
            prop_assert_eq!(prefix.first_address, network);
            last = Some(prefix.last_address);
            next = successor(prefix.last_address);
        }
        prop_assert_eq!(last, Some(selector.last_address));
    }
}

fn successor(address: core::net::IpAddr) -> Option<core::net::IpAddr> {
    match address {
        core::net::IpAddr::V4(v4) => v4.to_bits().checked_add(1).map(|n| n.to_be_bytes().into()),
        core::net::IpAddr::V6(v6) => v6.to_bits().checked_add(1).map(|n| n.to_be_bytes().into()),
    }
}

//= RFC 7296 section 3.5 #4: each type can be configured
//= RFC 7296 section 3.5 #5: on both sides
//= RFC 7296 section 3.5 #6: IPv6 too
#[test]
fn identities_as_people_write_them() {
    let parse = |text: &str| text.parse::<Identity>();
    assert_eq!(parse("192.0.2.1"), Ok(Identity::Ipv4("192.0.2.1".parse().unwrap())));
    assert_eq!(parse("2001:db8::1"), Ok(Identity::Ipv6("2001:db8::1".parse().unwrap())));
    assert_eq!(parse("gw.example.org"), Ok(Identity::Fqdn("gw.example.org".into())));
    assert_eq!(parse("@gw"), Ok(Identity::Fqdn("gw".into())));
    assert_eq!(parse("gw@test"), Ok(Identity::Email("gw@test".into())));
    assert_eq!(parse("@@gw"), Ok(Identity::Email("gw".into())));
    assert_eq!(parse("@#c0de"), Ok(Identity::KeyId(vec![0xc0, 0xde])));
    assert_eq!(parse("keyid:box7"), Ok(Identity::KeyId(b"box7".to_vec())));
    assert_eq!(parse("{9}:#3000"), Ok(Identity::Other(9, vec![0x30, 0])));
    assert_eq!(Identity::Fqdn("192.0.2.1".into()).to_string(), "fqdn:192.0.2.1");
    for wrong in ["", "%any", "C=DE, CN=gw", "ipv4:gw", "@#c0d", "@#xy", "what:ever", "{999}:x"] {
        assert!(parse(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn selectors_as_people_read_them() {
    let net = TrafficSelector::from_prefix("10.1.2.3".parse().unwrap(), 8).unwrap();
    assert_eq!(net.to_string(), "10.0.0.0/8");
    let web = TrafficSelector { protocol: 6, first_port: 80, last_port: 80, ..net };
    assert_eq!(web.to_string(), "10.0.0.0/8[tcp/80]");
    let opaque = TrafficSelector { protocol: 17, first_port: u16::MAX, last_port: 0, ..net };
    assert_eq!(opaque.to_string(), "10.0.0.0/8[udp/opaque]");
    assert_eq!(opaque.intersect(&web), None);
    let pool = ["10.77.0.10".parse().unwrap(), "10.77.0.250".parse().unwrap()];
    let pool = TrafficSelector::range(pool[0], pool[1]).unwrap();
    assert_eq!(pool.to_string(), "10.77.0.10-10.77.0.250");
    assert_eq!(TrafficSelector::any_v6().prefixes(), [("::".parse().unwrap(), 0)]);
    assert!(TrafficSelector::range(pool.last_address, pool.first_address).is_none());
    assert!(TrafficSelector::from_prefix(pool.first_address, 33).is_none());
    let worst = ["0.0.0.1".parse().unwrap(), "255.255.255.254".parse().unwrap()];
    assert_eq!(TrafficSelector::range(worst[0], worst[1]).unwrap().prefixes().len(), 62);
}
