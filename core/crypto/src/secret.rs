//! Key material while it is being worked with: wiped when dropped, never shown.

use crate::digest::constant_time_eq;
use core::fmt;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Bytes that nobody else may see. Compared in constant time; `Debug` shows the length only.
#[derive(Clone, Default, Zeroize, ZeroizeOnDrop)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// Takes the bytes over.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Secret {
        Secret(bytes)
    }

    /// The bytes themselves.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// Moves the bytes out; the receiver wipes them from now on.
    #[must_use]
    pub fn into_vec(mut self) -> Vec<u8> {
        core::mem::take(&mut self.0)
    }

    /// Number of bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<&[u8]> for Secret {
    fn from(bytes: &[u8]) -> Secret {
        Secret(bytes.to_vec())
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Secret) -> bool {
        constant_time_eq(&self.0, &other.0)
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({} bytes)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_the_length_only() {
        let secret = Secret::new(vec![0x41; 7]);
        assert_eq!(format!("{secret:?}"), "Secret(7 bytes)");
    }

    #[test]
    fn equality_looks_at_length_and_content() {
        assert_eq!(Secret::from(&[1, 2][..]), Secret::new(vec![1, 2]));
        assert_ne!(Secret::from(&[1, 2][..]), Secret::new(vec![1, 3]));
        assert_ne!(Secret::from(&[1, 2][..]), Secret::new(vec![1, 2, 0]));
        assert_eq!(Secret::new(vec![9]).into_vec(), vec![9]);
    }
}
