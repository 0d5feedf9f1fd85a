//! CREATE_CHILD_SA (RFC 7296 section 1.3), both roles: what rekeys and new Child SAs have in common,
//! and the new Child SA itself. Rekeys are in files of their own, as are the additional key
//! exchanges that may follow (RFC 9370).

use crate::config::Child as ChildConfig;
use crate::context::Context;
use crate::exchange::child::{self, Behind, Ingredients};
use crate::exchange::contents::Contents;
use crate::exchange::ike_auth::add_child;
use crate::exchange::{
    Fate, Reply, Request, ike_followup_ke, rekey_child, rekey_ike, wanted_group,
};
use crate::keys::{self, Nonces, agree, draw_nonce, draw_private};
use crate::ledger::Transaction;
use crate::output::Event;
use crate::proposals::{KeyExchangeUse, first_group, has_none, offers_group};
use crate::sa::IkeSa;
use core::time::Duration;
use vipsec_crypto::Secret;
use vipsec_esp::ChildSa;
use vipsec_wire::id::EspSpi;
use vipsec_wire::ike::{
    Group, KeyExchange, Nonce, Notify, NotifyType, Payload, Protocol, SecurityAssociation,
};
use vipsec_wire::record::v1::{
    ChildLink, ChildPhase, Continuation, CreateChild, Followup, IkePhase, PrivateValue, Product,
};

/// Least time before something that the peer could not do just now is asked again; up to as much
/// again is added at random (RFC 7296 section 2.25).
const TEMPORARY_WAIT: Duration = Duration::from_secs(3);
/// The same for what the peer will probably go on refusing.
const REFUSED_WAIT: Duration = Duration::from_secs(60);

/// The request for a new Child SA of the configured child `name`.
pub(crate) fn request(cx: &mut Context<'_>, sa: &mut IkeSa, name: &str) -> Option<Request> {
    let config = cx.connection(&sa.about.connection)?.child(name)?;
    ask(cx, sa, config, None)
}

/// The request for a Child SA; `rekeys`: in place of which.
pub(crate) fn ask(
    cx: &mut Context<'_>,
    sa: &mut IkeSa,
    config: &ChildConfig,
    rekeys: Option<EspSpi>,
) -> Option<Request> {
    let allowed = KeyExchangeUse::Allowed { sent: Group::None };
    let preferred = sa.live.preferred_group.take();
    let fallback = preferred.unwrap_or(sa.about.algorithms.group);
    let behind = Behind::of(sa);
    let spi = cx.tables.draw_esp_spi(cx.rng);
    cx.tables.reserve(spi, sa.id());
    let offer = child::offer(config, behind.sides(), spi, allowed, fallback);
    let (first, rest) = child::offer_payloads(&offer);
    let nonce = draw_nonce(cx.rng);
    //= RFC 7296 section 1.3 #1: the group is one of the offer
    //= RFC 7296 section 1.3 #2: the one that the peer wants, or our first
    //= RFC 7296 section 3.4 #3: no KE payload where no proposal has a group
    let group = preferred.filter(|group| offers_group(&offer.proposals, *group));
    let drawn = match group.or_else(|| first_group(&offer.proposals)) {
        Some(group) => Some(draw_private(group, cx.rng).ok()?),
        None => None,
    };
    let mut payloads = Vec::new();
    //= RFC 7296 section 1.3.3 #1: REKEY_SA says what is replaced
    payloads.extend(rekeys.map(rekey_child::notification));
    payloads.extend([first, Payload::Nonce(Nonce(nonce.clone()))]);
    let private = drawn.map(|(private, public)| {
        payloads.push(key_exchange(&private, public));
        private
    });
    payloads.extend(rest);
    let born = cx.epoch;
    let create =
        CreateChild { offer, rekeys, nonce, private, born, collision: None, followup: None };
    Some(Request { payloads, continuation: Continuation::CreateChild(Box::new(create)) })
}

pub(crate) fn key_exchange(private: &PrivateValue, public: Vec<u8>) -> Payload {
    Payload::KeyExchange(KeyExchange { group: private.group, public })
}

/// Answers a request of any of the three kinds.
pub(crate) fn respond(
    cx: &mut Context<'_>,
    sa: &mut IkeSa,
    contents: &Contents,
    tx: &mut Transaction,
) -> Reply {
    let Some(offer) = &contents.security_association else {
        return Reply::error(NotifyType::INVALID_SYNTAX);
    };
    if sa.is_closing() || sa.phase != IkePhase::Established {
        return Reply::error(NotifyType::TEMPORARY_FAILURE);
    }
    if is_for_ike(offer) {
        return rekey_ike::respond(cx, sa, contents, tx);
    }
    // RFC 7296 section 2.25.2: nothing is added to an IKE SA that is being replaced.
    if rekey_ike::is_under_way(sa) {
        return Reply::error(NotifyType::TEMPORARY_FAILURE);
    }
    if let Some(notify) = contents.notify(NotifyType::REKEY_SA) {
        return rekey_child::respond(cx, sa, contents, notify, tx);
    }
    match answer(cx, sa, contents, None) {
        Ok(Answer { made, payloads, .. }) => {
            match made {
                Made::Now(child) => add_child(cx, sa, *child, ChildPhase::Active, true, None, tx),
                Made::Later(followup) => ike_followup_ke::wait(cx, sa, followup),
            }
            Reply::new(payloads)
        }
        Err(reply) => {
            report_refusal(sa, &reply, tx);
            reply
        }
    }
}

fn report_refusal(sa: &IkeSa, reply: &Reply, tx: &mut Transaction) {
    if let Some(Payload::Notify(notify)) = reply.payloads.first() {
        tx.events.push(Event::ChildFailed { ike: sa.id(), child: None, error: notify.kind });
    }
}

fn is_for_ike(offer: &SecurityAssociation) -> bool {
    offer.proposals.first().is_some_and(|proposal| proposal.protocol == Protocol::Ike)
}

/// The Child SA that a peer's request leads to.
pub(crate) enum Made {
    /// It is there.
    Now(Box<ChildSa>),
    /// It will be after the additional key exchanges.
    Later(Box<Followup>),
}

/// What answers a peer's request.
pub(crate) struct Answer {
    pub(crate) made: Made,
    pub(crate) payloads: Vec<Payload>,
    /// The lower of the two nonces.
    pub(crate) lower_nonce: Vec<u8>,
}

/// Makes the Child SA that a peer asks for, or the error that answers it. `rekeys`: in place of
/// which, and the child that it has to be.
pub(crate) fn answer(
    cx: &mut Context<'_>,
    sa: &IkeSa,
    contents: &Contents,
    rekeys: Option<(EspSpi, &str)>,
) -> Result<Answer, Reply> {
    let refuse = |kind| Err(Reply::error(kind));
    let Some(nonce_i) = &contents.nonce else {
        return refuse(NotifyType::INVALID_SYNTAX);
    };
    // What replaces another counts only until that is deleted.
    let most = cx.config.limits.children_max;
    let most = if rekeys.is_some() { most.saturating_mul(2) } else { most };
    if sa.children.len() >= most {
        return refuse(NotifyType::NO_ADDITIONAL_SAS);
    }
    let Some(connection) = cx.connection(&sa.about.connection) else {
        return refuse(NotifyType::NO_ADDITIONAL_SAS);
    };
    let behind = Behind::of(sa);
    let sent = contents.key_exchange.as_ref().map_or(Group::None, |exchange| exchange.group);
    let allowed = KeyExchangeUse::Allowed { sent };
    let only = rekeys.map(|(_, name)| name);
    let chosen =
        child::choose(cx, connection, &behind, contents, allowed, only).map_err(Reply::error)?;
    let exchanged = exchange_keys(cx, chosen.agreed.algorithms.group, contents)?;
    let nonce_r = draw_nonce(cx.rng);
    let (first, rest) = chosen.payloads();
    let mut payloads = vec![first, Payload::Nonce(Nonce(nonce_r.clone()))];
    let shared = exchanged.map(|(shared, payload)| {
        payloads.push(payload);
        shared
    });
    payloads.extend(rest);
    let nonces = Nonces { initiator: nonce_i, responder: &nonce_r };
    let lower_nonce = nonces.lower().to_vec();
    let additional = chosen.agreed.algorithms.additional;
    let made = match (shared, has_none(&additional)) {
        (Some(shared), false) => {
            let (agreed, rekeys) = (chosen.agreed.stored(), rekeys.map(|(spi, _)| spi));
            let product = Product::Child { agreed, rekeys };
            let mut followup =
                ike_followup_ke::begin(cx, Some(shared), nonces, &additional, product);
            payloads.push(ike_followup_ke::draw_link(cx, &mut followup));
            Made::Later(Box::new(followup))
        }
        (shared, _) => {
            let secrets = shared.as_slice();
            let ingredients = Ingredients { nonces, secrets, initiator: false, born: cx.epoch };
            let child = child::make(cx, sa, chosen.agreed, ingredients);
            let child = child.map_err(|_| Reply::error(NotifyType::NO_PROPOSAL_CHOSEN))?;
            Made::Now(Box::new(child))
        }
    };
    Ok(Answer { made, payloads, lower_nonce })
}

/// Our half of a key exchange in the group that was chosen, if one was.
pub(crate) fn exchange_keys(
    cx: &mut Context<'_>,
    group: Group,
    contents: &Contents,
) -> Result<Option<(Secret, Payload)>, Reply> {
    //= RFC 7296 section 3.3.6 #9: without a group the peer's KE payload is ignored, none is sent
    if group == Group::None {
        return Ok(None);
    }
    let exchange = contents.key_exchange.as_ref().filter(|sent| sent.group == group);
    let Some(exchange) = exchange else {
        //= RFC 7296 section 1.3 #3: INVALID_KE_PAYLOAD with the group that was chosen
        //= RFC 7296 section 3.4 #4: likewise
        return Err(Reply::invalid_group(group));
    };
    let syntax = |_| Reply::error(NotifyType::INVALID_SYNTAX);
    let (public, shared) = keys::answer(group, &exchange.public, cx.rng).map_err(syntax)?;
    Ok(Some((shared, Payload::KeyExchange(KeyExchange { group, public }))))
}

/// Handles the response to a request for a new or rekeyed Child SA, or to one of the additional key
/// exchanges that follow.
pub(crate) fn complete(
    cx: &mut Context<'_>,
    sa: &mut IkeSa,
    create: CreateChild,
    contents: &Contents,
    tx: &mut Transaction,
) -> Fate {
    let answered = match &create.followup {
        Some(_) => contents.key_exchange.is_some(),
        None => contents.security_association.is_some(),
    };
    if !answered {
        let unknown = Notify::new(NotifyType::NO_PROPOSAL_CHOSEN, Vec::new());
        let error = contents.error().cloned().unwrap_or(unknown);
        come_to_nothing(cx, sa, &create, &error, tx);
        return Fate::Keep;
    }
    let followup = match create.followup.clone() {
        Some(followup) => ike_followup_ke::conclude(create.private.as_ref(), *followup, contents),
        None => agree_on_child(cx, sa, &create, contents),
    };
    match followup {
        Some(followup) if !followup.remaining.is_empty() => {
            return go_on(cx, sa, create, followup, tx);
        }
        Some(followup) if ike_followup_ke::makes_child_at(&followup, create.offer.spi) => {
            if finish(cx, sa, &create, followup, tx).is_some() {
                return Fate::Keep;
            }
            // The peer has an SA that we cannot have: it is told to delete it.
            disown(cx, sa, create.offer.spi);
        }
        _ if create.followup.is_none() => disown(cx, sa, create.offer.spi),
        _ => {}
    }
    let unknown = || Notify::new(NotifyType::NO_PROPOSAL_CHOSEN, Vec::new());
    let error = contents.error().cloned().unwrap_or_else(unknown);
    come_to_nothing(cx, sa, &create, &error, tx);
    Fate::Keep
}

/// The next additional key exchange, unless the peer's rekey of the same Child SA has won meanwhile.
fn go_on(
    cx: &mut Context<'_>,
    sa: &mut IkeSa,
    create: CreateChild,
    followup: Followup,
    tx: &mut Transaction,
) -> Fate {
    if let (Some(old), Some(collision)) = (create.rekeys, &create.collision) {
        if ike_followup_ke::nonces(&followup).lower() < collision.lower_nonce.as_slice() {
            rekey_child::give_way(cx, sa, old, collision.spi, tx);
            return Fate::Keep;
        }
        // The peer's side of it comes to nothing, if it has not already.
        let theirs =
            |followup: &mut Box<Followup>| ike_followup_ke::makes_child_at(followup, collision.spi);
        sa.followup.take_if(theirs);
    }
    match ike_followup_ke::request(cx, &followup) {
        Some((payloads, private)) => {
            let followup = Some(Box::new(followup));
            let create = CreateChild { private: Some(private), followup, ..create };
            let continuation = Continuation::CreateChild(Box::new(create));
            Fate::Continue(Request { payloads, continuation })
        }
        None => {
            let error = Notify::new(NotifyType::NO_PROPOSAL_CHOSEN, Vec::new());
            come_to_nothing(cx, sa, &create, &error, tx);
            Fate::Keep
        }
    }
}

/// The Child SA comes into being; `None` if it cannot.
fn finish(
    cx: &mut Context<'_>,
    sa: &mut IkeSa,
    create: &CreateChild,
    followup: Followup,
    tx: &mut Transaction,
) -> Option<()> {
    if cx.tables.child(create.offer.spi).is_some() {
        return None;
    }
    let lower_nonce = ike_followup_ke::nonces(&followup).lower().to_vec();
    let made = ike_followup_ke::make_child(cx, sa, followup, true)?;
    match create.rekeys {
        Some(old) => rekey_child::complete(cx, sa, create, old, made, &lower_nonce, tx),
        None => add_child(cx, sa, made, ChildPhase::Active, true, None, tx),
    }
    Some(())
}

/// Nothing comes of a request of ours.
fn come_to_nothing(
    cx: &mut Context<'_>,
    sa: &mut IkeSa,
    create: &CreateChild,
    error: &Notify,
    tx: &mut Transaction,
) {
    match create.rekeys {
        Some(old) => rekey_child::refused(cx, sa, create, old, error, tx),
        None => refused(cx, sa, create, error, tx),
    }
}

/// The peer has a Child SA that we have not made, at an SPI that we have offered. It stands among
/// those of the IKE SA until the peer has deleted it, so that a new owner knows of it.
//= RFC 7296 section 1.3.1 #2: what is not of the mode that is wanted gets deleted
pub(crate) fn disown(cx: &Context<'_>, sa: &mut IkeSa, spi: EspSpi) {
    // Another Child SA may have come to that SPI, once in 2^32 times: it must not be deleted.
    if cx.tables.child(spi).is_none() {
        let phase = ChildPhase::Superseded { by_us: true, since: cx.now };
        sa.children.push(ChildLink { spi, phase, outbound: false });
    }
}

/// What the response to a CREATE_CHILD_SA has led to: all that the Child SA is made of, now or after
/// the additional key exchanges. `None` when it does not fit our request.
fn agree_on_child(
    cx: &Context<'_>,
    sa: &IkeSa,
    create: &CreateChild,
    contents: &Contents,
) -> Option<Followup> {
    let agreed = child::accept(&create.offer, &Behind::of(sa), contents)?;
    let nonce_r = contents.nonce.as_ref()?;
    let additional = agreed.algorithms.additional;
    let shared = match (agreed.algorithms.group, &create.private) {
        (Group::None, _) if has_none(&additional) => None,
        (group, Some(private)) if group == private.group => {
            let exchange = contents.key_exchange.as_ref().filter(|e| e.group == group)?;
            Some(agree(private, &exchange.public).ok()?)
        }
        _ => return None,
    };
    let nonces = Nonces { initiator: &create.nonce, responder: nonce_r };
    let product = Product::Child { agreed: agreed.stored(), rekeys: create.rekeys };
    let followup = ike_followup_ke::begin(cx, shared, nonces, &additional, product);
    ike_followup_ke::linked(Followup { born: create.born, ..followup }, contents)
}

/// The peer has refused a new Child SA.
fn refused(
    cx: &mut Context<'_>,
    sa: &mut IkeSa,
    create: &CreateChild,
    error: &Notify,
    tx: &mut Transaction,
) {
    let name = create.offer.child.clone();
    if retry(cx, sa, error, create.private.as_ref(), &create.offer.proposals) {
        sa.live.wanted.create.insert(name);
        return;
    }
    let child = Some(name);
    tx.events.push(Event::ChildFailed { ike: sa.id(), child, error: error.kind });
}

/// Whether a refused request is worth another try: with the group that the peer wants, or later.
pub(crate) fn retry(
    cx: &mut Context<'_>,
    sa: &mut IkeSa,
    error: &Notify,
    private: Option<&PrivateValue>,
    offer: &SecurityAssociation,
) -> bool {
    match error.kind {
        NotifyType::INVALID_KE_PAYLOAD => {
            let used = private.map_or(Group::None, |private| private.group);
            let wanted = wanted_group(error).filter(|wanted| *wanted != used);
            let wanted = wanted.filter(|group| offers_group(offer, *group));
            // A peer that wants yet another one does not know what it wants.
            sa.live.preferred_group = wanted.filter(|_| !sa.live.regrouped);
            sa.live.regrouped = sa.live.preferred_group.is_some();
            sa.live.regrouped
        }
        //= RFC 7296 section 2.25 #1: not at once
        //= RFC 7296 section 2.25 #2: but after some seconds
        NotifyType::TEMPORARY_FAILURE | NotifyType::STATE_NOT_FOUND => {
            sa.live.not_before = cx.now + TEMPORARY_WAIT + cx.jitter_span(TEMPORARY_WAIT);
            true
        }
        _ => false,
    }
}

/// A rekey that was refused for good is tried again only after a long while.
pub(crate) fn wait_long(cx: &mut Context<'_>, sa: &mut IkeSa) {
    sa.live.not_before = cx.now + REFUSED_WAIT + cx.jitter_span(REFUSED_WAIT);
}
