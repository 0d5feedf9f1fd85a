//! Negotiation of a Child SA, the same in IKE_AUTH and CREATE_CHILD_SA and for new and rekeyed ones
//! (RFC 7296 sections 1.3, 2.9 and 2.17): offering, choosing, accepting, and making the SA.

use crate::config::{Child as ChildConfig, ChildLifetime, Connection};
use crate::context::Context;
use crate::exchange::contents::{Contents, notify};
use crate::keys::{ChildMaterial, DeriveError, Nonces, derive_child};
use crate::proposals::{
    Choice, EspAlgorithms, EspProposal, KeyExchangeUse, accept_esp, choose_esp, offer_esp,
};
use crate::sa::{IkeSa, endpoints};
use crate::selectors::{Dynamic, is_narrowed, narrow, resolve, through_nat};
use crate::snapshot::cipher;
use core::net::IpAddr;
use vipsec_crypto::Secret;
use vipsec_esp::{ChildSa, HalfKeys, Lifetime, Limits, Mode};
use vipsec_wire::id::{Epoch, EspSpi};
use vipsec_wire::ike::{
    AdditionalGroups, Esn, Group, NotifyType, Payload, Side, TrafficSelector, TrafficSelectors,
};
use vipsec_wire::record::v1::{ChildAgreed, ChildOffer, IkeAddresses};

/// What `dynamic` means on both sides.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sides<'a> {
    pub(crate) local: Dynamic<'a>,
    pub(crate) remote: Dynamic<'a>,
}

/// The addresses that stand behind [`Sides`] of an established IKE SA.
pub(crate) struct Behind {
    outer: IkeAddresses,
    local: Vec<IpAddr>,
    remote: Vec<IpAddr>,
}

impl Behind {
    pub(crate) fn of(sa: &IkeSa) -> Behind {
        Behind::new(&sa.addresses, &sa.about.obtained, &sa.about.assigned)
    }

    pub(crate) fn new(
        addresses: &IkeAddresses,
        obtained: &[IpAddr],
        assigned: &[IpAddr],
    ) -> Behind {
        let or = |given: &[IpAddr], outer: IpAddr| match given {
            [] => vec![outer],
            given => given.to_vec(),
        };
        Behind {
            outer: *addresses,
            local: or(obtained, addresses.local.ip()),
            remote: or(assigned, addresses.remote.ip()),
        }
    }

    pub(crate) fn sides(&self) -> Sides<'_> {
        Sides { local: Dynamic::Addresses(&self.local), remote: Dynamic::Addresses(&self.remote) }
    }

    /// The selectors that the peer names, of our side and its own, as they are here. In transport
    /// mode a side behind a NAT cannot be spoken of by one address alone: each end knows it by
    /// another. `None` when they cannot be had.
    fn seen_from_here(&self, named: Named<'_>, transport: bool) -> Option<(Selectors, Selectors)> {
        let seen = |selectors: &[TrafficSelector], nat: bool, here: IpAddr| match nat && transport {
            true => through_nat(selectors, here),
            false => Some(selectors.to_vec()),
        };
        let IkeAddresses { local, remote, local_nat, remote_nat, .. } = self.outer;
        let ours = seen(named.local, local_nat, local.ip())?;
        Some((ours, seen(named.remote, remote_nat, remote.ip())?))
    }
}

type Selectors = Vec<TrafficSelector>;

/// Traffic selectors as a peer names them: of our side and of its own.
#[derive(Clone, Copy)]
struct Named<'a> {
    local: &'a [TrafficSelector],
    remote: &'a [TrafficSelector],
}

/// What we ask for.
pub(crate) fn offer(
    child: &ChildConfig,
    sides: Sides<'_>,
    spi: EspSpi,
    key_exchange: KeyExchangeUse,
    fallback_group: Group,
) -> ChildOffer {
    let proposals = &child.proposals;
    ChildOffer {
        child: child.name.clone(),
        spi,
        proposals: offer_esp(proposals, spi.0.to_be_bytes(), key_exchange, fallback_group),
        local: resolve(&child.local, sides.local),
        remote: resolve(&child.remote, sides.remote),
        transport: child.mode == Mode::Transport,
    }
}

/// The selectors of both sides as payloads. `initiator`: we are the initiator of the exchange.
fn selector_payloads(
    local: &[TrafficSelector],
    remote: &[TrafficSelector],
    initiator: bool,
) -> [Payload; 2] {
    let payload = |side, selectors: &[TrafficSelector]| {
        Payload::TrafficSelectors(TrafficSelectors { side, selectors: selectors.to_vec() })
    };
    let (of_initiator, of_responder) = if initiator { (local, remote) } else { (remote, local) };
    [payload(Side::Initiator, of_initiator), payload(Side::Responder, of_responder)]
}

/// The payloads of an offer without those of the key exchange: SA first, then selectors and mode.
pub(crate) fn offer_payloads(offer: &ChildOffer) -> (Payload, Vec<Payload>) {
    let mut rest = selector_payloads(&offer.local, &offer.remote, true).to_vec();
    if offer.transport {
        rest.push(notify(NotifyType::USE_TRANSPORT_MODE));
    }
    (Payload::SecurityAssociation(offer.proposals.clone()), rest)
}

/// What was agreed on, by either role.
#[derive(Debug)]
pub(crate) struct Agreed {
    pub(crate) child: String,
    pub(crate) algorithms: EspAlgorithms,
    pub(crate) spi_in: EspSpi,
    pub(crate) spi_out: EspSpi,
    pub(crate) local: Vec<TrafficSelector>,
    pub(crate) remote: Vec<TrafficSelector>,
    pub(crate) transport: bool,
}

impl Agreed {
    /// What has to be kept until the additional key exchanges are done.
    pub(crate) fn stored(&self) -> ChildAgreed {
        ChildAgreed {
            child: self.child.clone(),
            encryption: self.algorithms.encryption,
            integrity: self.algorithms.integrity,
            esn: self.algorithms.esn == Esn::Yes,
            spi_in: self.spi_in,
            spi_out: self.spi_out,
            local: self.local.clone(),
            remote: self.remote.clone(),
            transport: self.transport,
        }
    }
}

impl From<ChildAgreed> for Agreed {
    fn from(stored: ChildAgreed) -> Agreed {
        Agreed {
            child: stored.child,
            algorithms: EspAlgorithms {
                encryption: stored.encryption,
                integrity: stored.integrity,
                group: Group::None,
                additional: AdditionalGroups::default(),
                esn: if stored.esn { Esn::Yes } else { Esn::No },
            },
            spi_in: stored.spi_in,
            spi_out: stored.spi_out,
            local: stored.local,
            remote: stored.remote,
            transport: stored.transport,
        }
    }
}

/// A choice from a peer's offer and the payloads that answer it.
pub(crate) struct Chosen {
    pub(crate) agreed: Agreed,
    choice: Choice<EspAlgorithms>,
}

impl Chosen {
    /// SA first, then selectors and mode.
    pub(crate) fn payloads(&self) -> (Payload, Vec<Payload>) {
        let sa = self.choice.answer(&self.agreed.spi_in.0.to_be_bytes());
        let selectors = selector_payloads(&self.agreed.local, &self.agreed.remote, false);
        let mut rest = selectors.to_vec();
        //= RFC 7296 section 1.3.1 #1: transport mode is agreed to by the same notification
        if self.agreed.transport {
            rest.push(notify(NotifyType::USE_TRANSPORT_MODE));
        }
        (Payload::SecurityAssociation(sa), rest)
    }
}

/// Chooses from a peer's offer. `only`: the child that it has to be, for a rekey.
pub(crate) fn choose(
    cx: &mut Context<'_>,
    connection: &Connection,
    behind: &Behind,
    contents: &Contents,
    key_exchange: KeyExchangeUse,
    only: Option<&str>,
) -> Result<Chosen, NotifyType> {
    let offer = contents.security_association.as_ref().ok_or(NotifyType::INVALID_SYNTAX)?;
    let mut error = NotifyType::TS_UNACCEPTABLE;
    for Candidate { child, local, remote, .. } in candidates(connection, behind, contents, only) {
        let Some(choice) = choose_esp(&child.proposals, offer, key_exchange) else {
            error = NotifyType::NO_PROPOSAL_CHOSEN;
            continue;
        };
        let agreed = Agreed {
            child: child.name.clone(),
            algorithms: choice.algorithms,
            spi_in: cx.tables.draw_esp_spi(cx.rng),
            spi_out: esp_spi(&choice.peer_spi).ok_or(NotifyType::INVALID_SYNTAX)?,
            local,
            remote,
            transport: child.mode == Mode::Transport,
        };
        return Ok(Chosen { agreed, choice });
    }
    Err(error)
}

/// A configured child whose selectors have something in common with an offer: that.
struct Candidate<'a> {
    child: &'a ChildConfig,
    local: Vec<TrafficSelector>,
    remote: Vec<TrafficSelector>,
    /// The first selectors of the offer are within it, whole.
    takes_first: bool,
}

impl<'a> Candidate<'a> {
    fn new(child: &'a ChildConfig, behind: &Behind, named: Named<'_>) -> Option<Candidate<'a>> {
        let (ours, theirs) = behind.seen_from_here(named, child.mode == Mode::Transport)?;
        let sides = behind.sides();
        let local = narrow(&resolve(&child.local, sides.local), &ours);
        let remote = narrow(&resolve(&child.remote, sides.remote), &theirs);
        let takes_first = takes_first(&local, &ours) && takes_first(&remote, &theirs);
        let common = !local.is_empty() && !remote.is_empty();
        common.then_some(Candidate { child, local, remote, takes_first })
    }
}

fn takes_first(narrowed: &[TrafficSelector], offered: &[TrafficSelector]) -> bool {
    let first = offered.first();
    first.is_some_and(|first| narrowed.iter().any(|part| first.is_subset_of(part)))
}

/// The children that an offer may be for: first those that take its first selectors whole, which
/// may be those of the packet that has caused it.
fn candidates<'a>(
    connection: &'a Connection,
    behind: &Behind,
    contents: &Contents,
    only: Option<&str>,
) -> Vec<Candidate<'a>> {
    let asked_transport = contents.has(NotifyType::USE_TRANSPORT_MODE);
    let (local, remote) = (&contents.responder_selectors, &contents.initiator_selectors);
    let named = Named { local, remote };
    let children = connection.children.iter().filter(|c| only.is_none_or(|name| c.name == name));
    let children = children.filter(|c| c.mode == Mode::Tunnel || asked_transport);
    let candidates = children.filter_map(|child| Candidate::new(child, behind, named));
    let mut candidates: Vec<_> = candidates.collect();
    //= RFC 7296 section 2.9 #1: the first selectors are in the answer if any child allows them
    candidates.sort_by_key(|candidate| !candidate.takes_first);
    candidates
}

fn esp_spi(bytes: &[u8]) -> Option<EspSpi> {
    let spi = u32::from_be_bytes(bytes.try_into().ok()?);
    (spi > 255).then_some(EspSpi(spi))
}

/// Reads the answer to an offer of ours; `None` when it does not keep to the offer, or declines the
/// mode that is configured.
pub(crate) fn accept(offer: &ChildOffer, behind: &Behind, contents: &Contents) -> Option<Agreed> {
    let answer = contents.security_association.as_ref()?;
    let (algorithms, spi) = accept_esp(&offer.proposals, answer)?;
    let (local, remote) = (&contents.initiator_selectors, &contents.responder_selectors);
    let transport = contents.has(NotifyType::USE_TRANSPORT_MODE);
    let (local, remote) = behind.seen_from_here(Named { local, remote }, transport)?;
    let narrowed = is_narrowed(&local, &offer.local) && is_narrowed(&remote, &offer.remote);
    (narrowed && transport == offer.transport).then_some(Agreed {
        child: offer.child.clone(),
        algorithms,
        spi_in: offer.spi,
        spi_out: esp_spi(&spi)?,
        local,
        remote,
        transport,
    })
}

/// What the keys of a Child SA are made of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ingredients<'a> {
    pub(crate) nonces: Nonces<'a>,
    /// Of the key exchanges of its own, in their order.
    pub(crate) secrets: &'a [Secret],
    /// We are the initiator of the exchange.
    pub(crate) initiator: bool,
    /// The epoch in which our nonce was drawn.
    pub(crate) born: Epoch,
}

/// Makes the Child SA that was agreed on.
pub(crate) fn make(
    cx: &mut Context<'_>,
    sa: &IkeSa,
    agreed: Agreed,
    ingredients: Ingredients<'_>,
) -> Result<ChildSa, DeriveError> {
    let about = &sa.about;
    let parent = (&about.algorithms, &about.keys);
    let algorithms = &agreed.algorithms;
    let Ingredients { nonces, secrets, initiator, born } = ingredients;
    let material = derive_child(parent, algorithms, secrets, nonces)?;
    let cipher = cipher(algorithms.encryption, algorithms.integrity);
    let (inbound, outbound) = split(material, agreed.spi_in, agreed.spi_out, initiator);
    let config = cx.connection(&about.connection).and_then(|c| c.child(&agreed.child));
    let replay_window = config.map_or(1024, |child| child.replay_window);
    let lifetime = config.map_or_else(ChildLifetime::default, |child| child.lifetime);
    Ok(ChildSa {
        vip: cx.config.vip,
        ike: about.family,
        connection: about.connection.clone(),
        child: agreed.child,
        inbound,
        outbound,
        cipher: cipher.ok_or(DeriveError::Unsupported)?,
        mode: if agreed.transport { Mode::Transport } else { Mode::Tunnel },
        esn: algorithms.esn == Esn::Yes,
        replay_window,
        local: agreed.local,
        remote: agreed.remote,
        born,
        created: cx.now,
        lifetime: draw_lifetime(cx, &lifetime),
        endpoints: endpoints(&sa.addresses),
    })
}

fn split(
    material: ChildMaterial,
    spi_in: EspSpi,
    spi_out: EspSpi,
    initiator: bool,
) -> (HalfKeys, HalfKeys) {
    let (spi_of_initiator, spi_of_responder) =
        if initiator { (spi_out, spi_in) } else { (spi_in, spi_out) };
    let from_initiator = HalfKeys {
        spi: spi_of_initiator,
        encryption: material.initiator_encryption,
        integrity: material.initiator_integrity,
    };
    let from_responder = HalfKeys {
        spi: spi_of_responder,
        encryption: material.responder_encryption,
        integrity: material.responder_integrity,
    };
    match initiator {
        true => (from_responder, from_initiator),
        false => (from_initiator, from_responder),
    }
}

/// Seconds that a rekey has at least before the hard limit comes.
const REKEY_ROOM_S: u64 = 10;

/// Soft limits with jitter, hard limits a tenth above what is configured.
fn draw_lifetime(cx: &mut Context<'_>, configured: &ChildLifetime) -> Lifetime {
    let percent = u64::from(configured.jitter_percent.min(50));
    let mut soft = |limit: Option<u64>| {
        limit.map(|limit| limit - cx.jitter(limit.saturating_mul(percent) / 100 + 1))
    };
    let soft = Limits {
        bytes: soft(configured.rekey_bytes),
        packets: soft(configured.rekey_packets),
        seconds: soft(configured.rekey_s),
    };
    let hard = |limit: Option<u64>| limit.map(|limit| limit.saturating_add(limit / 10));
    let hard = Limits {
        bytes: hard(configured.rekey_bytes),
        packets: hard(configured.rekey_packets),
        seconds: configured.rekey_s.map(|limit| {
            // In whole seconds a tenth of a short life would be nothing.
            limit.saturating_add((limit / 10).max(REKEY_ROOM_S))
        }),
    };
    let reserve = Lifetime::TAKEOVER_RESERVE;
    let jitter = u32::try_from(cx.jitter(u64::from(reserve))).unwrap_or(0);
    Lifetime { soft, hard, takeover_reserve: reserve + jitter }
}

/// The configuration of a Child SA that is in use: by its name, or, when there is none of that name
/// any more, made of the SA itself.
pub(crate) fn config_of(cx: &Context<'_>, current: &ChildSa) -> ChildConfig {
    let config = cx.connection(&current.connection).and_then(|c| c.child(&current.child));
    config.cloned().unwrap_or_else(|| {
        let fixed = |selectors: &[TrafficSelector]| {
            selectors.iter().map(|s| crate::config::Selector::Fixed(*s)).collect()
        };
        let mut child =
            ChildConfig::new(&current.child, fixed(&current.local), fixed(&current.remote));
        child.mode = current.mode;
        child.proposals = EspProposal::usual();
        child
    })
}
