//! The keyUsage extension on a path (RFC 5280 section 6.1.4 (n), RFC 4945 section 5.1.3.2). The
//! certificates in `usage/` were made with OpenSSL, valid from November 2026 to 2046; each has the
//! usage that its name says, the two `below-…` come from the authority of that name.

#![allow(clippy::unwrap_used)]

use vipsec_crypto::certificate::{Authorities, name_from_text, name_is_pattern};

macro_rules! der {
    ($name:literal) => {
        include_bytes!(concat!("usage/", $name, ".der")).to_vec()
    };
}

const NOW_S: u64 = 1_800_000_000;

#[test]
fn a_key_does_only_what_its_certificate_allows() {
    let authorities = Authorities::new(&[der!("root")], &[]).unwrap();
    let is_good = |chain: &[Vec<u8>]| authorities.verify(chain, NOW_S).is_ok();
    assert!(is_good(&[der!("signs")]));
    assert!(!is_good(&[der!("enciphers")]));
    assert!(is_good(&[der!("below-certifies"), der!("certifies")]));
    assert!(!is_good(&[der!("below-certifies-not"), der!("certifies-not")]));
    // An authority is nobody's end.
    assert!(!is_good(&[der!("certifies")]));
}

/// Whatever stands in the object identifiers: that of emailAddress has the octet of `*` in it.
#[test]
fn a_pattern_is_told_by_its_values() {
    let is_pattern = |text| name_is_pattern(&name_from_text(text).unwrap());
    assert!(is_pattern("C=CH, O=vipsec, CN=*"));
    assert!(!is_pattern("C=CH, emailAddress=a@example.org"));
    assert!(!is_pattern("C=CH, CN=*.example.org"));
    assert!(!name_is_pattern(b"*"));
}
