//! The Identification payloads (RFC 7296 section 3.5).

use crate::ParseError;
use crate::reader::Reader;
use core::fmt;
use core::net::{Ipv4Addr, Ipv6Addr};
use core::str::FromStr;
use serde::{Deserialize, Serialize};

/// Which side a payload speaks of: IDi or IDr, TSi or TSr.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Side {
    /// The initiator of the exchange.
    Initiator,
    /// The responder of the exchange.
    Responder,
}

/// An identity.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Identity {
    /// ID_IPV4_ADDR, 1
    Ipv4(Ipv4Addr),
    /// ID_FQDN, 2
    Fqdn(String),
    /// ID_RFC822_ADDR, 3
    Email(String),
    /// ID_IPV6_ADDR, 5
    Ipv6(Ipv6Addr),
    /// ID_KEY_ID, 11
    KeyId(Vec<u8>),
    /// Any other type, as it is (ID_DER_ASN1_DN is 9).
    Other(u8, Vec<u8>),
}

/// The payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identification {
    /// IDi or IDr.
    pub side: Side,
    /// Who.
    pub identity: Identity,
}

const WHAT: &str = "Identification payload";

impl Identity {
    /// The ID type number.
    #[must_use]
    pub fn kind(&self) -> u8 {
        match self {
            Identity::Ipv4(_) => 1,
            Identity::Fqdn(_) => 2,
            Identity::Email(_) => 3,
            Identity::Ipv6(_) => 5,
            Identity::KeyId(_) => 11,
            Identity::Other(kind, _) => *kind,
        }
    }

    /// The identification data.
    fn data(&self) -> Vec<u8> {
        match self {
            Identity::Ipv4(address) => address.octets().to_vec(),
            Identity::Ipv6(address) => address.octets().to_vec(),
            Identity::Fqdn(text) | Identity::Email(text) => text.as_bytes().to_vec(),
            Identity::KeyId(data) | Identity::Other(_, data) => data.clone(),
        }
    }

    /// The identity of an ID type number and its data. A name that is no UTF-8 is kept as `Other`.
    ///
    /// # Errors
    /// `Length` for an address of the wrong length.
    pub fn from_data(kind: u8, data: &[u8]) -> Result<Identity, ParseError> {
        let text = || str::from_utf8(data).map(str::to_owned);
        let other = || Identity::Other(kind, data.to_vec());
        Ok(match kind {
            1 => Identity::Ipv4(address::<4>(data)?.into()),
            2 => text().map_or_else(|_| other(), Identity::Fqdn),
            3 => text().map_or_else(|_| other(), Identity::Email),
            5 => Identity::Ipv6(address::<16>(data)?.into()),
            11 => Identity::KeyId(data.to_vec()),
            _ => other(),
        })
    }

    /// Reads the body of an Identification payload, behind the generic header.
    ///
    /// # Errors
    /// Names the field that is wrong.
    pub fn parse_body(body: &[u8]) -> Result<Identity, ParseError> {
        let mut reader = Reader::new(WHAT, body);
        //= RFC 7296 section 3.5 #1: reserved octets are not looked at
        let kind = reader.u8()?;
        reader.take(3)?;
        Identity::from_data(kind, reader.rest())
    }

    /// Writes the body of an Identification payload without the generic header: what the AUTH
    /// computation signs (RFC 7296 section 2.15).
    #[must_use]
    //= RFC 7296 section 3.5 #1: reserved octets are zero
    pub fn emit_body(&self) -> Vec<u8> {
        let mut out = vec![self.kind(), 0, 0, 0];
        out.extend_from_slice(&self.data());
        out
    }
}

fn address<const N: usize>(data: &[u8]) -> Result<[u8; N], ParseError> {
    data.try_into().map_err(|_| ParseError::Length(WHAT))
}

impl Identification {
    /// Reads the payload's body, behind the generic header.
    pub(super) fn parse_body(side: Side, body: &[u8]) -> Result<Identification, ParseError> {
        Ok(Identification { side, identity: Identity::parse_body(body)? })
    }
}

/// The text forms are those of swanctl: an address, a name, `user@name`, and for everything else
/// `fqdn:…`, `email:…`, `keyid:…` or `{type number}:…`, where a value that begins with `#` is in
/// hexadecimal. A peer's octets never reach a terminal unescaped.
impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Identity::Ipv4(address) => address.fmt(f),
            Identity::Ipv6(address) => address.fmt(f),
            Identity::Fqdn(text) | Identity::Email(text) => {
                let prefix = if self.kind() == 2 { "fqdn" } else { "email" };
                if !text.bytes().all(|octet| octet.is_ascii_graphic()) {
                    write_hex(f, prefix, text.as_bytes())
                } else if parse_plain(text).as_ref() == Ok(self) {
                    f.write_str(text)
                } else if text.starts_with('#') {
                    write_hex(f, prefix, text.as_bytes())
                } else {
                    write!(f, "{prefix}:{text}")
                }
            }
            Identity::KeyId(data) => write_hex(f, "keyid", data),
            Identity::Other(kind, data) => write_hex(f, &format!("{{{kind}}}"), data),
        }
    }
}

fn write_hex(f: &mut fmt::Formatter<'_>, prefix: &str, data: &[u8]) -> fmt::Result {
    write!(f, "{prefix}:#")?;
    data.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
}

/// A text that is no identity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("identity {text:?}: {why}")]
pub struct BadIdentity {
    text: String,
    why: &'static str,
}

impl FromStr for Identity {
    type Err = BadIdentity;

    fn from_str(text: &str) -> Result<Identity, BadIdentity> {
        parse_plain(text).map_err(|why| BadIdentity { text: text.to_owned(), why })
    }
}

fn parse_plain(text: &str) -> Result<Identity, &'static str> {
    if let Ok(address) = text.parse::<Ipv4Addr>() {
        return Ok(Identity::Ipv4(address));
    }
    if let Ok(address) = text.parse::<Ipv6Addr>() {
        return Ok(Identity::Ipv6(address));
    }
    if let Some((prefix, value)) = text.split_once(':') {
        return parse_typed(prefix, value);
    }
    if let Some(hex) = text.strip_prefix("@#") {
        return Ok(Identity::KeyId(parse_hex(hex)?));
    }
    if let Some(email) = text.strip_prefix("@@") {
        return Ok(Identity::Email(email.to_owned()));
    }
    if let Some(name) = text.strip_prefix('@') {
        return Ok(Identity::Fqdn(name.to_owned()));
    }
    match text {
        "" => Err("empty"),
        "%any" | "*" => Err("a wildcard is not an identity"),
        _ if text.contains('=') => Err("distinguished names are not supported yet"),
        _ if text.contains('@') => Ok(Identity::Email(text.to_owned())),
        _ => Ok(Identity::Fqdn(text.to_owned())),
    }
}

fn parse_typed(prefix: &str, value: &str) -> Result<Identity, &'static str> {
    let kind = match prefix {
        "ipv4" => 1,
        "fqdn" | "dns" => 2,
        "email" | "rfc822" => 3,
        "ipv6" => 5,
        "keyid" => 11,
        _ => prefix
            .strip_prefix('{')
            .and_then(|number| number.strip_suffix('}')?.parse::<u8>().ok())
            .ok_or("unknown type; known are ipv4, ipv6, fqdn, email, keyid, {number}")?,
    };
    let data = match (kind, value.strip_prefix('#')) {
        (_, Some(hex)) => parse_hex(hex)?,
        (1, None) => value.parse::<Ipv4Addr>().map_err(|_| "no IPv4 address")?.octets().to_vec(),
        (5, None) => value.parse::<Ipv6Addr>().map_err(|_| "no IPv6 address")?.octets().to_vec(),
        (_, None) => value.as_bytes().to_vec(),
    };
    Identity::from_data(kind, &data).map_err(|_| "an address of the wrong length")
}

fn parse_hex(text: &str) -> Result<Vec<u8>, &'static str> {
    let digits = text
        .bytes()
        .map(|digit| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok()))
        .collect::<Option<Vec<u8>>>()
        .ok_or("not hexadecimal")?;
    let (pairs, odd) = digits.as_chunks::<2>();
    if !odd.is_empty() {
        return Err("odd number of hexadecimal digits");
    }
    Ok(pairs.iter().map(|[high, low]| high << 4 | low).collect())
}
