//! What a frozen owner hands to its successor in a transfer: exact windows and counters of the SAs
//! that had traffic in its epoch, and the connections. Opaque to the cluster, sealed by nobody: it
//! travels on the control connection, which is encrypted, and contains no key.

use crate::ParseError;
use crate::cluster::ConnectionUpdate;
use crate::id::EspSpi;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// First byte of the encoding; raised when the layout changes.
const VERSION: u8 = 2;

/// The replay window of an inbound SA (RFC 4303 section 3.4.3), exact.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowImage {
    /// Highest sequence number received, extended to 64 bits; 0 for none.
    pub edge: u64,
    /// Size of the window in packets.
    pub size: u32,
    /// Bit j of word i is set when sequence number `edge - (64 i + j)` was received. Zero words at
    /// the end are left out.
    pub received: Vec<u64>,
}

/// How much one direction was used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageImage {
    /// Packets.
    pub packets: u64,
    /// Bytes of payload.
    pub bytes: u64,
    /// When the last one passed.
    pub last: Option<Timestamp>,
}

/// One pair of SAs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SaImage {
    /// The inbound SPI, which names the pair.
    pub spi_in: EspSpi,
    /// The outbound sequence number that comes next; `None` when nothing was sent in this epoch.
    pub next_sequence: Option<u64>,
    /// The confirmed block.
    pub block: u32,
    /// Use of the outbound SA.
    pub sent: UsageImage,
    /// The inbound window; `None` when nothing was received in this epoch.
    pub window: Option<WindowImage>,
    /// Use of the inbound SA.
    pub received: UsageImage,
}

impl SaImage {
    /// Bytes that it adds to a hand-over.
    #[must_use]
    pub fn encoded_length(&self) -> usize {
        length(self)
    }
}

impl ConnectionUpdate {
    /// Bytes that it adds to a hand-over.
    #[must_use]
    pub fn encoded_length(&self) -> usize {
        length(self)
    }
}

fn length(value: &impl Serialize) -> usize {
    postcard::experimental::serialized_size(value).expect("plain values have a size")
}

/// One VIP. The parts of several workers are merged by appending.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handover {
    /// SAs that had traffic in the old owner's epoch; for one that is left out the transfer is a
    /// takeover.
    pub sas: Vec<SaImage>,
    /// Live connections.
    pub connections: Vec<ConnectionUpdate>,
    /// Not all connections are in it: the successor must ask the targets, as in a takeover.
    pub partial: bool,
}

impl Handover {
    /// Adds another worker's part.
    pub fn merge(&mut self, part: Handover) {
        self.sas.extend(part.sas);
        self.connections.extend(part.connections);
        self.partial |= part.partial;
    }

    /// The bytes for the successor.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        postcard::to_allocvec(&(VERSION, self)).expect("plain values always serialise into memory")
    }

    /// Reads what [`Handover::encode`] wrote.
    ///
    /// # Errors
    /// When the version is unknown, or the bytes are no handover.
    pub fn decode(bytes: &[u8]) -> Result<Handover, ParseError> {
        match bytes.first() {
            None => return Err(ParseError::Truncated("handover")),
            Some(&VERSION) => {}
            Some(&version) => {
                return Err(ParseError::Version { what: "handover", version: version.into() });
            }
        }
        match postcard::take_from_bytes(&bytes[1..]) {
            Ok((handover, [])) => Ok(handover),
            Ok(_) => Err(ParseError::Length("handover")),
            Err(_) => Err(ParseError::Value("handover")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handover_survives_the_round_trip_and_a_cut_one_is_refused() {
        let handover = Handover {
            sas: vec![SaImage {
                spi_in: EspSpi(0x100),
                next_sequence: Some(1 << 40),
                block: 3,
                sent: UsageImage::default(),
                window: Some(WindowImage { edge: 77, size: 1024, received: vec![u64::MAX; 16] }),
                received: UsageImage { packets: 9, bytes: 900, last: Some(Timestamp(5)) },
            }],
            connections: Vec::new(),
            partial: false,
        };
        let bytes = handover.encode();
        assert_eq!(Handover::decode(&bytes), Ok(handover));
        for end in 0..bytes.len() {
            assert!(Handover::decode(&bytes[..end]).is_err(), "cut at {end}");
        }
        assert!(matches!(
            Handover::decode(&[9, 0, 0]),
            Err(ParseError::Version { version: 9, .. })
        ));
    }

    #[test]
    fn the_lengths_of_the_parts_add_up_and_one_partial_part_makes_the_whole_partial() {
        let sa = SaImage {
            spi_in: EspSpi(0x1_0000),
            next_sequence: Some(u64::MAX),
            block: 9,
            sent: UsageImage { packets: 1, bytes: 1 << 40, last: None },
            window: Some(WindowImage { edge: 1 << 33, size: 1024, received: vec![u64::MAX; 16] }),
            received: UsageImage::default(),
        };
        let length = sa.encoded_length();
        let part = Handover { sas: vec![sa.clone()], connections: Vec::new(), partial: true };
        let mut whole = Handover { sas: vec![sa], ..Handover::default() };
        let alone = whole.encode().len();
        whole.merge(part);
        assert_eq!(whole.encode().len(), alone + length);
        assert!(whole.partial);
    }
}
