//! IKE_FOLLOWUP_KE (RFC 9370 section 2.2.4), both roles: the additional key exchanges of a
//! CREATE_CHILD_SA, one after another. What that has negotiated comes into being with the last one.
//!
//! When both sides rekey the same SA at once, the one whose CREATE_CHILD_SA had the lowest nonce does
//! not go on with these; nothing has been made yet, so nothing has to be deleted.

use crate::context::Context;
use crate::exchange::child::{self, Ingredients};
use crate::exchange::contents::Contents;
use crate::exchange::ike_auth::add_child;
use crate::exchange::{Reply, rekey_child, rekey_ike};
use crate::keys::{Nonces, agree, answer, draw_private};
use crate::ledger::Transaction;
use crate::proposals::methods;
use crate::sa::IkeSa;
use core::time::Duration;
use vipsec_crypto::Secret;
use vipsec_esp::ChildSa;
use vipsec_wire::id::EspSpi;
use vipsec_wire::ike::{AdditionalGroups, KeyExchange, Notify, NotifyType, Payload};
use vipsec_wire::record::v1::{ChildPhase, Followup, IkePhase, PrivateValue, Product};
use vipsec_wire::secret::SecretBytes;

/// For so long we begin nothing that could collide with what the peer is about to make.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// Bytes of our links.
const LINK_LENGTH: usize = 8;

/// The nonces of the CREATE_CHILD_SA.
pub(crate) fn nonces(followup: &Followup) -> Nonces<'_> {
    Nonces { initiator: &followup.initiator_nonce, responder: &followup.responder_nonce }
}

/// The secrets of all key exchanges so far.
pub(crate) fn shared(followup: &Followup) -> Vec<Secret> {
    followup.secrets.iter().map(|secret| Secret::from(secret.expose())).collect()
}

/// Whether it makes the Child SA that we receive at this SPI.
pub(crate) fn makes_child_at(followup: &Followup, spi: EspSpi) -> bool {
    matches!(&followup.product, Product::Child { agreed, .. } if agreed.spi_in == spi)
}

/// What a CREATE_CHILD_SA leaves to be done.
pub(crate) fn begin(
    cx: &Context<'_>,
    shared: Option<Secret>,
    nonces: Nonces<'_>,
    additional: &AdditionalGroups,
    product: Product,
) -> Followup {
    Followup {
        link: Vec::new(),
        remaining: methods(additional).collect(),
        secrets: shared.into_iter().map(|secret| SecretBytes::from(secret.expose())).collect(),
        initiator_nonce: nonces.initiator.to_vec(),
        responder_nonce: nonces.responder.to_vec(),
        born: cx.epoch,
        product,
    }
}

/// As responder: draws what the next request has to name, and the notification that says it.
pub(crate) fn draw_link(cx: &mut Context<'_>, followup: &mut Followup) -> Payload {
    let mut link = vec![0; LINK_LENGTH];
    cx.rng.fill(&mut link);
    followup.link.clone_from(&link);
    Payload::Notify(Notify::new(NotifyType::ADDITIONAL_KEY_EXCHANGE, link))
}

/// As initiator: takes what the next request has to name from a response; `None` if one is to come
/// and the response does not say, or if it says an error.
pub(crate) fn linked(followup: Followup, contents: &Contents) -> Option<Followup> {
    //= RFC 7296 section 3.10.1 #1: an error means failure, whatever else is in the response
    if contents.error().is_some() {
        return None;
    }
    if followup.remaining.is_empty() {
        return Some(followup);
    }
    let link = contents.notify(NotifyType::ADDITIONAL_KEY_EXCHANGE)?.data.clone();
    Some(Followup { link, ..followup })
}

/// As responder: the peer is to begin the first exchange.
pub(crate) fn wait(cx: &mut Context<'_>, sa: &mut IkeSa, followup: Box<Followup>) {
    if let Product::Child { agreed, .. } = &followup.product {
        cx.tables.reserve(agreed.spi_in, sa.id());
    }
    sa.live.not_before = sa.live.not_before.max(cx.now + PATIENCE);
    sa.followup = Some(followup);
}

/// The next request, and our half of its key exchange.
pub(crate) fn request(
    cx: &mut Context<'_>,
    followup: &Followup,
) -> Option<(Vec<Payload>, PrivateValue)> {
    let (private, public) = draw_private(*followup.remaining.first()?, cx.rng).ok()?;
    let link = Notify::new(NotifyType::ADDITIONAL_KEY_EXCHANGE, followup.link.clone());
    let exchange = KeyExchange { group: private.group, public };
    Some((vec![Payload::KeyExchange(exchange), Payload::Notify(link)], private))
}

/// As initiator: ends the exchange under way; `None` when the response does not fit our request.
pub(crate) fn conclude(
    private: Option<&PrivateValue>,
    mut followup: Followup,
    contents: &Contents,
) -> Option<Followup> {
    let private = private?;
    let exchange = contents.key_exchange.as_ref().filter(|e| e.group == private.group)?;
    let shared = agree(private, &exchange.public).ok()?;
    followup.secrets.push(SecretBytes::from(shared.expose()));
    followup.remaining.remove(0);
    linked(followup, contents)
}

/// Answers a request.
pub(crate) fn respond(
    cx: &mut Context<'_>,
    sa: &mut IkeSa,
    contents: &Contents,
    tx: &mut Transaction,
) -> Reply {
    let link = contents.notify(NotifyType::ADDITIONAL_KEY_EXCHANGE);
    let named = |followup: &mut Box<Followup>| link.is_some_and(|link| link.data == followup.link);
    let Some(mut followup) = sa.followup.take_if(named) else {
        return Reply::error(NotifyType::STATE_NOT_FOUND);
    };
    if sa.is_closing() || sa.phase != IkePhase::Established {
        return Reply::error(NotifyType::TEMPORARY_FAILURE);
    }
    let method = followup.remaining.first().copied();
    let exchange = contents.key_exchange.as_ref().filter(|e| Some(e.group) == method);
    let answered =
        exchange.and_then(|e| answer(e.group, &e.public, cx.rng).ok().zip(Some(e.group)));
    let Some(((public, shared), group)) = answered else {
        return Reply::error(NotifyType::INVALID_SYNTAX);
    };
    followup.secrets.push(SecretBytes::from(shared.expose()));
    followup.remaining.remove(0);
    let mut payloads = vec![Payload::KeyExchange(KeyExchange { group, public })];
    if followup.remaining.is_empty() {
        return match finish(cx, sa, *followup, tx) {
            Ok(()) => {
                // What has waited for this, or was refused because of it, need not wait any longer.
                sa.live.not_before = sa.live.not_before.min(cx.now);
                Reply::new(payloads)
            }
            Err(error) => Reply::error(error),
        };
    }
    payloads.push(draw_link(cx, &mut followup));
    wait(cx, sa, followup);
    Reply::new(payloads)
}

/// As responder: what was negotiated comes into being.
fn finish(
    cx: &mut Context<'_>,
    sa: &mut IkeSa,
    followup: Followup,
    tx: &mut Transaction,
) -> Result<(), NotifyType> {
    match &followup.product {
        Product::Ike { .. } => rekey_ike::finish(cx, sa, &followup, tx),
        Product::Child { rekeys, .. } => {
            let rekeys = *rekeys;
            if rekeys.is_some_and(|old| sa.link(old).is_none()) {
                return Err(NotifyType::STATE_NOT_FOUND);
            }
            let lower_nonce = nonces(&followup).lower().to_vec();
            let made = make_child(cx, sa, followup, false);
            let made = made.ok_or(NotifyType::NO_PROPOSAL_CHOSEN)?;
            match rekeys {
                Some(old) => rekey_child::succeed(cx, sa, old, made, lower_nonce, tx),
                None => add_child(cx, sa, made, ChildPhase::Active, true, None, tx),
            }
            Ok(())
        }
    }
}

/// The Child SA that comes of it.
pub(crate) fn make_child(
    cx: &mut Context<'_>,
    sa: &IkeSa,
    followup: Followup,
    initiator: bool,
) -> Option<ChildSa> {
    let Product::Child { agreed, .. } = &followup.product else { return None };
    let (secrets, born) = (shared(&followup), followup.born);
    let ingredients = Ingredients { nonces: nonces(&followup), secrets: &secrets, initiator, born };
    child::make(cx, sa, agreed.clone().into(), ingredients).ok()
}
