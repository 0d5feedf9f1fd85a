//! The configuration file as it is written: every key of it, with its place in the text. Nothing
//! here is checked beyond TOML, the names of keys and the types of values; the checked forms are in
//! the neighbouring files.
//!
//! Each section is read by itself, so that one reading finds a mistake in each of several sections.

use super::mistake::Mistakes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue, ValueDeserializer};
use zeroize::Zeroizing;

/// A text with its place.
pub(super) type Text = Spanned<String>;
/// A number with its place; checked for its range later.
pub(super) type Number = Spanned<i64>;

#[derive(Debug)]
pub(super) struct File {
    pub(super) node: Option<Spanned<Node>>,
    pub(super) store: Option<Spanned<Store>>,
    pub(super) cluster: Option<Cluster>,
    pub(super) members: Vec<Spanned<Member>>,
    pub(super) vips: Vec<Vip>,
}

/// `[node]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Node {
    pub(super) name: Text,
    pub(super) identity: Option<Spanned<PathBuf>>,
    pub(super) state_dir: Option<PathBuf>,
    pub(super) socket: Option<PathBuf>,
    pub(super) workers: Option<Number>,
    pub(super) log: Option<Log>,
}

/// `log = { level = …, format = … }`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Log {
    pub(super) level: Option<Text>,
    pub(super) format: Option<Text>,
}

/// `[store]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Store {
    pub(super) kind: Option<Text>,
    pub(super) path: Option<Spanned<PathBuf>>,
    pub(super) key: PathBuf,
    pub(super) when_unavailable: Option<Text>,
    pub(super) endpoints: Option<Spanned<Vec<Text>>>,
    pub(super) prefix: Option<Text>,
    pub(super) tls: Option<Spanned<StoreTls>>,
    pub(super) user: Option<Text>,
    pub(super) password_file: Option<PathBuf>,
    pub(super) compact: Option<bool>,
}

/// `tls = { ca = …, certificate = …, certificate_key = … }`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StoreTls {
    pub(super) ca: PathBuf,
    pub(super) certificate: Option<PathBuf>,
    pub(super) certificate_key: Option<PathBuf>,
}

/// `[cluster]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Cluster {
    pub(super) heartbeat_ms: Option<Number>,
    pub(super) lost_after: Option<Number>,
    pub(super) grace_s: Option<Number>,
}

/// `[[member]]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Member {
    pub(super) name: Text,
    pub(super) public_key: Text,
    pub(super) roles: Spanned<Vec<Text>>,
    pub(super) control: Text,
    pub(super) fabric: Text,
}

/// `[[vip]]` with the sections under it.
#[derive(Debug)]
pub(super) struct Vip {
    pub(super) span: Range<usize>,
    pub(super) head: VipHead,
    pub(super) pools: Vec<Pool>,
    pub(super) connections: Vec<Connection>,
    pub(super) services: Vec<Spanned<Service>>,
}

/// The keys of `[[vip]]` itself.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct VipHead {
    pub(super) address: Text,
    pub(super) interface: Option<Text>,
    pub(super) candidates: Option<Spanned<Vec<Spanned<Candidate>>>>,
    pub(super) takeback: Option<Text>,
    pub(super) replay: Option<Text>,
    pub(super) fragment_size: Option<Number>,
    #[serde(default)]
    pub(super) protected: Vec<Text>,
    pub(super) inner: Option<Inner>,
    pub(super) limits: Option<Limits>,
}

/// `{ node = …, rank = … }`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Candidate {
    pub(super) node: Text,
    pub(super) rank: Number,
}

/// `[vip.inner]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Inner {
    pub(super) address: Text,
    pub(super) interface: Text,
}

/// `[vip.limits]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Limits {
    pub(super) half_open: Option<Number>,
    pub(super) half_open_per_source: Option<Number>,
    pub(super) half_open_per_source_max: Option<Number>,
    pub(super) cookies_from: Option<Number>,
    pub(super) puzzles_from: Option<Number>,
    pub(super) puzzle_bits: Option<Number>,
    pub(super) puzzle_bits_max: Option<Number>,
    pub(super) auth_failures_per_source: Option<Number>,
    pub(super) ike_sas: Option<Number>,
    pub(super) children: Option<Number>,
}

/// `[[vip.pool]]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Pool {
    pub(super) name: Text,
    pub(super) range: Text,
    pub(super) lease_s: Option<Number>,
    #[serde(default)]
    pub(super) reserved: Vec<Reserved>,
}

/// `{ id = …, address = … }`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Reserved {
    pub(super) id: Text,
    pub(super) address: Text,
}

/// `[[vip.connection]]` with its children.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) span: Range<usize>,
    pub(super) head: ConnectionHead,
    pub(super) children: Vec<Spanned<Child>>,
}

/// The keys of `[[vip.connection]]` itself.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ConnectionHead {
    pub(super) name: Text,
    pub(super) local_id: Option<Text>,
    pub(super) remote_id: Option<Text>,
    pub(super) auth: Option<Text>,
    pub(super) cert: Option<Spanned<PathBuf>>,
    pub(super) key: Option<Spanned<PathBuf>>,
    pub(super) ca: Option<Spanned<PathBuf>>,
    pub(super) crl: Option<Spanned<PathBuf>>,
    pub(super) users: Option<Spanned<PathBuf>>,
    pub(super) psk: Option<Spanned<SecretText>>,
    pub(super) psk_file: Option<Spanned<PathBuf>>,
    pub(super) ppk_id: Option<Text>,
    pub(super) ppk_file: Option<Spanned<PathBuf>>,
    pub(super) ppk_required: Option<Spanned<bool>>,
    pub(super) remote: Option<Spanned<OneOrMany>>,
    #[serde(default)]
    pub(super) proposals: Vec<Text>,
    pub(super) pool: Option<Spanned<OneOrMany>>,
    #[serde(default)]
    pub(super) dns: Vec<Text>,
    #[serde(default)]
    pub(super) dns_domains: Vec<Text>,
    #[serde(default)]
    pub(super) subnets: Vec<Text>,
    #[serde(default)]
    pub(super) announce_version: bool,
    pub(super) start: Option<Text>,
    pub(super) dpd_action: Option<Text>,
    #[serde(default)]
    pub(super) request_address: bool,
    #[serde(default)]
    pub(super) force_encapsulation: bool,
    pub(super) mobike: Option<bool>,
    pub(super) return_routability: Option<bool>,
    pub(super) synchronise: Option<bool>,
    #[serde(default)]
    pub(super) refuse_nat: bool,
    pub(super) duplicates: Option<Text>,
    pub(super) dpd_s: Option<Number>,
    pub(super) rekey_s: Option<Number>,
}

/// A text that nobody else may see: wiped when dropped, and not shown by `Debug`.
pub(super) struct SecretText(Zeroizing<String>);

impl SecretText {
    /// The text itself.
    pub(super) fn expose(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for SecretText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<SecretText, D::Error> {
        String::deserialize(deserializer).map(|text| SecretText(Zeroizing::new(text)))
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretText({} bytes)", self.0.len())
    }
}

/// A text, or a list of texts.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "wrong type; allowed is a string or a list of strings")]
pub(super) enum OneOrMany {
    /// `key = "one"`
    One(String),
    /// `key = ["one", "two"]`
    Many(Vec<String>),
}

/// `[[vip.connection.child]]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Child {
    pub(super) name: Option<Text>,
    pub(super) mode: Option<Text>,
    pub(super) local: Spanned<Vec<Text>>,
    pub(super) remote: Option<Spanned<Vec<Text>>>,
    #[serde(default)]
    pub(super) proposals: Vec<Text>,
    pub(super) rekey_s: Option<Number>,
    pub(super) rekey_bytes: Option<Number>,
    pub(super) rekey_packets: Option<Number>,
    pub(super) replay_window: Option<Number>,
}

/// `[[vip.service]]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Service {
    pub(super) name: Text,
    pub(super) address: Option<Text>,
    pub(super) protocol: Option<Text>,
    pub(super) port: Option<Number>,
    pub(super) ports: Option<Text>,
    pub(super) method: Option<Text>,
    pub(super) targets: Spanned<Vec<Spanned<Target>>>,
    pub(super) check: Option<Spanned<Check>>,
}

/// `{ node = …, weight = … }`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Target {
    pub(super) node: Text,
    pub(super) weight: Option<Number>,
}

/// `check = { … }`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Check {
    pub(super) interval_ms: Option<Number>,
    pub(super) rise: Option<Number>,
    pub(super) fall: Option<Number>,
    pub(super) port: Option<Number>,
}

type Table<'i> = DeTable<'i>;

/// Reads the whole text. What cannot be read is noted in `mistakes`.
pub(super) fn read(text: &str, mistakes: &mut Mistakes) -> File {
    let (root, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        note(mistakes, &error, &[], 0..0);
    }
    let mut root = root.into_inner();
    let file = File {
        node: section(&mut root, "node", mistakes),
        store: section(&mut root, "store", mistakes),
        cluster: section::<Cluster>(&mut root, "cluster", mistakes),
        members: each(&mut root, "member", mistakes, whole),
        vips: each(&mut root, "vip", mistakes, vip),
    };
    for key in root.keys() {
        let text = format!(
            "unknown key `{}`; allowed is `node`, `store`, `cluster`, `member`, `vip`",
            key.get_ref()
        );
        mistakes.at(key.span(), text);
    }
    file
}

fn vip(value: Spanned<DeValue<'_>>, mistakes: &mut Mistakes) -> Option<Vip> {
    let (span, mut table) = table(value, "vip", mistakes)?;
    let pools = each(&mut table, "pool", mistakes, whole);
    let connections = each(&mut table, "connection", mistakes, connection);
    let services = each(&mut table, "service", mistakes, whole);
    let rest = Spanned::new(span.clone(), DeValue::Table(table));
    let head = read_value(rest, &["pool", "connection", "service"], mistakes)?;
    Some(Vip { span, head, pools, connections, services })
}

fn connection(value: Spanned<DeValue<'_>>, mistakes: &mut Mistakes) -> Option<Connection> {
    let (span, mut table) = table(value, "connection", mistakes)?;
    let children = each(&mut table, "child", mistakes, whole);
    let rest = Spanned::new(span.clone(), DeValue::Table(table));
    let head = read_value(rest, &["child"], mistakes)?;
    Some(Connection { span, head, children })
}

fn whole<T: DeserializeOwned>(value: Spanned<DeValue<'_>>, mistakes: &mut Mistakes) -> Option<T> {
    read_value(value, &[], mistakes)
}

/// Takes the section `[name]` out of `table` and reads it.
fn section<T: DeserializeOwned>(
    table: &mut Table<'_>,
    name: &str,
    mistakes: &mut Mistakes,
) -> Option<T> {
    let value = table.remove(name)?;
    read_value(value, &[], mistakes)
}

/// Takes the sections `[[name]]` out of `table` and reads each of them.
fn each<'i, T>(
    table: &mut Table<'i>,
    name: &str,
    mistakes: &mut Mistakes,
    read: impl Fn(Spanned<DeValue<'i>>, &mut Mistakes) -> Option<T>,
) -> Vec<T> {
    let Some(value) = table.remove(name) else {
        return Vec::new();
    };
    let span = value.span();
    let DeValue::Array(list) = value.into_inner() else {
        mistakes.at(span, format!("`{name}` may stand several times; allowed is `[[…{name}]]`"));
        return Vec::new();
    };
    DeArray::into_iter(list).filter_map(|value| read(value, mistakes)).collect()
}

fn table<'i>(
    value: Spanned<DeValue<'i>>,
    name: &str,
    mistakes: &mut Mistakes,
) -> Option<(Range<usize>, Table<'i>)> {
    let span = value.span();
    match value.into_inner() {
        DeValue::Table(table) => Some((span, table)),
        _ => {
            mistakes.at(span, format!("`{name}` must be a section; allowed is `[[…{name}]]`"));
            None
        }
    }
}

fn read_value<T: DeserializeOwned>(
    value: Spanned<DeValue<'_>>,
    nested: &[&str],
    mistakes: &mut Mistakes,
) -> Option<T> {
    let span = value.span();
    match T::deserialize(ValueDeserializer::from(value)) {
        Ok(read) => Some(read),
        Err(error) => {
            note(mistakes, &error, nested, span);
            None
        }
    }
}

/// Notes what the TOML reader found, in the words of all other mistakes. `nested` are the keys of
/// this section that are read apart.
fn note(mistakes: &mut Mistakes, error: &toml::de::Error, nested: &[&str], section: Range<usize>) {
    let mut text = error.message().replace(", expected one of ", "; allowed is ");
    text = text.replace(", expected ", "; allowed is ").replace("unknown field", "unknown key");
    if let Some(name) = text.strip_prefix("missing field ") {
        text = format!("{name} is missing; it must be given here");
    }
    if text.starts_with("unknown key") {
        for name in nested {
            text.push_str(&format!(", `{name}`"));
        }
    }
    if let Some(types) = text.strip_prefix("invalid type: ") {
        text = format!("wrong type: {}", without_value(types));
    }
    mistakes.at(error.span().unwrap_or(section), text);
}

/// Drops the value from "integer `12`; allowed is a string": it may be a secret.
fn without_value(types: &str) -> String {
    let (found, allowed) = types.rsplit_once("; allowed is ").unwrap_or((types, "another"));
    let found = found.split(['`', '"']).next().unwrap_or(found).trim();
    let plain = |name: &str| match name {
        "i64" => "an integer".to_owned(),
        "sequence" => "a list".to_owned(),
        name => name.replace("a sequence", "a list"),
    };
    format!("{}; allowed is {}", plain(found), plain(allowed))
}
