//! The Encrypted payload (RFC 7296 section 3.14, RFC 5282): sealing and opening whole messages with
//! the keys of an IKE SA.
//!
//! The IV of an AEAD is the term of the owner and a counter (`IvSequence`), so that owners that
//! follow each other never repeat one under a key. A retransmission is not sealed again: its bytes
//! are kept.

use crate::keys::{crypto_aead, crypto_mac, encryption_key_length};
use vipsec_crypto::Random;
use vipsec_crypto::aead::{AeadKey, IV_LENGTH, TAG_LENGTH};
use vipsec_crypto::cbc::{BLOCK_LENGTH, CbcKey};
use vipsec_crypto::mac::MacKey;
use vipsec_wire::ParseError;
use vipsec_wire::id::{Epoch, Term};
use vipsec_wire::ike::message::{emit_chain, emit_encrypted_header, encrypted_header_length};
use vipsec_wire::ike::{Encrypted, Fragment, Header, Payload, PayloadType};
use vipsec_wire::record::v1::{IkeAlgorithms, IkeKeys};

/// Keys that do not fit their algorithms: a record of a later version or a damaged one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("keys do not fit the algorithms of the IKE SA")]
pub(crate) struct BadKeys;

/// There is no IV left, or the epoch is before the birth of the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no IV is left for the key")]
pub(crate) struct NoIv;

/// Why an encrypted message has no content for us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum OpenFailure {
    /// The peer has not made it.
    #[error("message does not authenticate")]
    Unauthentic,
    /// The peer has made it, and made it badly.
    #[error("content of the Encrypted payload")]
    Content(#[source] ParseError),
}

/// The opened keys of an IKE SA, both directions.
pub(crate) struct Protection {
    outbound: Direction,
    inbound: Direction,
}

enum Direction {
    Aead(AeadKey),
    Cbc(Box<(CbcKey, MacKey)>),
}

impl Direction {
    fn new(
        algorithms: &IkeAlgorithms,
        encryption: &[u8],
        integrity: &[u8],
    ) -> Result<Direction, BadKeys> {
        if Some(encryption.len()) != encryption_key_length(algorithms.encryption) {
            return Err(BadKeys);
        }
        if let Some(algorithm) = crypto_aead(algorithms.encryption) {
            return AeadKey::new(algorithm, encryption).map(Direction::Aead).map_err(|_| BadKeys);
        }
        let mac = crypto_mac(algorithms.integrity).ok_or(BadKeys)?;
        let mac = MacKey::new(mac, integrity).map_err(|_| BadKeys)?;
        let key = CbcKey::new(encryption).map_err(|_| BadKeys)?;
        Ok(Direction::Cbc(Box::new((key, mac))))
    }
}

impl Protection {
    /// Opens the keys. `initiator`: we are the original initiator of the IKE SA.
    pub(crate) fn new(
        algorithms: &IkeAlgorithms,
        keys: &IkeKeys,
        initiator: bool,
    ) -> Result<Protection, BadKeys> {
        let of_initiator = Direction::new(algorithms, keys.ei.expose(), keys.ai.expose())?;
        let of_responder = Direction::new(algorithms, keys.er.expose(), keys.ar.expose())?;
        Ok(match initiator {
            true => Protection { outbound: of_initiator, inbound: of_responder },
            false => Protection { outbound: of_responder, inbound: of_initiator },
        })
    }

    /// Seals `payloads` into a message, or, where that would be longer than `limit` octets, into
    /// fragments of it that are not (RFC 7383 section 2.5). Each has an IV of its own.
    pub(crate) fn seal(
        &self,
        header: &Header,
        payloads: &[Payload],
        limit: Option<usize>,
        iv: &mut IvSequence,
        rng: &mut dyn Random,
    ) -> Result<Vec<Vec<u8>>, NoIv> {
        let (first, content) = emit_chain(payloads);
        let fits = |limit: &usize| self.room(*limit, false) >= content.len();
        let room = limit.filter(|limit| !fits(limit)).map(|limit| self.room(limit, true));
        let room = room.filter(|room| *room > 0);
        let total = room.and_then(|room| u16::try_from(content.len().div_ceil(room)).ok());
        let (Some(room), Some(total)) = (room, total) else {
            return Ok(vec![self.seal_content(header, first, None, content, iv, rng)?]);
        };
        let mut fragments = Vec::with_capacity(usize::from(total));
        for (number, piece) in (1..=total).zip(content.chunks(room)) {
            let first = if number == 1 { first } else { PayloadType::NONE };
            let fragment = Some(Fragment { number, total });
            fragments.push(self.seal_content(header, first, fragment, piece.to_vec(), iv, rng)?);
        }
        Ok(fragments)
    }

    /// Octets of content for which there is room in a message of `limit` octets.
    fn room(&self, limit: usize, fragment: bool) -> usize {
        let body = limit.saturating_sub(encrypted_header_length(fragment));
        let padded = match &self.outbound {
            Direction::Aead(_) => body.saturating_sub(IV_LENGTH + TAG_LENGTH),
            Direction::Cbc(keys) => {
                let tag_length = keys.1.algorithm().tag_length();
                body.saturating_sub(BLOCK_LENGTH + tag_length) / BLOCK_LENGTH * BLOCK_LENGTH
            }
        };
        // The last octet is the length of the padding.
        padded.saturating_sub(1)
    }

    fn seal_content(
        &self,
        header: &Header,
        first: PayloadType,
        fragment: Option<Fragment>,
        mut content: Vec<u8>,
        iv: &mut IvSequence,
        rng: &mut dyn Random,
    ) -> Result<Vec<u8>, NoIv> {
        match &self.outbound {
            Direction::Aead(key) => {
                content.push(0);
                let iv = iv.next(rng)?;
                let body = IV_LENGTH + content.len() + TAG_LENGTH;
                let mut message = emit_encrypted_header(header, first, fragment, body);
                let tag = key.seal(iv, &message, &mut content);
                message.extend_from_slice(&iv);
                message.extend_from_slice(&content);
                message.extend_from_slice(&tag);
                Ok(message)
            }
            Direction::Cbc(keys) => {
                let (key, mac) = &**keys;
                //= RFC 7296 section 3.14 #5: padded to whole blocks
                pad_to_block(&mut content);
                let mut iv = [0; BLOCK_LENGTH];
                //= RFC 7296 section 3.14 #3: a new IV, from the generator
                rng.fill(&mut iv);
                let tag_length = mac.algorithm().tag_length();
                let body = BLOCK_LENGTH + content.len() + tag_length;
                let mut message = emit_encrypted_header(header, first, fragment, body);
                key.encrypt_in_place(iv, &mut content).map_err(|_| NoIv)?;
                message.extend_from_slice(&iv);
                message.extend_from_slice(&content);
                //= RFC 7296 section 3.14 #7: over the encrypted message
                let tag = mac.tag(&[&message]);
                message.extend_from_slice(tag.as_ref());
                Ok(message)
            }
        }
    }

    /// What an Encrypted payload holds, be it a fragment, as it was sent.
    pub(crate) fn open_content(
        &self,
        message: &[u8],
        encrypted: &Encrypted,
    ) -> Result<Vec<u8>, OpenFailure> {
        let mut content =
            self.decrypt(message, encrypted.body_at).ok_or(OpenFailure::Unauthentic)?;
        let bad = OpenFailure::Content(ParseError::Length("padding of the Encrypted payload"));
        //= RFC 7296 section 3.14 #6: whatever its length
        let pad_length = content.pop().ok_or(bad)?;
        let length = content.len().checked_sub(usize::from(pad_length)).ok_or(bad)?;
        content.truncate(length);
        Ok(content)
    }

    //= RFC 7296 section 3.14 #4: any IV will do
    fn decrypt(&self, message: &[u8], body_at: usize) -> Option<Vec<u8>> {
        let (aad, body) = message.split_at_checked(body_at)?;
        match &self.inbound {
            Direction::Aead(key) => {
                let (iv, rest) = body.split_first_chunk::<IV_LENGTH>()?;
                let (content, tag) = rest.split_at_checked(rest.len().checked_sub(TAG_LENGTH)?)?;
                let mut content = content.to_vec();
                key.open(*iv, aad, &mut content, tag).ok()?;
                Some(content)
            }
            Direction::Cbc(keys) => {
                let (key, mac) = &**keys;
                let tag_at = message.len().checked_sub(mac.algorithm().tag_length())?;
                let (covered, tag) = message.split_at_checked(tag_at)?;
                let (iv, content) = covered.get(body_at..)?.split_first_chunk::<BLOCK_LENGTH>()?;
                mac.verify(&[covered], tag).ok()?;
                let mut content = content.to_vec();
                key.decrypt_in_place(*iv, &mut content).ok()?;
                Some(content)
            }
        }
    }
}

/// Padding and pad length up to a whole number of blocks.
fn pad_to_block(content: &mut Vec<u8>) {
    let padding = (BLOCK_LENGTH - (content.len() + 1) % BLOCK_LENGTH) % BLOCK_LENGTH;
    content.resize(content.len() + padding, 0);
    content.push(u8::try_from(padding).unwrap_or(0));
}

/// The IVs that the owner of one epoch uses under one key: `term (16 bits) || counter (48 bits)`.
/// The counter starts anywhere in the lower half of its range and never wraps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct IvSequence {
    epoch: Epoch,
    term: Option<Term>,
    counter: Option<u64>,
}

const COUNTER_BITS: u32 = 48;

impl IvSequence {
    /// The sequence of the owner of `epoch` for a key born in `born`.
    pub(crate) fn new(epoch: Epoch, born: Epoch) -> IvSequence {
        IvSequence { epoch, term: epoch.term(born), counter: None }
    }

    /// The epoch that it is for.
    pub(crate) fn epoch(&self) -> Epoch {
        self.epoch
    }

    fn next(&mut self, rng: &mut dyn Random) -> Result<[u8; IV_LENGTH], NoIv> {
        let term = self.term.ok_or(NoIv)?;
        let counter = match self.counter {
            Some(last) => last + 1,
            None => {
                let mut start = [0; 8];
                rng.fill(&mut start);
                u64::from_be_bytes(start) >> (u64::BITS - (COUNTER_BITS - 1))
            }
        };
        if counter >> COUNTER_BITS != 0 {
            return Err(NoIv);
        }
        self.counter = Some(counter);
        Ok((u64::from(term.0) << COUNTER_BITS | counter).to_be_bytes())
    }
}
