//! IKE_AUTH as responder (RFC 7296 sections 1.2, 2.15 and 2.21.2): a half-open IKE SA becomes an
//! established one with its first Child SA, or is refused.
//!
//! Whatever is wrong with identity, key or AUTH, the answer is the same. EAP, which takes several
//! requests, is in `ike_auth_eap`.

use crate::auth::{Agreed, SignedOctets, choose_connection, local_identity, ppk, psk, verify};
use crate::child::Child;
use crate::config::{Connection, Duplicates};
use crate::context::Context;
use crate::error::Drop;
use crate::exchange::child::{self, Behind, Ingredients};
use crate::exchange::configuration::{self, Granted};
use crate::exchange::contents::{Contents, notify};
use crate::exchange::{ike_auth_eap, ike_intermediate, mobike, synchronise};
use crate::fragmentation::{self, Opened, Reassembly};
use crate::half_open::Responder;
use crate::keys::{Nonces, agree, derive_ike};
use crate::ledger::Transaction;
use crate::output::{Change, CloseReason, Event, Output};
use crate::proposals::KeyExchangeUse;
use crate::protect::{IvSequence, OpenFailure, Protection};
use crate::sa::{Datagram, Description, IkeSa};
use crate::snapshot;
use crate::tables::Tables;
use crate::window::Window;
use core::time::Duration;
use vipsec_esp::ChildSa;
use vipsec_wire::ParseError;
use vipsec_wire::id::{EspSpi, IkeSaId};
use vipsec_wire::ike::{
    Delete, ExchangeType, Header, Identification, Identity, Message, Notify, NotifyType, Payload,
    Side,
};
use vipsec_wire::record::v1::{
    ChildLink, ChildPhase, Extensions, HalfOpenResponder, IkeAddresses, IkeKeys, MobikeRole, Told,
};
use vipsec_wire::time::Timestamp;

/// The message ID of the IKE_AUTH: it follows the IKE_SA_INIT and the IKE_INTERMEDIATE exchanges.
fn message_id(state: &HalfOpenResponder) -> u32 {
    1 + ike_intermediate::done(state) + ike_auth_eap::rounds(state)
}

/// A key that nobody has, for peers that there is no key for: their AUTH is computed all the same.
const NOBODYS_KEY: &[u8] = b"no connection fits this peer";

/// Handles an IKE_AUTH request for the half-open IKE SA `id`. Gives the new SA and what to write;
/// what becomes of the SAs that it replaces goes into `ended`.
pub(crate) fn respond(
    cx: &mut Context<'_>,
    id: IkeSaId,
    datagram: &mut Datagram,
    message: &Message,
    ended: &mut Transaction,
) -> Option<(Box<IkeSa>, Transaction)> {
    let Tables { half_open, reassembly, .. } = &mut *cx.tables;
    let half = half_open.responder(id)?;
    if let Some((request, answer)) = &half.failed {
        let repeated = *request == datagram.message;
        let answer = answer.clone();
        match repeated {
            true => cx.transmit_all(datagram.local, datagram.remote, answer),
            false => cx.drop(Drop::UnexpectedExchange),
        }
        return None;
    }
    let last = half.state.eap.as_ref().filter(|eap| eap.request == datagram.message);
    if let Some(answer) = last.map(|eap| eap.response.clone()) {
        cx.transmit_all(datagram.local, datagram.remote, answer);
        return None;
    }
    let opened = match open(half, reassembly, cx.now, datagram, message) {
        Ok(None) => return None,
        Ok(Some(payloads)) => Ok(payloads),
        Err(OpenFailure::Content(error)) => Err(refusal(error)),
        Err(OpenFailure::Unauthentic) => {
            cx.drop(Drop::Unauthentic);
            return None;
        }
    };
    let half = cx.tables.half_open.remove_responder(id)?;
    let failed = match opened {
        Ok(payloads) if ike_auth_eap::goes_on(&half, &payloads) => {
            match ike_auth_eap::advance(cx, &half, datagram, &payloads) {
                Ok(progress) => {
                    ike_auth_eap::go_on(cx, half, datagram, progress);
                    return None;
                }
                Err(error) => error,
            }
        }
        Ok(payloads) => {
            let contents = ike_auth_eap::whole(&half, Contents::sort(payloads));
            match establish(cx, &half, datagram, &contents, ended) {
                Ok(done) => return Some(done),
                Err(error) => error,
            }
        }
        Err(error) => error,
    };
    fail(cx, half, datagram, ExchangeType::IkeAuth, failed);
    None
}

/// The keys, derived when the first IKE_AUTH comes; then the payloads, if all fragments are there.
fn open(
    half: &mut Responder,
    reassembly: &mut Reassembly,
    now: Timestamp,
    datagram: &mut Datagram,
    message: &Message,
) -> Result<Option<Vec<Payload>>, OpenFailure> {
    let complete = ike_intermediate::next_method(&half.state).is_none();
    if message.header.message_id != message_id(&half.state) || !complete {
        return Err(OpenFailure::Unauthentic);
    }
    let (id, fragmentation) = (half.state.id, half.state.fragmentation);
    //= RFC 7296 section 2.21.2 #1: what is malformed, or critical and unknown, is refused whole
    let protection = half.derive().ok_or(OpenFailure::Unauthentic)?;
    let fragments = fragmentation.then_some(reassembly);
    let opened = fragmentation::open(protection, fragments, now, id, datagram, message)?;
    opened.map(Opened::payloads).transpose()
}

impl Responder {
    /// The keys that protect the next request.
    pub(crate) fn derive(&mut self) -> Option<&Protection> {
        if self.keys.is_none() {
            self.keys = derive(&self.state);
        }
        self.keys.as_ref().map(|(protection, _)| protection)
    }
}

fn derive(state: &HalfOpenResponder) -> Option<(Protection, IkeKeys)> {
    let known = state.eap.as_ref().map(|eap| &eap.keys);
    let known = known.or(state.intermediate.as_ref().map(|intermediate| &intermediate.keys));
    let keys = match known {
        Some(keys) => keys.clone(),
        None => {
            let shared = agree(&state.private, &state.peer_public).ok()?;
            derive_ike(&state.algorithms, &shared, nonces(state), state.spis).ok()?
        }
    };
    let protection = Protection::new(&state.algorithms, &keys, false).ok()?;
    Some((protection, keys))
}

pub(crate) fn nonces(state: &HalfOpenResponder) -> Nonces<'_> {
    Nonces { initiator: &state.initiator_nonce, responder: &state.responder_nonce }
}

/// The error that answers content that cannot be read.
//= RFC 7296 section 2.21.2 #2: by UNSUPPORTED_CRITICAL_PAYLOAD or INVALID_SYNTAX alone
//= RFC 7296 section 2.5 #10: the response names the critical payload that is unknown
//= RFC 7296 section 3.10.1 #4: INVALID_SYNTAX where there is no other type
pub(crate) fn refusal(error: ParseError) -> Notify {
    match error {
        ParseError::Critical(kind) => {
            Notify::new(NotifyType::UNSUPPORTED_CRITICAL_PAYLOAD, vec![kind])
        }
        _ => Notify::new(NotifyType::INVALID_SYNTAX, Vec::new()),
    }
}

/// Answers with an error; the half-open SA stays only to repeat it.
pub(crate) fn fail(
    cx: &mut Context<'_>,
    half: Responder,
    datagram: &Datagram,
    exchange: ExchangeType,
    error: Notify,
) {
    let id = half.state.id;
    let header = header(&half.state, exchange);
    let reason = match error.kind {
        NotifyType::AUTHENTICATION_FAILED => CloseReason::AuthenticationFailed,
        _ => CloseReason::ProtocolViolation("request before authentication"),
    };
    let mut iv = IvSequence::new(cx.epoch, half.state.born);
    let sealed = half.keys.as_ref().and_then(|(protection, _)| {
        let mut payloads = vec![Payload::Notify(error)];
        payloads.extend(ike_auth_eap::failure(&half.state));
        protection.seal(&header, &payloads, None, &mut iv, cx.rng).ok()
    });
    cx.tables.half_open.crowd.failed(cx.now, datagram.remote.ip());
    cx.tables.half_open.insert_responder(half.state);
    if let (Some(answer), Some(kept)) = (sealed, cx.tables.half_open.responder(id)) {
        kept.failed = Some((datagram.message.clone(), answer.clone()));
        cx.transmit_all(datagram.local, datagram.remote, answer);
    }
    cx.event(Event::Failed { id, remote: datagram.remote, reason });
}

/// The header of the answer to the next request.
pub(crate) fn header(state: &HalfOpenResponder, exchange: ExchangeType) -> Header {
    Header {
        spis: state.spis,
        exchange,
        from_initiator: false,
        response: true,
        higher_version: false,
        message_id: message_id(state),
    }
}

/// A peer that has proven who it is.
pub(crate) struct Authenticated<'a> {
    pub(crate) connection: &'a Connection,
    pub(crate) local: Identity,
    pub(crate) remote: Identity,
    /// The keys of the IKE SA, with the PPK if one is used.
    pub(crate) keys: IkeKeys,
    pub(crate) ppk: bool,
}

//= RFC 7296 section 1.2 #2: AUTH is right
//= RFC 7296 section 1.2 #3: and of the key of the identity that is claimed
fn authenticate<'a>(
    cx: &Context<'a>,
    half: &HalfOpenResponder,
    keys: &IkeKeys,
    datagram: &Datagram,
    contents: &Contents,
) -> Result<Authenticated<'a>, Notify> {
    let failed = || Notify::new(NotifyType::AUTHENTICATION_FAILED, Vec::new());
    let missing = || Notify::new(NotifyType::INVALID_SYNTAX, Vec::new());
    let remote = contents.initiator_identity.as_ref().ok_or_else(missing)?;
    let auth = contents.auth.as_ref().ok_or_else(failed)?;
    let wanted = contents.responder_identity.as_ref();
    let address = datagram.remote.ip();
    let algorithms = &half.algorithms;
    let connection =
        choose_connection(cx.config, address, remote, wanted, algorithms, Some(auth.method));
    let intermediate = ike_intermediate::proof(half);
    let octets = SignedOctets {
        message: &half.request,
        nonce: &half.responder_nonce,
        identity: remote,
        initiator: true,
        intermediate: &intermediate,
    };
    let agreed = Agreed { algorithms, keys };
    let Some(connection) = connection else {
        let _ = psk::verify_shared_key(algorithms, keys, NOBODYS_KEY, octets, auth);
        return Err(failed());
    };
    let init = (half.request.as_slice(), half.response.as_slice());
    let ppk::Asked { keys, auth, used } =
        ppk::asked(connection, agreed, init, contents).ok_or_else(failed)?;
    let agreed = Agreed { algorithms, keys: &keys };
    if !verify(connection, cx.now, agreed, octets, &auth, &contents.certificates) {
        return Err(failed());
    }
    let (local, remote) = (local_identity(cx.config, connection), remote.clone());
    Ok(Authenticated { connection, local, remote, keys, ppk: used })
}

/// Who the peer is, and what proves to it who we are.
fn identify<'a>(
    cx: &Context<'a>,
    half: &HalfOpenResponder,
    keys: &IkeKeys,
    datagram: &Datagram,
    contents: &Contents,
) -> Result<(Authenticated<'a>, Vec<Payload>), Notify> {
    if let Some(eap) = &half.eap {
        return ike_auth_eap::finish(cx, half, eap, contents);
    }
    let peer = authenticate(cx, half, keys, datagram, contents)?;
    let unverifiable = || Notify::new(NotifyType::AUTHENTICATION_FAILED, Vec::new());
    let proof = prove(half, &peer).ok_or_else(unverifiable)?;
    Ok((peer, proof))
}

fn establish(
    cx: &mut Context<'_>,
    half: &Responder,
    datagram: &Datagram,
    contents: &Contents,
    ended: &mut Transaction,
) -> Result<(Box<IkeSa>, Transaction), Notify> {
    let internal = || Notify::new(NotifyType::INVALID_SYNTAX, Vec::new());
    let (_, keys) = half.keys.as_ref().ok_or_else(internal)?;
    let (peer, proof) = identify(cx, &half.state, keys, datagram, contents)?;
    if mobike::passed_nat(contents, datagram) {
        return Err(Notify::new(NotifyType::UNEXPECTED_NAT_DETECTED, Vec::new()));
    }
    let initial_contact = contents.has(NotifyType::INITIAL_CONTACT);
    if !initial_contact && is_duplicate(cx, &peer) {
        return Err(Notify::new(NotifyType::AUTHENTICATION_FAILED, Vec::new()));
    }
    let mut tx = Transaction::for_new_sa();
    replace_others(cx, &peer, initial_contact, ended);
    let asked = contents.configuration.as_ref();
    //= RFC 7296 section 4 #7: a request for addresses is read in the IKE_AUTH request
    let granted = configuration::grant(cx, peer.connection, &peer.remote, asked);
    let childless = contents.security_association.is_none();
    let (granted, refused) = match granted {
        Ok(granted) => (granted, None),
        Err(_) if childless => (Granted::default(), None),
        Err(error) => (Granted::default(), Some(error)),
    };
    let mut about = describe(cx, &half.state, &peer, &granted);
    about.extensions.mobike = mobike::agreed(peer.connection, contents, MobikeRole::Responder);
    synchronise::agree(peer.connection, contents, &mut about.extensions);
    let synchronises = about.extensions.message_id_sync;
    let mut addresses = half.state.addresses;
    (addresses.local, addresses.remote) = (datagram.local, datagram.remote);
    let sa = IkeSa::new(about, Window::new(0, message_id(&half.state) + 1), addresses);
    let mut sa = Box::new(sa.map_err(|_| internal())?);
    sa.window.note_grant(contents);
    mobike::note_addresses(&mut sa, contents);
    tx.create(&sa);
    let mut payloads = proof;
    payloads.extend(peer.ppk.then(ppk::used));
    //= RFC 7296 section 2.19 #2: CP before SA
    payloads.extend(granted.reply.clone().map(Payload::Configuration));
    payloads.extend(mobike::offer(peer.connection, Some(contents)));
    if synchronises {
        payloads.extend(synchronise::offer(peer.connection));
    }
    //= RFC 7296 section 4 #3: the fourth message, with the first Child SA
    payloads.extend(match refused {
        Some(error) => vec![notify(error)],
        None => first_child(cx, &mut sa, &half.state, peer.connection, contents, &mut tx),
    });
    let header = header(&half.state, ExchangeType::IkeAuth);
    let response = sa.seal(&header, &payloads, cx.sealing(), cx.rng).map_err(|_| internal())?;
    sa.window.answered(header.message_id, response.clone());
    for lease in granted.leases {
        let before = cx.tables.leases.get(lease.address).cloned();
        tx.lease(lease.clone(), before);
        cx.tables.leases.put(lease);
    }
    let constant = snapshot::constant(cx.config.vip, &sa.about);
    tx.changes.push(Change::IkeConstant(Box::new(constant)));
    tx.events.insert(0, established_event(&sa));
    tx.effects.extend(Output::transmits(datagram.local, datagram.remote, response));
    Ok((sa, tx))
}

/// What is said when an IKE SA comes up.
pub(crate) fn established_event(sa: &IkeSa) -> Event {
    Event::Established {
        id: sa.id(),
        connection: sa.about.connection.clone(),
        remote_identity: sa.about.remote_identity.clone(),
        remote: sa.addresses.remote,
        initiator: sa.about.initiator,
    }
}

/// IDr, certificates and AUTH; `None` when the peer could not verify what we have.
pub(crate) fn prove(half: &HalfOpenResponder, peer: &Authenticated<'_>) -> Option<Vec<Payload>> {
    let intermediate = ike_intermediate::proof(half);
    let octets = SignedOctets {
        message: &half.response,
        nonce: &half.initiator_nonce,
        identity: &peer.local,
        initiator: false,
        intermediate: &intermediate,
    };
    let agreed = Agreed { algorithms: &half.algorithms, keys: &peer.keys };
    let (connection, remote) = (peer.connection, Some(&peer.remote));
    let proof = crate::auth::prove(connection, remote, agreed, octets, &half.request)?;
    let identity = Identification { side: Side::Responder, identity: peer.local.clone() };
    Some([vec![Payload::Identification(identity)], proof].concat())
}

/// When an IKE SA made now is to be rekeyed, and when it must be gone.
pub(crate) fn draw_lifetime(
    cx: &mut Context<'_>,
    connection: Option<&Connection>,
) -> (Timestamp, Timestamp) {
    let lifetime = connection.map(|connection| connection.lifetime).unwrap_or_default();
    if lifetime.rekey_s == 0 {
        return (Timestamp(u64::MAX), Timestamp(u64::MAX));
    }
    let seconds = |s: u32| Duration::from_secs(u64::from(s));
    let jitter = cx.jitter_span(seconds(lifetime.jitter_s.min(lifetime.rekey_s)));
    let rekey = seconds(lifetime.rekey_s).saturating_sub(jitter);
    let hard = seconds(lifetime.rekey_s.saturating_add(lifetime.over_s));
    (cx.now + rekey, cx.now + hard)
}

fn describe(
    cx: &mut Context<'_>,
    half: &HalfOpenResponder,
    peer: &Authenticated<'_>,
    granted: &Granted,
) -> Description {
    let (rekey_at, expires_at) = draw_lifetime(cx, Some(peer.connection));
    Description {
        id: half.id,
        family: half.id,
        spis: half.spis,
        initiator: false,
        connection: peer.connection.name.clone(),
        local_identity: peer.local.clone(),
        remote_identity: peer.remote.clone(),
        algorithms: half.algorithms,
        keys: peer.keys.clone(),
        born: half.born,
        created: cx.now,
        authenticated: cx.now,
        rekey_at,
        expires_at,
        assigned: granted.addresses(),
        obtained: Vec::new(),
        extensions: Extensions { fragmentation: half.fragmentation, ..Extensions::default() },
        told: Told::default(),
    }
}

/// Whether the peer already has the one IKE SA that it may have.
fn is_duplicate(cx: &Context<'_>, peer: &Authenticated<'_>) -> bool {
    let others = || cx.tables.between(&peer.local, &peer.remote);
    let in_use = |id: IkeSaId| cx.tables.get(id).is_some_and(IkeSa::is_established);
    peer.connection.duplicates == Duplicates::Reject && others().into_iter().any(in_use)
}

/// Older IKE SAs between the same identities end (RFC 7296 section 2.4). A peer that has not said
/// that it knows of none may still have them, so it is told, once and without waiting for its
/// answer. They may be in the store where the new one may do without, so that they have a write of
/// their own.
fn replace_others(
    cx: &mut Context<'_>,
    peer: &Authenticated<'_>,
    initial_contact: bool,
    tx: &mut Transaction,
) {
    if peer.connection.duplicates == Duplicates::Keep {
        return;
    }
    for id in cx.tables.between(&peer.local, &peer.remote) {
        let Some(mut old) = cx.tables.take(id) else {
            continue;
        };
        // It ends later if its present state is on its way to the store, or its end is refused.
        old.live.wanted.close = Some(CloseReason::Replaced);
        if old.live.pending.is_some() {
            cx.tables.insert(old);
            continue;
        }
        if !initial_contact {
            let id = old.window.next_request;
            let header = old.header(ExchangeType::Informational, id, false);
            let delete = [Payload::Delete(Delete::Ike)];
            if let Ok(datagrams) = old.seal(&header, &delete, cx.sealing(), cx.rng) {
                let IkeAddresses { local, remote, .. } = old.addresses;
                tx.effects.extend(Output::transmits(local, remote, datagrams));
            }
        }
        cx.end_sa(old, CloseReason::Replaced, tx);
    }
}

/// The first Child SA, or the error that stands in its place while the IKE SA goes on (RFC 7296
/// section 1.2).
fn first_child(
    cx: &mut Context<'_>,
    sa: &mut IkeSa,
    half: &HalfOpenResponder,
    connection: &Connection,
    contents: &Contents,
    tx: &mut Transaction,
) -> Vec<Payload> {
    if contents.security_association.is_none() {
        return Vec::new();
    }
    let behind = Behind::of(sa);
    let never = KeyExchangeUse::Never;
    let made = child::choose(cx, connection, &behind, contents, never, None).and_then(|chosen| {
        let (first, rest) = chosen.payloads();
        let ingredients =
            Ingredients { nonces: nonces(half), secrets: &[], initiator: false, born: half.born };
        let made = child::make(cx, sa, chosen.agreed, ingredients);
        let made = made.map_err(|_| NotifyType::NO_PROPOSAL_CHOSEN)?;
        Ok((made, [vec![first], rest].concat()))
    });
    match made {
        Ok((made, payloads)) => {
            add_child(cx, sa, made, ChildPhase::Active, true, None, tx);
            payloads
        }
        Err(error) => {
            tx.events.push(Event::ChildFailed { ike: sa.id(), child: None, error });
            vec![notify(error)]
        }
    }
}

/// Adds a Child SA that was made to its IKE SA, and says so.
pub(crate) fn add_child(
    cx: &mut Context<'_>,
    sa: &mut IkeSa,
    made: ChildSa,
    phase: ChildPhase,
    outbound: bool,
    replaces: Option<EspSpi>,
    tx: &mut Transaction,
) {
    let spi = made.inbound.spi;
    tx.events.push(match replaces {
        Some(old) => Event::ChildRekeyed { ike: sa.id(), child: made.child.clone(), old, new: spi },
        None => Event::ChildUp {
            ike: sa.id(),
            child: made.child.clone(),
            spi_in: spi,
            spi_out: made.outbound.spi,
        },
    });
    link_child(cx, sa, made, phase, outbound, replaces, tx);
}

/// Adds a Child SA that was made to its IKE SA.
pub(crate) fn link_child(
    cx: &mut Context<'_>,
    sa: &mut IkeSa,
    made: ChildSa,
    phase: ChildPhase,
    outbound: bool,
    replaces: Option<EspSpi>,
    tx: &mut Transaction,
) {
    sa.children.push(ChildLink { spi: made.inbound.spi, phase, outbound });
    tx.create_child(&made, outbound, replaces);
    let parent = Some(sa.id());
    cx.tables.insert_child(Child { sa: made, parent });
}
