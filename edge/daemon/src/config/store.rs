//! `[store]`: where the records of the SAs are, and under which key.

use super::file;
use super::mistake::Mistakes;
use super::node::choice;
use std::path::PathBuf;
use toml::Spanned;

/// The store that the candidates share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Store {
    /// The backend.
    pub place: Place,
    /// The file of the store key.
    pub key: PathBuf,
    /// What to do with new SAs while it does not answer.
    pub when_unavailable: WhenUnavailable,
}

/// Where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// An SQLite file.
    Sqlite(PathBuf),
    /// An etcd.
    Etcd(Etcd),
}

/// An etcd, and how to be let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Etcd {
    /// A URL of each member; at least one.
    pub endpoints: Vec<String>,
    /// With what all keys begin.
    pub prefix: String,
    /// With `https`.
    pub tls: Option<Tls>,
    /// Name, and the file of the password.
    pub login: Option<(String, PathBuf)>,
    /// Old revisions are forgotten by us.
    pub compact: bool,
}

/// Files of certificates (PEM).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// Who has signed the members' certificates.
    pub ca: PathBuf,
    /// Our certificate and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// What happens to a *new* SA that cannot be stored in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenUnavailable {
    /// It comes up and is marked; stored when the store is back.
    Unprotected,
    /// It does not come up.
    Refuse,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Sqlite,
    Etcd,
}

pub(super) fn store(section: &Spanned<file::Store>, mistakes: &mut Mistakes) -> Store {
    let raw = section.get_ref();
    let kinds = [("sqlite", Kind::Sqlite), ("etcd", Kind::Etcd)];
    let kind = raw.kind.as_ref();
    let kind = kind.and_then(|kind| mistakes.parse(kind, |text| choice(text, "store", &kinds)));
    let kind = kind.unwrap_or(Kind::Sqlite);
    for (span, name, wanted) in strangers(raw, section) {
        if wanted != kind {
            let of = if wanted == Kind::Etcd { "etcd" } else { "sqlite" };
            mistakes.at(span, format!("`{name}` belongs to a store of kind {of:?}"));
        }
    }
    let choices =
        [("unprotected", WhenUnavailable::Unprotected), ("refuse", WhenUnavailable::Refuse)];
    let when = raw.when_unavailable.as_ref();
    let when = when.and_then(|text| mistakes.parse(text, |text| choice(text, "choice", &choices)));
    let path = raw.path.as_ref().map(|path| path.get_ref().clone());
    Store {
        place: match kind {
            Kind::Sqlite => {
                Place::Sqlite(path.unwrap_or_else(|| PathBuf::from("/var/lib/vipsec/store.db")))
            }
            Kind::Etcd => Place::Etcd(etcd(section, mistakes)),
        },
        key: raw.key.clone(),
        when_unavailable: when.unwrap_or(WhenUnavailable::Unprotected),
    }
}

type Span = std::ops::Range<usize>;

/// The keys that are there and belong to one kind alone.
fn strangers(raw: &file::Store, section: &Spanned<file::Store>) -> Vec<(Span, &'static str, Kind)> {
    let keys = [
        (raw.path.as_ref().map(Spanned::span), "path", Kind::Sqlite),
        (raw.endpoints.as_ref().map(Spanned::span), "endpoints", Kind::Etcd),
        (raw.prefix.as_ref().map(Spanned::span), "prefix", Kind::Etcd),
        (raw.tls.as_ref().map(Spanned::span), "tls", Kind::Etcd),
        (raw.user.as_ref().map(Spanned::span), "user", Kind::Etcd),
        (raw.password_file.as_ref().map(|_| section.span()), "password_file", Kind::Etcd),
        (raw.compact.as_ref().map(|_| section.span()), "compact", Kind::Etcd),
    ];
    keys.into_iter().filter_map(|(span, name, kind)| Some((span?, name, kind))).collect()
}

fn etcd(section: &Spanned<file::Store>, mistakes: &mut Mistakes) -> Etcd {
    let raw = section.get_ref();
    let listed = raw.endpoints.as_ref();
    let endpoints = listed.map_or_else(Vec::new, |list| mistakes.parse_each(list.get_ref(), url));
    if listed.is_none_or(|list| list.get_ref().is_empty()) {
        let span = listed.map_or(section.span(), Spanned::span);
        mistakes.at(span, "an etcd needs `endpoints`, such as [\"https://10.1.0.2:2379\"]");
    }
    let secure = endpoints.iter().filter(|url| url.starts_with("https:")).count();
    if let Some(list) = listed {
        if secure > 0 && secure < endpoints.len() {
            mistakes.at(list.span(), "some of the endpoints are https and some are not; use one");
        } else if secure > 0 && raw.tls.is_none() {
            let text =
                "https needs `tls = { ca = FILE }`: who has signed the members' certificates";
            mistakes.at(list.span(), text);
        } else if let Some(tls) = raw.tls.as_ref().filter(|_| secure == 0) {
            mistakes.at(tls.span(), "`tls` needs endpoints that begin with https://");
        }
    }
    let login = match (&raw.user, &raw.password_file) {
        (Some(user), Some(file)) => Some((user.get_ref().clone(), file.clone())),
        (Some(user), None) => {
            mistakes.at(user.span(), "`user` needs a `password_file`");
            None
        }
        (None, Some(_)) => {
            mistakes.at(section.span(), "`password_file` needs a `user`");
            None
        }
        (None, None) => None,
    };
    let given = raw.prefix.as_ref().and_then(|text| mistakes.parse(text, prefix));
    Etcd {
        endpoints,
        prefix: given.unwrap_or_else(|| "vipsec".to_owned()),
        tls: raw.tls.as_ref().map(|tls| identity(tls, mistakes)),
        login,
        compact: raw.compact.unwrap_or(true),
    }
}

fn identity(tls: &Spanned<file::StoreTls>, mistakes: &mut Mistakes) -> Tls {
    let file::StoreTls { ca, certificate, certificate_key } = tls.get_ref();
    if certificate.is_some() != certificate_key.is_some() {
        mistakes.at(tls.span(), "`certificate` and `certificate_key` go together");
    }
    Tls { ca: ca.clone(), identity: certificate.clone().zip(certificate_key.clone()) }
}

/// `http://HOST:PORT` or `https://HOST:PORT`.
fn url(text: &str) -> Result<String, String> {
    let wrong = || {
        format!(
            "{text:?} is no endpoint; allowed is \"https://10.1.0.2:2379\" or \"http://NAME:2379\""
        )
    };
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let rest = rest.ok_or_else(wrong)?;
    let (host, port) = rest.trim_end_matches('/').rsplit_once(':').ok_or_else(wrong)?;
    let fine = |c: char| c.is_ascii_alphanumeric() || ".-_[]:".contains(c);
    let good = !host.is_empty() && host.chars().all(fine);
    match port.parse::<u16>() {
        Ok(1..) if good => Ok(text.trim_end_matches('/').to_owned()),
        _ => Err(wrong()),
    }
}

fn prefix(text: &str) -> Result<String, String> {
    let fine = |c: char| c.is_ascii_alphanumeric() || "/-_.".contains(c);
    let inner = text.trim_end_matches('/');
    if (1..=128).contains(&inner.len()) && inner.chars().all(fine) {
        Ok(inner.to_owned())
    } else {
        Err(format!(
            "{text:?} is no prefix; allowed are 1 to 128 of a-z, A-Z, 0-9, '/', '-', '_', '.'"
        ))
    }
}
