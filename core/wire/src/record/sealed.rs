//! A sealed record as the store holds it: what must be readable without the store key, and the
//! sealed rest.

use crate::ParseError;
use crate::id::Epoch;
use crate::reader::Reader;

/// Version of the form below, and of the associated data.
const VERSION: u8 = 1;

const WHAT: &str = "sealed record";

/// The value of one key of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// The epoch of the owner that wrote it; authenticated by the seal, readable without it.
    pub epoch: Epoch,
    /// Nonce, ciphertext and tag, as the crypto crate's seal makes them.
    pub body: Vec<u8>,
}

impl Sealed {
    /// What the seal authenticates beside the record: that it stands at this path of the store, in
    /// this form, and was written in this epoch.
    #[must_use]
    pub fn associated_data(path: &str, epoch: Epoch) -> Vec<u8> {
        let mut out = vec![VERSION];
        out.extend_from_slice(&epoch.0.to_be_bytes());
        out.extend_from_slice(path.as_bytes());
        out
    }

    /// Writes the value.
    #[must_use]
    pub fn emit(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(9 + self.body.len());
        out.push(VERSION);
        out.extend_from_slice(&self.epoch.0.to_be_bytes());
        out.extend_from_slice(&self.body);
        out
    }

    /// Reads the value.
    ///
    /// # Errors
    /// `Truncated` when it is shorter than its own header, `Version` for a form that this program
    /// does not know.
    pub fn parse(bytes: &[u8]) -> Result<Sealed, ParseError> {
        let mut reader = Reader::new(WHAT, bytes);
        let version = reader.u8()?;
        if version != VERSION {
            return Err(ParseError::Version { what: WHAT, version: u16::from(version) });
        }
        let epoch = Epoch(reader.u64()?);
        Ok(Sealed { epoch, body: reader.rest().to_vec() })
    }
}
