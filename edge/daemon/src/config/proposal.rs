//! Proposal strings such as `aes256gcm16-prfsha256-x25519`: parts joined by hyphens, several of one
//! kind standing for a choice; `ke1_mlkem768` adds a key exchange (RFC 9370). Algorithms that are broken are refused by name, with the reason.

use vipsec_ike::{EspProposal, IkeProposal};
use vipsec_wire::ike::{ADDITIONAL_MAX, Encryption, Esn, Group, Integrity, Prf};

const GCM128: Encryption = Encryption::AesGcm16 { bits: 128 };
const GCM256: Encryption = Encryption::AesGcm16 { bits: 256 };

/// Parses a proposal for an IKE SA. Without a PRF, that of the integrity algorithm's hash is taken.
///
/// # Errors
/// What is wrong and what is allowed.
pub fn ike(text: &str) -> Result<IkeProposal, String> {
    let parts = Parts::read(text)?;
    parts.check_kind(text)?;
    if !parts.esn.is_empty() {
        return Err(format!(
            "{text:?}: esn and noesn belong to a child's proposals; allowed is to leave them out"
        ));
    }
    if parts.groups.is_empty() {
        return Err(format!("{text:?}: a key exchange is missing; allowed is {GROUPS}"));
    }
    let prf = if parts.prf.is_empty() { parts.integrity_prf() } else { parts.prf.clone() };
    if prf.is_empty() {
        return Err(format!("{text:?}: a PRF is missing; allowed is {PRFS}"));
    }
    let Parts { encryption, integrity, groups, additional, .. } = parts;
    Ok(IkeProposal { encryption, integrity, prf, groups, additional })
}

/// Parses a proposal for a Child SA. Without `esn` or `noesn` both are offered.
///
/// # Errors
/// What is wrong and what is allowed.
pub fn esp(text: &str) -> Result<EspProposal, String> {
    let parts = Parts::read(text)?;
    parts.check_kind(text)?;
    if !parts.prf.is_empty() {
        return Err(format!(
            "{text:?}: a PRF belongs to the connection's proposals; allowed is to leave it out"
        ));
    }
    if parts.groups.is_empty() && !parts.additional.is_empty() {
        return Err(format!(
            "{text:?}: an additional key exchange needs one to follow; allowed is {GROUPS}"
        ));
    }
    let Parts { encryption, integrity, groups, additional, mut esn, .. } = parts;
    if esn.is_empty() {
        esn = vec![Esn::Yes, Esn::No];
    }
    Ok(EspProposal { encryption, integrity, groups, additional, esn })
}

const ENCRYPTION: &str = "aes256gcm16, aes128gcm16, chacha20poly1305, aes256, aes192, aes128";
const INTEGRITY: &str = "sha256, sha384, sha512";
const PRFS: &str = "prfsha256, prfsha384, prfsha512";
const GROUPS: &str =
    "x25519, ecp256, ecp384, ecp521, modp2048, modp3072, modp4096, modp6144, modp8192";

const ADDITIONAL: &str = "ke1_… to ke7_…, each with mlkem512, mlkem768, mlkem1024, none, or one of x25519, ecp256, ecp384, ecp521, modp2048 to modp8192";

#[derive(Default)]
struct Parts {
    encryption: Vec<Encryption>,
    integrity: Vec<Integrity>,
    prf: Vec<Prf>,
    groups: Vec<Group>,
    additional: Vec<Vec<Group>>,
    esn: Vec<Esn>,
}

impl Parts {
    fn read(text: &str) -> Result<Parts, String> {
        let mut parts = Parts::default();
        for part in text.split('-') {
            parts.take(&part.to_ascii_lowercase()).map_err(|why| format!("{text:?}: {why}"))?;
        }
        Ok(parts)
    }

    fn take(&mut self, part: &str) -> Result<(), String> {
        match part {
            "aes256gcm16" | "aes256gcm" | "aes256gcm128" => self.encryption.push(GCM256),
            "aes128gcm16" | "aes128gcm" | "aes128gcm128" => self.encryption.push(GCM128),
            "chacha20poly1305" => self.encryption.push(Encryption::ChaCha20Poly1305),
            "aes256" => self.encryption.push(Encryption::AesCbc { bits: 256 }),
            "aes192" => self.encryption.push(Encryption::AesCbc { bits: 192 }),
            "aes128" | "aes" => self.encryption.push(Encryption::AesCbc { bits: 128 }),
            "sha256" | "sha2_256" => self.integrity.push(Integrity::HmacSha2_256_128),
            "sha384" | "sha2_384" => self.integrity.push(Integrity::HmacSha2_384_192),
            "sha512" | "sha2_512" => self.integrity.push(Integrity::HmacSha2_512_256),
            "prfsha256" => self.prf.push(Prf::HmacSha2_256),
            "prfsha384" => self.prf.push(Prf::HmacSha2_384),
            "prfsha512" => self.prf.push(Prf::HmacSha2_512),
            "esn" => self.esn.push(Esn::Yes),
            "noesn" => self.esn.push(Esn::No),
            other => match (group(other), other.strip_prefix("ke")) {
                (Some(group), _) => self.groups.push(group),
                (None, Some(additional)) => self.take_additional(additional)?,
                (None, None) => return Err(refusal(other)),
            },
        }
        Ok(())
    }

    /// An additional key exchange, without its `ke`: place and method.
    fn take_additional(&mut self, part: &str) -> Result<(), String> {
        let wrong = || format!("unknown part \"ke{part}\"; allowed is {ADDITIONAL}");
        let (place, name) = part.split_once('_').ok_or_else(wrong)?;
        let place = place.parse().ok().filter(|place| (1..=ADDITIONAL_MAX).contains(place));
        let place: usize = place.ok_or_else(wrong)?;
        let method = match name {
            "none" => Group::None,
            "mlkem512" => Group::MlKem512,
            "mlkem768" => Group::MlKem768,
            "mlkem1024" => Group::MlKem1024,
            classical => group(classical).ok_or_else(wrong)?,
        };
        if self.additional.len() < place {
            self.additional.resize(place, Vec::new());
        }
        self.additional[place - 1].push(method);
        Ok(())
    }

    /// Whether the encryption algorithms and the integrity algorithms go together (RFC 5282
    /// section 8: an AEAD is never proposed with an integrity algorithm).
    fn check_kind(&self, text: &str) -> Result<(), String> {
        let aeads = self.encryption.iter().filter(|algorithm| algorithm.is_aead()).count();
        let why = if self.encryption.is_empty() {
            format!("an encryption algorithm is missing; allowed is {ENCRYPTION}")
        } else if aeads != 0 && aeads != self.encryption.len() {
            "AEADs and CBC are mixed; allowed is one proposal for each".to_owned()
        } else if aeads != 0 && !self.integrity.is_empty() {
            "an AEAD authenticates by itself; allowed is to leave the integrity algorithm out (a PRF is prfsha256, …)".to_owned()
        } else if aeads == 0 && self.integrity.is_empty() {
            format!("CBC needs an integrity algorithm; allowed is {INTEGRITY}")
        } else {
            return Ok(());
        };
        Err(format!("{text:?}: {why}"))
    }

    fn integrity_prf(&self) -> Vec<Prf> {
        let prf = |integrity: &Integrity| match integrity {
            Integrity::HmacSha2_256_128 => Some(Prf::HmacSha2_256),
            Integrity::HmacSha2_384_192 => Some(Prf::HmacSha2_384),
            Integrity::HmacSha2_512_256 => Some(Prf::HmacSha2_512),
            Integrity::None | Integrity::Other(_) => None,
        };
        self.integrity.iter().filter_map(prf).collect()
    }
}

/// The classical key exchange of a name.
fn group(name: &str) -> Option<Group> {
    Some(match name {
        "x25519" | "curve25519" => Group::X25519,
        "ecp256" | "p256" => Group::EcpP256,
        "ecp384" | "p384" => Group::EcpP384,
        "ecp521" | "p521" => Group::EcpP521,
        "modp2048" => Group::Modp2048,
        "modp3072" => Group::Modp3072,
        "modp4096" => Group::Modp4096,
        "modp6144" => Group::Modp6144,
        "modp8192" => Group::Modp8192,
        _ => return None,
    })
}

/// Why a part is not taken (RFC 8247 and RFC 8221 say which algorithms are no longer fit).
fn refusal(part: &str) -> String {
    let (why, allowed) = match part {
        "des" | "3des" | "blowfish" | "cast128" | "idea" => {
            ("is refused: a 64-bit block leaks after few gigabytes (RFC 8221)", ENCRYPTION)
        }
        "null" => ("is refused: it does not encrypt", ENCRYPTION),
        "md5" | "md5_128" => ("is refused: MD5 is broken (RFC 8247)", INTEGRITY),
        "sha" | "sha1" | "sha1_160" => ("is refused: SHA-1 is broken (RFC 8247)", INTEGRITY),
        "prfmd5" => ("is refused: MD5 is broken (RFC 8247)", PRFS),
        "prfsha1" => ("is refused: SHA-1 is broken (RFC 8247)", PRFS),
        "modp768" | "modp1024" | "modp1536" => {
            ("is refused: the group is too small to resist today's attackers (RFC 8247)", GROUPS)
        }
        "modp1024s160" | "modp2048s224" | "modp2048s256" => {
            ("is refused: its prime may hide a trapdoor (RFC 8247)", GROUPS)
        }
        "aes128gcm8" | "aes256gcm8" | "aes128gcm12" | "aes256gcm12" | "aes128gcm64"
        | "aes256gcm64" | "aes128gcm96" | "aes256gcm96" => {
            ("is refused: a tag shorter than 16 octets weakens authentication", ENCRYPTION)
        }
        "aes128ctr" | "aes192ctr" | "aes256ctr" | "aes192gcm16" | "aes192gcm" | "aes128ccm16"
        | "aes192ccm16" | "aes256ccm16" | "aes128ccm8" | "aes256ccm8" => {
            ("is not supported", ENCRYPTION)
        }
        "aesxcbc" | "aescmac" => ("is not supported", INTEGRITY),
        "prfaesxcbc" | "prfaescmac" => ("is not supported", PRFS),
        "x448" | "curve448" => ("is not supported", GROUPS),
        "mlkem512" | "mlkem768" | "mlkem1024" => {
            ("stands beside a classical key exchange, not in its place", ADDITIONAL)
        }
        _ => {
            return format!(
                "unknown part {part:?}; allowed is {ENCRYPTION}, {INTEGRITY}, {PRFS}, {GROUPS}, {ADDITIONAL}, esn, noesn"
            );
        }
    };
    format!("{part} {why}; allowed is {allowed}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_as_strongswan_writes_them() {
        let proposal = ike("aes256gcm16-prfsha256-x25519").expect("allowed");
        assert_eq!(proposal.encryption, [GCM256]);
        assert_eq!((proposal.prf, proposal.groups), (vec![Prf::HmacSha2_256], vec![Group::X25519]));
        let proposal = ike("aes128-sha256-modp2048").expect("allowed");
        assert_eq!(proposal.integrity, [Integrity::HmacSha2_256_128]);
        assert_eq!(proposal.prf, [Prf::HmacSha2_256], "taken from the integrity algorithm");
        let proposal = esp("aes256gcm16-x25519-noesn").expect("allowed");
        assert_eq!((proposal.groups, proposal.esn), (vec![Group::X25519], vec![Esn::No]));
        assert_eq!(esp("aes128gcm16").expect("allowed").esn, [Esn::Yes, Esn::No]);
        let proposal = ike("chacha20poly1305-aes256gcm16-prfsha512-ecp384-modp4096").expect("both");
        assert_eq!(proposal.encryption, [Encryption::ChaCha20Poly1305, GCM256]);
        assert_eq!(proposal.groups, [Group::EcpP384, Group::Modp4096]);
        let hybrid = ike("aes256gcm16-prfsha256-x25519-ke1_mlkem768-ke1_none-ke3_ecp384");
        let additional = hybrid.expect("allowed").additional;
        let first = vec![Group::MlKem768, Group::None];
        assert_eq!(additional, [first, vec![], vec![Group::EcpP384]]);
        let proposal = esp("aes256gcm16-x25519-ke1_mlkem512").expect("allowed");
        assert_eq!(proposal.additional, [[Group::MlKem512]]);
        let proposal = esp("aes256-sha512-ecp521").expect("allowed");
        assert_eq!(proposal.integrity, [Integrity::HmacSha2_512_256]);
    }

    #[test]
    fn weak_algorithms_are_refused_with_the_reason() {
        for (text, reason) in [
            ("3des-sha256-modp2048", "64-bit block"),
            ("aes128-sha1-modp2048", "SHA-1 is broken"),
            ("aes128-md5-modp2048", "MD5 is broken"),
            ("aes256gcm16-prfsha1-x25519", "SHA-1 is broken"),
            ("aes256gcm16-prfsha256-modp1024", "too small"),
            ("aes256gcm16-prfsha256-modp2048s256", "trapdoor"),
            ("aes256gcm8-prfsha256-x25519", "shorter"),
            ("des-sha256-modp2048", "64-bit block"),
            ("aes256gcm16-prfmd5-x25519", "MD5 is broken"),
            ("aes256gcm16-prfsha256-x448", "not supported"),
            ("aes256ccm16-prfsha256-x25519", "not supported"),
            ("aes256-aesxcbc-prfsha256-x25519", "not supported"),
        ] {
            let why = ike(text).expect_err("weak");
            assert!(why.contains(reason) && why.contains("; allowed is "), "{text}: {why}");
        }
        assert!(esp("null-sha256").expect_err("null").contains("does not encrypt"));
    }

    #[test]
    fn what_does_not_go_together_is_refused() {
        for text in [
            "aes256gcm16-x25519",
            "aes256gcm16-prfsha256",
            "aes256gcm16-sha256-prfsha256-x25519",
            "aes256-prfsha256-x25519",
            "aes256gcm16-aes128-sha256-prfsha256-x25519",
            "chacha20poly1305-sha256-prfsha256-x25519",
            "chacha20poly1305-aes128-sha256-prfsha256-x25519",
            "aes256gcm16-prfsha256-x25519-noesn",
            "prfsha256-x25519",
            "aes256gcm16-prfsha256-mlkem768",
            "aes256gcm16-prfsha256-ke1_mlkem768",
            "aes256gcm16-prfsha256-x25519-ke0_mlkem768",
            "aes256gcm16-prfsha256-x25519-ke8_mlkem768",
            "aes256gcm16-prfsha256-x25519-ke1mlkem768",
            "aes256gcm16-prfsha256-x25519-ke1_kyber3",
            "",
            "aes256gcm16--prfsha256-x25519",
        ] {
            assert!(ike(text).expect_err("not allowed").contains("allowed is "), "{text}");
        }
        assert!(esp("aes256gcm16-prfsha256").is_err());
        assert!(esp("aes256").is_err());
        assert!(esp("aes256gcm16-ke1_mlkem768").is_err());
    }
}
