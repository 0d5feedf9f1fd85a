//! EAP packets as they stand in the EAP payload (RFC 3748 section 4), and those of EAP-MSCHAPv2
//! (draft-kamath-pppext-eap-mschapv2-02 section 2) as a gateway sends and reads them.

use crate::ParseError;
use crate::reader::Reader;

/// What an EAP packet is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EapCode {
    /// 1, from the gateway.
    Request,
    /// 2, from the peer.
    Response,
    /// 3, from the gateway.
    Success,
    /// 4, from the gateway.
    Failure,
}

/// Types of requests and responses (RFC 3748 section 5).
pub mod eap_type {
    /// Identity.
    pub const IDENTITY: u8 = 1;
    /// Legacy Nak: the peer wants another method.
    pub const NAK: u8 = 3;
    /// EAP-MSCHAPv2.
    pub const MSCHAPV2: u8 = 26;
}

/// An EAP packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EapPacket {
    /// What it is.
    pub code: EapCode,
    /// By which a response is matched with its request.
    pub identifier: u8,
    /// Type and Type-Data of a request or response; success and failure have none.
    pub method: Option<(u8, Vec<u8>)>,
}

const HEADER: usize = 4;
const WHAT: &str = "EAP packet";

impl EapPacket {
    /// Reads the body of an EAP payload.
    ///
    /// # Errors
    /// [`ParseError`] for anything but one whole packet.
    pub fn parse(body: &[u8]) -> Result<EapPacket, ParseError> {
        let mut reader = Reader::new(WHAT, body);
        let (code, identifier) = (reader.u8()?, reader.u8()?);
        if usize::from(reader.u16()?) != body.len() {
            return Err(ParseError::Value(WHAT));
        }
        let code = match code {
            1 => EapCode::Request,
            2 => EapCode::Response,
            3 => EapCode::Success,
            4 => EapCode::Failure,
            _ => return Err(ParseError::Value(WHAT)),
        };
        let method = match code {
            EapCode::Request | EapCode::Response => Some((reader.u8()?, reader.rest().to_vec())),
            EapCode::Success | EapCode::Failure => None,
        };
        reader.finish()?;
        Ok(EapPacket { code, identifier, method })
    }

    /// The body of an EAP payload; at most 65,530 octets of Type-Data.
    #[must_use]
    pub fn emit(&self) -> Vec<u8> {
        let code = match self.code {
            EapCode::Request => 1,
            EapCode::Response => 2,
            EapCode::Success => 3,
            EapCode::Failure => 4,
        };
        let data = self.method.as_ref().map_or(0, |(_, data)| 1 + data.len());
        let mut out = vec![code, self.identifier];
        out.extend_from_slice(&super::length16(HEADER + data).to_be_bytes());
        if let Some((kind, data)) = &self.method {
            out.push(*kind);
            out.extend_from_slice(data);
        }
        out
    }
}

/// The Type-Data of EAP-MSCHAPv2, as far as a gateway meets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MsChapV2 {
    /// OpCode 1: the gateway's challenge and name.
    Challenge {
        /// MS-CHAPv2-ID
        id: u8,
        /// The challenge.
        challenge: [u8; 16],
        /// The gateway's name.
        name: Vec<u8>,
    },
    /// OpCode 2: the peer's answer.
    Response {
        /// MS-CHAPv2-ID
        id: u8,
        /// Peer-Challenge
        challenge: [u8; 16],
        /// NT-Response
        response: [u8; 24],
        /// The peer's name.
        name: Vec<u8>,
    },
    /// OpCode 3 of the gateway: `S=…` and a message.
    Success {
        /// MS-CHAPv2-ID
        id: u8,
        /// The text.
        message: Vec<u8>,
    },
    /// OpCode 3 of the peer: it believes the gateway.
    Acknowledged,
    /// OpCode 4 of the peer: it does not, or has read that it failed.
    Failed,
}

const VALUE: u8 = 49;

impl MsChapV2 {
    /// Reads the Type-Data of a peer.
    ///
    /// # Errors
    /// [`ParseError`] for what a peer does not send.
    pub fn parse_response(data: &[u8]) -> Result<MsChapV2, ParseError> {
        let mut reader = Reader::new("EAP-MSCHAPv2", data);
        match reader.u8()? {
            2 => {}
            3 => return Ok(MsChapV2::Acknowledged),
            4 => return Ok(MsChapV2::Failed),
            _ => return Err(ParseError::Value("EAP-MSCHAPv2 OpCode")),
        }
        let id = reader.u8()?;
        if usize::from(reader.u16()?) != data.len() || reader.u8()? != VALUE {
            return Err(ParseError::Value("EAP-MSCHAPv2 length"));
        }
        let challenge = reader.array()?;
        let _reserved: [u8; 8] = reader.array()?;
        let response = reader.array()?;
        let _flags = reader.u8()?;
        let name = reader.rest().to_vec();
        Ok(MsChapV2::Response { id, challenge, response, name })
    }

    /// The Type-Data.
    #[must_use]
    pub fn emit(&self) -> Vec<u8> {
        let (op, id, body) = match self {
            MsChapV2::Challenge { id, challenge, name } => {
                (1, *id, [&[16][..], challenge, name].concat())
            }
            MsChapV2::Response { id, challenge, response, name } => {
                (2, *id, [&[VALUE][..], challenge, &[0; 8], response, &[0], name].concat())
            }
            MsChapV2::Success { id, message } => (3, *id, message.clone()),
            MsChapV2::Acknowledged => return vec![3],
            MsChapV2::Failed => return vec![4],
        };
        let mut out = vec![op, id];
        out.extend_from_slice(&super::length16(HEADER + body.len()).to_be_bytes());
        out.extend(body);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(packet: &EapPacket) {
        let body = packet.emit();
        assert_eq!(EapPacket::parse(&body).as_ref(), Ok(packet));
        for length in 0..body.len() {
            assert!(EapPacket::parse(&body[..length]).is_err());
        }
    }

    #[test]
    fn packets_are_read_as_they_are_written() {
        let request = |method| EapPacket { code: EapCode::Request, identifier: 7, method };
        round_trip(&request(Some((eap_type::IDENTITY, Vec::new()))));
        let challenge =
            MsChapV2::Challenge { id: 7, challenge: [1; 16], name: b"gw".to_vec() }.emit();
        assert_eq!(challenge[..5], [1, 7, 0, 23, 16]);
        round_trip(&request(Some((eap_type::MSCHAPV2, challenge))));
        round_trip(&EapPacket { code: EapCode::Success, identifier: 7, method: None });
        assert!(EapPacket::parse(&[5, 0, 0, 4]).is_err());
    }

    #[test]
    fn a_peers_response_is_read_whole_or_not() {
        let name = b"user".to_vec();
        let said = MsChapV2::Response { id: 7, challenge: [2; 16], response: [3; 24], name };
        let data = said.emit();
        assert_eq!((data.len(), data[4]), (4 + 50 + 4, 49));
        assert_eq!(MsChapV2::parse_response(&data), Ok(said));
        for length in 0..data.len() {
            assert!(MsChapV2::parse_response(&data[..length]).is_err());
        }
        assert_eq!(MsChapV2::parse_response(&[3]), Ok(MsChapV2::Acknowledged));
        assert_eq!(MsChapV2::parse_response(&[4]), Ok(MsChapV2::Failed));
        assert!(MsChapV2::parse_response(&[1]).is_err());
    }
}
