//! IKE messages in fragments (RFC 7383): whether both sides speak it, how long a message may be, and
//! the fragments that have arrived of messages that are not whole yet.

use crate::exchange::contents::Contents;
use crate::protect::{OpenFailure, Protection};
use crate::sa::Datagram;
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use vipsec_wire::id::IkeSaId;
use vipsec_wire::ike::{
    Fragment, Header, Message, Notify, NotifyType, Payload, PayloadType, parse_chain,
};
use vipsec_wire::time::Timestamp;

/// Octets of the UDP header and of the non-ESP marker.
const UDP: usize = 8 + 4;

/// The longest IKE message in an IP datagram of `size` octets.
pub(crate) fn message_limit(size: u16, ipv4: bool) -> usize {
    let ip = if ipv4 { 20 } else { 40 };
    usize::from(size).saturating_sub(ip + UDP)
}

/// Says in an IKE_SA_INIT that we speak it.
pub(crate) fn notification() -> Payload {
    let kind = NotifyType::IKEV2_FRAGMENTATION_SUPPORTED;
    Payload::Notify(Notify::new(kind, Vec::new()))
}

/// Whether the peer's IKE_SA_INIT says so, and we do.
pub(crate) fn is_agreed(size: Option<u16>, contents: &Contents) -> bool {
    size.is_some() && contents.has(NotifyType::IKEV2_FRAGMENTATION_SUPPORTED)
}

/// What a message has inside.
pub(crate) struct Opened {
    pub(crate) first: PayloadType,
    pub(crate) content: Vec<u8>,
}

impl Opened {
    /// The payloads.
    pub(crate) fn payloads(self) -> Result<Vec<Payload>, OpenFailure> {
        parse_chain(self.first, &self.content).map_err(OpenFailure::Content)
    }
}

/// Opens a message under the keys of an IKE SA that is being made. `None` while fragments of it are
/// missing; with the last one, `datagram` becomes the first. `reassembly`: where they are kept, if
/// fragments are agreed on.
pub(crate) fn open(
    protection: &Protection,
    reassembly: Option<&mut Reassembly>,
    now: Timestamp,
    sa: IkeSaId,
    datagram: &mut Datagram,
    message: &Message,
) -> Result<Option<Opened>, OpenFailure> {
    let encrypted = message.encrypted.as_ref().ok_or(OpenFailure::Unauthentic)?;
    let (first, content) =
        (encrypted.first, protection.open_content(&datagram.message, encrypted)?);
    let Some(fragment) = encrypted.fragment else {
        return Ok(Some(Opened { first, content }));
    };
    let reassembly = reassembly.ok_or(OpenFailure::Unauthentic)?;
    let name = MessageName::of(sa, &message.header);
    let piece = Piece { fragment, first, content, datagram: &datagram.message };
    let Some(whole) = reassembly.insert(now, name, piece) else { return Ok(None) };
    datagram.message = whole.datagram;
    Ok(Some(Opened { first: whole.first, content: whole.content }))
}

/// Most fragments of one message.
const FRAGMENTS: u16 = 128;
/// Longest message.
const MESSAGE_BYTES: usize = u16::MAX as usize;
/// Most messages of which a part has arrived.
const MESSAGES: usize = 8192;
/// Most octets of all of them.
const BYTES: usize = 16 << 20;
/// How long the rest of a message may take; then its sender repeats it anyway.
const PATIENCE: Duration = Duration::from_secs(30);

/// Which message a fragment belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct MessageName {
    pub(crate) sa: IkeSaId,
    pub(crate) message_id: u32,
    pub(crate) response: bool,
}

impl MessageName {
    pub(crate) fn of(sa: IkeSaId, header: &Header) -> MessageName {
        MessageName { sa, message_id: header.message_id, response: header.response }
    }
}

/// A fragment, authenticated and decrypted.
#[derive(Debug)]
pub(crate) struct Piece<'a> {
    pub(crate) fragment: Fragment,
    /// What it says of the first payload inside.
    pub(crate) first: PayloadType,
    pub(crate) content: Vec<u8>,
    /// As it came.
    pub(crate) datagram: &'a [u8],
}

/// A message that is whole.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Whole {
    pub(crate) first: PayloadType,
    pub(crate) content: Vec<u8>,
    /// The first fragment as it came: a repetition of it is a repetition of the message (RFC 7383
    /// section 2.6.1).
    pub(crate) datagram: Vec<u8>,
}

struct Partial {
    since: Timestamp,
    total: u16,
    pieces: BTreeMap<u16, Vec<u8>>,
    bytes: usize,
    first: PayloadType,
    datagram: Vec<u8>,
}

/// The fragments of messages that are not whole yet. Bounded in number, octets and time; what is
/// too much makes place by age.
#[derive(Default)]
pub(crate) struct Reassembly {
    partial: BTreeMap<MessageName, Partial>,
    by_age: BTreeSet<(Timestamp, MessageName)>,
    bytes: usize,
}

impl Reassembly {
    /// Whether a fragment is the last that is missing.
    pub(crate) fn completes(&self, name: MessageName, fragment: Fragment) -> bool {
        let known = self.partial.get(&name).filter(|partial| partial.total == fragment.total);
        let have = known.map_or(0, |partial| partial.pieces.len());
        let new = known.is_none_or(|partial| !partial.pieces.contains_key(&fragment.number));
        new && have + 1 == usize::from(fragment.total)
    }

    /// Takes a fragment, and gives the message when it is whole. Of two ways to fragment the same
    /// message the one with more fragments is the later one (RFC 7383 section 2.6).
    pub(crate) fn insert(
        &mut self,
        now: Timestamp,
        name: MessageName,
        piece: Piece<'_>,
    ) -> Option<Whole> {
        self.expire(now);
        let Piece { fragment: Fragment { number, total }, first, content, datagram } = piece;
        match self.partial.get(&name).map(|partial| partial.total) {
            Some(known) if total < known => return None,
            Some(known) if total > known => self.remove(name),
            _ => None,
        };
        let known = |partial: &Partial| partial.pieces.contains_key(&number);
        let repeated = self.partial.get(&name).is_some_and(known);
        if repeated || total > FRAGMENTS || !self.has_room(name, content.len()) {
            return None;
        }
        let partial = self.partial.entry(name).or_insert_with(|| {
            self.by_age.insert((now, name));
            let (pieces, datagram) = (BTreeMap::new(), Vec::new());
            Partial { since: now, total, pieces, bytes: 0, first, datagram }
        });
        if number == 1 {
            (partial.first, partial.datagram) = (first, datagram.to_vec());
        }
        partial.bytes += content.len();
        self.bytes += content.len();
        partial.pieces.insert(number, content);
        if partial.pieces.len() < usize::from(total) {
            return None;
        }
        let Partial { first, datagram, pieces, .. } = self.remove(name)?;
        Some(Whole { first, content: pieces.into_values().flatten().collect(), datagram })
    }

    /// Makes room for another fragment of a message; `false` when there can be none.
    fn has_room(&mut self, name: MessageName, more: usize) -> bool {
        let present = self.partial.get(&name).map(|partial| partial.bytes);
        let messages = if present.is_some() { MESSAGES + 1 } else { MESSAGES };
        let present = present.unwrap_or(0);
        if present + more > MESSAGE_BYTES {
            self.remove(name);
            return false;
        }
        while self.bytes + more > BYTES || self.partial.len() >= messages {
            let Some((_, oldest)) = self.by_age.first().copied() else { return false };
            self.remove(oldest);
        }
        true
    }

    fn remove(&mut self, name: MessageName) -> Option<Partial> {
        let partial = self.partial.remove(&name)?;
        self.by_age.remove(&(partial.since, name));
        self.bytes -= partial.bytes;
        Some(partial)
    }

    /// Gives up the messages whose rest does not come.
    pub(crate) fn expire(&mut self, now: Timestamp) {
        while let Some((since, name)) = self.by_age.first().copied()
            && now >= since + PATIENCE
        {
            self.remove(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_000_000_000);

    fn name(sa: u64) -> MessageName {
        MessageName { sa: IkeSaId(sa), message_id: 1, response: false }
    }

    fn piece(number: u16, total: u16, content: &[u8]) -> Piece<'_> {
        let first = PayloadType(if number == 1 { 35 } else { 0 });
        let fragment = Fragment { number, total };
        Piece { fragment, first, content: content.to_vec(), datagram: content }
    }

    #[test]
    fn fragments_in_any_order_and_repeated_make_the_message() {
        let mut reassembly = Reassembly::default();
        assert_eq!(reassembly.insert(NOW, name(1), piece(3, 3, b"ef")), None);
        assert_eq!(reassembly.insert(NOW, name(1), piece(1, 3, b"ab")), None);
        assert_eq!(reassembly.insert(NOW, name(1), piece(1, 3, b"xx")), None);
        assert_eq!(reassembly.insert(NOW, name(2), piece(2, 3, b"yy")), None);
        assert!(reassembly.completes(name(1), Fragment { number: 2, total: 3 }));
        assert!(!reassembly.completes(name(1), Fragment { number: 3, total: 3 }));
        let whole = reassembly.insert(NOW, name(1), piece(2, 3, b"cd")).expect("it is whole");
        assert_eq!((whole.first, &whole.content[..]), (PayloadType(35), &b"abcdef"[..]));
        assert_eq!(whole.datagram, b"ab");
        assert_eq!((reassembly.bytes, reassembly.partial.len()), (2, 1));
    }

    #[test]
    fn smaller_fragments_take_the_place_of_larger_ones() {
        let mut reassembly = Reassembly::default();
        assert_eq!(reassembly.insert(NOW, name(1), piece(1, 2, b"abc")), None);
        assert_eq!(reassembly.insert(NOW, name(1), piece(2, 3, b"cd")), None);
        assert_eq!(reassembly.insert(NOW, name(1), piece(2, 2, b"def")), None, "late");
        assert_eq!(reassembly.insert(NOW, name(1), piece(1, 3, b"ab")), None);
        let whole = reassembly.insert(NOW, name(1), piece(3, 3, b"ef")).expect("it is whole");
        assert_eq!(whole.content, b"abcdef");
    }

    #[test]
    fn nothing_grows_without_bound() {
        let mut reassembly = Reassembly::default();
        let long = vec![0; 2000];
        for sa in 0..20_000 {
            reassembly.insert(NOW, name(sa), piece(1, 2, &long));
            assert!(reassembly.bytes <= BYTES && reassembly.partial.len() <= MESSAGES);
            assert_eq!(reassembly.partial.len(), reassembly.by_age.len());
        }
        assert!(reassembly.partial.contains_key(&name(19_999)));
        for number in 1..=40 {
            reassembly.insert(NOW, name(7), piece(number, 64, &long));
        }
        assert!(reassembly.partial.get(&name(7)).is_none_or(|p| p.bytes <= MESSAGE_BYTES));
        assert_eq!(reassembly.insert(NOW, name(8), piece(1, 129, &long)), None);
        assert!(!reassembly.partial.contains_key(&name(8)));
        reassembly.expire(NOW + PATIENCE);
        assert_eq!(
            (reassembly.bytes, reassembly.partial.len(), reassembly.by_age.len()),
            (0, 0, 0)
        );
    }

    #[test]
    fn a_datagram_has_room_for_its_headers() {
        assert_eq!(message_limit(1280, true), 1248);
        assert_eq!(message_limit(1280, false), 1228);
    }
}
