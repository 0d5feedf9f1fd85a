//! The arithmetic of MS-CHAPv2 (RFC 2759 section 8, RFC 3079 section 3) for EAP-MSCHAPv2: MD4, DES and
//! SHA-1. It protects nothing by itself: in IKEv2 it runs under keys that the gateway's certificate has
//! authenticated, and its session key does no more than to bind it to them.

use crate::Secret;
use crate::digest::sha1;
use des::Des;
use des::cipher::{Block, BlockCipherEncrypt, KeyInit};
use md4::{Digest, Md4};
use zeroize::{Zeroize, Zeroizing};

/// Bytes of a challenge.
pub const CHALLENGE: usize = 16;
/// Bytes of an NT-Response.
pub const RESPONSE: usize = 24;
/// Bytes of the session key (MSK).
pub const MSK: usize = 64;

/// A peer's half of the exchange, as the gateway checks it.
#[derive(Debug, Clone, Copy)]
pub struct Exchange<'a> {
    /// What the gateway has sent.
    pub authenticator_challenge: &'a [u8; CHALLENGE],
    /// What the peer has added.
    pub peer_challenge: &'a [u8; CHALLENGE],
    /// The peer's name, without domain.
    pub user: &'a [u8],
}

/// The key of a password: the MD4 of its UTF-16.
pub struct PasswordHash(Zeroizing<[u8; 16]>);

impl PasswordHash {
    /// Takes a password.
    #[must_use]
    pub fn new(password: &str) -> PasswordHash {
        let mut text = Zeroizing::new(Vec::with_capacity(2 * password.len()));
        password.encode_utf16().for_each(|unit| text.extend_from_slice(&unit.to_le_bytes()));
        PasswordHash(Zeroizing::new(Md4::digest(&*text).into()))
    }

    /// The NT-Response that the peer should have sent (RFC 2759 section 8.1).
    #[must_use]
    pub fn response(&self, exchange: Exchange<'_>) -> [u8; RESPONSE] {
        let challenge = exchange.hash();
        let mut keys = Zeroizing::new([0; 21]);
        keys[..16].copy_from_slice(&*self.0);
        let mut out = [0; RESPONSE];
        for (key, out) in keys.chunks_exact(7).zip(out.chunks_exact_mut(8)) {
            let mut block = Block::<Des>::from(challenge);
            Des::new((&*des_key(key)).into()).encrypt_block(&mut block);
            out.copy_from_slice(&block);
        }
        out
    }

    /// What proves to the peer that the gateway knows the password, too (RFC 2759 section 8.7), as the
    /// 40 hexadecimal digits after `S=`.
    #[must_use]
    pub fn authenticator_response(
        &self,
        exchange: Exchange<'_>,
        response: &[u8; RESPONSE],
    ) -> String {
        let magic = b"Magic server to client signing constant";
        let pad = b"Pad to make it do more than one iteration";
        let digest = sha1(&[&*self.twice(), response, magic]);
        let digest = sha1(&[&digest, &exchange.hash(), pad]);
        digest.iter().map(|octet| format!("{octet:02X}")).collect()
    }

    /// The MSK of EAP-MSCHAPv2: the keys of RFC 3079 section 3 for both directions, as the gateway
    /// receives and sends, and zeros.
    #[must_use]
    pub fn session_key(&self, response: &[u8; RESPONSE]) -> Secret {
        let mut master = sha1(&[&*self.twice(), response, b"This is the MPPE Master Key"]);
        let directions: [&[u8]; 2] = [
            b"On the client side, this is the send key; on the server side, it is the receive key.",
            b"On the client side, this is the receive key; on the server side, it is the send key.",
        ];
        let mut out = vec![0; MSK];
        for (magic, out) in directions.into_iter().zip(out.chunks_exact_mut(16)) {
            let mut key = sha1(&[&master[..16], &[0; 40], magic, &[0xf2; 40]]);
            out.copy_from_slice(&key[..16]);
            key.zeroize();
        }
        master.zeroize();
        Secret::new(out)
    }

    fn twice(&self) -> Zeroizing<[u8; 16]> {
        Zeroizing::new(Md4::digest(self.0.as_slice()).into())
    }
}

impl Exchange<'_> {
    /// RFC 2759 section 8.2.
    fn hash(&self) -> [u8; 8] {
        let whole = sha1(&[self.peer_challenge, self.authenticator_challenge, self.user]);
        let mut out = [0; 8];
        out.copy_from_slice(&whole[..8]);
        out
    }
}

/// 56 bits as the eight octets that DES takes, seven in each, the lowest of no meaning.
fn des_key(bits: &[u8]) -> Zeroizing<[u8; 8]> {
    let joined = bits.iter().fold(0u64, |all, octet| all << 8 | u64::from(*octet));
    let mut key = Zeroizing::new([0; 8]);
    for (place, octet) in key.iter_mut().enumerate() {
        *octet = (joined >> (49 - 7 * place)).to_be_bytes()[7] << 1;
    }
    key
}
