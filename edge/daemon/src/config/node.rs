//! `[node]`, `[cluster]` and `[[member]]`: this process, and who the others are.

use super::file;
use super::mistake::Mistakes;
use crate::keys;
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;
use toml::Spanned;
use vipsec_crypto::identity::PublicKey;
use vipsec_wire::id::NodeName;

/// This node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its name among the members.
    pub name: NodeName,
    /// The key file of its identity; absent only when it is alone.
    pub identity: Option<PathBuf>,
    /// Where the floor file lives.
    pub state_dir: PathBuf,
    /// The Unix socket of the admin API.
    pub socket: PathBuf,
    /// Data path threads, 1 to 64.
    pub workers: u16,
    /// What is logged, and how.
    pub log: Log,
}

/// Logging.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Log {
    /// The least important level that is written.
    pub level: tracing::Level,
    /// For people or for programs.
    pub format: LogFormat,
}

/// The form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Plain lines.
    Text,
    /// One JSON object a line.
    Json,
}

/// Times of the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timers {
    /// Between two heartbeats, 10 ms to 10 s.
    pub heartbeat: Duration,
    /// Heartbeats missed until a node counts as lost, 2 to 100.
    pub lost_after: u32,
    /// How long connections of a lost process wait for its return, 0 to 3600 s.
    pub grace: Duration,
}

/// One node of the cluster as the others know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its name.
    pub name: NodeName,
    /// By which it proves who it is; absent only when this node is alone.
    pub public_key: Option<PublicKey>,
    /// Whether it may own VIPs (and reads the store).
    pub candidate: bool,
    /// Whether it may be given connections.
    pub target: bool,
    /// Where its control links are accepted (TCP).
    pub control: SocketAddr,
    /// Where its fabric frames are received (UDP).
    pub fabric: SocketAddr,
}

pub(super) fn node(raw: &file::Node, mistakes: &mut Mistakes) -> Option<Node> {
    let log = raw.log.as_ref();
    let level = log.and_then(|log| log.level.as_ref()).and_then(|text| mistakes.parse(text, level));
    let format = log.and_then(|log| log.format.as_ref());
    let format = format.and_then(|text| mistakes.parse(text, log_format));
    let or_path = |path: &Option<PathBuf>, default: &str| {
        path.clone().unwrap_or_else(|| PathBuf::from(default))
    };
    Some(Node {
        workers: mistakes.number(raw.workers.as_ref(), 1..=64, 1),
        name: mistakes.parse(&raw.name, node_name)?,
        identity: raw.identity.as_ref().map(|path| path.get_ref().clone()),
        state_dir: or_path(&raw.state_dir, "/var/lib/vipsec"),
        socket: or_path(&raw.socket, crate::DEFAULT_SOCKET),
        log: Log {
            level: level.unwrap_or(tracing::Level::INFO),
            format: format.unwrap_or(LogFormat::Text),
        },
    })
}

pub(super) fn timers(raw: &file::Cluster, mistakes: &mut Mistakes) -> Timers {
    let heartbeat = mistakes.number(raw.heartbeat_ms.as_ref(), 10..=10_000, 50);
    Timers {
        heartbeat: Duration::from_millis(heartbeat),
        lost_after: mistakes.number(raw.lost_after.as_ref(), 2..=100, 3),
        grace: Duration::from_secs(mistakes.number(raw.grace_s.as_ref(), 0..=3600, 30)),
    }
}

/// The members. A file without any describes one node that is alone.
pub(super) fn members(
    raw: &[Spanned<file::Member>],
    node: &Node,
    node_section: &Spanned<file::Node>,
    mistakes: &mut Mistakes,
) -> Vec<Member> {
    if raw.is_empty() {
        return vec![alone(&node.name)];
    }
    let members: Vec<Member> =
        raw.iter().filter_map(|raw| member(raw.get_ref(), mistakes)).collect();
    refuse_duplicates(raw, mistakes);
    if members.len() == raw.len() && !members.iter().any(|member| member.name == node.name) {
        let names = names(members.iter().map(|member| &member.name));
        let text =
            format!("this node, `{}`, is not among the members; allowed is {names}", node.name);
        mistakes.at(node_section.get_ref().name.span(), text);
    }
    if raw.len() > 1 && node.identity.is_none() {
        let text = "`identity` is missing: with other members a key file is needed; `vipsec keygen node FILE` makes one";
        mistakes.at(node_section.span(), text);
    }
    members
}

/// Stands where no address is needed.
const NOWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// A node that has no others: never contacted.
fn alone(name: &NodeName) -> Member {
    Member {
        name: name.clone(),
        public_key: None,
        candidate: true,
        target: true,
        control: NOWHERE,
        fabric: NOWHERE,
    }
}

/// A member of which something is wrong is kept, so that what names it is not wrong as well.
fn member(raw: &file::Member, mistakes: &mut Mistakes) -> Option<Member> {
    let name = mistakes.parse(&raw.name, node_name);
    let public_key = mistakes.parse(&raw.public_key, keys::public_from_text);
    let control = mistakes.parse(&raw.control, socket_address);
    let fabric = mistakes.parse(&raw.fabric, socket_address);
    let choices = [("candidate", true), ("target", false)];
    let roles = raw.roles.get_ref();
    let read = mistakes.parse_each(roles, |text| choice(text, "role", &choices));
    if roles.is_empty() {
        mistakes.at(raw.roles.span(), "no role; allowed is \"candidate\", \"target\" or both");
    }
    let unclear = read.len() != roles.len();
    Some(Member {
        name: name?,
        public_key,
        candidate: unclear || read.contains(&true),
        target: unclear || read.contains(&false),
        control: control.unwrap_or(NOWHERE),
        fabric: fabric.unwrap_or(NOWHERE),
    })
}

fn refuse_duplicates(raw: &[Spanned<file::Member>], mistakes: &mut Mistakes) {
    let mut seen = BTreeSet::new();
    for member in raw.iter().map(Spanned::get_ref) {
        let fields = [
            ("name", &member.name),
            ("public_key", &member.public_key),
            ("control", &member.control),
            ("fabric", &member.fabric),
        ];
        for (key, text) in fields {
            if !seen.insert((key, text.get_ref())) {
                let value = text.get_ref();
                let text_span = text.span();
                mistakes.at(text_span, format!("`{key}` {value:?} is given to two members; allowed is one of its own for each"));
            }
        }
    }
}

pub(super) fn node_name(text: &str) -> Result<NodeName, String> {
    NodeName::try_from(text.to_owned()).map_err(|_| {
        format!("{text:?} is no node name; allowed are 1 to 32 characters of a-z, 0-9 and -")
    })
}

/// Names in quotes, joined by commas, for "allowed is …".
pub(super) fn names<'a>(names: impl Iterator<Item = &'a NodeName>) -> String {
    names.map(|name| format!("{:?}", name.as_str())).collect::<Vec<_>>().join(", ")
}

/// The value that `text` chooses.
pub(super) fn choice<T: Copy>(text: &str, what: &str, choices: &[(&str, T)]) -> Result<T, String> {
    let found = choices.iter().find(|(name, _)| *name == text).map(|(_, value)| *value);
    found.ok_or_else(|| {
        let quoted = |(name, _): &(&str, T)| format!("{name:?}");
        let allowed = choices.iter().map(quoted).collect::<Vec<_>>().join(", ");
        format!("{what} {text:?} does not exist; allowed is {allowed}")
    })
}

fn socket_address(text: &str) -> Result<SocketAddr, String> {
    match text.parse::<SocketAddr>() {
        Ok(address) if address.port() != 0 && !address.ip().is_unspecified() => Ok(address),
        _ => Err(format!(
            "{text:?} is no address with a port; allowed is \"10.1.0.2:7400\" or \"[2001:db8::2]:7400\""
        )),
    }
}

fn level(text: &str) -> Result<tracing::Level, String> {
    use tracing::Level;
    let choices = [
        ("error", Level::ERROR),
        ("warn", Level::WARN),
        ("info", Level::INFO),
        ("debug", Level::DEBUG),
        ("trace", Level::TRACE),
    ];
    choice(text, "log level", &choices)
}

fn log_format(text: &str) -> Result<LogFormat, String> {
    choice(text, "log format", &[("text", LogFormat::Text), ("json", LogFormat::Json)])
}
