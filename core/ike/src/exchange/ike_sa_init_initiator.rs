//! IKE_SA_INIT as initiator (RFC 7296 sections 1.2, 2.6, 2.7 and 2.21.1): the request, its changed
//! repetitions for a cookie or another group, and the response.
//!
//! An error in an unauthenticated response proves nothing: it is remembered as the likely reason,
//! and the exchange ends when its next repetition would be due and nothing better has come.

use crate::auth::ppk::use_ppk;
use crate::auth::signature::hash_algorithms;
use crate::config::{Authentication, Config, Connection};
use crate::context::Context;
use crate::error::{Drop, Error};
use crate::exchange::contents::{Contents, notify};
use crate::exchange::{ike_intermediate_initiator, wanted_group};
use crate::fragmentation;
use crate::half_open::Initiator;
use crate::keys::{Nonces, agree, derive_ike, draw_nonce, draw_private};
use crate::nat::{self, ENCAPSULATION_PORT, IKE_PORT};
use crate::output::{CloseReason, Output};
use crate::proposals::{
    accept_ike, first_group, has_none, offer_ike, offers_additional, offers_group,
};
use crate::protect::Protection;
use crate::puzzle::Search;
use crate::retransmit::Retransmission;
use crate::sa::{Datagram, is_encapsulated};
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use vipsec_wire::id::IkeSaId;
use vipsec_wire::ike::{
    ExchangeType, Group, Header, IkeSpis, KeyExchange, Message, Nonce, Notify, NotifyType, Payload,
    Puzzle, PuzzleSolution, SecurityAssociation,
};
use vipsec_wire::record;
use vipsec_wire::record::v1::{
    HalfOpenInitiator, IkeAddresses, IkeAlgorithms, IkeKeys, IntermediateProof, Mirrored,
    PrivateValue,
};

/// How often a responder may have the request changed.
//= RFC 7296 section 2.4 #5: so often unprotected answers move us
const RESTARTS: u8 = 5;
/// Between two slices of work on a puzzle, for everything else.
const BREATH: Duration = Duration::from_millis(1);

/// Begins an IKE SA with `child` as its first Child SA, to the peer at `address`.
pub(crate) fn initiate(
    cx: &mut Context<'_>,
    connection: &Connection,
    child: &str,
    address: IpAddr,
) -> Result<IkeSaId, Error> {
    let offer = offer_ike(&connection.proposals, &[]);
    let group = first_group(&offer).ok_or(Error::Limit("key exchange groups"))?;
    let drawn = draw_private(group, cx.rng);
    let (private, public) = drawn.map_err(|_| Error::Limit("key exchange groups"))?;
    let id = cx.tables.draw_ike_spi(cx.rng);
    let addresses = IkeAddresses {
        local: SocketAddr::new(cx.config.vip.0, IKE_PORT),
        remote: SocketAddr::new(address, IKE_PORT),
        local_nat: false,
        remote_nat: false,
        pretended_nat: false,
    };
    let mut state = HalfOpenInitiator {
        id,
        created: cx.now,
        born: cx.epoch,
        connection: connection.name.clone(),
        children: vec![child.to_owned()],
        addresses,
        private,
        nonce: draw_nonce(cx.rng),
        request: Vec::new(),
        cookie: Vec::new(),
        solution: Vec::new(),
        restarts: 0,
        auth: None,
    };
    state.request = request(cx.config, &state, offer, public, connection);
    let half = Initiator {
        protection: None,
        iv: None,
        retransmission: Retransmission::begin(cx.now, &cx.config.retransmit),
        suspicion: None,
        puzzle: None,
        armed: None,
        state,
    };
    send(cx, &half);
    cx.tables.half_open.insert_initiator(half);
    Ok(id)
}

/// Mirrors and sends the message that a half-open SA waits for an answer to.
pub(crate) fn send(cx: &mut Context<'_>, half: &Initiator) {
    cx.outbox.outputs.push_back(mirror(half));
    cx.transmit_to(&half.state.addresses, datagrams(half));
}

/// The half-open SA as the backups have it.
pub(crate) fn mirror(half: &Initiator) -> Output {
    let record = Mirrored::Initiator(Box::new(half.state.clone()));
    Output::Mirror { id: half.state.id, state: record::encode(&record) }
}

/// The message that a half-open SA waits for an answer to, or its fragments.
pub(crate) fn datagrams(half: &Initiator) -> Vec<Vec<u8>> {
    let auth = half.state.auth.as_ref();
    auth.map_or_else(|| vec![half.state.request.clone()], |auth| auth.datagrams.clone())
}

fn request(
    config: &Config,
    state: &HalfOpenInitiator,
    offer: SecurityAssociation,
    public: Vec<u8>,
    connection: &Connection,
) -> Vec<u8> {
    //= RFC 7296 section 3.1 #4: nobody knows the responder's SPI yet
    let spis = IkeSpis { initiator: state.id.0, responder: 0 };
    let header = Header {
        spis,
        exchange: ExchangeType::IkeSaInit,
        from_initiator: true,
        response: false,
        higher_version: false,
        message_id: 0,
    };
    let mut payloads = Vec::new();
    if !state.cookie.is_empty() {
        //= RFC 7296 section 2.6 #3: the cookie first, and all else as it was
        let cookie = Notify::new(NotifyType::COOKIE, state.cookie.clone());
        payloads.push(Payload::Notify(cookie));
    }
    if !state.solution.is_empty() {
        payloads.push(Payload::PuzzleSolution(PuzzleSolution(state.solution.clone())));
    }
    let intermediate = offers_additional(&offer);
    payloads.extend([
        Payload::SecurityAssociation(offer),
        Payload::KeyExchange(KeyExchange { group: state.private.group, public }),
        Payload::Nonce(Nonce(state.nonce.clone())),
    ]);
    let IkeAddresses { local, remote, .. } = state.addresses;
    if matches!(connection.authentication, Authentication::Certificates(_)) {
        payloads.push(hash_algorithms());
    }
    payloads.extend(connection.ppk.is_some().then(use_ppk));
    if intermediate {
        payloads.push(notify(NotifyType::INTERMEDIATE_EXCHANGE_SUPPORTED));
    }
    if !connection.refuse_nat {
        //= RFC 7296 section 2.23 #8: both notifications
        payloads.extend(nat::notifies(spis, local, remote, connection.force_encapsulation));
    }
    payloads.extend(config.fragment_size.map(|_| fragmentation::notification()));
    Message::new(header, payloads).emit()
}

/// What our request has offered, and our public value.
fn sent(state: &HalfOpenInitiator) -> Option<(SecurityAssociation, Vec<u8>)> {
    let contents = Contents::sort(Message::parse(&state.request).ok()?.payloads);
    Some((contents.security_association?, contents.key_exchange?.public))
}

/// Handles a response.
pub(crate) fn complete(cx: &mut Context<'_>, id: IkeSaId, datagram: &Datagram, message: &Message) {
    let Some(half) = cx.tables.half_open.initiator(id) else {
        return cx.drop(Drop::UnknownSpi);
    };
    let expected = half.state.auth.is_none()
        && message.header.message_id == 0
        && !message.header.from_initiator
        && datagram.remote.ip() == half.state.addresses.remote.ip();
    if !expected {
        return cx.drop(Drop::UnexpectedResponse);
    }
    let contents = Contents::sort(message.payloads.clone());
    let Some(mut half) = cx.tables.half_open.remove_initiator(id) else {
        return;
    };
    match step(cx, &mut half, datagram, message, &contents) {
        Step::Again => {
            half.state.restarts += 1;
            half.retransmission = Retransmission::begin(cx.now, &cx.config.retransmit);
            half.suspicion = None;
            send(cx, &half);
        }
        Step::Solve => {
            half.state.restarts += 1;
            half.retransmission = Retransmission::inherited(cx.now);
        }
        Step::Ignored(reason) => cx.drop(reason),
        Step::Authenticate => send(cx, &half),
    }
    cx.tables.half_open.insert_initiator(half);
}

enum Step {
    /// The request is changed and goes out again.
    Again,
    /// A puzzle is to be solved before the request goes out again.
    Solve,
    /// Nothing changes.
    Ignored(Drop),
    /// The IKE_AUTH goes out.
    Authenticate,
}

fn step(
    cx: &mut Context<'_>,
    half: &mut Initiator,
    datagram: &Datagram,
    message: &Message,
    contents: &Contents,
) -> Step {
    let Some(connection) = cx.connection(&half.state.connection) else {
        return Step::Ignored(Drop::NoConnection);
    };
    //= RFC 7296 section 3.10.1 #1: an error means failure, whatever else is in the response
    if contents.security_association.is_none() || contents.error().is_some() {
        return refused(cx, half, connection, contents);
    }
    let Some(agreed) = agree_keys(cx.config, half, datagram, message, contents) else {
        return Step::Ignored(Drop::UnexpectedResponse);
    };
    let spis = message.header.spis;
    let found = match connection.refuse_nat {
        true => nat::Detected::default(),
        //= RFC 7296 section 2.23 #9: compared with the addresses
        false => nat::detect(&message.payloads, spis, datagram.local, datagram.remote),
    };
    let addresses = &mut half.state.addresses;
    (addresses.local_nat, addresses.remote_nat) = (found.local, found.remote);
    addresses.pretended_nat = connection.force_encapsulation && found.supported;
    // With MOBIKE a NAT may yet come in between (RFC 4555 section 3.3).
    //= RFC 7296 section 2.23 #3: from here on port 4500
    //= RFC 7296 section 2.23 #10: IKE and ESP alike
    if is_encapsulated(addresses) || connection.mobike && found.supported {
        addresses.local.set_port(ENCAPSULATION_PORT);
        addresses.remote.set_port(ENCAPSULATION_PORT);
    }
    half.retransmission = Retransmission::begin(cx.now, &cx.config.retransmit);
    half.suspicion = None;
    match ike_intermediate_initiator::advance(cx, half, connection, agreed) {
        Some(()) => Step::Authenticate,
        None => Step::Ignored(Drop::UnexpectedResponse),
    }
}

/// What IKE_SA_INIT, and the IKE_INTERMEDIATE exchanges so far, have led to.
pub(crate) struct AgreedKeys {
    pub(crate) spis: IkeSpis,
    pub(crate) algorithms: IkeAlgorithms,
    pub(crate) keys: IkeKeys,
    pub(crate) responder_nonce: Vec<u8>,
    pub(crate) response: Vec<u8>,
    pub(crate) intermediates: u32,
    pub(crate) proof: IntermediateProof,
    pub(crate) protection: Protection,
    pub(crate) fragmentation: bool,
}

fn agree_keys(
    config: &Config,
    half: &Initiator,
    datagram: &Datagram,
    message: &Message,
    contents: &Contents,
) -> Option<AgreedKeys> {
    let (offer, _) = sent(&half.state)?;
    let (algorithms, _) = accept_ike(&offer, contents.security_association.as_ref()?)?;
    let exchange = contents.key_exchange.as_ref()?;
    let responder_nonce = contents.nonce.clone()?;
    let spis = message.header.spis;
    if exchange.group != half.state.private.group
        || algorithms.group != exchange.group
        || spis.responder == 0
    {
        return None;
    }
    let shared = agree(&half.state.private, &exchange.public).ok()?;
    let nonces = Nonces { initiator: &half.state.nonce, responder: &responder_nonce };
    let keys = derive_ike(&algorithms, &shared, nonces, spis).ok()?;
    let protection = Protection::new(&algorithms, &keys, true).ok()?;
    // Additional key exchanges need a way to carry them (RFC 9370 section 2.2.1).
    if !has_none(&algorithms.additional)
        && !contents.has(NotifyType::INTERMEDIATE_EXCHANGE_SUPPORTED)
    {
        return None;
    }
    Some(AgreedKeys {
        spis,
        algorithms,
        keys,
        responder_nonce,
        response: datagram.message.clone(),
        intermediates: 0,
        proof: IntermediateProof::default(),
        protection,
        fragmentation: fragmentation::is_agreed(config.fragment_size, contents),
    })
}

/// A response without SA payload: a cookie, another group, or an error.
fn refused(
    cx: &mut Context<'_>,
    half: &mut Initiator,
    connection: &Connection,
    contents: &Contents,
) -> Step {
    // What is being solved is not begun anew for anybody.
    let Some((offer, mut public)) = sent(&half.state).filter(|_| half.puzzle.is_none()) else {
        return Step::Ignored(Drop::UnexpectedResponse);
    };
    let may_change = half.state.restarts < RESTARTS;
    let cookie = contents.notify(NotifyType::COOKIE);
    let group = contents.notify(NotifyType::INVALID_KE_PAYLOAD).and_then(wanted_group);
    //= RFC 7296 section 2.6 #2: 1 to 64 octets
    //= RFC 7296 section 2.6.1 #1: and again after another group
    if let Some(cookie) = cookie.filter(|c| may_change && (1..=64).contains(&c.data.len())) {
        half.state.cookie.clone_from(&cookie.data);
        half.state.solution.clear();
        half.puzzle = asked(cx, contents, &cookie.data);
        if half.puzzle.is_some() {
            return Step::Solve;
        }
    } else if let Some((private, value)) = group
        .filter(|group| may_change && *group != half.state.private.group)
        .and_then(|group| other_group(cx, &offer, group))
    {
        //= RFC 7296 section 1.2 #4: again with the group that the responder wants
        half.state.private = private;
        public = value;
    } else {
        if let Some(error) = contents.error() {
            half.suspicion = Some(CloseReason::PeerRefused(error.kind));
        }
        return Step::Ignored(Drop::UnauthenticatedError);
    }
    //= RFC 7296 section 1.2 #5: and all that was offered before
    half.state.request = request(cx.config, &half.state, offer, public, connection);
    Step::Again
}

/// The puzzle that came with a cookie (RFC 8019 section 7.1.1). One that we cannot solve, or not in
/// reasonable time, is left alone: the cookie may do.
fn asked(cx: &Context<'_>, contents: &Contents, cookie: &[u8]) -> Option<Search> {
    let puzzle = Puzzle::parse(&contents.notify(NotifyType::PUZZLE)?.data).ok()?;
    Search::new(puzzle, cookie, cx.config.limits.puzzle_bits_max)
}

/// Works on the puzzle for a while. Once it is solved, the request goes out again.
pub(crate) fn solve(cx: &mut Context<'_>, half: &mut Initiator) {
    let Some(solution) = half.puzzle.as_mut().and_then(Search::go_on) else {
        half.retransmission = Retransmission::inherited(cx.now + BREATH);
        return;
    };
    half.puzzle = None;
    half.state.solution = solution;
    let connection = cx.connection(&half.state.connection);
    if let (Some(connection), Some((offer, public))) = (connection, sent(&half.state)) {
        half.state.request = request(cx.config, &half.state, offer, public, connection);
    }
    half.retransmission = Retransmission::begin(cx.now, &cx.config.retransmit);
    half.suspicion = None;
    send(cx, half);
}

//= RFC 7296 section 3.4 #2: the group of the KE payload is one of the offer
fn other_group(
    cx: &mut Context<'_>,
    offer: &SecurityAssociation,
    group: Group,
) -> Option<(PrivateValue, Vec<u8>)> {
    offers_group(offer, group).then(|| draw_private(group, cx.rng).ok())?
}
