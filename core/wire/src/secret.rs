//! Key material on its way into or out of a record or message: wiped when dropped, never shown.

use core::fmt;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Bytes that nobody else may see. Wiped when dropped; `Debug` shows the length only.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
pub struct SecretBytes(Vec<u8>);

impl SecretBytes {
    /// Takes the bytes over.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> SecretBytes {
        SecretBytes(bytes)
    }

    /// Serialises `value` behind `header`. No copy of the bytes is left behind: the buffer is made
    /// large enough before they are written.
    pub(crate) fn collect<T: Serialize>(header: Vec<u8>, value: &T) -> SecretBytes {
        let serialised = postcard::experimental::serialized_size(value).unwrap_or(0);
        let mut bytes = Vec::with_capacity(header.len() + serialised);
        bytes.extend_from_slice(&header);
        let bytes = postcard::to_extend(value, bytes);
        SecretBytes(bytes.expect("memory takes any value whose lengths are known"))
    }

    /// The bytes themselves, for the crypto library alone.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl From<&[u8]> for SecretBytes {
    fn from(bytes: &[u8]) -> SecretBytes {
        SecretBytes(bytes.to_vec())
    }
}

impl fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretBytes({} bytes)", self.0.len())
    }
}
