//! MS-CHAPv2 against RFC 2759 section 9.2 and RFC 3079 section 3.5.3.

#![allow(clippy::unwrap_used)]

use vipsec_crypto::mschapv2::{Exchange, PasswordHash};

fn bytes<const N: usize>(hex: &str) -> [u8; N] {
    hex::decode(hex).unwrap().try_into().unwrap()
}

#[test]
fn the_examples_of_the_rfcs() {
    let exchange = Exchange {
        authenticator_challenge: &bytes("5b5d7c7d7b3f2f3e3c2c602132262628"),
        peer_challenge: &bytes("21402324255e262a28295f2b3a337c7e"),
        user: b"User",
    };
    let hash = PasswordHash::new("clientPass");
    let response = bytes("82309ecd8d708b5ea08faa3981cd83544233114a3d85d6df");
    assert_eq!(hash.response(exchange), response);
    assert_eq!(
        hash.authenticator_response(exchange, &response),
        "407A5589115FD0D6209F510FE9C04566932CDA56"
    );
    let msk = hash.session_key(&response);
    assert_eq!(msk.expose()[16..32], bytes::<16>("8b7cdc149b993a1ba118cb153f56dccb"));
    assert_eq!((msk.expose().len(), &msk.expose()[32..]), (64, &[0; 32][..]));
    assert_ne!(PasswordHash::new("clientpass").response(exchange), response);
    let other = Exchange { user: b"user", ..exchange };
    assert_ne!(hash.response(other), response);
}
