//! The ESP header and trailer (RFC 4303 section 2), and what shares the UDP ports with ESP (RFC
//! 3948). Padding is made and checked by `vipsec-esp`, behind the decryption.

use crate::ParseError;
use crate::id::EspSpi;
use crate::reader::Reader;

/// Octets of SPI and sequence number.
pub const HEADER_LENGTH: usize = 8;

/// Octets of pad length and next header.
pub const TRAILER_LENGTH: usize = 2;

/// The UDP port of IKE.
pub const IKE_PORT: u16 = 500;

/// The UDP port of IKE behind the non-ESP marker, and of encapsulated ESP.
pub const NAT_T_PORT: u16 = 4500;

/// What stands before an IKE message on port 4500 (RFC 3948 section 2.2).
pub const NON_ESP_MARKER: [u8; 4] = [0; 4];

/// The whole content of a NAT keepalive (RFC 3948 section 2.3).
pub const NAT_KEEPALIVE: [u8; 1] = [0xff];

/// The clear header of an ESP packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The SA.
    pub spi: EspSpi,
    /// The lower 32 bits of the sequence number.
    pub sequence: u32,
}

impl Header {
    /// Reads the header at the start of a packet.
    ///
    /// # Errors
    /// `Truncated`; `Value` for the SPI 0, which never names an SA on the wire.
    pub fn parse(packet: &[u8]) -> Result<Header, ParseError> {
        let mut reader = Reader::new("ESP header", packet);
        let spi = EspSpi(reader.u32()?);
        let sequence = reader.u32()?;
        if spi.0 == 0 {
            return Err(ParseError::Value("ESP SPI"));
        }
        Ok(Header { spi, sequence })
    }

    /// The header's octets.
    #[must_use]
    pub fn emit(self) -> [u8; HEADER_LENGTH] {
        let value = u64::from(self.spi.0) << 32 | u64::from(self.sequence);
        value.to_be_bytes()
    }
}

/// What a datagram on port 4500 is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encapsulated<'a> {
    /// An IKE message, without the marker.
    Ike(&'a [u8]),
    /// An ESP packet, from its SPI on.
    Esp(&'a [u8]),
    /// A keepalive, to be ignored.
    Keepalive,
}

impl<'a> Encapsulated<'a> {
    /// Tells what a datagram's content is.
    ///
    /// # Errors
    /// `Truncated` when it is none of the three.
    pub fn parse(datagram: &'a [u8]) -> Result<Encapsulated<'a>, ParseError> {
        if datagram == NAT_KEEPALIVE {
            return Ok(Encapsulated::Keepalive);
        }
        match datagram.split_first_chunk::<4>() {
            Some((&NON_ESP_MARKER, message)) => Ok(Encapsulated::Ike(message)),
            Some(_) => Ok(Encapsulated::Esp(datagram)),
            None => Err(ParseError::Truncated("UDP encapsulation")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_is_spi_and_sequence_number() {
        let header = Header { spi: EspSpi(0x0102_0304), sequence: 0x0506_0708 };
        assert_eq!(header.emit(), [1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(Header::parse(&header.emit()), Ok(header));
        assert_eq!(Header::parse(&[0; 8]), Err(ParseError::Value("ESP SPI")));
        for length in 0..8 {
            assert!(Header::parse(&[1; 8][..length]).is_err());
        }
    }

    //= RFC 7296 section 2 #2: four octets of zero
    #[test]
    fn port_4500_is_shared_by_three() {
        assert_eq!(Encapsulated::parse(&[0xff]), Ok(Encapsulated::Keepalive));
        assert_eq!(Encapsulated::parse(&[0, 0, 0, 0, 9]), Ok(Encapsulated::Ike(&[9])));
        let esp = [0, 0, 1, 0, 0, 0, 0, 1];
        assert_eq!(Encapsulated::parse(&esp), Ok(Encapsulated::Esp(&esp)));
        assert!(Encapsulated::parse(&[]).is_err());
        assert!(Encapsulated::parse(&[0xff, 0xff]).is_err());
    }
}
