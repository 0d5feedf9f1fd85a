//! The Notify payload (RFC 7296 section 3.10) and its message types.

use super::{Protocol, length8};
use crate::ParseError;
use crate::reader::Reader;

/// Notify message types. 1 to 16383 are errors, the rest status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NotifyType(pub u16);

#[allow(missing_docs)]
impl NotifyType {
    pub const UNSUPPORTED_CRITICAL_PAYLOAD: NotifyType = NotifyType(1);
    pub const INVALID_IKE_SPI: NotifyType = NotifyType(4);
    pub const INVALID_MAJOR_VERSION: NotifyType = NotifyType(5);
    pub const INVALID_SYNTAX: NotifyType = NotifyType(7);
    pub const INVALID_MESSAGE_ID: NotifyType = NotifyType(9);
    pub const INVALID_SPI: NotifyType = NotifyType(11);
    pub const NO_PROPOSAL_CHOSEN: NotifyType = NotifyType(14);
    pub const INVALID_KE_PAYLOAD: NotifyType = NotifyType(17);
    pub const AUTHENTICATION_FAILED: NotifyType = NotifyType(24);
    pub const SINGLE_PAIR_REQUIRED: NotifyType = NotifyType(34);
    pub const NO_ADDITIONAL_SAS: NotifyType = NotifyType(35);
    pub const INTERNAL_ADDRESS_FAILURE: NotifyType = NotifyType(36);
    pub const FAILED_CP_REQUIRED: NotifyType = NotifyType(37);
    pub const TS_UNACCEPTABLE: NotifyType = NotifyType(38);
    pub const INVALID_SELECTORS: NotifyType = NotifyType(39);
    pub const UNACCEPTABLE_ADDRESSES: NotifyType = NotifyType(40);
    pub const UNEXPECTED_NAT_DETECTED: NotifyType = NotifyType(41);
    pub const TEMPORARY_FAILURE: NotifyType = NotifyType(43);
    pub const CHILD_SA_NOT_FOUND: NotifyType = NotifyType(44);
    pub const STATE_NOT_FOUND: NotifyType = NotifyType(47);
    pub const INITIAL_CONTACT: NotifyType = NotifyType(16384);
    pub const SET_WINDOW_SIZE: NotifyType = NotifyType(16385);
    pub const ADDITIONAL_TS_POSSIBLE: NotifyType = NotifyType(16386);
    pub const IPCOMP_SUPPORTED: NotifyType = NotifyType(16387);
    pub const NAT_DETECTION_SOURCE_IP: NotifyType = NotifyType(16388);
    pub const NAT_DETECTION_DESTINATION_IP: NotifyType = NotifyType(16389);
    pub const COOKIE: NotifyType = NotifyType(16390);
    pub const USE_TRANSPORT_MODE: NotifyType = NotifyType(16391);
    pub const HTTP_CERT_LOOKUP_SUPPORTED: NotifyType = NotifyType(16392);
    pub const REKEY_SA: NotifyType = NotifyType(16393);
    pub const ESP_TFC_PADDING_NOT_SUPPORTED: NotifyType = NotifyType(16394);
    pub const NON_FIRST_FRAGMENTS_ALSO: NotifyType = NotifyType(16395);
    pub const MOBIKE_SUPPORTED: NotifyType = NotifyType(16396);
    pub const ADDITIONAL_IP4_ADDRESS: NotifyType = NotifyType(16397);
    pub const ADDITIONAL_IP6_ADDRESS: NotifyType = NotifyType(16398);
    pub const NO_ADDITIONAL_ADDRESSES: NotifyType = NotifyType(16399);
    pub const UPDATE_SA_ADDRESSES: NotifyType = NotifyType(16400);
    pub const COOKIE2: NotifyType = NotifyType(16401);
    pub const NO_NATS_ALLOWED: NotifyType = NotifyType(16402);
    pub const AUTH_LIFETIME: NotifyType = NotifyType(16403);
    pub const REDIRECT_SUPPORTED: NotifyType = NotifyType(16406);
    pub const REDIRECT: NotifyType = NotifyType(16407);
    pub const REDIRECTED_FROM: NotifyType = NotifyType(16408);
    pub const CHILDLESS_IKEV2_SUPPORTED: NotifyType = NotifyType(16418);
    pub const QUICK_CRASH_DETECTION: NotifyType = NotifyType(16419);
    pub const IKEV2_MESSAGE_ID_SYNC_SUPPORTED: NotifyType = NotifyType(16420);
    pub const IPSEC_REPLAY_COUNTER_SYNC_SUPPORTED: NotifyType = NotifyType(16421);
    pub const IKEV2_MESSAGE_ID_SYNC: NotifyType = NotifyType(16422);
    pub const IPSEC_REPLAY_COUNTER_SYNC: NotifyType = NotifyType(16423);
    pub const IKEV2_FRAGMENTATION_SUPPORTED: NotifyType = NotifyType(16430);
    pub const PUZZLE: NotifyType = NotifyType(16434);
    pub const INTERMEDIATE_EXCHANGE_SUPPORTED: NotifyType = NotifyType(16438);
    pub const ADDITIONAL_KEY_EXCHANGE: NotifyType = NotifyType(16441);

    /// Whether the type reports an error (RFC 7296 section 3.10.1).
    #[must_use]
    pub fn is_error(self) -> bool {
        (1..=16383).contains(&self.0)
    }
}

/// The payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notify {
    /// The SA spoken of, with its SPI, when there is one.
    pub sa: Option<(Protocol, Vec<u8>)>,
    /// What is said.
    pub kind: NotifyType,
    /// Data, by the type.
    pub data: Vec<u8>,
}

impl Notify {
    /// A notification that concerns no SA in particular.
    #[must_use]
    pub fn new(kind: NotifyType, data: Vec<u8>) -> Notify {
        Notify { sa: None, kind, data }
    }

    /// Reads the payload's body, behind the generic header. The protocol is ignored when there is
    /// no SPI.
    pub(super) fn parse_body(body: &[u8]) -> Result<Notify, ParseError> {
        const WHAT: &str = "Notify payload";
        let mut reader = Reader::new(WHAT, body);
        let protocol = Protocol::from_number(reader.u8()?);
        let spi_size = usize::from(reader.u8()?);
        let kind = NotifyType(reader.u16()?);
        let spi = reader.take(spi_size)?;
        let sa = match (protocol, spi_size) {
            (_, 0) => None,
            (Protocol::Esp | Protocol::Ah, size) if size != 4 => {
                return Err(ParseError::Length(WHAT));
            }
            _ => Some((protocol, spi.to_vec())),
        };
        Ok(Notify { sa, kind, data: reader.rest().to_vec() })
    }

    /// Writes the payload's body.
    pub(super) fn emit_body(&self, out: &mut Vec<u8>) {
        let (protocol, spi) = match &self.sa {
            Some((protocol, spi)) => (protocol.number(), spi.as_slice()),
            None => (0, &[][..]),
        };
        out.extend_from_slice(&[protocol, length8(spi.len())]);
        out.extend_from_slice(&self.kind.0.to_be_bytes());
        out.extend_from_slice(spi);
        out.extend_from_slice(&self.data);
    }
}
