//! How the two sides of a connection prove who they are: pre-shared key, certificates, and a
//! post-quantum pre-shared key on top of either.

use super::file;
use super::mistake::Mistakes;
use crate::keys::pem;
use std::path::{Path, PathBuf};
use toml::Spanned;
use vipsec_crypto::certificate::Authorities;
use vipsec_ike::{Certificates, Eap, Ppk};
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
    /// A certificate of ours, and passwords of the peers.
    Eap(Box<Eap>),
}

pub(super) fn proof(
    raw: &file::Connection,
    read_psk: ReadPsk<'_>,
    mistakes: &mut Mistakes,
) -> Option<Proof> {
    let head = &raw.head;
    let idle = |places: &[&Option<Spanned<PathBuf>>], why: &str, mistakes: &mut Mistakes| {
        for path in places.iter().copied().flatten() {
            mistakes.at(path.span(), why);
        }
    };
    match head.auth.as_ref().map(|auth| (auth.get_ref().as_str(), auth.span())) {
        Some(("pubkey", _)) => {
            let why = "`users` need `auth = \"eap-mschapv2\"`; allowed is to say so";
            idle(&[&head.users], why, mistakes);
            pubkey(raw, mistakes).map(|own| Proof::Pubkey(Box::new(own)))
        }
        Some(("eap-mschapv2", _)) => {
            let why = "`ca` and `crl` are of no use with passwords; allowed is to leave them out";
            idle(&[&head.ca, &head.crl], why, mistakes);
            eap(raw, mistakes).map(|eap| Proof::Eap(Box::new(eap)))
        }
        None | Some(("psk", _)) => {
            let why = "`cert`, `key`, `ca`, `crl` and `users` need `auth = \"pubkey\"` or \
                       \"eap-mschapv2\"; allowed is to say so";
            idle(&[&head.cert, &head.key, &head.ca, &head.crl, &head.users], why, mistakes);
            let key = psk(raw, read_psk, mistakes)?;
            Some(Proof::Psk { key, in_place: head.psk.is_some() })
        }
        Some((other, span)) => {
            let why = format!(
                "{other:?} is no authentication; allowed is \"psk\", \"pubkey\" or \"eap-mschapv2\""
            );
            mistakes.at(span, why);
            None
        }
    }
}

/// Our certificate with its key, and the file of users.
fn eap(raw: &file::Connection, mistakes: &mut Mistakes) -> Option<Eap> {
    let head = &raw.head;
    no_psk(head, mistakes);
    if let Some(id) = &head.remote_id {
        let why = "with passwords the users are the peers; allowed is to leave `remote_id` out";
        mistakes.at(id.span(), why);
    }
    let begins = head.start.as_ref().filter(|start| start.get_ref() != "never");
    if let Some(start) = begins {
        mistakes.at(start.span(), "with passwords the peer begins; allowed is \"never\"");
    }
    if let Some(id) = &head.ppk_id {
        mistakes.at(id.span(), "there is none with passwords; allowed is to leave it out");
    }
    let (Some(cert), Some(key), Some(users)) = (&head.cert, &head.key, &head.users) else {
        let why = "`cert`, `key` or `users` is missing; `auth = \"eap-mschapv2\"` needs all three";
        mistakes.at(raw.span.clone(), why);
        return None;
    };
    let chain = pem::certificates(cert.get_ref());
    let chain = chain.map_err(|why| mistakes.at(cert.span(), why)).ok();
    let signing = pem::private_key(key.get_ref()).map_err(|why| mistakes.at(key.span(), why)).ok();
    let known = crate::keys::read_users(users.get_ref());
    let known = known.map_err(|error| mistakes.at(users.span(), crate::explain(&error))).ok();
    let nobody = Authorities::new(&[], &[]).ok()?;
    let own = Certificates::new(chain?, signing?, nobody);
    let own = own.map_err(|why| mistakes.at(cert.span(), why)).ok()?;
    Some(Eap { own, users: known? })
}

fn no_psk(head: &file::ConnectionHead, mistakes: &mut Mistakes) {
    let of_psk = [head.psk.as_ref().map(Spanned::span), head.psk_file.as_ref().map(Spanned::span)];
    for span in of_psk.into_iter().flatten() {
        mistakes
            .at(span, "a pre-shared key is of no use with this `auth`; allowed is to leave it out");
    }
}

/// Certificates, private key, authorities and revocation lists from their files.
fn pubkey(raw: &file::Connection, mistakes: &mut Mistakes) -> Option<Certificates> {
    let head = &raw.head;
    no_psk(head, mistakes);
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
