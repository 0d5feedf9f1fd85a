//! IKE messages written octet by octet from the figures of RFC 7296 section 3, held against the
//! parser and the emitter.

use core::net::{Ipv4Addr, Ipv6Addr};
use vipsec_wire::ParseError;
use vipsec_wire::id::EspSpi;
use vipsec_wire::ike::{
    Attribute, Auth, AuthMethod, Configuration, ConfigurationType, Delete, Encrypted, Encryption,
    Esn, ExchangeType, Group, Header, Identification, Identity, IkeSpis, Integrity, KeyExchange,
    Message, Nonce, Notify, NotifyType, Payload, PayloadType, Prf, Proposal, Protocol, RawHeader,
    SecurityAssociation, Side, TrafficSelector, TrafficSelectors, Transform, VendorId, emit_chain,
    emit_encrypted_header, parse_chain,
};

/// Section 3.1: the header of a request of the original initiator, exchange and length as given.
const fn header(first: u8, exchange: u8, flags: u8, length: u8) -> [u8; 28] {
    [
        0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, // initiator's SPI
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, // responder's SPI
        first, 0x20, exchange, flags, // next payload, version 2.0, exchange, flags
        0x00, 0x00, 0x00, 0x00, // message ID
        0x00, 0x00, 0x00, length, // length
    ]
}

fn init_header() -> Header {
    Header {
        spis: IkeSpis { initiator: 0x0102_0304_0506_0708, responder: 0 },
        exchange: ExchangeType::IkeSaInit,
        from_initiator: true,
        response: false,
        higher_version: false,
        message_id: 0,
    }
}

//= RFC 7296 section 2.5 #6: reserved fields are zero
//= RFC 7296 section 2.5 #12: and the critical bit
//= RFC 7296 section 3.1 #5: version 2
//= RFC 7296 section 3.1 #8: .0
//= RFC 7296 section 3.1 #11: the I flag of the initiator
//= RFC 7296 section 3.2 #1: no critical bit
//= RFC 7296 section 3.3 #3: proposals count
//= RFC 7296 section 3.3 #4: from 1
//= RFC 7296 section 3.3.1 #1: reserved octets are zero
//= RFC 7296 section 3.3.1 #3: no SPI
//= RFC 7296 section 3.3.2 #1: reserved octets are zero
//= RFC 7296 section 3.3.5 #1: the short form
//= RFC 7296 section 3.3.5 #3: in network byte order
//= RFC 7296 section 2.13 #1: the key length is there
//= RFC 7296 section 3.3.5 #4: and not where there is one
//= RFC 7296 section 3.3.3 #1: types 1 to 4
#[test]
fn an_ike_sa_init_request() {
    let body = [
        // SA payload (33): next KE, length 48 (section 3.3)
        34, 0, 0, 48, //
        0, 0, 0, 44, 1, 1, 0,
        4, // the last proposal, 44 octets, number 1, IKE, no SPI, 4 transforms
        3, 0, 0, 12, 1, 0, 0, 12, 0x80, 14, 1, 0, // ENCR AES-CBC, key length 256
        3, 0, 0, 8, 2, 0, 0, 5, // PRF HMAC-SHA2-256
        3, 0, 0, 8, 3, 0, 0, 12, // INTEG HMAC-SHA2-256-128
        0, 0, 0, 8, 4, 0, 0, 31, // the last transform: KE Curve25519
        // KE payload (34): next Nonce, length 12 (section 3.4)
        40, 0, 0, 12, 0, 31, 0, 0, 0xa1, 0xa2, 0xa3, 0xa4,
        // Nonce payload (40): next Notify, length 20 (section 3.9)
        41, 0, 0, 20, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16,
        // Notify payload (41): next Vendor ID, length 10 (section 3.10): COOKIE of two octets
        43, 0, 0, 10, 0, 0, 0x40, 0x06, 0xcc, 0xdd, //
        // Vendor ID payload (43): last, length 7 (section 3.12)
        0, 0, 0, 7, b'v', b'i', b'p',
    ];
    let bytes = [&header(33, 34, 0x08, 28 + 97)[..], &body].concat();
    let transforms = vec![
        Transform::Encryption(Encryption::AesCbc { bits: 256 }),
        Transform::Prf(Prf::HmacSha2_256),
        Transform::Integrity(Integrity::HmacSha2_256_128),
        Transform::Group(Group::X25519),
    ];
    let proposal = Proposal { number: 1, protocol: Protocol::Ike, spi: vec![], transforms };
    let message = Message::new(
        init_header(),
        vec![
            Payload::SecurityAssociation(SecurityAssociation { proposals: vec![proposal] }),
            Payload::KeyExchange(KeyExchange {
                group: Group::X25519,
                public: vec![0xa1, 0xa2, 0xa3, 0xa4],
            }),
            Payload::Nonce(Nonce((1..=16).collect())),
            Payload::Notify(Notify::new(NotifyType::COOKIE, vec![0xcc, 0xdd])),
            Payload::Vendor(VendorId(b"vip".to_vec())),
        ],
    );
    assert_eq!(message.emit(), bytes);
    assert_eq!(Message::parse(&bytes), Ok(message));
}

/// What stands inside the Encrypted payload of an IKE_AUTH request.
#[rustfmt::skip]
const AUTH_CHAIN: [u8; 168] = [
    // IDi (35): next IDr, length 12 (section 3.5): an IPv4 address
    36, 0, 0, 12, 1, 0, 0, 0, 10, 1, 2, 3,
    // IDr (36): next AUTH, length 15: FQDN
    39, 0, 0, 15, 2, 0, 0, 0, b'g', b'w', b'.', b't', b'e', b's', b't',
    // AUTH (39): next CP, length 12 (section 3.8): shared key
    47, 0, 0, 12, 2, 0, 0, 0, 0xde, 0xad, 0xbe, 0xef,
    // CP (47): next SA, length 33 (section 3.15): request for an address of each kind
    33, 0, 0, 33, 1, 0, 0, 0,
    0, 1, 0, 0,
    0, 8, 0, 17, 0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 64,
    // SA (33): next TSi, length 36
    44, 0, 0, 36,
    0, 0, 0, 32, 1, 3, 4, 2, 0xc0, 0xde, 0, 1, // the last proposal: number 1, ESP, SPI, 2 transforms
    3, 0, 0, 12, 1, 0, 0, 20, 0x80, 14, 0, 128, // ENCR AES-GCM-16, key length 128
    0, 0, 0, 8, 5, 0, 0, 1, // ESN
    // TSi (44): next TSr, length 24 (section 3.13): one, TCP to port 80 at 10.0.0.0-10.0.0.255
    45, 0, 0, 24, 1, 0, 0, 0,
    7, 6, 0, 16, 0, 80, 0, 80, 10, 0, 0, 0, 10, 0, 0, 255,
    // TSr (45): next Notify, length 24: everything
    41, 0, 0, 24, 1, 0, 0, 0,
    7, 0, 0, 16, 0, 0, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff,
    // Notify (41): last, length 12: REKEY_SA of an ESP SA, with its SPI
    0, 0, 0, 12, 3, 4, 0x40, 0x09, 0xc0, 0xde, 0, 2,
];

fn auth_payloads() -> Vec<Payload> {
    let address = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
    let identification =
        |side, identity| Payload::Identification(Identification { side, identity });
    let selectors = |side, selector| {
        Payload::TrafficSelectors(TrafficSelectors { side, selectors: vec![selector] })
    };
    let ours = TrafficSelector::from_prefix([10, 0, 0, 0].into(), 24).expect("at most 32");
    let ours = TrafficSelector { protocol: 6, first_port: 80, last_port: 80, ..ours };
    vec![
        identification(Side::Initiator, Identity::Ipv4(Ipv4Addr::new(10, 1, 2, 3))),
        identification(Side::Responder, Identity::Fqdn("gw.test".into())),
        Payload::Auth(Auth { method: AuthMethod::SharedKey, data: vec![0xde, 0xad, 0xbe, 0xef] }),
        Payload::Configuration(Configuration {
            kind: ConfigurationType::Request,
            attributes: vec![
                Attribute::InternalIp4Address(None),
                Attribute::InternalIp6Address(Some((address, 64))),
            ],
        }),
        Payload::SecurityAssociation(SecurityAssociation {
            proposals: vec![Proposal {
                number: 1,
                protocol: Protocol::Esp,
                spi: vec![0xc0, 0xde, 0, 1],
                transforms: vec![
                    Transform::Encryption(Encryption::AesGcm16 { bits: 128 }),
                    Transform::Esn(Esn::Yes),
                ],
            }],
        }),
        selectors(Side::Initiator, ours),
        selectors(Side::Responder, TrafficSelector::any_v4()),
        Payload::Notify(Notify {
            sa: Some((Protocol::Esp, vec![0xc0, 0xde, 0, 2])),
            kind: NotifyType::REKEY_SA,
            data: vec![],
        }),
    ]
}

//= RFC 7296 section 3.5 #1: reserved octets are zero
//= RFC 7296 section 3.8 #1: likewise
//= RFC 7296 section 3.13 #1: likewise
//= RFC 7296 section 3.15 #1: likewise
//= RFC 7296 section 3.15.1 #1: the reserved bit is
//= RFC 7296 section 3.10 #1: the protocol of the SA
//= RFC 7296 section 4 #1: every type is parsed
//= RFC 7296 section 3.3.3 #1: type 5
#[test]
fn the_payloads_of_an_ike_auth() {
    let idi = PayloadType::IDENTIFICATION_INITIATOR;
    assert_eq!(emit_chain(&auth_payloads()), (idi, AUTH_CHAIN.to_vec()));
    assert_eq!(parse_chain(idi, &AUTH_CHAIN), Ok(auth_payloads()));
    for end in 0..AUTH_CHAIN.len() {
        assert!(parse_chain(idi, &AUTH_CHAIN[..end]).is_err(), "cut at {end}");
    }
}

//= RFC 7296 section 3.11 #1: of one protocol each
//= RFC 7296 section 3.11 #2: never mixed
//= RFC 7296 section 3.11 #3: four octets, or none
#[test]
fn deletes_of_both_kinds() {
    // Section 3.11: Delete (42), next Delete; of the IKE SA, then of two ESP SAs.
    let bytes = [42, 0, 0, 8, 1, 0, 0, 0, 0, 0, 0, 16, 3, 4, 0, 2, 0, 0, 1, 0, 0, 0, 1, 1];
    let payloads = vec![
        Payload::Delete(Delete::Ike),
        Payload::Delete(Delete::Esp(vec![EspSpi(0x100), EspSpi(0x101)])),
    ];
    assert_eq!(emit_chain(&payloads), (PayloadType::DELETE, bytes.to_vec()));
    assert_eq!(parse_chain(PayloadType::DELETE, &bytes), Ok(payloads));
}

//= RFC 7296 section 3.1 #1: nothing follows it
//= RFC 7296 section 3.14 #1: likewise
//= RFC 7296 section 3.1 #13: the R flag of a response
#[test]
fn an_encrypted_payload_ends_the_message() {
    // Section 3.14: SK (46), first payload inside IDi, 8 octets of body.
    let expected = [&header(46, 35, 0x28, 28 + 12)[..], &[35, 0, 0, 12]].concat();
    let header = Header { exchange: ExchangeType::IkeAuth, response: true, ..init_header() };
    let idi = PayloadType::IDENTIFICATION_INITIATOR;
    let mut bytes = emit_encrypted_header(&header, idi, None, 8);
    assert_eq!(bytes, expected);
    bytes.extend_from_slice(&[0xee; 8]);
    let message = Message::parse(&bytes).unwrap();
    assert_eq!(message.encrypted, Some(Encrypted { first: idi, fragment: None, body_at: 32 }));
    assert_eq!((message.header, message.payloads), (header, vec![]));
    bytes.push(0);
    bytes[27] += 1;
    assert_eq!(Message::parse(&bytes), Err(ParseError::Length("payload chain")));
}

//= RFC 7296 section 2.5 #7: reserved bits are not looked at
//= RFC 7296 section 2.5 #8: unknown ones are skipped
//= RFC 7296 section 3.2 #3: the critical bit of a known one says nothing
//= RFC 7296 section 3.2 #5: reserved bits are not looked at
#[test]
fn unknown_payloads_are_skipped_unless_critical() {
    // An unknown payload of type 200 in front of a Notify.
    let chain = |critical: u8| [41, critical, 0, 6, 9, 9, 0, 0, 0, 8, 0, 0, 0x40, 0x00];
    let notify = Payload::Notify(Notify::new(NotifyType::INITIAL_CONTACT, vec![]));
    assert_eq!(parse_chain(PayloadType(200), &chain(0)), Ok(vec![notify.clone()]));
    assert_eq!(parse_chain(PayloadType(200), &chain(0x7f)), Ok(vec![notify]), "reserved bits");
    assert_eq!(parse_chain(PayloadType(200), &chain(0x80)), Err(ParseError::Critical(200)));
    // The critical bit of a known payload means nothing (section 3.2).
    let nonce = [&[0, 0x80, 0, 20][..], &[1; 16]].concat();
    assert!(parse_chain(PayloadType::NONCE, &nonce).is_ok());
}

//= RFC 7296 section 2.5 #1: the minor version says nothing
//= RFC 7296 section 3.1 #9: likewise
#[test]
fn a_message_of_another_version_can_still_be_answered() {
    let mut bytes = header(0, 37, 0x08, 28);
    bytes[17] = 0x35;
    let refused = ParseError::Version { what: "IKE", version: 3 };
    assert_eq!(Message::parse(&bytes), Err(refused));
    let raw = RawHeader::parse(&bytes).unwrap();
    assert_eq!((raw.major_version, raw.header.exchange), (3, ExchangeType::Informational));
    bytes[17] = 0x2f;
    assert!(Message::parse(&bytes).is_ok(), "the minor version means nothing (section 3.1)");
    bytes[27] = 29;
    assert_eq!(Message::parse(&bytes), Err(ParseError::Length("IKE header")));
}

//= RFC 7296 section 3.3.6 #8: the transform is not understood either
//= RFC 7296 section 3.3 #7: nor is one with two of a type
//= RFC 7296 section 3.3.5 #5: AES without key length is unknown
#[test]
fn transforms_with_attributes_that_are_not_understood() {
    let chain = |attribute: &[u8]| {
        let transform = u8::try_from(8 + attribute.len()).unwrap();
        let (proposal, payload) = (8 + transform, 12 + transform);
        let mut out = vec![0, 0, 0, payload, 0, 0, 0, proposal, 1, 1, 0, 1];
        out.extend_from_slice(&[0, 0, 0, transform, 1, 0, 0, 20]);
        out.extend_from_slice(attribute);
        parse_chain(PayloadType::SECURITY_ASSOCIATION, &out).map(|payloads| match &payloads[0] {
            Payload::SecurityAssociation(sa) => sa.proposals[0].transforms[0],
            other => panic!("{other:?}"),
        })
    };
    let gcm = Transform::Encryption(Encryption::AesGcm16 { bits: 256 });
    let unknown = Transform::Unknown { kind: 1, id: 20 };
    let keyless = Transform::Encryption(Encryption::Other(20, None));
    assert_eq!(chain(&[0x80, 14, 1, 0]), Ok(gcm));
    assert_eq!(chain(&[]), Ok(keyless));
    assert_eq!(chain(&[0x80, 99, 1, 0]), Ok(unknown), "type/value form");
    assert_eq!(chain(&[0, 99, 0, 2, 7, 7]), Ok(unknown), "type/length/value form");
    assert_eq!(chain(&[0, 14, 0, 2, 1, 0]), Ok(unknown), "the key length has one form only");
    assert_eq!(chain(&[0x80, 14, 1, 0, 0x80, 14, 1, 0]), Ok(unknown), "twice");
    assert!(chain(&[0, 99, 0, 9, 7, 7]).is_err());
    assert!(chain(&[0x80, 14, 1]).is_err());
}

//= RFC 7296 section 3.3 #2: counts are checked
#[test]
fn numbers_of_everything_are_bounded() {
    let notify = [41, 0, 0, 8, 0, 0, 0x40, 0].repeat(200);
    let too_many = Err(ParseError::Value("number of payloads"));
    assert_eq!(parse_chain(PayloadType::NOTIFY, &notify), too_many);
    let mut proposals = Vec::new();
    for number in 1..=65 {
        proposals.extend_from_slice(&[2, 0, 0, 16, number, 1, 0, 1, 0, 0, 0, 8, 2, 0, 0, 5]);
    }
    let last = proposals.len() - 16;
    proposals[last] = 0;
    let [high, low] = u16::try_from(proposals.len() + 4).unwrap().to_be_bytes();
    let chain = [&[0, 0, high, low], &proposals[..]].concat();
    assert!(parse_chain(PayloadType::SECURITY_ASSOCIATION, &chain).is_err());
}
