//! The Notify payload (RFC 7296 section 3.10) and its message types.

use super::{Protocol, length8};
use crate::ParseError;
use crate::reader::Reader;

/// Notify message types. 1 to 16383 are errors, the rest status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NotifyType(pub u16);

macro_rules! notify_types {
    ($($name:ident = $number:literal,)*) => {
        #[allow(missing_docs)]
        impl NotifyType {
            $(pub const $name: NotifyType = NotifyType($number);)*

            /// Its name in the RFC that defines it, where it is one of those above.
            #[must_use]
            pub fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($number => Some(stringify!($name)),)*
                    _ => None,
                }
            }
        }
    };
}

notify_types! {
    UNSUPPORTED_CRITICAL_PAYLOAD = 1,
    INVALID_IKE_SPI = 4,
    INVALID_MAJOR_VERSION = 5,
    INVALID_SYNTAX = 7,
    INVALID_MESSAGE_ID = 9,
    INVALID_SPI = 11,
    NO_PROPOSAL_CHOSEN = 14,
    INVALID_KE_PAYLOAD = 17,
    AUTHENTICATION_FAILED = 24,
    SINGLE_PAIR_REQUIRED = 34,
    NO_ADDITIONAL_SAS = 35,
    INTERNAL_ADDRESS_FAILURE = 36,
    FAILED_CP_REQUIRED = 37,
    TS_UNACCEPTABLE = 38,
    INVALID_SELECTORS = 39,
    UNACCEPTABLE_ADDRESSES = 40,
    UNEXPECTED_NAT_DETECTED = 41,
    TEMPORARY_FAILURE = 43,
    CHILD_SA_NOT_FOUND = 44,
    STATE_NOT_FOUND = 47,
    INITIAL_CONTACT = 16384,
    SET_WINDOW_SIZE = 16385,
    ADDITIONAL_TS_POSSIBLE = 16386,
    IPCOMP_SUPPORTED = 16387,
    NAT_DETECTION_SOURCE_IP = 16388,
    NAT_DETECTION_DESTINATION_IP = 16389,
    COOKIE = 16390,
    USE_TRANSPORT_MODE = 16391,
    HTTP_CERT_LOOKUP_SUPPORTED = 16392,
    REKEY_SA = 16393,
    ESP_TFC_PADDING_NOT_SUPPORTED = 16394,
    NON_FIRST_FRAGMENTS_ALSO = 16395,
    MOBIKE_SUPPORTED = 16396,
    ADDITIONAL_IP4_ADDRESS = 16397,
    ADDITIONAL_IP6_ADDRESS = 16398,
    NO_ADDITIONAL_ADDRESSES = 16399,
    UPDATE_SA_ADDRESSES = 16400,
    COOKIE2 = 16401,
    NO_NATS_ALLOWED = 16402,
    AUTH_LIFETIME = 16403,
    REDIRECT_SUPPORTED = 16406,
    REDIRECT = 16407,
    REDIRECTED_FROM = 16408,
    CHILDLESS_IKEV2_SUPPORTED = 16418,
    QUICK_CRASH_DETECTION = 16419,
    IKEV2_MESSAGE_ID_SYNC_SUPPORTED = 16420,
    IPSEC_REPLAY_COUNTER_SYNC_SUPPORTED = 16421,
    IKEV2_MESSAGE_ID_SYNC = 16422,
    IPSEC_REPLAY_COUNTER_SYNC = 16423,
    IKEV2_FRAGMENTATION_SUPPORTED = 16430,
    SIGNATURE_HASH_ALGORITHMS = 16431,
    PUZZLE = 16434,
    USE_PPK = 16435,
    PPK_IDENTITY = 16436,
    NO_PPK_AUTH = 16437,
    INTERMEDIATE_EXCHANGE_SUPPORTED = 16438,
    ADDITIONAL_KEY_EXCHANGE = 16441,
}

impl core::fmt::Display for NotifyType {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "notification {}", self.0),
        }
    }
}

impl NotifyType {
    /// Whether the type reports an error that is known here. A response with any other says that
    /// the request has failed altogether (RFC 7296 section 3.10.1).
    #[must_use]
    pub fn is_known_error(self) -> bool {
        self.is_error() && self.name().is_some()
    }

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
            //= RFC 7296 section 3.10 #2: without SPI the protocol says nothing
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
        //= RFC 7296 section 3.10 #1: the protocol of the SA that is spoken of
        //= RFC 7296 section 3.10 #2: without SPI it is zero
        //= RFC 7296 section 3.10 #3: as about the IKE SA
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
