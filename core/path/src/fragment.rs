//! Fragmentation of IPv4 packets before they are sealed (RFC 791 section 3.2, RFC 4301 section
//! 8.2), and the memory of where the first part of a fragmented packet from a peer went, so that
//! the later parts, which have no ports, go there too.

use core::net::IpAddr;
use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};
use vipsec_wire::ip::{Packet, ipv4};
use vipsec_wire::time::Timestamp;

/// Fragmented packets whose place is remembered, for each VIP.
const FRAGMENTED_MAX: usize = 1024;
/// How long a place is remembered.
const FRAGMENTED_AGE: Duration = Duration::from_secs(15);
/// The bit of an IPv4 option that says that every fragment has it.
const COPIED: u8 = 0x80;

/// Cuts an IPv4 packet (which may be a fragment itself) in parts of at most `max` bytes and gives
/// each to `emit`, in `part`. False when it cannot be cut.
pub(crate) fn fragment(
    packet: &[u8],
    max: usize,
    part: &mut Vec<u8>,
    mut emit: impl FnMut(&[u8]),
) -> bool {
    let Ok(header) = ipv4::Header::parse(packet) else { return false };
    let Some(content) = packet.get(header.header_length..usize::from(header.total_length)) else {
        return false;
    };
    let options = &packet[ipv4::HEADER_LENGTH..header.header_length];
    let step = max.saturating_sub(header.header_length) & !7;
    if header.dont_fragment || step == 0 {
        return false;
    }
    let pieces = content.len().div_ceil(step);
    for (index, piece) in content.chunks(step).enumerate() {
        part.clear();
        part.extend_from_slice(&packet[..ipv4::HEADER_LENGTH]);
        if index == 0 {
            part.extend_from_slice(options);
        } else {
            push_copied_options(options, part);
        }
        let offset = usize::from(header.fragment_offset) + index * step;
        let more = header.more_fragments || index + 1 < pieces;
        if !finish_header(part, piece.len(), offset, more) {
            return false;
        }
        part.extend_from_slice(piece);
        emit(part);
    }
    true
}

/// Sets lengths, offset and checksum of the header that fills `part`.
fn finish_header(part: &mut [u8], content: usize, offset: usize, more: bool) -> bool {
    let length = part.len();
    let (Ok(total), Ok(words), Ok(offset)) =
        (u16::try_from(length + content), u8::try_from(length / 4), u16::try_from(offset >> 3))
    else {
        return false;
    };
    part[0] = 0x40 | words;
    part[2..4].copy_from_slice(&total.to_be_bytes());
    let flags = if more { 0x2000 } else { 0 };
    part[6..8].copy_from_slice(&(offset | flags).to_be_bytes());
    part[10..12].fill(0);
    let sum = vipsec_wire::ip::checksum::checksum(part);
    part[10..12].copy_from_slice(&sum.to_be_bytes());
    true
}

fn push_copied_options(options: &[u8], part: &mut Vec<u8>) {
    let mut rest = options;
    while let Some(&kind) = rest.first() {
        let length = match (kind, rest.get(1)) {
            (0, _) => break,
            (1, _) => 1,
            (_, Some(&length)) if (2..=rest.len()).contains(&usize::from(length)) => length.into(),
            _ => break,
        };
        if kind & COPIED != 0 {
            part.extend_from_slice(&rest[..length]);
        }
        rest = &rest[length..];
    }
    while !part.len().is_multiple_of(4) {
        part.push(0);
    }
}

/// What names a fragmented packet (RFC 791 section 3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct FragmentKey {
    source: IpAddr,
    destination: IpAddr,
    protocol: u8,
    identification: u32,
}

impl FragmentKey {
    /// Of a packet that is a fragment.
    pub(crate) fn of(packet: &Packet<'_>) -> Option<FragmentKey> {
        let fragment = packet.fragment?;
        Some(FragmentKey {
            source: packet.tuple.source,
            destination: packet.tuple.destination,
            protocol: packet.tuple.protocol,
            identification: fragment.identification,
        })
    }
}

/// Where first fragments went.
#[derive(Debug, Default)]
pub(crate) struct Fragments {
    places: BTreeMap<FragmentKey, (u16, Timestamp)>,
    order: VecDeque<FragmentKey>,
}

impl Fragments {
    /// Notes that a packet went to the node; the oldest is forgotten when there are too many: its
    /// later parts are dropped, and counted, as of an unknown packet.
    pub(crate) fn remember(&mut self, now: Timestamp, key: FragmentKey, node: u16) {
        if self.places.insert(key, (node, now)).is_none() {
            self.order.push_back(key);
        }
        if self.order.len() > FRAGMENTED_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.places.remove(&oldest);
        }
    }

    /// Where the first part went.
    pub(crate) fn place(&self, now: Timestamp, key: &FragmentKey) -> Option<u16> {
        let &(node, at) = self.places.get(key)?;
        (now.since(at) < FRAGMENTED_AGE).then_some(node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::Ipv4Addr;
    use proptest::prelude::*;

    fn packet(options: &[u8], content: &[u8]) -> Vec<u8> {
        let source = Ipv4Addr::new(192, 0, 2, 1);
        let header = ipv4::Header::new(source, source, 17, content.len());
        let mut packet = header.emit().to_vec();
        packet.extend_from_slice(options);
        assert!(finish_header(&mut packet, content.len(), 0, false));
        packet[4..6].copy_from_slice(&[0x12, 0x34]);
        packet[10..12].fill(0);
        let sum = vipsec_wire::ip::checksum::checksum(&packet);
        packet[10..12].copy_from_slice(&sum.to_be_bytes());
        packet.extend_from_slice(content);
        packet
    }

    fn cut(packet: &[u8], max: usize) -> Option<Vec<Vec<u8>>> {
        let mut parts = Vec::new();
        fragment(packet, max, &mut Vec::new(), |part| parts.push(part.to_vec())).then_some(parts)
    }

    fn join(parts: &[Vec<u8>]) -> Vec<u8> {
        let mut whole = vec![0; 65_535];
        let mut length = 0;
        for part in parts {
            assert!(ipv4::is_checksum_valid(part));
            let header = ipv4::Header::parse(part).expect("a header");
            assert_eq!(usize::from(header.total_length), part.len());
            assert_eq!(header.identification, 0x1234);
            let content = &part[header.header_length..];
            let at = usize::from(header.fragment_offset);
            whole[at..at + content.len()].copy_from_slice(content);
            length = length.max(at + content.len());
        }
        let last = ipv4::Header::parse(parts.last().expect("parts")).expect("a header");
        assert!(!last.more_fragments);
        whole.truncate(length);
        whole
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn parts_fit_and_make_up_the_whole(
            content in proptest::collection::vec(any::<u8>(), 1..4000),
            max in 68_usize..1500,
        ) {
            let packet = packet(&[], &content);
            let parts = cut(&packet, max).expect("it can be cut");
            prop_assert!(parts.iter().all(|part| part.len() <= max));
            prop_assert_eq!(join(&parts), content.clone());
            let again: Vec<_> = parts
                .iter()
                .flat_map(|part| cut(part, 68).expect("a fragment can be cut"))
                .collect();
            prop_assert_eq!(join(&again), content);
        }
    }

    #[test]
    fn only_copied_options_are_in_later_parts() {
        // Router alert (148, copied) and record route (7, not copied), then end of list.
        let options = [148, 4, 0, 0, 7, 3, 4, 0];
        let parts = cut(&packet(&options, &[7; 300]), 128).expect("it can be cut");
        assert_eq!(parts[0][20..28], options);
        assert!(parts.len() > 1);
        for part in &parts[1..] {
            let header = ipv4::Header::parse(part).expect("a header");
            assert_eq!(header.header_length, 24);
            assert_eq!(part[20..24], options[..4]);
        }
        assert_eq!(join(&parts), [7; 300]);
    }

    #[test]
    fn what_must_not_be_cut_is_not() {
        let mut packet = packet(&[], &[0; 100]);
        assert!(cut(&packet, 20).is_none(), "no room for content");
        packet[6] |= 0x40;
        assert!(cut(&packet, 68).is_none(), "DF");
        assert!(cut(&[0x60; 60], 68).is_none(), "not IPv4");
    }

    #[test]
    fn places_are_bounded_and_age() {
        let key = |identification| FragmentKey {
            source: IpAddr::from([192, 0, 2, 1]),
            destination: IpAddr::from([192, 0, 2, 2]),
            protocol: 17,
            identification,
        };
        let mut fragments = Fragments::default();
        let now = Timestamp(5_000_000);
        for identification in 0..2000 {
            fragments.remember(now, key(identification), 3);
        }
        assert_eq!(fragments.place(now, &key(0)), None);
        assert_eq!(fragments.place(now, &key(1999)), Some(3));
        assert_eq!(fragments.place(now + FRAGMENTED_AGE, &key(1999)), None);
        assert_eq!(fragments.places.len(), FRAGMENTED_MAX);
    }
}
