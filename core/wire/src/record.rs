//! What stands in the store: records of the first version, and how they become bytes.
//!
//! Records are forms of storage, apart from the live types, so that those may change while what
//! has been written stays readable. The bytes of a record are one octet of kind, one of version,
//! and the fields in postcard's encoding. They are secret, and leave the process sealed alone: in
//! the store as a [`Sealed`], between nodes inside the control connection. Sealing itself is not
//! done here.

mod child;
mod eap;
mod extensions;
mod ike;
mod lease;
mod ownership;
mod sealed;

pub use sealed::Sealed;

use crate::ParseError;
use crate::secret::SecretBytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Records of the first version.
pub mod v1 {
    pub use super::child::*;
    pub use super::eap::*;
    pub use super::extensions::*;
    pub use super::ike::*;
    pub use super::lease::*;
    pub use super::ownership::*;
}

/// Longest record in octets that is read, before it is sealed: 16 MiB, for the edges of a million
/// SAs are one record.
pub const RECORD_BYTES_MAX: usize = 16 << 20;

const WHAT: &str = "record";

/// A type that is stored. Kind and version together name the form for ever: a change of its fields
/// needs a new version. Postcard would not notice; `tests/record_golden.rs` does.
pub trait Record: Serialize + DeserializeOwned {
    /// Which record it is, so that bytes that were copied to another place do not pass for another
    /// type.
    const KIND: u8;
    /// Version of the form.
    const VERSION: u8;
}

macro_rules! records {
    ($($kind:literal $version:literal $record:ty;)*) => {
        /// Kind and version of every form of record that is written.
        pub const FORMS: &[(u8, u8)] = &[$(($kind, $version)),*];

        $(impl Record for $record {
            const KIND: u8 = $kind;
            const VERSION: u8 = $version;
        })*
    };
}

records! {
    1 1 v1::EpochRecord;
    2 1 v1::IkeConstant;
    3 1 v1::IkeMutable;
    4 1 v1::ChildConstant;
    5 1 v1::ChildMutable;
    6 1 v1::Edges;
    7 1 v1::Floors;
    8 1 v1::Mirrored;
    9 1 v1::Lease;
}

/// The bytes of a record, to be sealed. They are wiped when dropped.
#[must_use]
pub fn encode<T: Record>(record: &T) -> SecretBytes {
    let header = vec![T::KIND, T::VERSION];
    SecretBytes::collect(header, record)
}

/// Reads the bytes of a record of one type.
///
/// # Errors
/// `Value` for another kind of record or fields that make no sense, `Version` for one that this
/// program does not know, `Length` for bytes left over or too many.
pub fn decode<T: Record>(bytes: &[u8]) -> Result<T, ParseError> {
    if bytes.len() > RECORD_BYTES_MAX {
        return Err(ParseError::Length(WHAT));
    }
    let [kind, version, fields @ ..] = bytes else {
        return Err(ParseError::Truncated(WHAT));
    };
    if *kind != T::KIND {
        return Err(ParseError::Value("record kind"));
    }
    // A second version's reader stands here: it decodes what `v1` still says, and makes a `T` of it.
    if *version != T::VERSION {
        return Err(ParseError::Version { what: WHAT, version: u16::from(*version) });
    }
    let (record, rest) = postcard::take_from_bytes(fields).map_err(|_| ParseError::Value(WHAT))?;
    if rest.is_empty() { Ok(record) } else { Err(ParseError::Length(WHAT)) }
}

#[cfg(test)]
mod tests;
