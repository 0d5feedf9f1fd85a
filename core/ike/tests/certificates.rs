//! Authentication by certificate and digital signature (RFC 7427) between two engines.
//!
//! The certificates beside this file were made with strongSwan's `pki`, valid from 2023 to 2043 (one
//! from 2020 to 2021): `rsa` comes from `sub`, which comes from `root`, as do the others but
//! `foreign`, whose authority only has the same name. `root.crl` has `p256` revoked.

#![allow(clippy::unwrap_used)]

mod world;

use core::time::Duration;
use vipsec_crypto::certificate::{Authorities, CertificateError, Names, name_from_text};
use vipsec_crypto::signature::SigningKey;
use vipsec_ike::{Authentication, Certificates, CloseReason, Config, Event};
use vipsec_wire::ike::Identity;
use world::{Side, World, config};

macro_rules! certificate {
    ($name:literal) => {
        Own {
            chain: vec![include_bytes!(concat!("certificates/", $name, ".der")).to_vec()],
            key: include_bytes!(concat!("certificates/", $name, ".key")),
        }
    };
}

struct Own {
    chain: Vec<Vec<u8>>,
    key: &'static [u8],
}

const ROOT: &[u8] = include_bytes!("certificates/root.der");
const SUB: &[u8] = include_bytes!("certificates/sub.der");
const REVOKED: &[u8] = include_bytes!("certificates/root.crl");

fn authentication(own: Own, lists: &[Vec<u8>]) -> Authentication {
    let authorities = Authorities::new(&[ROOT.to_vec()], lists).unwrap();
    let key = SigningKey::from_der(own.key).unwrap();
    Authentication::Certificates(Box::new(Certificates::new(own.chain, key, authorities).unwrap()))
}

/// RSA, with the certificate between it and the authority.
fn rsa() -> Own {
    let mut own = certificate!("rsa");
    own.chain.push(SUB.to_vec());
    own
}

fn side(side: Side, own: Own) -> Config {
    let mut config = config(side);
    config.connections[0].authentication = authentication(own, &[]);
    config
}

fn connect(left: Config, right: Config) -> World {
    let mut world = World::with(left, right);
    world.initiate(Side::Left, "net");
    world.pass(Duration::from_secs(20));
    world
}

fn refused(left: Config, right: Config) {
    let mut world = connect(left, right);
    world.check_agreement(0, 0);
    let failed = |event: &Event| {
        matches!(event, Event::Failed { reason: CloseReason::AuthenticationFailed, .. })
    };
    assert!(world.left.has_event(failed) || world.right.has_event(failed));
}

//= RFC 7296 section 1.2 #1: with a chain
//= RFC 7296 section 3.6 #1: a chain of two each way
//= RFC 7296 section 3.6 #3: with a chain
#[test]
fn every_kind_of_key_in_both_roles() {
    let lefts: [fn() -> Own; 2] = [rsa, || certificate!("p384")];
    let rights: [fn() -> Own; 3] =
        [|| certificate!("p256"), || certificate!("p521"), || certificate!("ed25519")];
    for left in lefts {
        for right in rights {
            for begins in [Side::Left, Side::Right] {
                let mut world = World::with(side(Side::Left, left()), side(Side::Right, right()));
                world.initiate(begins, "net");
                world.run();
                world.check_agreement(1, 1);
            }
        }
    }
}

#[test]
fn the_subject_is_who_we_are_when_nothing_is_configured() {
    let mut left = side(Side::Left, rsa());
    left.connections[0].local_id = None;
    let mut right = side(Side::Right, certificate!("p256"));
    let dn = |text: &str| Some(Identity::Other(9, name_from_text(text).unwrap()));
    right.connections[0].remote_id = dn("C=CH, O=vipsec, CN=*");
    let mut world = connect(left.clone(), right.clone());
    world.check_agreement(1, 1);
    right.connections[0].remote_id = dn("C=CH, O=another, CN=*");
    refused(left.clone(), right.clone());
    right.connections[0].remote_id = dn("C=CH, O=vipsec");
    refused(left, right);
}

#[test]
fn addresses_and_mail_addresses_are_identities_too() {
    for id in ["left@example.org", "192.0.2.1"] {
        let mut left = side(Side::Left, rsa());
        let mut right = side(Side::Right, certificate!("p256"));
        left.connections[0].local_id = Some(id.parse().unwrap());
        right.connections[0].remote_id = None;
        connect(left, right).check_agreement(1, 1);
    }
}

#[test]
fn who_the_certificate_does_not_name_is_refused() {
    let mut left = side(Side::Left, rsa());
    left.connections[0].local_id = Some(Identity::Fqdn("admin".into()));
    let mut right = side(Side::Right, certificate!("p256"));
    right.connections[0].remote_id = None;
    refused(left, right);
    refused(side(Side::Left, rsa()), side(Side::Right, certificate!("nameless")));
}

#[test]
fn a_certificate_of_another_authority_is_refused() {
    refused(side(Side::Left, rsa()), side(Side::Right, certificate!("foreign")));
    // A chain that is not sent whole leads nowhere.
    refused(side(Side::Left, certificate!("rsa")), side(Side::Right, certificate!("p256")));
}

#[test]
fn a_certificate_counts_while_it_is_valid() {
    refused(side(Side::Left, rsa()), side(Side::Right, certificate!("expired")));
    let mut world = World::with(side(Side::Left, rsa()), side(Side::Right, certificate!("p256")));
    world.now = vipsec_wire::time::Timestamp(2_400_000_000_000_000);
    world.initiate(Side::Left, "net");
    world.pass(Duration::from_secs(20));
    world.check_agreement(0, 0);
}

#[test]
fn a_revoked_certificate_is_refused() {
    let mut left = side(Side::Left, rsa());
    left.connections[0].authentication = authentication(rsa(), &[REVOKED.to_vec()]);
    refused(left.clone(), side(Side::Right, certificate!("p256")));
    connect(left, side(Side::Right, certificate!("p521"))).check_agreement(1, 1);
}

#[test]
fn a_shared_key_does_not_do_where_certificates_are_asked_for() {
    refused(config(Side::Left), side(Side::Right, certificate!("p256")));
    refused(side(Side::Left, rsa()), config(Side::Right));
}

#[test]
fn a_key_that_is_not_the_certificates_is_refused_at_once() {
    let authorities = Authorities::new(&[ROOT.to_vec()], &[]).unwrap();
    let key = SigningKey::from_der(certificate!("p384").key).unwrap();
    let made = Certificates::new(certificate!("p256").chain, key, authorities);
    assert_eq!(made.map(|_| ()), Err(CertificateError::OtherKey));
    assert!(Names::of(b"\x30\x03\x02\x01\x01").is_err());
}

/// Whatever octet of it is changed.
#[test]
fn a_changed_certificate_proves_nothing() {
    let good = certificate!("p256");
    let authorities = Authorities::new(&[ROOT.to_vec()], &[]).unwrap();
    let now = 1_700_000_000;
    authorities.verify(&good.chain, now).unwrap();
    let der = &good.chain[0];
    for at in 0..der.len() {
        let mut bad = der.clone();
        bad[at] ^= 0x01;
        assert!(authorities.verify(&[bad], now).is_err(), "octet {at}");
    }
    assert!(authorities.verify(&[], now).is_err());
}
