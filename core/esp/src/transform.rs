//! Encryption and integrity of one direction, over a packet at its place: header, IV, payload,
//! trailer, integrity check value (RFC 4303 section 2).

use crate::EspError;
use crate::child::{Cipher, HalfKeys};
use vipsec_crypto::KeyError;
use vipsec_crypto::aead::{self, AeadKey};
use vipsec_crypto::cbc::{BLOCK_LENGTH, CbcKey};
use vipsec_crypto::mac::MacKey;
use vipsec_wire::esp::{HEADER_LENGTH, TRAILER_LENGTH};

/// The keys at work.
#[derive(Debug)]
pub(crate) enum Transform {
    Aead(AeadKey),
    CbcHmac { cipher: Box<CbcKey>, mac: Box<MacKey> },
}

impl Transform {
    pub(crate) fn new(cipher: Cipher, keys: &HalfKeys) -> Result<Transform, KeyError> {
        let (encryption, integrity) = (keys.encryption.expose(), keys.integrity.expose());
        let (found, wanted) = (encryption.len(), cipher.encryption_key_length());
        if found != wanted {
            return Err(KeyError::KeyLength { what: "ESP encryption", found, wanted });
        }
        match cipher {
            Cipher::Aead(algorithm) => AeadKey::new(algorithm, encryption).map(Transform::Aead),
            Cipher::CbcHmac { mac, .. } => Ok(Transform::CbcHmac {
                cipher: Box::new(CbcKey::new(encryption)?),
                mac: Box::new(MacKey::new(mac, integrity)?),
            }),
        }
    }

    /// Bytes of the IV in the packet.
    pub(crate) fn iv_length(&self) -> usize {
        match self {
            Transform::Aead(_) => aead::IV_LENGTH,
            Transform::CbcHmac { .. } => BLOCK_LENGTH,
        }
    }

    /// Bytes of the integrity check value.
    pub(crate) fn icv_length(&self) -> usize {
        match self {
            Transform::Aead(_) => aead::TAG_LENGTH,
            Transform::CbcHmac { mac, .. } => mac.algorithm().tag_length(),
        }
    }

    /// Of what the length of payload and trailer must be a multiple (RFC 4303 section 2.4).
    pub(crate) fn alignment(&self) -> usize {
        match self {
            Transform::Aead(_) => 4,
            Transform::CbcHmac { .. } => BLOCK_LENGTH,
        }
    }

    /// Protects `packet`, all of it, with header, IV, payload and trailer in place and room for the
    /// integrity check value at the end. `sequence_high` is given with ESN.
    pub(crate) fn seal(&self, packet: &mut [u8], sequence_high: Option<u32>) {
        let (packet, icv) = packet.split_at_mut(packet.len() - self.icv_length());
        match self {
            Transform::Aead(key) => {
                let (iv, body) = split_iv::<{ aead::IV_LENGTH }>(packet);
                let (aad, length) = additional_data(packet, sequence_high);
                icv.copy_from_slice(&key.seal(iv, &aad[..length], &mut packet[body..]));
            }
            Transform::CbcHmac { cipher, mac } => {
                let (iv, body) = split_iv::<BLOCK_LENGTH>(packet);
                let encrypted = cipher.encrypt_in_place(iv, &mut packet[body..]);
                encrypted.expect("padding made it a whole number of blocks");
                let (high, length) = trailing_high(sequence_high);
                icv.copy_from_slice(mac.tag(&[packet, &high[..length]]).as_ref());
            }
        }
    }

    /// Checks and decrypts `packet`, all of it. Its length has been checked by
    /// [`Transform::fits`].
    pub(crate) fn open(
        &self,
        packet: &mut [u8],
        sequence_high: Option<u32>,
    ) -> Result<(), EspError> {
        let (packet, icv) = packet.split_at_mut(packet.len() - self.icv_length());
        match self {
            Transform::Aead(key) => {
                let (iv, body) = split_iv::<{ aead::IV_LENGTH }>(packet);
                let (aad, length) = additional_data(packet, sequence_high);
                key.open(iv, &aad[..length], &mut packet[body..], icv)
                    .map_err(|_| EspError::NotAuthentic)
            }
            Transform::CbcHmac { cipher, mac } => {
                let (high, length) = trailing_high(sequence_high);
                mac.verify(&[packet, &high[..length]], icv).map_err(|_| EspError::NotAuthentic)?;
                let (iv, body) = split_iv::<BLOCK_LENGTH>(packet);
                cipher.decrypt_in_place(iv, &mut packet[body..]).map_err(|_| EspError::Truncated)
            }
        }
    }

    /// Whether a packet of `length` bytes can be one of this transform: at least a trailer inside,
    /// and aligned.
    pub(crate) fn fits(&self, length: usize) -> bool {
        let around = HEADER_LENGTH + self.iv_length() + self.icv_length();
        let body = length.saturating_sub(around);
        body >= TRAILER_LENGTH && body.is_multiple_of(self.alignment())
    }
}

/// The IV after the header, and where the encrypted part begins.
fn split_iv<const N: usize>(packet: &[u8]) -> ([u8; N], usize) {
    let mut iv = [0; N];
    iv.copy_from_slice(&packet[HEADER_LENGTH..HEADER_LENGTH + N]);
    (iv, HEADER_LENGTH + N)
}

/// The additional data of combined mode (RFC 4106 section 5): SPI and sequence number, with the
/// high half between them under ESN. Returned with its length.
fn additional_data(packet: &[u8], sequence_high: Option<u32>) -> ([u8; 12], usize) {
    let mut aad = [0; 12];
    aad[..4].copy_from_slice(&packet[..4]);
    match sequence_high {
        None => {
            aad[4..8].copy_from_slice(&packet[4..8]);
            (aad, 8)
        }
        Some(high) => {
            aad[4..8].copy_from_slice(&high.to_be_bytes());
            aad[8..].copy_from_slice(&packet[4..8]);
            (aad, 12)
        }
    }
}

/// What a separate integrity algorithm covers after the packet under ESN (RFC 4303 section
/// 2.2.1), with its length.
fn trailing_high(sequence_high: Option<u32>) -> ([u8; 4], usize) {
    sequence_high.map_or(([0; 4], 0), |high| (high.to_be_bytes(), 4))
}

#[cfg(test)]
mod mcgrew;
#[cfg(test)]
mod tests;
