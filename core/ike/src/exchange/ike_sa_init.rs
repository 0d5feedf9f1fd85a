//! IKE_SA_INIT as responder (RFC 7296 sections 1.2, 2.6, 2.10 and 2.23).
//!
//! Nothing here is authenticated. What is kept is bounded: one half-open entry for a request that
//! could be answered, none for one that is refused or sent back for a cookie.

use crate::auth::{ppk, signature};
use crate::config::Connection;
use crate::context::Context;
use crate::cookie::Attempt;
use crate::error::Drop;
use crate::exchange::contents::{Contents, notify};
use crate::exchange::invalid_group;
use crate::fragmentation;
use crate::keys::{NONCE_LENGTH, crypto_group, crypto_prf, draw_nonce, draw_private};
use crate::nat;
use crate::output::{Event, Output};
use crate::proposals::{Choice, choose_ike, has_none};
use crate::puzzle;
use crate::sa::Datagram;
use core::net::IpAddr;
use vipsec_wire::ike::{
    ExchangeType, Header, IkeSpis, KeyExchange, Message, Nonce, Notify, NotifyType, Payload, Prf,
    Puzzle, SecurityAssociation, Transform,
};
use vipsec_wire::record;
use vipsec_wire::record::v1::{HalfOpenResponder, IkeAddresses, IkeAlgorithms, Mirrored};

/// The shortest nonce that a peer may send (RFC 7296 section 2.10).
const SHORTEST_NONCE: usize = 16;
/// The longest request that is kept for its IKE_AUTH.
//= RFC 7296 section 2 #1: more than 1280 octets
pub(crate) const LONGEST_REQUEST: usize = 8192;
const _: () = assert!(NONCE_LENGTH >= SHORTEST_NONCE);

/// What a request must have.
struct Asked<'a> {
    offer: &'a SecurityAssociation,
    exchange: &'a KeyExchange,
    nonce: &'a [u8],
    /// The peer can do IKE_INTERMEDIATE exchanges.
    intermediate: bool,
    /// The peer can verify digital signatures.
    signatures: bool,
    /// The peer knows post-quantum pre-shared keys.
    ppk: bool,
}

/// Answers a request.
//= RFC 7296 section 3.1 #4: the responder's SPI is zero in a first message
pub(crate) fn respond(cx: &mut Context<'_>, datagram: &Datagram, message: &Message) {
    let header = &message.header;
    let first = header.from_initiator && header.spis.responder == 0 && header.message_id == 0;
    if !first || message.encrypted.is_some() {
        return cx.drop(Drop::UnexpectedExchange);
    }
    if datagram.message.len() > LONGEST_REQUEST {
        return cx.drop(Drop::Malformed);
    }
    if let Some(known) = cx.tables.half_open.begun(datagram.remote, &datagram.message) {
        let response = known.state.response.clone();
        return cx.transmit(datagram.local, datagram.remote, response);
    }
    let contents = Contents::sort(message.payloads.clone());
    let (Some(offer), Some(exchange), Some(nonce)) =
        (&contents.security_association, &contents.key_exchange, &contents.nonce)
    else {
        return cx.drop(Drop::Malformed);
    };
    let intermediate = contents.has(NotifyType::INTERMEDIATE_EXCHANGE_SUPPORTED);
    let signatures = contents.has(NotifyType::SIGNATURE_HASH_ALGORITHMS);
    let ppk = contents.has(NotifyType::USE_PPK);
    let asked = Asked { offer, exchange, nonce, intermediate, signatures, ppk };
    if !admit(cx, datagram, header, &contents, nonce) {
        return;
    }
    match choose(cx, datagram, &asked) {
        Ok((connection, choice)) => {
            let fragmentation = fragmentation::is_agreed(cx.config.fragment_size, &contents);
            accept(cx, datagram, message, &asked, connection, &choice, fragmentation);
        }
        Err(refusal) => refuse(cx, datagram, header, vec![refusal]),
    }
}

/// Whether there is room, and a cookie and a solved puzzle where they are wanted (RFC 8019 section
/// 7.1).
fn admit(
    cx: &mut Context<'_>,
    datagram: &Datagram,
    header: &Header,
    contents: &Contents,
    nonce: &[u8],
) -> bool {
    let (limits, half_open) = (cx.config.limits, &mut cx.tables.half_open);
    //= RFC 7296 section 2.4 #5: a flood of first messages gets cookies, and then nothing
    let count = half_open.responder_count();
    let here = half_open.crowd.half_open(datagram.remote.ip());
    let wanted = count >= limits.half_open_cookie_threshold;
    if wanted != half_open.cookie_mode {
        half_open.cookie_mode = wanted;
        cx.event(Event::CookieMode(wanted));
    }
    let crowded = here >= limits.half_open_per_source;
    let busy = crowded || count >= limits.puzzle_threshold;
    let puzzle = puzzle(cx, contents).filter(|_| busy);
    let bits = puzzle.map_or(0, |puzzle| puzzle.difficulty);
    let attempt = Attempt { spi_initiator: header.spis.initiator, nonce, remote: datagram.remote };
    let sent = contents.notify(NotifyType::COOKIE);
    let known = |sent: &Notify| cx.tables.half_open.cookies.check(cx.now, attempt, &sent.data);
    //= RFC 7296 section 2.6 #4: a wrong cookie is as good as none
    let refused = match sent.and_then(|sent| Some((sent, known(sent)?))) {
        // A cookie that was given before things got worse is no longer enough.
        Some((_, 0)) if bits > 0 => None,
        Some((_, 0)) => Some(None),
        Some((sent, asked)) => Some(unsolved(contents, asked, &sent.data)),
        None if wanted || busy => None,
        None => Some(None),
    };
    let Some(unsolved) = refused else {
        ask(cx, datagram, header, attempt, puzzle);
        return false;
    };
    let failing = cx.tables.half_open.crowd.failures(cx.now, datagram.remote.ip());
    let reason = if failing >= limits.auth_failures_per_source {
        Some(Drop::SourceFailing)
    } else if count >= limits.half_open_max || cx.tables.count() >= limits.ike_sas_max {
        Some(Drop::HalfOpenFull)
    } else if here >= limits.half_open_per_source_max {
        Some(Drop::SourceFull)
    } else {
        let light = !crowded && count < limits.half_open_max / 2;
        unsolved
            .filter(|unsolved| !(light && *unsolved == Unsolved::NotTried))
            .map(|_| Drop::PuzzleWanted)
    };
    reason.map(|reason| cx.drop(reason)).is_none()
}

/// What is wrong with the answer to a puzzle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unsolved {
    /// The peer does not know puzzles.
    NotTried,
    /// It is no solution.
    Wrong,
}

fn unsolved(contents: &Contents, asked: u8, cookie: &[u8]) -> Option<Unsolved> {
    let Some(solution) = &contents.puzzle_solution else { return Some(Unsolved::NotTried) };
    let prf = puzzle_prf(contents)?;
    let solved = puzzle::is_solved(Puzzle { prf, difficulty: asked }, cookie, solution);
    (!solved).then_some(Unsolved::Wrong)
}

/// The puzzle for a peer, if puzzles are wanted and there is one that it can solve.
fn puzzle(cx: &Context<'_>, contents: &Contents) -> Option<Puzzle> {
    let difficulty = cx.config.limits.puzzle_bits;
    let prf = puzzle_prf(contents).filter(|_| difficulty > 0)?;
    Some(Puzzle { prf, difficulty })
}

/// The first PRF that the peer offers and we have.
fn puzzle_prf(contents: &Contents) -> Option<Prf> {
    let offer = contents.security_association.as_ref()?;
    let mut transforms = offer.proposals.iter().flat_map(|proposal| &proposal.transforms);
    transforms.find_map(|transform| match transform {
        Transform::Prf(prf) => crypto_prf(*prf).map(|_| *prf),
        _ => None,
    })
}

/// Answers with a cookie, and a puzzle.
fn ask(
    cx: &mut Context<'_>,
    datagram: &Datagram,
    header: &Header,
    attempt: Attempt<'_>,
    puzzle: Option<Puzzle>,
) {
    let bits = puzzle.map_or(0, |puzzle| puzzle.difficulty);
    let cookie = cx.tables.half_open.cookies.make(cx.now, attempt, bits, cx.rng);
    let notify = |kind, data| Payload::Notify(Notify::new(kind, data));
    let mut payloads = vec![notify(NotifyType::COOKIE, cookie)];
    payloads.extend(puzzle.map(|puzzle| notify(NotifyType::PUZZLE, puzzle.emit())));
    refuse(cx, datagram, header, payloads);
    cx.drop(if bits > 0 { Drop::PuzzleWanted } else { Drop::CookieWanted });
}

fn choose<'a>(
    cx: &Context<'a>,
    datagram: &Datagram,
    asked: &Asked<'_>,
) -> Result<(&'a Connection, Choice<IkeAlgorithms>), Payload> {
    let address = datagram.remote.ip();
    let connections = cx.config.connections.iter();
    let mut connections = connections.filter(|connection| connection.may_be_at(address));
    let choice = connections.find_map(|connection| {
        let Asked { offer, exchange, intermediate, .. } = asked;
        let choice = choose_ike(&connection.proposals, offer, 0, exchange.group, *intermediate)?;
        Some((connection, choice))
    });
    let (connection, choice) = choice.ok_or_else(|| notify(NotifyType::NO_PROPOSAL_CHOSEN))?;
    let group = choice.algorithms.group;
    if group != asked.exchange.group {
        //= RFC 7296 section 3.4 #4: when the public value is of another group than was chosen
        return Err(invalid_group(group));
    }
    let length = crypto_group(group).map(|group| group.public_length());
    if length != Some(asked.exchange.public.len()) {
        return Err(notify(NotifyType::INVALID_SYNTAX));
    }
    Ok((connection, choice))
}

/// Answers without keeping anything.
fn refuse(cx: &mut Context<'_>, datagram: &Datagram, request: &Header, payloads: Vec<Payload>) {
    let header = response_header(request.spis);
    let message = Message::new(header, payloads).emit();
    cx.transmit(datagram.local, datagram.remote, message);
}

fn response_header(spis: IkeSpis) -> Header {
    Header {
        spis,
        exchange: ExchangeType::IkeSaInit,
        from_initiator: false,
        response: true,
        higher_version: false,
        message_id: 0,
    }
}

fn accept(
    cx: &mut Context<'_>,
    datagram: &Datagram,
    message: &Message,
    asked: &Asked<'_>,
    connection: &Connection,
    choice: &Choice<IkeAlgorithms>,
    fragmentation: bool,
) {
    let Ok((private, public)) = draw_private(choice.algorithms.group, cx.rng) else {
        return cx.drop(Drop::Malformed);
    };
    let (local, remote) = (datagram.local, datagram.remote);
    let id = cx.tables.draw_ike_spi(cx.rng);
    let nonce = draw_nonce(cx.rng);
    let spis = IkeSpis { initiator: message.header.spis.initiator, responder: id.0 };
    let found = match connection.refuse_nat {
        true => nat::Detected::default(),
        false => nat::detect(&message.payloads, message.header.spis, local, remote),
    };
    let force = connection.force_encapsulation && found.supported;
    let exchange = KeyExchange { group: private.group, public };
    let mut payloads = vec![
        Payload::SecurityAssociation(choice.answer(&[])),
        Payload::KeyExchange(exchange),
        Payload::Nonce(Nonce(nonce.clone())),
    ];
    payloads.extend(authentication(cx, asked, remote.ip()));
    if asked.intermediate && !has_none(&choice.algorithms.additional) {
        payloads.push(notify(NotifyType::INTERMEDIATE_EXCHANGE_SUPPORTED));
    }
    if !connection.refuse_nat {
        //= RFC 7296 section 2.23 #8: both notifications
        payloads.extend(nat::notifies(spis, local, remote, force));
    }
    payloads.extend(fragmentation.then(fragmentation::notification));
    // An IKE_AUTH may do without Child SA (RFC 6023 section 3).
    payloads.push(notify(NotifyType::CHILDLESS_IKEV2_SUPPORTED));
    let response = Message::new(response_header(spis), payloads).emit();
    let addresses = IkeAddresses {
        local,
        remote,
        local_nat: found.local,
        remote_nat: found.remote,
        pretended_nat: force,
    };
    let state = HalfOpenResponder {
        id,
        spis,
        created: cx.now,
        born: cx.epoch,
        addresses,
        algorithms: choice.algorithms,
        private,
        peer_public: asked.exchange.public.clone(),
        initiator_nonce: asked.nonce.to_vec(),
        responder_nonce: nonce,
        request: datagram.message.clone(),
        response: response.clone(),
        intermediate: None,
        eap: None,
        fragmentation,
    };
    mirror(cx, state);
    //= RFC 7296 section 2.11 #2: to where it came from
    //= RFC 7296 section 2.11 #3: from where it was sent to
    //= RFC 7296 section 2.23 #2: port and all
    cx.transmit(local, remote, response);
}

/// What is said about the ways to authenticate that a peer at this address may use.
fn authentication(cx: &Context<'_>, asked: &Asked<'_>, address: IpAddr) -> Vec<Payload> {
    let connections = cx.config.connections.iter().filter(|c| c.may_be_at(address));
    let knows_ppk = connections.clone().any(|connection| connection.ppk.is_some());
    let mut payloads = Vec::new();
    payloads.extend(signature::request(connections));
    payloads.extend(asked.signatures.then(signature::hash_algorithms));
    payloads.extend((asked.ppk && knows_ppk).then(ppk::use_ppk));
    payloads
}

/// Keeps a half-open IKE SA, here and at the backups.
pub(crate) fn mirror(cx: &mut Context<'_>, state: HalfOpenResponder) {
    let id = state.id;
    let record = Mirrored::Responder(Box::new(state.clone()));
    let state_bytes = record::encode(&record);
    cx.tables.half_open.insert_responder(state);
    cx.outbox.outputs.push_back(Output::Mirror { id, state: state_bytes });
}
