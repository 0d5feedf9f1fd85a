//! The judge of a capture: nothing in clear where only ESP belongs, no (key, IV) pair and no
//! sequence number twice, no sequence number of a later owner below one of an earlier owner.
//!
//! A Child SA is known here by its destination and SPI, a direction of an IKE SA by both SPIs and
//! who initiated it; these stand for their keys as long as they live. The explicit IV of AES-GCM
//! crosses the wire in clear (RFC 4106, section 3; RFC 5282, section 3.1), so no key is needed to
//! see one that repeats.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use super::packet::{Frame, Payload, esp};

/// How many findings of a kind are described; the others are only counted.
const DESCRIBED: usize = 5;
/// A packet that stays behind by more than this has not been overtaken on the wire: it belongs to
/// somebody who does not know what was sent before. No receiver's window reaches further.
const OVERTAKEN_MAX: u32 = 1024;
/// The same in time, microseconds.
const OVERTAKEN_FOR_US: u64 = 20_000;
/// Exchange type of IKE_SA_INIT (RFC 7296, section 3.1).
const IKE_SA_INIT: u8 = 34;
/// Type of the Encrypted payload (RFC 7296, section 3.2).
const ENCRYPTED: u8 = 46;
/// Type of the Encrypted Fragment payload (RFC 7383, section 2.5).
const ENCRYPTED_FRAGMENT: u8 = 53;

/// What is to be judged, and what may be on this wire.
#[derive(Debug, Clone)]
pub struct Rules {
    /// The VIP and the service addresses that belong to it: never in clear on any wire.
    pub service: Vec<Prefix>,
    /// Addresses that only occur inside tunnels on this wire.
    pub tunnelled: Vec<Prefix>,
    /// UDP port on which nodes send ESP to each other.
    pub fabric_port: u16,
}

/// An address prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prefix {
    /// Any address in it.
    pub address: IpAddr,
    /// Its length in bits.
    pub length: u32,
}

impl Prefix {
    /// Whether the address lies in it.
    #[must_use]
    pub fn contains(self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let differing = u32::from(own) ^ u32::from(other);
                differing.leading_zeros() >= self.length
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let differing = u128::from(own) ^ u128::from(other);
                differing.leading_zeros() >= self.length
            }
            _ => false,
        }
    }
}

impl std::str::FromStr for Prefix {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let (address, length) = text.split_once('/').unwrap_or((text, ""));
        let address: IpAddr = address.parse()?;
        let full = if address.is_ipv4() { 32 } else { 128 };
        let length = if length.is_empty() { full } else { length.parse()? };
        anyhow::ensure!(length <= full, "{text}: longer than its address");
        Ok(Self { address, length })
    }
}

/// What the oracle saw.
#[derive(Debug, Clone, Default)]
pub struct Verdict {
    /// Frames looked at.
    pub frames: u64,
    /// ESP packets among them.
    pub esp: u64,
    /// Encrypted IKE messages among them, retransmissions included.
    pub ike: u64,
    /// Packets in clear that belong into a tunnel.
    pub clear: Findings,
    /// (key, IV) pairs or sequence numbers that were used twice.
    pub repeated: Findings,
    /// Sequence numbers of a later sender below one of an earlier sender of the same SA, or of the
    /// same sender further behind than packets overtake each other.
    pub backwards: Findings,
    /// Packets of one sender that overtook each other on the wire; no fault.
    pub reordered: u64,
}

impl Verdict {
    /// Whether nothing was found.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        [&self.clear, &self.repeated, &self.backwards].iter().all(|found| found.count == 0)
    }

    /// Adds what was seen on another wire.
    pub fn merge(&mut self, other: Self) {
        self.frames += other.frames;
        self.esp += other.esp;
        self.ike += other.ike;
        self.reordered += other.reordered;
        self.clear.merge(other.clear);
        self.repeated.merge(other.repeated);
        self.backwards.merge(other.backwards);
    }
}

/// Faults of one kind.
#[derive(Debug, Clone, Default)]
pub struct Findings {
    /// How many.
    pub count: u64,
    /// When each of them was seen, wall-clock microseconds.
    pub at_us: Vec<u64>,
    /// The first of them in words.
    pub first: Vec<String>,
}

impl Findings {
    fn add(&mut self, at_us: u64, words: impl FnOnce() -> String) {
        self.count += 1;
        self.at_us.push(at_us);
        if self.first.len() < DESCRIBED {
            self.first.push(words());
        }
    }

    fn merge(&mut self, other: Self) {
        self.count += other.count;
        self.at_us.extend(other.at_us);
        self.first.extend(other.first);
    }
}

/// What is known of one Child SA.
struct Association {
    highest: u32,
    highest_at_us: u64,
    highest_sender: [u8; 6],
    sequences: HashSet<u32>,
    ivs: HashSet<[u8; 8]>,
}

/// Judges a capture.
#[must_use]
pub fn judge(rules: &Rules, frames: impl Iterator<Item = Frame>) -> Verdict {
    let mut verdict = Verdict::default();
    let mut associations = HashMap::new();
    let mut exchanges = HashMap::new();
    for frame in frames {
        verdict.frames += 1;
        if is_in_clear(rules, &frame) {
            verdict.clear.add(frame.at_us, || format!("{frame:?}"));
        }
        if let Some(Payload::Esp { spi, sequence, iv, .. }) = as_esp(rules, &frame) {
            verdict.esp += 1;
            let association = associations.entry((frame.destination, spi));
            let association = association.or_insert_with(|| Association::new(frame.sender));
            association.check(&frame, (spi, sequence, iv), &mut verdict);
        }
        if let Payload::Ike { message } = &frame.payload
            && let Some((key, iv)) = ike_key_and_iv(message)
        {
            verdict.ike += 1;
            // The same message again is a retransmission, and no second use of its IV.
            let first = exchanges.entry((key, iv)).or_insert_with(|| message.clone());
            if first != message {
                let told = || format!("IKE SA {:02x?}: IV {iv:02x?} again", &message[..16]);
                verdict.repeated.add(frame.at_us, told);
            }
        }
    }
    verdict
}

/// What stands for a key of an IKE SA: both SPIs, and whether the initiator seals with it.
type IkeKey = ([u8; 16], bool);

/// Key and explicit IV of an encrypted IKE message.
fn ike_key_and_iv(message: &[u8]) -> Option<(IkeKey, [u8; 8])> {
    let (next_payload, exchange, flags) = (message.get(16)?, message.get(18)?, message.get(19)?);
    // A header of 28 bytes, then the payload's own of 4, and which fragment it is.
    let iv = match *next_payload {
        _ if *exchange == IKE_SA_INIT => return None,
        ENCRYPTED => message.get(32..40)?,
        ENCRYPTED_FRAGMENT => message.get(36..44)?,
        _ => return None,
    };
    let spis = message.get(..16)?.try_into().ok()?;
    let from_initiator = flags & 0x08 != 0;
    Some(((spis, from_initiator), iv.try_into().ok()?))
}

/// ESP as such, and the datagrams of the fabric.
fn as_esp(rules: &Rules, frame: &Frame) -> Option<Payload> {
    match &frame.payload {
        Payload::Esp { .. } => Some(frame.payload.clone()),
        Payload::Udp { from, to, head } if [from, to].contains(&&rules.fabric_port) => {
            esp(head, Some(*to))
        }
        _ => None,
    }
}

fn is_in_clear(rules: &Rules, frame: &Frame) -> bool {
    let ends = [frame.source, frame.destination];
    let touches =
        |prefixes: &[Prefix]| ends.iter().any(|end| prefixes.iter().any(|p| p.contains(*end)));
    match &frame.payload {
        Payload::Arp { .. } | Payload::NeighbourDiscovery { .. } => false,
        Payload::Esp { .. } | Payload::Ike { .. } | Payload::Keepalive => touches(&rules.tunnelled),
        _ => touches(&rules.tunnelled) || touches(&rules.service),
    }
}

impl Association {
    fn new(sender: [u8; 6]) -> Self {
        Self {
            highest: 0,
            highest_at_us: 0,
            highest_sender: sender,
            sequences: HashSet::new(),
            ivs: HashSet::new(),
        }
    }

    fn check(
        &mut self,
        frame: &Frame,
        (spi, sequence, iv): (u32, u32, [u8; 8]),
        verdict: &mut Verdict,
    ) {
        let told = || {
            format!(
                "SPI {spi:08x} to {}: sequence number {sequence}, IV {iv:02x?}, highest before {}",
                frame.destination, self.highest
            )
        };
        if !self.ivs.insert(iv) || !self.sequences.insert(sequence) {
            verdict.repeated.add(frame.at_us, told);
        } else if sequence < self.highest && !self.was_overtaken(frame, sequence) {
            verdict.backwards.add(frame.at_us, told);
        } else if sequence < self.highest {
            verdict.reordered += 1;
        }
        if sequence > self.highest {
            self.highest = sequence;
            self.highest_at_us = frame.at_us;
            self.highest_sender = frame.sender;
        }
    }

    /// Whether a packet below the highest may have been sent before it. A process that was started
    /// again is another owner with the same hardware address.
    fn was_overtaken(&self, frame: &Frame, sequence: u32) -> bool {
        frame.sender == self.highest_sender
            && self.highest - sequence <= OVERTAKEN_MAX
            && frame.at_us <= self.highest_at_us + OVERTAKEN_FOR_US
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> Rules {
        let prefix = |text: &str| text.parse().expect("a prefix");
        Rules {
            service: vec![prefix("192.0.2.10")],
            tunnelled: vec![prefix("10.77.0.0/24")],
            fabric_port: 7401,
        }
    }

    fn frame(sender: u8, source: [u8; 4], payload: Payload) -> Frame {
        Frame {
            at_us: 0,
            sender: [2, 0, 0, 0, 0, sender],
            source: source.into(),
            destination: [192, 0, 2, 1].into(),
            payload,
        }
    }

    fn sealed_at(at_us: u64, sequence: u32, iv: u8) -> Frame {
        Frame { at_us, ..sealed(1, sequence, iv) }
    }

    /// An encrypted IKE message: exchange type, flags, the IV, the first byte behind it.
    fn ike(exchange: u8, flags: u8, iv: u8, sealed: u8) -> Frame {
        let mut message = vec![1; 16];
        message.extend([46, 0x20, exchange, flags, 0, 0, 0, 1, 0, 0, 0, 60, 0, 0, 0, 32]);
        message.extend([iv; 8]);
        message.extend([sealed; 24]);
        frame(1, [192, 0, 2, 10], Payload::Ike { message })
    }

    fn sealed(sender: u8, sequence: u32, iv: u8) -> Frame {
        let payload = Payload::Esp { spi: 7, sequence, iv: [iv; 8], port: Some(4500) };
        frame(sender, [192, 0, 2, 10], payload)
    }

    fn faults(frames: Vec<Frame>) -> (u64, u64, u64) {
        let verdict = judge(&rules(), frames.into_iter());
        (verdict.clear.count, verdict.repeated.count, verdict.backwards.count)
    }

    #[test]
    fn an_owner_that_jumps_forward_is_clean() {
        assert_eq!(faults(vec![sealed(1, 1, 1), sealed(1, 2, 2), sealed(2, 4_000, 3)]), (0, 0, 0));
    }

    #[test]
    fn an_iv_that_two_owners_use_is_found() {
        assert_eq!(faults(vec![sealed(1, 1, 1), sealed(2, 2, 1)]), (0, 1, 0));
    }

    #[test]
    fn a_sequence_number_used_twice_is_found() {
        assert_eq!(faults(vec![sealed(1, 1, 1), sealed(1, 1, 2)]), (0, 1, 0));
    }

    #[test]
    fn a_new_owner_below_the_old_one_is_found_and_overtaking_is_not() {
        assert_eq!(faults(vec![sealed(1, 9, 1), sealed(2, 5, 2)]), (0, 0, 1));
        let verdict = judge(&rules(), vec![sealed(1, 9, 1), sealed(1, 8, 2)].into_iter());
        assert!(verdict.is_clean());
        assert_eq!(verdict.reordered, 1);
    }

    #[test]
    fn a_restarted_owner_below_itself_is_found() {
        assert_eq!(faults(vec![sealed(1, 5_000, 1), sealed(1, 3_000, 2)]), (0, 0, 1));
        assert_eq!(faults(vec![sealed_at(0, 9, 1), sealed_at(900_000, 5, 2)]), (0, 0, 1));
        assert_eq!(faults(vec![sealed_at(0, 9, 1), sealed_at(15_000, 5, 2)]), (0, 0, 0));
    }

    #[test]
    fn an_ike_iv_under_two_messages_is_found_and_a_retransmission_is_not() {
        let (auth, info) = (35, 37);
        let same = vec![ike(auth, 8, 1, 1), ike(auth, 8, 1, 1), ike(info, 8, 2, 1)];
        assert_eq!(judge(&rules(), same.clone().into_iter()).ike, 3);
        assert_eq!(faults(same), (0, 0, 0));
        assert_eq!(faults(vec![ike(auth, 8, 1, 1), ike(info, 8, 1, 2)]), (0, 1, 0));
        // The two directions have keys of their own, and IKE_SA_INIT has none.
        assert_eq!(faults(vec![ike(info, 8, 1, 1), ike(info, 0x20, 1, 2)]), (0, 0, 0));
        assert_eq!(faults(vec![ike(34, 8, 1, 1), ike(34, 8, 1, 2)]), (0, 0, 0));
    }

    #[test]
    fn what_belongs_in_a_tunnel_is_found_in_clear() {
        let tcp = Payload::Tcp { from: 80, to: 9, flags: 0 };
        let kernel = Payload::Icmp { kind: 3, code: 3 };
        let arp = Payload::Arp { operation: 2 };
        assert_eq!(faults(vec![frame(1, [192, 0, 2, 10], tcp.clone())]), (1, 0, 0));
        assert_eq!(faults(vec![frame(1, [192, 0, 2, 10], kernel)]), (1, 0, 0));
        assert_eq!(faults(vec![frame(1, [10, 77, 0, 12], tcp.clone())]), (1, 0, 0));
        assert_eq!(faults(vec![frame(1, [192, 0, 2, 10], arp)]), (0, 0, 0));
        assert_eq!(faults(vec![frame(1, [192, 0, 2, 77], tcp)]), (0, 0, 0));
    }
}
