//! `[[vip.connection]]` and its children: who may connect, how, and to what.

use super::address::{AddressRange, Prefix, selector};
use super::file::{self, OneOrMany};
use super::mistake::Mistakes;
use super::node::choice;
use super::pool::Pool;
use super::proof::{self, Proof, ReadPsk};
use super::proposal;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;
use toml::Spanned;
use vipsec_crypto::certificate::name_from_text;
use vipsec_ike::{DpdAction, Duplicates, EspProposal, IkeProposal, Mode, Ppk, Selector, Start};
use vipsec_wire::ike::configuration::is_domain;
use vipsec_wire::ike::{Identity, TrafficSelector};

/// A distinguished name (RFC 7296 section 3.5).
const ID_DER_ASN1_DN: u8 = 9;

/// A kind of peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    /// Its name, unique within the VIP.
    pub name: String,
    /// Who we are to it; absent means the VIP's address.
    pub local_id: Option<Identity>,
    /// Who it must be; absent means anybody with the key.
    pub remote_id: Option<Identity>,
    /// How both sides prove who they are.
    pub proof: Proof,
    /// A post-quantum pre-shared key besides.
    pub ppk: Option<Ppk>,
    /// From where it may come, and where to it is initiated.
    pub remote: Remote,
    /// In order of preference.
    pub proposals: Vec<IkeProposal>,
    /// Names of the pools that it is given addresses from.
    pub pools: Vec<String>,
    /// Name servers that it is told.
    pub dns: Vec<IpAddr>,
    /// Domains that these are for; empty means all.
    pub dns_domains: Vec<String>,
    /// What it is told to be reached through us.
    pub subnets: Vec<Prefix>,
    /// Whether it is told our software, when it asks, and asked for its own.
    pub announce_version: bool,
    /// When we begin.
    pub start: Start,
    /// What follows when it does not answer any more.
    pub dpd_action: DpdAction,
    /// Whether we ask for an address when we begin.
    pub request_address: bool,
    /// Whether ESP goes in UDP even where no NAT is on the way.
    pub force_encapsulation: bool,
    /// Whether the peer may move, and we to another of its addresses.
    pub mobike: bool,
    /// Whether a peer that has moved gets ESP only where it has answered from.
    pub return_routability: bool,
    /// Whether message IDs and sequence numbers are synchronised after a takeover, ours or the peer's.
    pub synchronise: bool,
    /// Whether no NAT may be on the way.
    pub refuse_nat: bool,
    /// What becomes of a second IKE SA between the same identities.
    pub duplicates: Duplicates,
    /// Silence after which a liveness check is sent, 1 s to 1 day.
    pub dpd: Duration,
    /// Age at which the IKE SA is rekeyed, before jitter; 10 s to 30 days.
    pub rekey: Duration,
    /// At least one.
    pub children: Vec<Child>,
}

/// Where a peer is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Remote {
    /// Anywhere.
    Any,
    /// At one of these addresses, or at one that one of these names has; at least one in all.
    At(Vec<IpAddr>, Vec<String>),
}

/// What may flow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Child {
    /// Its name, unique within the connection.
    pub name: String,
    /// Tunnel or transport.
    pub mode: Mode,
    /// Our side; at least one.
    pub local: Vec<Selector>,
    /// The peer's side; at least one.
    pub remote: Vec<Selector>,
    /// In order of preference.
    pub proposals: Vec<EspProposal>,
    /// Age at which it is rekeyed, before jitter; 5 s to 30 days.
    pub rekey: Duration,
    /// Bytes in one direction after which it is rekeyed, at least 1 MiB.
    pub rekey_bytes: Option<u64>,
    /// Packets in one direction after which it is rekeyed, at least 1,000.
    pub rekey_packets: Option<u64>,
    /// Packets, 32 to 8192.
    pub replay_window: u32,
}

/// Checks the connections of a VIP, whose `protected` says what a remote side without bounds means;
/// pools that they write in place are added to `pools`.
pub(super) fn connections(
    raw: &[file::Connection],
    protected: &[Prefix],
    pools: &mut Vec<Pool>,
    read_psk: ReadPsk<'_>,
    mistakes: &mut Mistakes,
) -> Vec<Connection> {
    let mut names = BTreeSet::new();
    for connection in raw {
        unique(&connection.head.name, "connection", &mut names, mistakes);
    }
    raw.iter().filter_map(|raw| connection(raw, protected, pools, read_psk, mistakes)).collect()
}

fn connection(
    raw: &file::Connection,
    protected: &[Prefix],
    pools: &mut Vec<Pool>,
    read_psk: ReadPsk<'_>,
    mistakes: &mut Mistakes,
) -> Option<Connection> {
    let head = &raw.head;
    let remote = head.remote.as_ref().map_or(Remote::Any, |text| remote(text, mistakes));
    let (start, dpd_action) = initiative(head, &remote, mistakes);
    if head.refuse_nat && head.force_encapsulation {
        mistakes.at(
            raw.span.clone(),
            "`force_encapsulation` pretends the NAT that `refuse_nat` refuses; allowed is one of them",
        );
    }
    let proof = proof::proof(raw, read_psk, mistakes);
    let ppk = proof::ppk(raw, read_psk, mistakes);
    let local_id = head.local_id.as_ref().map(|text| mistakes.parse(text, identity));
    let remote_id = head.remote_id.as_ref().map(|text| mistakes.parse(text, identity));
    let proposals = mistakes.parse_each(&head.proposals, proposal::ike);
    let dns = mistakes.parse_each(&head.dns, ip_address);
    let dns_domains = mistakes.parse_each(&head.dns_domains, domain);
    if let (Some(first), true) = (head.dns_domains.first(), head.dns.is_empty()) {
        mistakes
            .at(first.span(), "`dns_domains` needs servers; allowed is with `dns = [\"ADDRESS\"]`");
    }
    let pools = pool_names(head, pools, mistakes);
    let has_dynamic_peer = !pools.is_empty() || head.request_address;
    let children = children(raw, has_dynamic_peer, protected, mistakes);
    Some(Connection {
        name: head.name.get_ref().clone(),
        local_id: local_id.flatten(),
        remote_id: remote_id.flatten(),
        proof: proof?,
        ppk: ppk?,
        remote,
        proposals: if head.proposals.is_empty() { IkeProposal::usual() } else { proposals },
        pools,
        dns,
        dns_domains,
        subnets: mistakes.parse_each(&head.subnets, |text| text.parse()),
        announce_version: head.announce_version,
        start,
        dpd_action,
        request_address: head.request_address,
        force_encapsulation: head.force_encapsulation,
        mobike: head.mobike.unwrap_or(true),
        return_routability: head.return_routability.unwrap_or(true),
        synchronise: head.synchronise.unwrap_or(false),
        refuse_nat: head.refuse_nat,
        duplicates: duplicates(head.duplicates.as_ref(), mistakes),
        dpd: Duration::from_secs(mistakes.number(head.dpd_s.as_ref(), 1..=86_400, 30)),
        rekey: Duration::from_secs(mistakes.number(head.rekey_s.as_ref(), 10..=2_592_000, 14_400)),
        children,
    })
}

fn duplicates(text: Option<&file::Text>, mistakes: &mut Mistakes) -> Duplicates {
    let choices = [
        ("replace", Duplicates::Replace),
        ("keep", Duplicates::Keep),
        ("reject", Duplicates::Reject),
    ];
    let parse = |text: &str| choice(text, "duplicates", &choices);
    text.and_then(|text| mistakes.parse(text, parse)).unwrap_or_default()
}

/// When we begin, and what follows the loss of the peer.
fn initiative(
    head: &file::ConnectionHead,
    remote: &Remote,
    mistakes: &mut Mistakes,
) -> (Start, DpdAction) {
    let starts =
        [("never", Start::Never), ("at-start", Start::AtStart), ("on-traffic", Start::OnTraffic)];
    let actions =
        [("restart", DpdAction::Restart), ("clear", DpdAction::Clear), ("trap", DpdAction::Trap)];
    let start = head.start.as_ref();
    let start = start.and_then(|t| mistakes.parse(t, |text| choice(text, "start", &starts)));
    let action = head.dpd_action.as_ref();
    let action =
        action.and_then(|t| mistakes.parse(t, |text| choice(text, "dpd_action", &actions)));
    let start = start.unwrap_or(Start::Never);
    let usual = match start {
        Start::Never => DpdAction::Clear,
        Start::AtStart => DpdAction::Restart,
        Start::OnTraffic => DpdAction::Trap,
    };
    let action = action.unwrap_or(usual);
    let needs = [
        (&head.start, start != Start::Never, "start"),
        (&head.dpd_action, action != DpdAction::Clear, "dpd_action"),
    ];
    for (text, initiates, key) in needs {
        if let (Some(text), true, Remote::Any) = (text, initiates, remote) {
            let why = format!(
                "`{key}` needs to know where to; allowed is with `remote = \"ADDRESS\"` or a name"
            );
            mistakes.at(text.span(), why);
        }
    }
    (start, action)
}

fn remote(text: &Spanned<OneOrMany>, mistakes: &mut Mistakes) -> Remote {
    let list = match text.get_ref() {
        OneOrMany::One(any) if any == "any" => return Remote::Any,
        OneOrMany::One(one) => std::slice::from_ref(one),
        OneOrMany::Many(many) => many.as_slice(),
    };
    if list.is_empty() {
        mistakes.at(text.span(), "no address; allowed is \"any\", or addresses and names");
    }
    let (mut addresses, mut names) = (Vec::new(), Vec::new());
    for one in list {
        match (one.parse(), is_host_name(one)) {
            (Ok(address), _) => addresses.push(address),
            (Err(_), true) => names.push(one.clone()),
            (Err(_), false) => mistakes.at(
                text.span(),
                format!(
                    "{one:?} is no IP address and no name; allowed is \"192.0.2.10\", \
                     \"2001:db8::1\" or \"peer.example.org\", or \"any\" alone"
                ),
            ),
        }
    }
    Remote::At(addresses, names)
}

/// A domain name that cannot be meant as an address: its last label has a letter.
fn is_host_name(text: &str) -> bool {
    let last = text.trim_end_matches('.').rsplit('.').next().unwrap_or_default();
    is_domain(text) && text != "any" && last.chars().any(|c| c.is_ascii_alphabetic())
}

/// The pools a connection names. A range written in the place of a name becomes a pool of its own.
fn pool_names(
    head: &file::ConnectionHead,
    pools: &mut Vec<Pool>,
    mistakes: &mut Mistakes,
) -> Vec<String> {
    let Some(text) = &head.pool else {
        return Vec::new();
    };
    let list = match text.get_ref() {
        OneOrMany::One(one) => std::slice::from_ref(one),
        OneOrMany::Many(many) => many.as_slice(),
    };
    for name in list {
        if pools.iter().any(|pool| pool.name == *name) {
            continue;
        }
        match name.parse::<AddressRange>() {
            Ok(range) => pools.push(Pool::of(name, range)),
            Err(_) => mistakes.at(
                text.span(),
                format!("pool {name:?} does not exist; allowed is {}", allowed_pools(pools)),
            ),
        }
    }
    list.to_vec()
}

fn allowed_pools(pools: &[Pool]) -> String {
    let mut allowed: Vec<String> = pools.iter().map(|pool| format!("{:?}", pool.name)).collect();
    allowed.push("a range such as \"10.77.0.10-10.77.0.250\"".to_owned());
    allowed.join(", ")
}

fn children(
    raw: &file::Connection,
    dynamic: bool,
    protected: &[Prefix],
    mistakes: &mut Mistakes,
) -> Vec<Child> {
    if raw.children.is_empty() {
        mistakes.at(raw.span.clone(), "a connection without child carries nothing; it needs at least one `[[vip.connection.child]]`");
    }
    let mut names = BTreeSet::new();
    for child in &raw.children {
        match &child.get_ref().name {
            Some(name) => unique(name, "child", &mut names, mistakes),
            None if raw.children.len() > 1 => mistakes.at(
                child.span(),
                "`name` is missing; it must be given when there are several children",
            ),
            None => {}
        }
    }
    let name = raw.head.name.get_ref();
    let child = |raw| child(raw, name, dynamic, protected, mistakes);
    raw.children.iter().map(child).collect()
}

fn child(
    section: &Spanned<file::Child>,
    default_name: &str,
    dynamic: bool,
    protected: &[Prefix],
    mistakes: &mut Mistakes,
) -> Child {
    let raw = section.get_ref();
    let modes = [("tunnel", Mode::Tunnel), ("transport", Mode::Transport)];
    let mode = raw.mode.as_ref();
    let mode = mode.and_then(|text| mistakes.parse(text, |text| choice(text, "mode", &modes)));
    let mode = mode.unwrap_or(Mode::Tunnel);
    let local = mistakes.parse_each(raw.local.get_ref(), selector);
    if raw.local.get_ref().is_empty() {
        mistakes.at(raw.local.span(), "no selector; allowed are prefixes, ranges and \"dynamic\"");
    }
    let remote = match &raw.remote {
        Some(list) if list.get_ref().is_empty() => {
            mistakes.at(list.span(), "no selector; allowed are prefixes, ranges and \"dynamic\"");
            Vec::new()
        }
        Some(list) => remote_selectors(list.get_ref(), protected, mistakes),
        None => {
            if !dynamic && mode == Mode::Tunnel {
                mistakes.at(section.span(), "`remote` is missing; without a pool it must be given, as prefixes or \"dynamic\"");
            }
            vec![Selector::Dynamic]
        }
    };
    let proposals = mistakes.parse_each(&raw.proposals, proposal::esp);
    Child {
        name: raw
            .name
            .as_ref()
            .map_or_else(|| default_name.to_owned(), |name| name.get_ref().clone()),
        mode,
        local,
        remote,
        proposals: if raw.proposals.is_empty() { EspProposal::usual() } else { proposals },
        rekey: Duration::from_secs(mistakes.number(raw.rekey_s.as_ref(), 5..=2_592_000, 3600)),
        rekey_bytes: limit(raw.rekey_bytes.as_ref(), 1 << 20, mistakes),
        rekey_packets: limit(raw.rekey_packets.as_ref(), 1000, mistakes),
        replay_window: mistakes.number(raw.replay_window.as_ref(), 32..=8192, 1024),
    }
}

/// The peer's side. One without bounds is narrowed to what the VIP protects: the fence cannot be
/// closed for all addresses without cutting this host off.
fn remote_selectors(
    list: &[file::Text],
    protected: &[Prefix],
    mistakes: &mut Mistakes,
) -> Vec<Selector> {
    let mut selectors = Vec::new();
    for text in list {
        match mistakes.parse(text, selector) {
            Some(Selector::Fixed(all)) if is_everything(&all) => {
                let is_ipv4 = all.first_address.is_ipv4();
                let of_family = protected.iter().filter(|p| p.address().is_ipv4() == is_ipv4);
                let before = selectors.len();
                selectors.extend(of_family.map(|prefix| {
                    let (first_address, last_address) = (prefix.address(), prefix.last());
                    Selector::Fixed(TrafficSelector { first_address, last_address, ..all })
                }));
                if selectors.len() == before {
                    let why = format!(
                        "{:?} would close this host's way to everywhere; allowed are the peer's \
                         prefixes here, or in `protected` of the VIP",
                        text.get_ref()
                    );
                    mistakes.at(text.span(), why);
                }
            }
            selector => selectors.extend(selector),
        }
    }
    selectors
}

fn is_everything(selector: &TrafficSelector) -> bool {
    let cover = Prefix::cover(selector.first_address, selector.last_address);
    cover.iter().any(|prefix| prefix.length() == 0)
}

fn limit(value: Option<&file::Number>, least: u64, mistakes: &mut Mistakes) -> Option<u64> {
    value.map(|value| mistakes.number(Some(value), least..=i64::MAX.unsigned_abs(), least))
}

/// Notes a name that is empty or was there before.
pub(super) fn unique(
    name: &file::Text,
    what: &str,
    seen: &mut BTreeSet<String>,
    mistakes: &mut Mistakes,
) {
    let text = name.get_ref();
    if text.is_empty() || text.len() > 64 || text.chars().any(char::is_control) {
        let why = format!("{text:?} is no name; allowed are 1 to 64 printable characters");
        mistakes.at(name.span(), why);
    } else if !seen.insert(text.clone()) {
        let why = format!("{what} {text:?} is there twice; allowed is a name of its own for each");
        mistakes.at(name.span(), why);
    }
}

pub(super) fn identity(text: &str) -> Result<Identity, String> {
    if let Some(name) = name_from_text(text) {
        return Identity::from_data(ID_DER_ASN1_DN, &name).map_err(|error| error.to_string());
    }
    let identity = text.parse::<Identity>().ok().filter(|identity| match identity {
        //= RFC 7296 section 3.5 #2: a name has no terminators
        //= RFC 7296 section 3.5 #3: nor has an address of mail
        Identity::Fqdn(name) | Identity::Email(name) => !name.chars().any(char::is_control),
        _ => true,
    });
    identity.ok_or_else(|| format!(
        "{text:?} is no identity; allowed is an address, a name as \"gw.example.org\", \"user@example.org\", \"C=CH, O=Example, CN=*\", or \"keyid:…\""
    ))
}

fn domain(text: &str) -> Result<String, String> {
    is_domain(text).then(|| text.to_owned()).ok_or_else(|| {
        format!("{text:?} is no domain; allowed is a name as \"corp.example.com\", with xn-- for other letters")
    })
}

pub(super) fn ip_address(text: &str) -> Result<IpAddr, String> {
    text.parse().map_err(|_| {
        format!("{text:?} is no IP address; allowed is \"192.0.2.10\" or \"2001:db8::1\"")
    })
}
