//! How the two sides of a connection prove who they are: pre-shared key, certificates, and a
//! post-quantum pre-shared key on top of either.

use super::file;
use super::mistake::Mistakes;
use crate::keys::pem;
use std::path::{Path, PathBuf};
use toml::Spanned;
use vipsec_crypto::certificate::Authorities;
use vipsec_ike::{Certificates, Ppk};
use vipsec_wire::secret::SecretBytes;

/// Reads the file of a pre-shared key, or says what is wrong with it.
pub(super) type ReadPsk<'a> = &'a dyn Fn(&Path) -> Result<SecretBytes, String>;

/// How the sides of a connection prove who they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proof {
    /// A pre-shared key.
    Psk {
        /// The key.
        key: SecretBytes,
        /// Whether it stands in the configuration itself, not in a file of its own.
        in_place: bool,
    },
    /// Certificates.
    Pubkey(Box<Certificates>),
}

pub(super) fn proof(
    raw: &file::Connection,
    read_psk: ReadPsk<'_>,
    mistakes: &mut Mistakes,
) -> Option<Proof> {
    let head = &raw.head;
    let of_pubkey = [&head.cert, &head.key, &head.ca, &head.crl].into_iter().flatten().next();
    let pubkey = match head.auth.as_ref().map(|auth| (auth.get_ref().as_str(), auth.span())) {
        Some(("pubkey", _)) => true,
        None | Some(("psk", _)) => false,
        Some((other, span)) => {
            let why = format!("{other:?} is no authentication; allowed is \"psk\" or \"pubkey\"");
            mistakes.at(span, why);
            return None;
        }
    };
    match (pubkey, of_pubkey) {
        (true, _) => self::pubkey(raw, mistakes).map(|own| Proof::Pubkey(Box::new(own))),
        (false, Some(path)) => {
            let why =
                "`cert`, `key`, `ca` and `crl` need `auth = \"pubkey\"`; allowed is to say so";
            mistakes.at(path.span(), why);
            None
        }
        (false, None) => {
            let key = psk(raw, read_psk, mistakes)?;
            Some(Proof::Psk { key, in_place: head.psk.is_some() })
        }
    }
}

/// Certificates, private key, authorities and revocation lists from their files.
fn pubkey(raw: &file::Connection, mistakes: &mut Mistakes) -> Option<Certificates> {
    let head = &raw.head;
    let of_psk = [head.psk.as_ref().map(Spanned::span), head.psk_file.as_ref().map(Spanned::span)];
    for span in of_psk.into_iter().flatten() {
        let why =
            "a pre-shared key is of no use with `auth = \"pubkey\"`; allowed is to leave it out";
        mistakes.at(span, why);
    }
    let (Some(cert), Some(key), Some(ca)) = (&head.cert, &head.key, &head.ca) else {
        mistakes.at(raw.span.clone(), "`cert`, `key` or `ca` is missing; `auth = \"pubkey\"` needs all three, each a PEM file");
        return None;
    };
    let mut read = |path: &Spanned<PathBuf>, read: fn(&Path) -> Result<Vec<Vec<u8>>, String>| {
        read(path.get_ref()).map_err(|why| mistakes.at(path.span(), why)).ok()
    };
    let (chain, authorities) = (read(cert, pem::certificates), read(ca, pem::certificates));
    let lists = match &head.crl {
        Some(path) => read(path, pem::revocation_lists),
        None => Some(Vec::new()),
    };
    let signing = pem::private_key(key.get_ref()).map_err(|why| mistakes.at(key.span(), why)).ok();
    let authorities = Authorities::new(&authorities?, &lists?);
    let authorities = authorities.map_err(|why| mistakes.at(ca.span(), why)).ok()?;
    let own = Certificates::new(chain?, signing?, authorities);
    own.map_err(|why| mistakes.at(cert.span(), why)).ok()
}

fn psk(
    raw: &file::Connection,
    read_psk: ReadPsk<'_>,
    mistakes: &mut Mistakes,
) -> Option<SecretBytes> {
    match (&raw.head.psk, &raw.head.psk_file) {
        (Some(text), None) => match crate::keys::psk_from_text(text.get_ref().expose()) {
            Ok(psk) => Some(psk),
            Err(why) => {
                mistakes.at(text.span(), why);
                None
            }
        },
        (None, Some(path)) => match read_psk(path.get_ref()) {
            Ok(psk) => Some(psk),
            Err(why) => {
                mistakes.at(path.span(), why);
                None
            }
        },
        (Some(_), Some(path)) => {
            mistakes.at(path.span(), "`psk` and `psk_file` are both given; allowed is one of them");
            None
        }
        (None, None) => {
            mistakes.at(
                raw.span.clone(),
                "a pre-shared key is missing; allowed is `psk` or `psk_file`",
            );
            None
        }
    }
}

/// The post-quantum pre-shared key, if there is one; `None` for a mistake.
pub(super) fn ppk(
    raw: &file::Connection,
    read_psk: ReadPsk<'_>,
    mistakes: &mut Mistakes,
) -> Option<Option<Ppk>> {
    let file::ConnectionHead { ppk_id, ppk_file, ppk_required, .. } = &raw.head;
    let (Some(id), Some(file)) = (ppk_id, ppk_file) else {
        let half = ppk_id.as_ref().map(Spanned::span).or(ppk_file.as_ref().map(Spanned::span));
        if let Some(span) = half.or(ppk_required.as_ref().map(Spanned::span)) {
            mistakes
                .at(span, "`ppk_id` and `ppk_file` belong together; allowed is both or neither");
            return None;
        }
        return Some(None);
    };
    if id.get_ref().is_empty() {
        mistakes.at(id.span(), "is empty; allowed is what the peer calls the key");
        return None;
    }
    let key = read_psk(file.get_ref()).map_err(|why| mistakes.at(file.span(), why)).ok()?;
    let required = ppk_required.as_ref().is_some_and(|required| *required.get_ref());
    Some(Some(Ppk { id: id.get_ref().clone().into_bytes(), key, required }))
}
