//! What an engine is told to do: connections, their children, pools and limits. All of it is typed
//! and cannot contradict itself in form; text is parsed elsewhere.

use crate::proposals::{EspProposal, IkeProposal};
use core::net::IpAddr;
use core::time::Duration;
use vipsec_crypto::certificate::{Authorities, CHAIN_MAX, CertificateError, Names, check_key};
use vipsec_crypto::signature::SigningKey;
use vipsec_esp::Mode;
use vipsec_wire::id::Vip;
use vipsec_wire::ike::{Identity, TrafficSelector};
use vipsec_wire::secret::SecretBytes;

/// The configuration of one VIP's engine.
#[derive(Debug, Clone)]
pub struct Config {
    /// The address that peers talk to: the local address of everything.
    pub vip: Vip,
    /// In the order in which a peer is matched against them.
    pub connections: Vec<Connection>,
    /// Bounds.
    pub limits: Limits,
    /// How requests are repeated.
    pub retransmit: Retransmit,
    /// Octets of the IP datagrams in which IKE messages travel that do not fit in one: they are sent
    /// in fragments where the peer takes them (RFC 7383). `None`: neither sent nor taken.
    pub fragment_size: Option<u16>,
}

/// Octets of the IP datagrams of a fragmented message: what every IPv6 path takes, and in practice
/// every IPv4 path (RFC 7383 section 2.5.1).
pub const FRAGMENT_SIZE: u16 = 1280;

/// Whom we talk to, who both sides are, and what is negotiated.
#[derive(Debug, Clone)]
pub struct Connection {
    /// Its name, unique within the VIP.
    pub name: String,
    /// Who we say that we are; `None`: the VIP as an address identity.
    pub local_id: Option<Identity>,
    /// Who the peer must be; `None`: anybody who has the key.
    pub remote_id: Option<Identity>,
    /// How both sides prove it.
    pub authentication: Authentication,
    /// A post-quantum pre-shared key besides (RFC 8784).
    pub ppk: Option<Ppk>,
    /// Where the peer may come from.
    pub remote: RemoteAddresses,
    /// Names of further places where it may be.
    pub remote_names: Vec<RemoteName>,
    /// For the IKE SA, in order of preference.
    pub proposals: Vec<IkeProposal>,
    /// What may be protected.
    pub children: Vec<Child>,
    /// Address pools; a peer must ask for an address when there is one.
    pub pools: Vec<Pool>,
    /// Name servers for peers that get an address.
    pub dns: Vec<IpAddr>,
    /// Domains that the name servers are for, told to peers that ask (RFC 8598); empty: all.
    pub dns_domains: Vec<String>,
    /// What peers reach through us, as address and length of the prefix, told to those that get an
    /// address (INTERNAL_IP4_SUBNET and INTERNAL_IP6_SUBNET). It limits nothing: selectors do.
    pub subnets: Vec<(IpAddr, u8)>,
    /// What we say to authenticated peers that ask for our software; we then ask them, too. `None`:
    /// nothing (RFC 7296 section 2.20 allows it).
    pub application_version: Option<String>,
    /// As initiator: ask for an address.
    pub request_addresses: Vec<AddressRequest>,
    /// When the peer's silence is looked into; `None`: never.
    pub dpd: Option<Dpd>,
    /// Life of the IKE SA.
    pub lifetime: IkeLifetime,
    /// Whether we initiate.
    pub start: Start,
    /// What follows when the peer does not answer any more.
    pub dpd_action: DpdAction,
    /// What becomes of older IKE SAs of the same peer.
    pub duplicates: Duplicates,
    /// Have the peer's and our ESP encapsulated in UDP, whether or not there is a NAT.
    pub force_encapsulation: bool,
    /// Peers may move, and we to another of theirs (RFC 4555).
    pub mobike: bool,
    /// A peer that has moved gets ESP only where it has been seen to be (RFC 4555 section 3.7).
    pub return_routability: bool,
    /// After a takeover, message IDs and sequence numbers are synchronised with a peer that offers it,
    /// and a peer's cluster may do so with us (RFC 6311).
    pub synchronise: bool,
    /// No NAT may be on the way (RFC 4555 section 3.9): none is looked for, and a peer that knows
    /// MOBIKE notices one.
    pub refuse_nat: bool,
}

impl Connection {
    /// A connection with the usual settings: any peer, any identity, no pool.
    #[must_use]
    pub fn new(name: &str, authentication: Authentication) -> Connection {
        Connection {
            name: name.to_owned(),
            local_id: None,
            remote_id: None,
            authentication,
            ppk: None,
            remote: RemoteAddresses::Any,
            remote_names: Vec::new(),
            proposals: IkeProposal::usual(),
            children: Vec::new(),
            pools: Vec::new(),
            dns: Vec::new(),
            dns_domains: Vec::new(),
            subnets: Vec::new(),
            application_version: None,
            request_addresses: Vec::new(),
            dpd: Some(Dpd::default()),
            lifetime: IkeLifetime::default(),
            start: Start::Never,
            dpd_action: DpdAction::Clear,
            duplicates: Duplicates::Replace,
            force_encapsulation: false,
            mobike: true,
            return_routability: true,
            synchronise: true,
            refuse_nat: false,
        }
    }

    /// Whether a peer may come from `address`.
    #[must_use]
    pub fn may_be_at(&self, address: IpAddr) -> bool {
        self.remote.contains(address)
            || self.remote_names.iter().any(|name| name.addresses.contains(&address))
    }

    /// Where the peer may be, as far as `vip` can reach it, in the order of trying.
    pub(crate) fn remote_addresses(&self, vip: IpAddr) -> Vec<IpAddr> {
        let fixed = match &self.remote {
            RemoteAddresses::Any => &[][..],
            RemoteAddresses::List(list) => list.as_slice(),
        };
        let named = self.remote_names.iter().flat_map(|name| &name.addresses);
        let all = fixed.iter().chain(named).filter(|a| a.is_ipv4() == vip.is_ipv4());
        let mut addresses: Vec<IpAddr> = Vec::new();
        for address in all {
            if !addresses.contains(address) {
                addresses.push(*address);
            }
        }
        addresses
    }

    /// The configured child of this name.
    #[must_use]
    pub fn child(&self, name: &str) -> Option<&Child> {
        self.children.iter().find(|child| child.name == name)
    }
}

/// How the sides prove who they are.
#[derive(Debug, Clone)]
pub enum Authentication {
    /// Pre-shared keys (RFC 7296 section 2.15); the first entry that fits the peer's identity.
    Psk(Vec<PresharedKey>),
    /// Certificates on both sides, with digital signatures (RFC 7427).
    Certificates(Box<Certificates>),
    /// A certificate on our side and EAP on the peer's, which initiates (RFC 7296 section 2.16).
    Eap(Box<Eap>),
}

/// Our certificate, and whom we know by a password (EAP-MSCHAPv2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Eap {
    /// With what we prove who we are. Its authorities are not asked.
    pub own: Certificates,
    /// Names with their passwords, which are UTF-8.
    pub users: Vec<(String, SecretBytes)>,
}

/// A post-quantum pre-shared key (RFC 8784).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ppk {
    /// By what both ends call it (PPK_ID_FIXED).
    pub id: Vec<u8>,
    /// The key; 32 octets or more of randomness.
    pub key: SecretBytes,
    /// No IKE SA comes up without it; otherwise one does with a peer that does not know it.
    pub required: bool,
}

/// Our certificate, and whom we believe the peers' from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificates {
    /// Our own in DER, then those between it and its authority.
    pub(crate) chain: Vec<Vec<u8>>,
    /// The subject of our own, in DER.
    pub(crate) subject: Vec<u8>,
    pub(crate) key: SigningKey,
    pub(crate) authorities: Authorities,
}

impl Certificates {
    /// `chain`: our own certificate in DER, then those between it and its authority.
    ///
    /// # Errors
    /// [`CertificateError`] for a certificate that cannot be read, a key that is another's, and a
    /// chain that is too long.
    pub fn new(
        chain: Vec<Vec<u8>>,
        key: SigningKey,
        authorities: Authorities,
    ) -> Result<Certificates, CertificateError> {
        let own = chain.first().ok_or(CertificateError::Unreadable)?;
        check_key(own, &key)?;
        if chain.len() > CHAIN_MAX {
            return Err(CertificateError::LongChain);
        }
        let subject = Names::of(own)?.subject;
        Ok(Certificates { chain, subject, key, authorities })
    }
}

impl Authentication {
    /// One key for every peer of the connection.
    #[must_use]
    pub fn psk(key: &[u8]) -> Authentication {
        Authentication::Psk(vec![PresharedKey { remote: None, key: SecretBytes::from(key) }])
    }
}

/// One pre-shared key.
#[derive(Debug, Clone)]
pub struct PresharedKey {
    /// Whose it is; `None`: everybody's.
    pub remote: Option<Identity>,
    /// The key.
    pub key: SecretBytes,
}

/// Where a peer is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RemoteAddresses {
    /// Anywhere: only the peer can initiate.
    Any,
    /// At one of these; we try them in turn.
    List(Vec<IpAddr>),
}

impl RemoteAddresses {
    /// Whether a peer may come from `address`.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match self {
            RemoteAddresses::Any => true,
            RemoteAddresses::List(list) => list.contains(&address),
        }
    }
}

/// A peer by name, with the addresses that the name had last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteName {
    /// A host name.
    pub name: String,
    /// Filled in by [`crate::Engine::handle_resolved`].
    pub addresses: Vec<IpAddr>,
}

/// One Child SA that a connection may have.
#[derive(Debug, Clone)]
pub struct Child {
    /// Its name, unique within the connection.
    pub name: String,
    /// Tunnel or transport mode.
    pub mode: Mode,
    /// What of our side may be protected.
    pub local: Vec<Selector>,
    /// What of the peer's side.
    pub remote: Vec<Selector>,
    /// In order of preference.
    pub proposals: Vec<EspProposal>,
    /// Its life.
    pub lifetime: ChildLifetime,
    /// Packets of the replay window.
    pub replay_window: u32,
}

impl Child {
    /// A child in tunnel mode with the usual settings.
    #[must_use]
    pub fn new(name: &str, local: Vec<Selector>, remote: Vec<Selector>) -> Child {
        Child {
            name: name.to_owned(),
            mode: Mode::Tunnel,
            local,
            remote,
            proposals: EspProposal::usual(),
            lifetime: ChildLifetime::default(),
            replay_window: 1024,
        }
    }
}

/// One configured traffic selector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selector {
    /// This one.
    Fixed(TrafficSelector),
    /// The addresses that the side was assigned, or else its outer address.
    Dynamic,
}

/// A range of addresses for peers, both ends included and of one family.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    /// Its name.
    pub name: String,
    /// First address.
    pub first: IpAddr,
    /// Last address.
    pub last: IpAddr,
    /// How long an address is kept for the identity that had it, after its last IKE SA has ended.
    pub keep: Duration,
    /// Addresses of the range that are set aside, each for one identity.
    pub reserved: Vec<(Identity, IpAddr)>,
}

impl Pool {
    /// A pool that keeps addresses for a day and sets none aside.
    #[must_use]
    pub fn new(name: &str, first: IpAddr, last: IpAddr) -> Pool {
        let keep = Duration::from_secs(86_400);
        Pool { name: name.to_owned(), first, last, keep, reserved: Vec::new() }
    }
}

/// An address that we ask the responder for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressRequest {
    /// Any IPv4 address.
    Ipv4,
    /// Any IPv6 address.
    Ipv6,
    /// This one, if it can be had.
    This(IpAddr),
}

/// When we look whether a peer lives (RFC 7296 section 2.4). Every check of ours is stored before it
/// is sent, so an SA that nobody uses is checked ever more seldom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dpd {
    /// Seconds, or up to a quarter more, after which we ask a peer to which we send and from which
    /// nothing comes. What it sends, ESP or IKE, is proof of life. While neither side sends anything,
    /// the first check comes after the same time, and each that is answered doubles the interval,
    /// up to ten times this.
    pub idle_s: u32,
}

impl Default for Dpd {
    fn default() -> Dpd {
        Dpd { idle_s: 30 }
    }
}

/// Life of an IKE SA.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IkeLifetime {
    /// Seconds after which it is rekeyed; 0: never.
    pub rekey_s: u32,
    /// A random part of up to so many seconds is taken off `rekey_s`.
    pub jitter_s: u32,
    /// Seconds after `rekey_s` at which it is closed if it has not been rekeyed.
    pub over_s: u32,
}

impl Default for IkeLifetime {
    fn default() -> IkeLifetime {
        IkeLifetime { rekey_s: 14_400, jitter_s: 1_440, over_s: 1_440 }
    }
}

/// Life of a Child SA. Hard limits are a tenth above the configured ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChildLifetime {
    /// Seconds after which it is rekeyed.
    pub rekey_s: Option<u64>,
    /// Bytes in either direction after which it is rekeyed.
    pub rekey_bytes: Option<u64>,
    /// Packets in either direction after which it is rekeyed.
    pub rekey_packets: Option<u64>,
    /// A random part of up to so many percent (0 to 50) is taken off each of these.
    pub jitter_percent: u8,
}

impl Default for ChildLifetime {
    fn default() -> ChildLifetime {
        ChildLifetime {
            rekey_s: Some(3_600),
            rekey_bytes: None,
            rekey_packets: None,
            jitter_percent: 10,
        }
    }
}

/// Whether we initiate a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Start {
    /// Only when told to.
    #[default]
    Never,
    /// As soon as we own the VIP, and again whenever it is down.
    AtStart,
    /// When there is a packet for it ([`crate::Engine::handle_acquire`]).
    OnTraffic,
}

/// What follows when a peer does not answer any more. What the peer ends itself is brought up again
/// only where [`Start`] says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DpdAction {
    /// The connection is brought up again.
    Restart,
    /// Nothing, until the VIP has another owner or somebody asks for the connection.
    #[default]
    Clear,
    /// The next packet for it brings it up again.
    Trap,
}

/// What becomes of a new IKE SA, and of older ones between the same identities.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Duplicates {
    /// The new one replaces them.
    #[default]
    Replace,
    /// They stay, whatever INITIAL_CONTACT says: several peers share the identity.
    Keep,
    /// The new one is refused while there is another, unless the peer says by INITIAL_CONTACT that it
    /// knows of none.
    Reject,
}

/// Bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Half-open IKE SAs, as responder, from which on a cookie is asked for (RFC 7296 section 2.6).
    pub half_open_cookie_threshold: usize,
    /// Half-open IKE SAs, as responder, above which nothing more is accepted.
    pub half_open_max: usize,
    /// Half-open IKE SAs of one source, an IPv4 address or an IPv6 /64, from which on it has to
    /// solve a puzzle, or at least to return a cookie.
    pub half_open_per_source: usize,
    /// Half-open IKE SAs of one source above which nothing more is accepted from it.
    pub half_open_per_source_max: usize,
    /// Half-open IKE SAs in all from which on everybody has to solve a puzzle (RFC 8019). Peers that
    /// do not know puzzles are let in while less than half of `half_open_max` is taken.
    pub puzzle_threshold: usize,
    /// Zero bits that are asked for, 1 to 32; each doubles the work. 0: no puzzles.
    pub puzzle_bits: u8,
    /// As initiator, the hardest puzzle that we solve, in zero bits.
    pub puzzle_bits_max: u8,
    /// Failed IKE_AUTHs of one source within a minute, after which it has to wait for the next one.
    pub auth_failures_per_source: u32,
    /// How long a half-open IKE SA waits for its IKE_AUTH.
    pub half_open_timeout: Duration,
    /// Established IKE SAs.
    pub ike_sas_max: usize,
    /// Child SAs of one IKE SA, rekeyed ones that wait for their delete included.
    pub children_max: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            half_open_cookie_threshold: 64,
            half_open_max: 4096,
            half_open_per_source: 64,
            half_open_per_source_max: 512,
            puzzle_threshold: 1024,
            puzzle_bits: 16,
            puzzle_bits_max: 20,
            auth_failures_per_source: 60,
            half_open_timeout: Duration::from_secs(30),
            ike_sas_max: 200_000,
            children_max: 64,
        }
    }
}

/// How a request is repeated while no response comes: the n-th time after
/// `initial_ms * (base_percent / 100)^n`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retransmit {
    /// Milliseconds before the first repetition.
    pub initial_ms: u32,
    /// Growth of the waiting time, in percent, from 100.
    pub base_percent: u32,
    /// Repetitions before the peer is given up.
    pub tries: u32,
}

impl Default for Retransmit {
    fn default() -> Retransmit {
        Retransmit { initial_ms: 1_000, base_percent: 180, tries: 6 }
    }
}
