//! Where the records of a VIP stand in the store.

use super::Key;
use core::fmt;
use core::net::IpAddr;
use vipsec_wire::id::{EspSpi, IkeSaId, Vip};

impl Key {
    /// Longest key in bytes.
    pub const BYTES_MAX: usize = 256;

    /// A key from a text; `None` when it is empty or too long.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Option<Key> {
        let text = text.into();
        (1..=Key::BYTES_MAX).contains(&text.len()).then_some(Key(text))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// With what every key of a VIP begins.
    #[must_use]
    pub fn vip_prefix(vip: Vip) -> String {
        format!("vip/{vip}/")
    }

    /// The epoch record of a VIP.
    #[must_use]
    pub fn epoch(vip: Vip) -> Key {
        Key(format!("vip/{vip}/epoch"))
    }

    /// The constant part of an IKE SA.
    #[must_use]
    pub fn ike(vip: Vip, id: IkeSaId) -> Key {
        Key(format!("vip/{vip}/ike/{id}"))
    }

    /// The part of an IKE SA that changes.
    #[must_use]
    pub fn ike_state(vip: Vip, id: IkeSaId) -> Key {
        Key(format!("vip/{vip}/ike/{id}/state"))
    }

    /// The constant part of a Child SA, named by its inbound SPI.
    #[must_use]
    pub fn child(vip: Vip, spi_in: EspSpi) -> Key {
        Key(format!("vip/{vip}/child/{spi_in}"))
    }

    /// The part of a Child SA that changes.
    #[must_use]
    pub fn child_state(vip: Vip, spi_in: EspSpi) -> Key {
        Key(format!("vip/{vip}/child/{spi_in}/state"))
    }

    /// Whose an address of the pools is.
    #[must_use]
    pub fn lease(vip: Vip, address: IpAddr) -> Key {
        Key(format!("vip/{vip}/lease/{address}"))
    }

    /// The packed edges of all replay windows of a VIP.
    #[must_use]
    pub fn edges(vip: Vip) -> Key {
        Key(format!("vip/{vip}/edges"))
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_one_vip_do_not_begin_like_those_of_another() {
        let one = Vip("10.0.0.1".parse().expect("an address"));
        let ten = Vip("10.0.0.10".parse().expect("an address"));
        assert!(Key::epoch(one).as_str().starts_with(&Key::vip_prefix(one)));
        assert!(!Key::epoch(ten).as_str().starts_with(&Key::vip_prefix(one)));
        assert_eq!(
            Key::child_state(one, EspSpi(0xabc)).as_str(),
            "vip/10.0.0.1/child/00000abc/state"
        );
    }

    #[test]
    fn a_key_has_a_length_that_every_backend_takes() {
        assert_eq!(Key::new(""), None);
        assert_eq!(Key::new("x".repeat(Key::BYTES_MAX + 1)), None);
        let longest = "x".repeat(Key::BYTES_MAX);
        assert_eq!(Key::new(longest.clone()).map(|k| k.to_string()), Some(longest));
    }
}
