//! The Delete payload (RFC 7296 section 3.11).

use super::{Protocol, length16};
use crate::ParseError;
use crate::id::EspSpi;
use crate::reader::Reader;

/// The payload.
#[derive(Debug, Clone, PartialEq, Eq)]
//= RFC 7296 section 3.11 #1: one protocol
//= RFC 7296 section 3.11 #2: and no other beside it
pub enum Delete {
    /// The IKE SA that the message belongs to.
    Ike,
    /// ESP SAs, by the SPIs at which the sender of the payload receives. At most 16,379.
    Esp(Vec<EspSpi>),
    /// SAs of another protocol, ignored.
    Other(u8),
}

impl Delete {
    /// Reads the payload's body, behind the generic header.
    pub(super) fn parse_body(body: &[u8]) -> Result<Delete, ParseError> {
        const WHAT: &str = "Delete payload";
        let mut reader = Reader::new(WHAT, body);
        let protocol = Protocol::from_number(reader.u8()?);
        let spi_size = usize::from(reader.u8()?);
        let count = usize::from(reader.u16()?);
        let spis = reader.take(spi_size * count)?;
        reader.finish()?;
        match (protocol, spi_size) {
            // The count says nothing where there are no SPIs.
            (Protocol::Ike, 0) => Ok(Delete::Ike),
            //= RFC 7296 section 3.11 #3: four octets for ESP, none for IKE
            (Protocol::Esp, 4) => {
                let (spis, _) = spis.as_chunks::<4>();
                Ok(Delete::Esp(spis.iter().map(|spi| EspSpi(u32::from_be_bytes(*spi))).collect()))
            }
            (Protocol::Ike | Protocol::Esp, _) => Err(ParseError::Length(WHAT)),
            (other, _) => Ok(Delete::Other(other.number())),
        }
    }

    /// Writes the payload's body.
    pub(super) fn emit_body(&self, out: &mut Vec<u8>) {
        match self {
            Delete::Ike => out.extend_from_slice(&[Protocol::Ike.number(), 0, 0, 0]),
            Delete::Other(number) => out.extend_from_slice(&[*number, 0, 0, 0]),
            Delete::Esp(spis) => {
                out.extend_from_slice(&[Protocol::Esp.number(), 4]);
                out.extend_from_slice(&length16(spis.len()).to_be_bytes());
                for spi in spis {
                    out.extend_from_slice(&spi.0.to_be_bytes());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_does_not_matter_where_there_are_no_spis() {
        assert_eq!(Delete::parse_body(&[1, 0, 0, 1]), Ok(Delete::Ike));
        assert_eq!(Delete::parse_body(&[1, 0, 0, 0]), Ok(Delete::Ike));
        assert!(Delete::parse_body(&[3, 4, 0, 1]).is_err());
    }
}
