//! IKE_AUTH as initiator (RFC 7296 sections 1.2, 2.15, 2.19 and 2.21.2).

use crate::auth::{
    Agreed, SignedOctets, asked_identity, id_fits, local_identity, ppk, signature, verify,
};
use crate::config::{AddressRequest, Connection, Duplicates};
use crate::context::Context;
use crate::error::Drop;
use crate::exchange::child::{self, Behind, Ingredients, Sides};
use crate::exchange::configuration;
use crate::exchange::contents::{Contents, notify};
use crate::exchange::create_child_sa::disown;
use crate::exchange::ike_auth::{add_child, draw_lifetime, established_event};
use crate::exchange::ike_intermediate;
use crate::exchange::ike_sa_init_initiator::AgreedKeys;
use crate::exchange::{mobike, synchronise};
use crate::fragmentation::{self, Opened};
use crate::half_open::Initiator;
use crate::keys::Nonces;
use crate::ledger::Transaction;
use crate::output::{Change, CloseReason, Event, Output};
use crate::proposals::KeyExchangeUse;
use crate::protect::{IvSequence, OpenFailure};
use crate::sa::{Datagram, Description, IkeSa, may_move};
use crate::selectors::Dynamic;
use crate::snapshot;
use crate::tables::Tables;
use crate::window::Window;
use core::net::IpAddr;
use vipsec_wire::id::IkeSaId;
use vipsec_wire::ike::{
    Delete, ExchangeType, Group, Header, Identification, Identity, IkeSpis, Message, NotifyType,
    Payload, Side,
};
use vipsec_wire::record::v1::{
    ChildPhase, Extensions, HalfOpenAuth, HalfOpenInitiator, HalfOpenStep, IkeKeys, MobikeRole,
};
use vipsec_wire::time::Timestamp;

/// The message ID of the request that an answer is awaited to.
pub(crate) fn message_id(auth: &HalfOpenAuth) -> u32 {
    1 + auth.intermediates
}

/// Makes the request; `None` if there is no key for the peer or no IV.
pub(crate) fn begin(
    cx: &mut Context<'_>,
    half: &mut Initiator,
    connection: &Connection,
    agreed: AgreedKeys,
) -> Option<()> {
    let state = &half.state;
    let local = local_identity(cx.config, connection);
    let message_id = 1 + agreed.intermediates;
    let octets = SignedOctets {
        message: &state.request,
        nonce: &agreed.responder_nonce,
        identity: &local,
        initiator: true,
        intermediate: &ike_intermediate::int_auth(&agreed.proof, message_id),
    };
    let keyed = Agreed { algorithms: &agreed.algorithms, keys: &agreed.keys };
    let proof = ppk::request(connection, keyed, octets, &agreed.response)?;
    let id = |side, identity| Payload::Identification(Identification { side, identity });
    let mut payloads = vec![id(Side::Initiator, local.clone())];
    payloads.extend(signature::request([connection]));
    payloads.extend(asked_identity(connection).map(|remote| id(Side::Responder, remote)));
    payloads.extend(proof);
    //= RFC 7296 section 2.19 #1: addresses are asked for in the IKE_AUTH exchange
    //= RFC 7296 section 2.19 #2: CP before SA
    //= RFC 7296 section 4 #6: in its first request
    payloads.extend(configuration::request(connection).map(Payload::Configuration));
    let config = connection.child(state.children.first()?)?;
    let spi = cx.tables.draw_esp_spi(cx.rng);
    cx.tables.reserve(spi, state.id);
    let never = KeyExchangeUse::Never;
    let behind = Behind::new(&state.addresses, &[], &[]);
    let sides = sides_before_assignment(connection, &behind);
    let offer = child::offer(config, sides, spi, never, Group::None);
    let (first, rest) = child::offer_payloads(&offer);
    payloads.push(first);
    payloads.extend(rest);
    //= RFC 7296 section 2.4 #1: not where several share the identity
    //= RFC 7296 section 2.4 #2: in the first IKE_AUTH request alone
    if connection.duplicates != Duplicates::Keep && !is_known(cx, connection, &local, state) {
        payloads.push(notify(NotifyType::INITIAL_CONTACT));
    }
    payloads.extend(mobike::offer(connection, None));
    payloads.extend(synchronise::offer(connection));
    let (local, remote) = (state.addresses.local, state.addresses.remote);
    payloads.extend(mobike::no_nats(connection, local, remote));
    let mut iv = IvSequence::new(cx.epoch, state.born);
    let header = header(agreed.spis, ExchangeType::IkeAuth, message_id);
    let limit = cx.sealing().limit(&state.addresses, agreed.fragmentation);
    let sealed = agreed.protection.seal(&header, &payloads, limit, &mut iv, cx.rng);
    let datagrams = sealed.ok()?;
    half.iv = Some(iv);
    half.await_answer(agreed, datagrams, HalfOpenStep::Auth(offer));
    Some(())
}

impl Initiator {
    /// A request is made and waits for its answer.
    pub(crate) fn await_answer(
        &mut self,
        agreed: AgreedKeys,
        datagrams: Vec<Vec<u8>>,
        step: HalfOpenStep,
    ) {
        self.protection = Some(agreed.protection);
        self.state.auth = Some(HalfOpenAuth {
            spis: agreed.spis,
            algorithms: agreed.algorithms,
            keys: agreed.keys,
            responder_nonce: agreed.responder_nonce,
            response: agreed.response,
            intermediates: agreed.intermediates,
            proof: agreed.proof,
            fragmentation: agreed.fragmentation,
            datagrams,
            step,
        });
    }
}

/// Whether there is an IKE SA with the peer, whatever its connection, so that the new one is not
/// the only one between the identities (RFC 7296 section 2.4).
fn is_known(
    cx: &Context<'_>,
    connection: &Connection,
    local: &Identity,
    state: &HalfOpenInitiator,
) -> bool {
    if let Some(remote) = &connection.remote_id {
        return !cx.tables.between(local, remote).is_empty();
    }
    let address = state.addresses.remote.ip();
    let mut ours = cx.tables.sas().filter(|sa| sa.about.local_identity == *local);
    ours.any(|sa| sa.about.connection == connection.name || sa.addresses.remote.ip() == address)
}

fn sides_before_assignment<'a>(connection: &Connection, behind: &'a Behind) -> Sides<'a> {
    let requests = &connection.request_addresses;
    let family = |request: &AddressRequest| match request {
        AddressRequest::Ipv4 | AddressRequest::This(IpAddr::V4(_)) => true,
        AddressRequest::Ipv6 | AddressRequest::This(IpAddr::V6(_)) => false,
    };
    let mut sides = behind.sides();
    if !requests.is_empty() {
        sides.local = Dynamic::Anything {
            ipv4: requests.iter().any(family),
            ipv6: !requests.iter().all(family),
        };
    }
    sides
}

pub(crate) fn header(spis: IkeSpis, exchange: ExchangeType, message_id: u32) -> Header {
    Header {
        spis,
        exchange,
        from_initiator: true,
        response: false,
        higher_version: false,
        message_id,
    }
}

/// Handles a response. Gives the new SA and what to write.
pub(crate) fn complete(
    cx: &mut Context<'_>,
    id: IkeSaId,
    datagram: &mut Datagram,
    message: &Message,
) -> Option<(Box<IkeSa>, Transaction)> {
    let opened = match open(cx, id, datagram, message) {
        Ok(None) => return None,
        Ok(Some(payloads)) => Ok(Contents::sort(payloads)),
        Err(OpenFailure::Content(_)) => Err(CloseReason::ProtocolViolation("IKE_AUTH response")),
        Err(OpenFailure::Unauthentic) => {
            cx.drop(Drop::Unauthentic);
            return None;
        }
    };
    let mut half = cx.tables.half_open.remove_initiator(id)?;
    match opened.and_then(|contents| establish(cx, &mut half, datagram, &contents)) {
        Ok(done) => Some(done),
        Err(reason) => {
            fail(cx, &mut half, reason);
            None
        }
    }
}

fn open(
    cx: &mut Context<'_>,
    id: IkeSaId,
    datagram: &mut Datagram,
    message: &Message,
) -> Result<Option<Vec<Payload>>, OpenFailure> {
    let Tables { half_open, reassembly, .. } = &mut *cx.tables;
    let half = half_open.initiator(id).ok_or(OpenFailure::Unauthentic)?;
    let auth = half.state.auth.as_ref().ok_or(OpenFailure::Unauthentic)?;
    let Header { message_id: number, spis, .. } = message.header;
    if auth.offer().is_none() || number != message_id(auth) || spis != auth.spis {
        return Err(OpenFailure::Unauthentic);
    }
    let protection = half.protection.as_ref().ok_or(OpenFailure::Unauthentic)?;
    let fragments = auth.fragmentation.then_some(reassembly);
    let opened = fragmentation::open(protection, fragments, cx.now, id, datagram, message)?;
    opened.map(Opened::payloads).transpose()
}

/// The peer has not proven who it is, or has answered with what is of no use, and may have an IKE SA
/// now: it is told, once (RFC 7296 section 2.21.2).
pub(crate) fn fail(cx: &mut Context<'_>, half: &mut Initiator, reason: CloseReason) {
    let (id, remote) = (half.state.id, half.state.addresses.remote);
    cx.outbox.outputs.push_back(Output::DropHalfOpen { id });
    let words = match reason {
        CloseReason::AuthenticationFailed => Some(notify(NotifyType::AUTHENTICATION_FAILED)),
        CloseReason::ProtocolViolation(_) => Some(Payload::Delete(Delete::Ike)),
        CloseReason::PeerRefused(kind) if !kind.is_known_error() => {
            Some(Payload::Delete(Delete::Ike))
        }
        _ => None,
    };
    if let (Some(words), Some(auth), Some(protection)) = (words, &half.state.auth, &half.protection)
    {
        let header = header(auth.spis, ExchangeType::Informational, message_id(auth) + 1);
        let mut iv = half.iv.unwrap_or(IvSequence::new(cx.epoch, half.state.born));
        if let Ok(datagrams) = protection.seal(&header, &[words], None, &mut iv, cx.rng) {
            cx.transmit_to(&half.state.addresses, datagrams);
        }
    }
    cx.event(Event::Failed { id, remote, reason });
}

fn establish(
    cx: &mut Context<'_>,
    half: &mut Initiator,
    datagram: &Datagram,
    contents: &Contents,
) -> Result<(Box<IkeSa>, Transaction), CloseReason> {
    let broken = || CloseReason::ProtocolViolation("IKE_AUTH response");
    let state = &half.state;
    let auth = state.auth.as_ref().ok_or_else(broken)?;
    let connection = cx.connection(&state.connection).ok_or_else(broken)?;
    let authenticated = authenticate(cx.now, connection, state, auth, contents)?;
    let about = describe(cx, state, auth, connection, authenticated, contents);
    let mut addresses = state.addresses;
    // Without a NAT in front of it the peer is where our request has found it.
    if may_move(&addresses) {
        addresses.remote = datagram.remote;
    }
    let sa = IkeSa::new(about, Window::new(message_id(auth) + 1, 0), addresses);
    let mut sa = Box::new(sa.map_err(|_| broken())?);
    sa.continue_iv(half.iv);
    sa.window.note_grant(contents);
    mobike::note_addresses(&mut sa, contents);
    let mut tx = Transaction::for_new_sa();
    tx.create(&sa);
    let constant = snapshot::constant(cx.config.vip, &sa.about);
    tx.changes.push(Change::IkeConstant(Box::new(constant)));
    tx.events.push(established_event(&sa));
    first_child(cx, &mut sa, state, auth, contents, &mut tx);
    Ok((sa, tx))
}

//= RFC 7296 section 1.2 #2: AUTH is right
//= RFC 7296 section 1.2 #3: and of the key of the identity that is claimed
//= RFC 7296 section 2.21.2 #3: an error beside a good AUTH says nothing about the IKE SA
fn authenticate(
    now: Timestamp,
    connection: &Connection,
    state: &HalfOpenInitiator,
    auth: &HalfOpenAuth,
    contents: &Contents,
) -> Result<(Identity, IkeKeys), CloseReason> {
    //= RFC 7296 section 3.10.1 #1: an unknown error means that nothing has come of the request
    let mut errors = contents.notifies.iter().filter(|notify| notify.kind.is_error());
    if let Some(unknown) = errors.find(|error| !error.kind.is_known_error()) {
        return Err(CloseReason::PeerRefused(unknown.kind));
    }
    let Some(proof) = &contents.auth else {
        let error = contents.error().map(|error| error.kind);
        let missing = CloseReason::ProtocolViolation("IKE_AUTH response without AUTH");
        return Err(error.map_or(missing, CloseReason::PeerRefused));
    };
    let failed = CloseReason::AuthenticationFailed;
    let remote = contents.responder_identity.as_ref().ok_or(failed.clone())?;
    let octets = SignedOctets {
        message: &auth.response,
        nonce: &state.nonce,
        identity: remote,
        initiator: false,
        intermediate: &ike_intermediate::int_auth(&auth.proof, message_id(auth)),
    };
    let wanted = connection.remote_id.as_ref().is_none_or(|wanted| id_fits(wanted, remote));
    let agreed = Agreed { algorithms: &auth.algorithms, keys: &auth.keys };
    let keys = ppk::after_response(connection, agreed, contents).ok_or(failed.clone())?;
    let agreed = Agreed { keys: &keys, ..agreed };
    let proven = verify(connection, now, agreed, octets, proof, &contents.certificates);
    if wanted && proven { Ok((remote.clone(), keys)) } else { Err(failed) }
}

fn describe(
    cx: &mut Context<'_>,
    state: &HalfOpenInitiator,
    auth: &HalfOpenAuth,
    connection: &Connection,
    (remote, keys): (Identity, IkeKeys),
    contents: &Contents,
) -> Description {
    let (rekey_at, expires_at) = draw_lifetime(cx, Some(connection));
    let mut extensions = Extensions {
        mobike: mobike::agreed(connection, contents, MobikeRole::Initiator),
        fragmentation: auth.fragmentation,
        ..Extensions::default()
    };
    synchronise::agree(connection, contents, &mut extensions);
    Description {
        id: state.id,
        family: state.id,
        spis: auth.spis,
        initiator: true,
        connection: connection.name.clone(),
        local_identity: local_identity(cx.config, connection),
        remote_identity: remote,
        algorithms: auth.algorithms,
        keys,
        born: state.born,
        created: cx.now,
        authenticated: cx.now,
        rekey_at,
        expires_at,
        assigned: Vec::new(),
        obtained: configuration::obtained(contents.configuration.as_ref()),
        extensions,
        told: configuration::told(contents.configuration.as_ref()),
    }
}

fn first_child(
    cx: &mut Context<'_>,
    sa: &mut IkeSa,
    state: &HalfOpenInitiator,
    auth: &HalfOpenAuth,
    contents: &Contents,
    tx: &mut Transaction,
) {
    sa.live.wanted.create.extend(state.children.iter().skip(1).cloned());
    let refused = contents.error().map(|error| error.kind);
    let child = state.children.first().cloned();
    let failed = |error| Event::ChildFailed { ike: sa.about.id, child: child.clone(), error };
    if contents.security_association.is_none() {
        return tx.events.push(failed(refused.unwrap_or(NotifyType::NO_PROPOSAL_CHOSEN)));
    }
    let nonces = Nonces { initiator: &state.nonce, responder: &auth.responder_nonce };
    let ingredients = Ingredients { nonces, secrets: &[], initiator: true, born: state.born };
    let Some(offer) = auth.offer() else { return };
    let agreed = child::accept(offer, &Behind::of(sa), contents);
    let free = cx.tables.child(offer.spi).is_none();
    let made = agreed.filter(|_| free).and_then(|a| child::make(cx, sa, a, ingredients).ok());
    match made {
        Some(made) => add_child(cx, sa, made, ChildPhase::Active, true, None, tx),
        None => {
            tx.events.push(failed(NotifyType::NO_PROPOSAL_CHOSEN));
            disown(cx, sa, offer.spi);
        }
    }
}
