//! Rekeying the IKE SA (RFC 7296 sections 1.3.2, 2.8, 2.18 and 2.25.2), both roles, with the
//! collision of both sides doing so at once (2.8.2).
//!
//! The new SA inherits the Child SAs, the identities, the addresses and the family. In a collision
//! the Child SAs stay with the old SA until it is decided which of the two new ones stays; the
//! other is deleted by the side that made it, the old one by the side that made the one that stays.

use crate::config::Connection;
use crate::context::Context;
use crate::exchange::contents::Contents;
use crate::exchange::create_child_sa::{exchange_keys, key_exchange, retry, wait_long};
use crate::exchange::ike_auth::draw_lifetime;
use crate::exchange::ike_followup_ke::{nonces, shared};
use crate::exchange::{Fate, Reply, Request, ike_followup_ke};
use crate::keys::{Nonces, agree, derive_rekeyed_ike, draw_nonce, draw_private};
use crate::ledger::Transaction;
use crate::output::{Change, CloseReason, Event, Output};
use crate::proposals::{
    IkeProposal, accept_ike, choose_ike, first_group, methods, offer_ike, offers_group,
};
use crate::sa::{Description, IkeSa};
use crate::snapshot;
use crate::window::Window;
use vipsec_crypto::Secret;
use vipsec_wire::id::{Epoch, IkeSaId};
use vipsec_wire::ike::{Delete, IkeSpis, Integrity, Nonce, Notify, NotifyType, Payload};
use vipsec_wire::record::v1::{
    Continuation, Extensions, Followup, IkeAlgorithms, IkeCollision, IkePhase, Mobility, Product,
    RekeyIke,
};

/// IKE SAs of one family: more are not rekeyed before some of the replaced ones are deleted.
const FAMILY_MAX: usize = 8;

/// Whether our own rekey of the IKE SA is in flight.
pub(crate) fn is_under_way(sa: &IkeSa) -> bool {
    let sent = sa.outstanding.as_ref().map(|outstanding| &outstanding.continuation);
    matches!(sent, Some(Continuation::RekeyIke(_)))
}

/// Whether an exchange of ours about Child SAs is in flight.
fn is_about_children(sa: &IkeSa) -> bool {
    let sent = sa.outstanding.as_ref().map(|outstanding| &outstanding.continuation);
    matches!(sent, Some(Continuation::CreateChild(_) | Continuation::DeleteChildren(_)))
}

fn proposals(connection: Option<&Connection>, current: &IkeAlgorithms) -> Vec<IkeProposal> {
    connection.map_or_else(
        || {
            let integrity = Some(current.integrity).filter(|i| *i != Integrity::None);
            vec![IkeProposal {
                encryption: vec![current.encryption],
                integrity: integrity.into_iter().collect(),
                prf: vec![current.prf],
                groups: vec![current.group],
                additional: methods(&current.additional).map(|group| vec![group]).collect(),
            }]
        },
        |connection| connection.proposals.clone(),
    )
}

/// The request.
pub(crate) fn request(cx: &mut Context<'_>, sa: &mut IkeSa) -> Option<Request> {
    let id = cx.tables.draw_ike_spi(cx.rng);
    let current = &sa.about.algorithms;
    let ours = proposals(cx.connection(&sa.about.connection), current);
    let offer = offer_ike(&ours, &id.0.to_be_bytes());
    let preferred = sa.live.preferred_group.take().into_iter().chain([current.group]);
    let group = preferred.into_iter().find(|group| offers_group(&offer, *group));
    let group = group.or_else(|| first_group(&offer))?;
    //= RFC 7296 section 1.3.2 #1: there is always a KE payload
    //= RFC 7296 section 2.18 #1: and so a new key exchange
    //= RFC 7296 section 2.18 #2: the groups of an IKE proposal are real ones
    let (private, public) = draw_private(group, cx.rng).ok()?;
    let nonce = draw_nonce(cx.rng);
    let payloads = vec![
        Payload::SecurityAssociation(offer.clone()),
        Payload::Nonce(Nonce(nonce.clone())),
        key_exchange(&private, public),
    ];
    let born = cx.epoch;
    let rekey =
        RekeyIke { id, proposals: offer, nonce, private, born, collision: None, followup: None };
    Some(Request { payloads, continuation: Continuation::RekeyIke(Box::new(rekey)) })
}

/// What makes the new SA differ from the old one.
struct Successor<'a> {
    id: IkeSaId,
    spis: IkeSpis,
    initiator: bool,
    algorithms: IkeAlgorithms,
    secrets: &'a [Secret],
    nonces: Nonces<'a>,
    born: Epoch,
}

/// As [`make`], of what a CREATE_CHILD_SA and its additional key exchanges have led to.
fn make_of(
    cx: &mut Context<'_>,
    old: &IkeSa,
    followup: &Followup,
    initiator: bool,
    tx: &mut Transaction,
) -> Option<Box<IkeSa>> {
    let Product::Ike { id, peer, algorithms } = &followup.product else { return None };
    let spis = match initiator {
        true => IkeSpis { initiator: id.0, responder: *peer },
        false => IkeSpis { initiator: *peer, responder: id.0 },
    };
    let (secrets, nonces) = (&shared(followup)[..], nonces(followup));
    let algorithms = *algorithms;
    make(
        cx,
        old,
        &Successor { id: *id, spis, initiator, algorithms, secrets, nonces, born: followup.born },
        tx,
    )
}

/// Makes the new SA, without Child SAs, and has it written.
fn make(
    cx: &mut Context<'_>,
    old: &IkeSa,
    successor: &Successor<'_>,
    tx: &mut Transaction,
) -> Option<Box<IkeSa>> {
    let Successor { algorithms, secrets, nonces, spis, .. } = successor;
    let parent = (&old.about.algorithms, &old.about.keys);
    let keys = derive_rekeyed_ike(parent, algorithms, secrets, *nonces, *spis).ok()?;
    let connection = cx.connection(&old.about.connection);
    let (rekey_at, expires_at) = draw_lifetime(cx, connection);
    // What belongs to the SPIs is not inherited.
    let extensions = Extensions { crash_token: None, ..old.about.extensions.clone() };
    let about = Description {
        id: successor.id,
        spis: *spis,
        initiator: successor.initiator,
        algorithms: *algorithms,
        keys,
        born: successor.born,
        created: cx.now,
        rekey_at,
        expires_at,
        extensions,
        ..old.about.clone()
    };
    //= RFC 7296 section 2.18 #4: the new IKE SA counts from 0
    let new = Box::new(IkeSa::new(about, Window::new(0, 0), old.addresses).ok()?);
    tx.create(&new);
    let constant = snapshot::constant(cx.config.vip, &new.about);
    tx.changes.push(Change::IkeConstant(Box::new(constant)));
    Some(new)
}

/// The new SA takes the place of the old one.
fn inherit(cx: &mut Context<'_>, old: &mut IkeSa, new: &mut IkeSa, tx: &mut Transaction) {
    new.phase = IkePhase::Established;
    new.mobility = Mobility { seen_as: Vec::new(), ..old.mobility.clone() };
    //= RFC 7296 section 1.4 #3: from now on the new IKE SA speaks for them
    new.children.append(&mut old.children);
    for link in &new.children {
        if let Some(child) = cx.tables.child_mut(link.spi) {
            child.parent = Some(new.about.id);
        }
    }
    new.live.wanted = core::mem::take(&mut old.live.wanted);
    old.live.wanted.close.clone_from(&new.live.wanted.close);
    // Only the age of the old one says nothing about the new one.
    new.live.wanted.close.take_if(|reason| *reason == CloseReason::Expired);
    new.live.wanted.rekey_ike = false;
    new.live.wanted.liveness = false;
    new.live.last_heard = old.live.last_heard;
    new.live.unprotected = old.live.unprotected;
    tx.events.push(Event::IkeRekeyed { old: old.id(), new: new.about.id });
}

fn superseded(cx: &Context<'_>, by_us: bool) -> IkePhase {
    IkePhase::Superseded { by_us, since: cx.now }
}

/// Answers a request.
pub(crate) fn respond(
    cx: &mut Context<'_>,
    sa: &mut IkeSa,
    contents: &Contents,
    tx: &mut Transaction,
) -> Reply {
    let collided = match sa.outstanding.as_ref().map(|outstanding| &outstanding.continuation) {
        Some(Continuation::RekeyIke(rekey)) => rekey.collision.is_some(),
        _ => false,
    };
    let family = cx.tables.family(sa.about.family).len();
    if is_about_children(sa) || collided || family >= FAMILY_MAX {
        return Reply::error(NotifyType::TEMPORARY_FAILURE);
    }
    let (mut followup, mut payloads) = match answer(cx, sa, contents) {
        Ok(answered) => answered,
        Err(reply) => return reply,
    };
    if followup.remaining.is_empty() {
        return match finish(cx, sa, &followup, tx) {
            Ok(()) => Reply::new(payloads),
            Err(error) => Reply::error(error),
        };
    }
    if let Product::Ike { id, .. } = followup.product {
        note_collision(sa, id, nonces(&followup).lower());
    }
    payloads.push(ike_followup_ke::draw_link(cx, &mut followup));
    ike_followup_ke::wait(cx, sa, Box::new(followup));
    Reply::new(payloads)
}

/// A rekey of our own in flight has collided with one of the peer's. Whether there is one.
fn note_collision(sa: &mut IkeSa, id: IkeSaId, lower_nonce: &[u8]) -> bool {
    match sa.outstanding.as_mut().map(|outstanding| &mut outstanding.continuation) {
        Some(Continuation::RekeyIke(rekey)) => {
            rekey.collision = Some(IkeCollision { id, lower_nonce: lower_nonce.to_vec() });
            true
        }
        _ => false,
    }
}

/// The IKE SA that the peer has asked for comes into being.
pub(crate) fn finish(
    cx: &mut Context<'_>,
    sa: &mut IkeSa,
    followup: &Followup,
    tx: &mut Transaction,
) -> Result<(), NotifyType> {
    if is_about_children(sa) {
        return Err(NotifyType::TEMPORARY_FAILURE);
    }
    let new = make_of(cx, sa, followup, false, tx);
    let mut new = new.ok_or(NotifyType::NO_PROPOSAL_CHOSEN)?;
    match note_collision(sa, new.id(), nonces(followup).lower()) {
        true => new.phase = IkePhase::Undecided,
        false => {
            inherit(cx, sa, &mut new, tx);
            sa.phase = superseded(cx, false);
        }
    }
    cx.tables.insert(new);
    Ok(())
}

/// What a request leads to, now or after the additional key exchanges, and what answers it.
fn answer(
    cx: &mut Context<'_>,
    sa: &IkeSa,
    contents: &Contents,
) -> Result<(Followup, Vec<Payload>), Reply> {
    let syntax = || Reply::error(NotifyType::INVALID_SYNTAX);
    let offer = contents.security_association.as_ref().ok_or_else(syntax)?;
    let nonce_i = contents.nonce.as_ref().ok_or_else(syntax)?;
    let exchange = contents.key_exchange.as_ref().ok_or_else(syntax)?;
    let ours = proposals(cx.connection(&sa.about.connection), &sa.about.algorithms);
    let choice = choose_ike(&ours, offer, 8, exchange.group, true)
        .ok_or_else(|| Reply::error(NotifyType::NO_PROPOSAL_CHOSEN))?;
    let peer = <[u8; 8]>::try_from(choice.peer_spi.as_slice()).map_err(|_| syntax())?;
    let peer = u64::from_be_bytes(peer);
    if peer == 0 {
        return Err(syntax());
    }
    let exchanged = exchange_keys(cx, choice.algorithms.group, contents)?;
    //= RFC 7296 section 2.18 #3: without a key exchange there is no new IKE SA
    let (shared, public) = exchanged.ok_or_else(syntax)?;
    let id = cx.tables.draw_ike_spi(cx.rng);
    let nonce_r = draw_nonce(cx.rng);
    let nonces = Nonces { initiator: nonce_i, responder: &nonce_r };
    let algorithms = choice.algorithms;
    let product = Product::Ike { id, peer, algorithms };
    let followup =
        ike_followup_ke::begin(cx, Some(shared), nonces, &algorithms.additional, product);
    let payloads = vec![
        Payload::SecurityAssociation(choice.answer(&id.0.to_be_bytes())),
        Payload::Nonce(Nonce(nonce_r)),
        public,
    ];
    Ok((followup, payloads))
}

/// Handles the response to our request, or to one of the additional key exchanges that follow.
pub(crate) fn complete(
    cx: &mut Context<'_>,
    sa: &mut IkeSa,
    rekey: RekeyIke,
    contents: &Contents,
    tx: &mut Transaction,
) -> Fate {
    let followup = match rekey.followup.clone() {
        Some(followup) => ike_followup_ke::conclude(Some(&rekey.private), *followup, contents),
        None => accept(cx, &rekey, contents),
    };
    let made = match followup {
        Some(followup) if !followup.remaining.is_empty() => {
            return go_on(cx, sa, rekey, contents, followup, tx);
        }
        Some(followup) => make_of(cx, sa, &followup, true, tx)
            .map(|new| (new, nonces(&followup).lower().to_vec())),
        None => None,
    };
    let collision = rekey.collision.as_ref();
    let collision = collision.filter(|collision| cx.tables.get(collision.id).is_some());
    let loses = |lower_nonce: &[u8], collision: &IkeCollision| {
        lower_nonce < collision.lower_nonce.as_slice() || !is_undecided(cx, collision.id)
    };
    match (made, collision) {
        (Some((mut new, lower_nonce)), Some(collision)) if loses(&lower_nonce, collision) => {
            new.phase = superseded(cx, true);
            cx.tables.insert(new);
            adopt(cx, sa, collision.id, tx);
        }
        (Some((mut new, _)), collision) => {
            inherit(cx, sa, &mut new, tx);
            sa.phase = superseded(cx, true);
            cx.tables.insert(new);
            if let Some(collision) = collision {
                let phase = superseded(cx, false);
                set_phase(cx, collision.id, phase, tx);
            }
        }
        (None, Some(collision)) => adopt(cx, sa, collision.id, tx),
        (None, None) => refused(cx, sa, &rekey, contents),
    }
    Fate::Keep
}

/// The next additional key exchange, unless the peer's rekey of the same IKE SA has won meanwhile.
fn go_on(
    cx: &mut Context<'_>,
    sa: &mut IkeSa,
    rekey: RekeyIke,
    contents: &Contents,
    followup: Followup,
    tx: &mut Transaction,
) -> Fate {
    if let Some(collision) = &rekey.collision {
        if nonces(&followup).lower() < collision.lower_nonce.as_slice() {
            adopt(cx, sa, collision.id, tx);
            sa.live.wanted.rekey_ike = sa.is_established();
            sa.live.not_before = sa.live.not_before.max(cx.now + ike_followup_ke::PATIENCE);
            return Fate::Keep;
        }
        // The peer's side of it comes to nothing, if it has not already.
        sa.followup.take_if(|followup| matches!(followup.product, Product::Ike { .. }));
    }
    match ike_followup_ke::request(cx, &followup) {
        Some((payloads, private)) => {
            let rekey = RekeyIke { private, followup: Some(Box::new(followup)), ..rekey };
            let continuation = Continuation::RekeyIke(Box::new(rekey));
            Fate::Continue(Request { payloads, continuation })
        }
        None => {
            refused(cx, sa, &rekey, contents);
            Fate::Keep
        }
    }
}

/// What the response to a CREATE_CHILD_SA has led to: all that the IKE SA is made of, now or after
/// the additional key exchanges. `None` when it does not fit our request.
fn accept(cx: &Context<'_>, rekey: &RekeyIke, contents: &Contents) -> Option<Followup> {
    let answer = contents.security_association.as_ref()?;
    let (algorithms, spi) = accept_ike(&rekey.proposals, answer)?;
    let peer = u64::from_be_bytes(spi.as_slice().try_into().ok()?);
    let nonce_r = contents.nonce.as_ref()?;
    let exchange = contents.key_exchange.as_ref()?;
    let same_group = exchange.group == rekey.private.group && algorithms.group == exchange.group;
    if !same_group || peer == 0 {
        return None;
    }
    let shared = agree(&rekey.private, &exchange.public).ok()?;
    let nonces = Nonces { initiator: &rekey.nonce, responder: nonce_r };
    let product = Product::Ike { id: rekey.id, peer, algorithms };
    let followup =
        ike_followup_ke::begin(cx, Some(shared), nonces, &algorithms.additional, product);
    ike_followup_ke::linked(Followup { born: rekey.born, ..followup }, contents)
}

fn is_undecided(cx: &Context<'_>, id: IkeSaId) -> bool {
    cx.tables.get(id).is_some_and(|sa| sa.phase == IkePhase::Undecided)
}

/// The peer's product of a collision is the one that stays, if that is not yet decided.
//= RFC 7296 section 2.8.2 #1: it then inherits the Child SAs
fn adopt(cx: &mut Context<'_>, old: &mut IkeSa, id: IkeSaId, tx: &mut Transaction) {
    if is_undecided(cx, id)
        && let Some(mut new) = cx.tables.take(id)
    {
        tx.begin(&new);
        tx.touch(id);
        new.addresses = old.addresses;
        inherit(cx, old, &mut new, tx);
        cx.tables.insert(new);
        old.phase = superseded(cx, false);
    }
}

/// Nothing comes of a request of ours: what the peer has made of a collision with it stands.
pub(crate) fn give_way(
    cx: &mut Context<'_>,
    sa: &mut IkeSa,
    request: &Continuation,
    tx: &mut Transaction,
) {
    if let Continuation::RekeyIke(rekey) = request
        && let Some(collision) = &rekey.collision
    {
        adopt(cx, sa, collision.id, tx);
    }
}

/// The old SA whose rekey by us has collided with the one that has made `id`.
fn collided_with(cx: &Context<'_>, family: IkeSaId, id: IkeSaId) -> Option<IkeSaId> {
    let has = |member: &IkeSaId| {
        let outstanding = cx.tables.get(*member).and_then(|sa| sa.outstanding.as_ref());
        match outstanding.map(|outstanding| &outstanding.continuation) {
            Some(Continuation::RekeyIke(rekey)) => {
                rekey.collision.as_ref().is_some_and(|collision| collision.id == id)
            }
            _ => false,
        }
    };
    cx.tables.family(family).into_iter().find(has)
}

/// The peer does something with its product of a collision other than deleting it: it has decided
/// that this one stays, and takes the Child SAs to be there. Our own product, should there be one
/// yet, is the one to be deleted.
pub(crate) fn used_by_peer(
    cx: &mut Context<'_>,
    sa: &mut IkeSa,
    contents: &Contents,
    tx: &mut Transaction,
) {
    let ends =
        contents.deletes.contains(&Delete::Ike) || contents.has(NotifyType::AUTHENTICATION_FAILED);
    if sa.phase != IkePhase::Undecided || ends {
        return;
    }
    let old = collided_with(cx, sa.about.family, sa.about.id);
    let Some(mut old) = old.and_then(|id| cx.tables.take(id)) else { return };
    if old.live.pending.is_none() {
        tx.begin(&old);
        tx.touch(old.id());
        if old.addresses != sa.addresses {
            let (ike, endpoints) = (sa.about.family, sa.endpoints());
            tx.effects.push(Output::Endpoints { after: None, ike, endpoints });
        }
        inherit(cx, &mut old, sa, tx);
        old.phase = superseded(cx, false);
    }
    cx.tables.insert(old);
}

fn set_phase(cx: &mut Context<'_>, id: IkeSaId, phase: IkePhase, tx: &mut Transaction) {
    if let Some(sa) = cx.tables.get_mut(id) {
        tx.begin(sa);
        tx.touch(id);
        sa.phase = phase;
    }
}

/// The peer has refused, or answered with what is no answer.
fn refused(cx: &mut Context<'_>, sa: &mut IkeSa, rekey: &RekeyIke, contents: &Contents) {
    let unknown = Notify::new(NotifyType::NO_PROPOSAL_CHOSEN, Vec::new());
    let error = contents.error().cloned().unwrap_or(unknown);
    if !retry(cx, sa, &error, Some(&rekey.private), &rekey.proposals) {
        wait_long(cx, sa);
    }
    sa.live.wanted.rekey_ike = true;
}

/// The peer deletes an IKE SA while we rekey it, or its own product of a collision.
pub(crate) fn deleted_by_peer(cx: &mut Context<'_>, sa: &mut IkeSa, tx: &mut Transaction) {
    let own = sa.outstanding.as_ref().map(|outstanding| &outstanding.continuation);
    if let Some(Continuation::RekeyIke(rekey)) = own
        && let Some(collision) = rekey.collision.clone()
    {
        return adopt(cx, sa, collision.id, tx);
    }
    if sa.phase != IkePhase::Undecided {
        return;
    }
    let old = collided_with(cx, sa.about.family, sa.about.id);
    if let Some(old) = old.and_then(|id| cx.tables.get_mut(id)) {
        tx.begin(old);
        tx.touch(old.id());
        if let Some(outstanding) = &mut old.outstanding
            && let Continuation::RekeyIke(rekey) = &mut outstanding.continuation
        {
            rekey.collision = None;
        }
    }
}
