//! The way of a datagram: to a half-open IKE SA, or through the keys and the window of an
//! established one to its exchange, and the way of the answer back.

use crate::context::Context;
use crate::engine::drive::send;
use crate::engine::{Engine, Ownership};
use crate::error::Drop;
use crate::exchange::contents::{Contents, notify};
use crate::exchange::{
    Fate, Reply, create_child_sa, ike_auth, ike_auth_initiator, ike_followup_ke, ike_intermediate,
    ike_intermediate_initiator, ike_sa_init, ike_sa_init_initiator, informational, mobike,
    rekey_ike, synchronise,
};
use crate::fragmentation::{MessageName, Piece, Whole};
use crate::ledger::Transaction;
use crate::output::{CloseReason, Output};
use crate::protect::OpenFailure;
use crate::sa::{Datagram, IkeSa, Sealing, endpoints, may_move};
use crate::window::Verdict;
use vipsec_crypto::Random;
use vipsec_wire::ParseError;
use vipsec_wire::id::IkeSaId;
use vipsec_wire::ike::header::RawHeader;
use vipsec_wire::ike::{ExchangeType, Header, Message, Notify, NotifyType, Payload, parse_chain};
use vipsec_wire::record;
use vipsec_wire::record::v1::{Continuation, Ended, Mirrored, StoredResponse};
use vipsec_wire::time::Timestamp;

/// What an Encrypted payload of an authentic message has held.
pub(super) type Opened = Result<Vec<Payload>, ParseError>;

impl Engine {
    pub(super) fn receive(&mut self, now: Timestamp, datagram: Datagram, rng: &mut dyn Random) {
        let Ok(raw) = RawHeader::parse(&datagram.message) else {
            return self.outbox.drops.count(Drop::Malformed);
        };
        let message = match Message::parse(&datagram.message) {
            Ok(message) => message,
            Err(error) => return self.unreadable(&datagram, &raw, error),
        };
        let header = message.header;
        match (header.exchange, header.response) {
            (ExchangeType::IkeSaInit, false) => {
                let Some(mut cx) = self.context(now, rng) else { return };
                ike_sa_init::respond(&mut cx, &datagram, &message);
            }
            (ExchangeType::IkeSaInit, true) => {
                let id = IkeSaId(header.spis.initiator);
                let Some(mut cx) = self.context(now, rng) else { return };
                ike_sa_init_initiator::complete(&mut cx, id, &datagram, &message);
                self.arm_half_open(id);
            }
            _ => self.receive_protected(now, datagram, &message, rng),
        }
    }

    /// A message that cannot be read: answered only where RFC 7296 section 2.21 asks for it, and
    /// never with more bytes than a header and a notification.
    fn unreadable(&mut self, datagram: &Datagram, raw: &RawHeader, error: ParseError) {
        //= RFC 7296 section 2.5 #2: a higher major version is answered and dropped
        //= RFC 7296 section 3.1 #7: with INVALID_MAJOR_VERSION
        //= RFC 7296 section 2.5 #9: what has an unknown critical payload is refused
        //= RFC 7296 section 4 #2: likewise
        let first_request = raw.header.exchange == ExchangeType::IkeSaInit
            && !raw.header.response
            && raw.header.spis.responder == 0;
        let answer = match error {
            ParseError::Version { version, .. } if version > 2 => {
                self.outbox.drops.count(Drop::Version);
                Some((NotifyType::INVALID_MAJOR_VERSION, Vec::new()))
            }
            ParseError::Critical(kind) => {
                self.outbox.drops.count(Drop::Malformed);
                Some((NotifyType::UNSUPPORTED_CRITICAL_PAYLOAD, vec![kind]))
            }
            _ => {
                self.outbox.drops.count(Drop::Malformed);
                None
            }
        };
        if let (true, Some((kind, data))) = (first_request, answer) {
            let header = Header {
                response: true,
                from_initiator: false,
                higher_version: false,
                ..raw.header
            };
            let payload = Payload::Notify(Notify::new(kind, data));
            let message = Message::new(header, vec![payload]).emit();
            let (local, remote) = (datagram.local, datagram.remote);
            self.outbox.outputs.push_back(Output::Transmit { after: None, local, remote, message });
        }
    }

    fn receive_protected(
        &mut self,
        now: Timestamp,
        mut datagram: Datagram,
        message: &Message,
        rng: &mut dyn Random,
    ) {
        let Header { spis, from_initiator, exchange, response, .. } = message.header;
        let id = IkeSaId(if from_initiator { spis.responder } else { spis.initiator });
        let known = |sa: &&IkeSa| sa.about.spis == spis && sa.about.initiator != from_initiator;
        if self.tables.get(id).filter(known).is_some() {
            return self.receive_in_sa(now, id, datagram, message, rng);
        }
        let half_open = self.tables.half_open.contains(id);
        let mut ended = Transaction::default();
        let Some(mut cx) = self.context(now, rng) else { return };
        let established = match (half_open, exchange, response) {
            (true, ExchangeType::IkeAuth, false) => {
                ike_auth::respond(&mut cx, id, &mut datagram, message, &mut ended)
            }
            (true, ExchangeType::IkeAuth, true) => {
                ike_auth_initiator::complete(&mut cx, id, &mut datagram, message)
            }
            (true, ExchangeType::IkeIntermediate, false) => {
                return ike_intermediate::respond(&mut cx, id, &mut datagram, message);
            }
            (true, ExchangeType::IkeIntermediate, true) => {
                ike_intermediate_initiator::complete(&mut cx, id, &mut datagram, message);
                return self.arm_half_open(id);
            }
            //= RFC 7296 section 1 #1: IKE_SA_INIT and IKE_AUTH come first
            //= RFC 7296 section 1.4 #1: nothing but IKE_AUTH before the IKE SA is there
            (true, _, _) => return cx.drop(Drop::UnexpectedExchange),
            (false, _, _) => return self.receive_for_nobody(now, id, &datagram, message),
        };
        self.commit(ended);
        if let Some((sa, tx)) = established {
            self.tables.insert(sa);
            self.commit(tx);
            self.settle(now, id, rng);
        }
    }

    fn receive_in_sa(
        &mut self,
        now: Timestamp,
        id: IkeSaId,
        mut datagram: Datagram,
        message: &Message,
        rng: &mut dyn Random,
    ) {
        let Some(encrypted) = &message.encrypted else {
            return self.receive_in_clear(now, id, message);
        };
        let Some(sa) = self.tables.get(id).filter(|sa| sa.live.complete) else {
            return self.outbox.drops.count(Drop::Unauthentic);
        };
        //= RFC 7296 section 2.21.4 #6: what does not authenticate goes no further
        //= RFC 7296 section 2.4 #3: and proves nothing about the peer
        let opened = match sa.protection.open_content(&datagram.message, encrypted) {
            Ok(content) => match encrypted.fragment {
                None => parse_chain(encrypted.first, &content),
                Some(fragment) => {
                    let first = encrypted.first;
                    let piece = Piece { fragment, first, content, datagram: &datagram.message };
                    match self.receive_fragment(now, id, &datagram, &message.header, piece) {
                        Some(whole) => {
                            datagram.message = whole.datagram;
                            parse_chain(whole.first, &whole.content)
                        }
                        None => return,
                    }
                }
            },
            Err(OpenFailure::Content(error)) => Err(error),
            Err(OpenFailure::Unauthentic) => {
                return self.outbox.drops.count(Drop::Unauthentic);
            }
        };
        let Some(sa) = self.tables.get(id) else { return };
        let (pending, at_once) =
            (sa.live.pending.is_some(), self.without_store(sa, message, &opened));
        if let Some(payloads) = at_once
            && self.answer_at_once(now, id, &datagram, &message.header, &payloads, rng)
        {
            return self.rearm(id);
        }
        if pending {
            return self.defer(id, datagram);
        }
        match message.header.response {
            true => self.receive_response(now, id, &datagram, &message.header, opened, rng),
            false => self.receive_request(now, id, &datagram, &message.header, opened, rng),
        }
        self.settle(now, id, rng);
    }

    /// Takes an authentic fragment; gives the message when it is whole. A message that was answered
    /// is answered again when its first fragment comes again, and one that would be whole waits for
    /// the store as its last fragment.
    fn receive_fragment(
        &mut self,
        now: Timestamp,
        id: IkeSaId,
        datagram: &Datagram,
        header: &Header,
        piece: Piece<'_>,
    ) -> Option<Whole> {
        let sa = self.tables.get(id)?;
        let pending = sa.live.pending.is_some();
        let asked = sa.outstanding.as_ref().is_some_and(|request| request.answers(header));
        let unwanted = match sa.window.judge(header.message_id, sa.live.inherited) {
            _ if !sa.about.extensions.fragmentation => Some(Drop::Unauthentic),
            _ if header.response => (!asked).then_some(Drop::UnexpectedResponse),
            Verdict::Fresh => None,
            Verdict::Outside => Some(Drop::OutOfWindow),
            Verdict::Repetition(response) => {
                let response = response.datagrams.clone();
                if piece.fragment.number == 1 && pending {
                    self.defer(id, datagram.clone());
                } else if piece.fragment.number == 1 {
                    let (local, remote) = (datagram.local, datagram.remote);
                    self.outbox.outputs.extend(Output::transmits(local, remote, response));
                }
                return None;
            }
        };
        if let Some(reason) = unwanted {
            self.outbox.drops.count(reason);
            return None;
        }
        let name = MessageName::of(id, header);
        if pending && self.tables.reassembly.completes(name, piece.fragment) {
            self.defer(id, datagram.clone());
            return None;
        }
        self.tables.reassembly.insert(now, name, piece)
    }

    fn defer(&mut self, id: IkeSaId, datagram: Datagram) {
        if self.tables.get_mut(id).is_some_and(|sa| !sa.defer(datagram)) {
            self.outbox.drops.count(Drop::Busy);
        }
    }

    /// The answer to a request that does not wait for the store, that the SA may outlive one that is
    /// slow or down for long. A check by the peer while a write about its SA is under way: it is not
    /// stored. And while the store is down, what would have to be: the peer is to ask again later.
    fn without_store(
        &self,
        sa: &IkeSa,
        message: &Message,
        opened: &Opened,
    ) -> Option<Vec<Payload>> {
        let payloads = opened.as_ref().ok().filter(|_| !message.header.response)?;
        let pending = sa.live.pending.is_some();
        match message.header.exchange {
            ExchangeType::Informational if pending && payloads.is_empty() => Some(Vec::new()),
            ExchangeType::CreateChildSa if self.holding && sa.live.unprotected.is_none() => {
                Some(vec![notify(NotifyType::TEMPORARY_FAILURE)])
            }
            _ => None,
        }
    }

    /// Answers a request now. `false`: not now, for an answer is being written, which must come
    /// first.
    fn answer_at_once(
        &mut self,
        now: Timestamp,
        id: IkeSaId,
        datagram: &Datagram,
        header: &Header,
        payloads: &[Payload],
        rng: &mut dyn Random,
    ) -> bool {
        let Some(Ownership { epoch, .. }) = self.ownership else { return false };
        let sealing = Sealing { epoch, fragment_size: self.config.fragment_size };
        let Some(sa) = self.tables.get_mut(id) else { return false };
        let pending = sa.live.pending;
        let mut before = pending.and_then(|ticket| self.ledger.before(ticket, id));
        let unanswered = match &before {
            Some(before) => before.expected_request != sa.window.expected_request,
            // It is new. The peer can use one that we have initiated, for it has answered.
            None => pending.is_some() && !sa.about.initiator,
        };
        if unanswered {
            return false;
        }
        let datagrams = match sa.window.judge(header.message_id, sa.live.inherited) {
            Verdict::Outside => {
                self.outbox.drops.count(Drop::OutOfWindow);
                return true;
            }
            Verdict::Repetition(response) => response.datagrams.clone(),
            Verdict::Fresh => {
                let answer = sa.header(header.exchange, header.message_id, true);
                let Ok(datagrams) = sa.seal(&answer, payloads, sealing, rng) else {
                    return false;
                };
                sa.window.answered(header.message_id, datagrams.clone());
                sa.live.last_heard = now;
                self.outbox.outputs.extend(follow(sa, datagram));
                // Should the write come to nothing, this has happened all the same.
                if let Some(before) = &mut before {
                    before.expected_request = sa.window.expected_request;
                    before.last_response.clone_from(&sa.window.last_response);
                }
                // An answer that says something must not be given otherwise by the next owner.
                if !payloads.is_empty() {
                    sa.live.unwritten = true;
                    let (id_of, datagrams) = (header.message_id, datagrams.clone());
                    let response = StoredResponse { id: id_of, datagrams };
                    let state = record::encode(&Mirrored::Answered { id, response });
                    self.outbox.outputs.push_back(Output::Mirror { id, state });
                }
                datagrams
            }
        };
        let (local, remote) = (datagram.local, datagram.remote);
        self.outbox.outputs.extend(Output::transmits(local, remote, datagrams));
        true
    }

    fn receive_request(
        &mut self,
        now: Timestamp,
        id: IkeSaId,
        datagram: &Datagram,
        header: &Header,
        opened: Opened,
        rng: &mut dyn Random,
    ) {
        let Some(sa) = self.tables.get(id) else { return };
        if synchronise::is_asked(sa, header, &opened) {
            return self.receive_synchronisation(now, id, datagram, opened, rng);
        }
        //= RFC 7296 section 2.1 #1: a response is repeated only here
        //= RFC 7296 section 2.1 #2: and its request does nothing else
        //= RFC 7296 section 2.3 #3: whether or not a request of ours is in flight
        match sa.window.judge(header.message_id, sa.live.inherited) {
            Verdict::Fresh => {}
            //= RFC 7296 section 2.1 #5: a request whose response is gone is ignored
            //= RFC 7296 section 2.3 #7: one outside of the window is not answered
            Verdict::Outside => return self.outbox.drops.count(Drop::OutOfWindow),
            Verdict::Repetition(response) => {
                let datagrams = response.datagrams.clone();
                let (local, remote) = (datagram.local, datagram.remote);
                return self.outbox.outputs.extend(Output::transmits(local, remote, datagrams));
            }
        }
        let Some(mut sa) = self.tables.take(id) else { return };
        let mut tx = Transaction::default();
        tx.begin(&sa);
        tx.effects.extend(follow(&mut sa, datagram));
        sa.live.last_heard = now;
        if !opened.as_ref().is_ok_and(Vec::is_empty) {
            tx.touch(id);
        }
        let Some(mut cx) = self.context(now, rng) else { return };
        //= RFC 7296 section 2.21.3 #1: every request under the IKE SA is answered
        let reply = answer(&mut cx, &mut sa, datagram, header.exchange, opened, &mut tx);
        let answer = sa.header(header.exchange, header.message_id, true);
        let sealed = sa.seal(&answer, &reply.payloads, cx.sealing(), cx.rng);
        let fate = match sealed {
            Ok(datagrams) => {
                sa.window.answered(header.message_id, datagrams.clone());
                if matches!(reply.fate, Fate::Close(_)) {
                    let (request, response) = (datagram.message.clone(), datagrams.clone());
                    tx.last_words = Some(Ended { id, request, response });
                }
                let (local, remote) = (datagram.local, datagram.remote);
                //= RFC 7296 section 2.8 #4: what the exchange has made is installed before
                tx.effects.extend(Output::transmits(local, remote, datagrams));
                reply.fate
            }
            Err(_) => Fate::Close(CloseReason::Expired),
        };
        conclude(&mut cx, sa, fate, &mut tx);
        self.commit(tx);
    }

    fn receive_response(
        &mut self,
        now: Timestamp,
        id: IkeSaId,
        datagram: &Datagram,
        header: &Header,
        opened: Opened,
        rng: &mut dyn Random,
    ) {
        let Some(mut sa) = self.tables.take(id) else { return };
        let mut tx = Transaction::default();
        tx.begin(&sa);
        let expected = sa.outstanding.take_if(|request| {
            request.answers(header) && synchronise::may_answer(&request.continuation, &opened)
        });
        let Some(mut cx) = self.context(now, rng) else { return };
        //= RFC 7296 section 3.1 #14: a response is never answered
        let Some(request) = expected else {
            cx.drop(Drop::UnexpectedResponse);
            return cx.tables.insert(sa);
        };
        tx.effects.extend(follow(&mut sa, datagram));
        sa.live.last_heard = now;
        mobike::found_way(&mut sa, datagram, &mut tx);
        match request.continuation {
            Continuation::Liveness => sa.live.traffic.checked(),
            _ => tx.touch(id),
        }
        let fate = match opened {
            Ok(payloads) => {
                let contents = Contents::sort(payloads);
                complete(&mut cx, &mut sa, request.continuation, datagram, &contents, &mut tx)
            }
            Err(_) => {
                rekey_ike::give_way(&mut cx, &mut sa, &request.continuation, &mut tx);
                let reason = CloseReason::ProtocolViolation("content of a response");
                sa.live.wanted.close = Some(reason);
                Fate::Keep
            }
        };
        conclude(&mut cx, sa, fate, &mut tx);
        self.commit(tx);
    }
}

/// The SA goes back to the others, or ends.
fn conclude(cx: &mut Context<'_>, mut sa: Box<IkeSa>, fate: Fate, tx: &mut Transaction) {
    match fate {
        Fate::Keep => cx.tables.insert(sa),
        Fate::Continue(request) => match send(&mut sa, request, cx, tx) {
            Ok(()) => cx.tables.insert(sa),
            // No IV is left for its keys, so it can only end.
            Err(_) => cx.end_sa(sa, CloseReason::Expired, tx),
        },
        Fate::Close(reason) => cx.end_sa(sa, reason, tx),
    }
}

/// A peer behind a NAT is followed to the address of its latest authentic, fresh message (RFC 7296
/// section 2.23). That is written, but nothing waits for it. ESP moves with the IKE SA that its
/// Child SAs belong to, and not with one that was replaced or may replace it.
fn follow(sa: &mut IkeSa, datagram: &Datagram) -> Option<Output> {
    let moved = sa.addresses.remote != datagram.remote || sa.addresses.local != datagram.local;
    //= RFC 7296 section 2.23 #12: with MOBIKE only an update moves it
    // With MOBIKE the peer says when it moves (RFC 4555 section 3.8).
    if !moved || !may_move(&sa.addresses) || sa.about.extensions.mobike.is_some() {
        return None;
    }
    (sa.addresses.local, sa.addresses.remote) = (datagram.local, datagram.remote);
    sa.live.unwritten = true;
    let (ike, endpoints) = (sa.about.family, endpoints(&sa.addresses));
    sa.is_established().then_some(Output::Endpoints { after: None, ike, endpoints })
}

fn answer(
    cx: &mut Context<'_>,
    sa: &mut IkeSa,
    datagram: &Datagram,
    exchange: ExchangeType,
    opened: Opened,
    tx: &mut Transaction,
) -> Reply {
    let fatal = || {
        let fate = Fate::Close(CloseReason::ProtocolViolation("content of a request"));
        Reply { fate, ..Reply::error(NotifyType::INVALID_SYNTAX) }
    };
    let empty = opened.as_ref().is_ok_and(Vec::is_empty);
    let contents = match opened {
        Ok(payloads) => Contents::sort(payloads),
        Err(error @ ParseError::Critical(_)) => {
            return Reply::new(vec![Payload::Notify(ike_auth::refusal(error))]);
        }
        Err(_) => return fatal(),
    };
    sa.window.note_grant(&contents);
    if !empty {
        rekey_ike::used_by_peer(cx, sa, &contents, tx);
    }
    match exchange {
        ExchangeType::CreateChildSa => create_child_sa::respond(cx, sa, &contents, tx),
        ExchangeType::Informational => informational::respond(cx, sa, datagram, &contents, tx),
        ExchangeType::IkeFollowupKe => ike_followup_ke::respond(cx, sa, &contents, tx),
        _ => fatal(),
    }
}

fn complete(
    cx: &mut Context<'_>,
    sa: &mut IkeSa,
    continuation: Continuation,
    datagram: &Datagram,
    contents: &Contents,
    tx: &mut Transaction,
) -> Fate {
    sa.window.note_grant(contents);
    if contents.has(NotifyType::INVALID_SYNTAX) {
        rekey_ike::give_way(cx, sa, &continuation, tx);
        let reason = CloseReason::PeerRefused(NotifyType::INVALID_SYNTAX);
        return Fate::Close(reason);
    }
    match continuation {
        Continuation::CreateChild(create) => {
            create_child_sa::complete(cx, sa, *create, contents, tx)
        }
        Continuation::RekeyIke(rekey) => rekey_ike::complete(cx, sa, *rekey, contents, tx),
        other => informational::complete(cx, sa, &other, datagram, contents, tx),
    }
}
