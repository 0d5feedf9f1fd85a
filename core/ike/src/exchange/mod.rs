//! One file per exchange of RFC 7296, each with both roles: what a request is made of, how one is
//! answered, and what a response brings about. IKE_SESSION_RESUME will be a file beside these.
//!
//! What is not here: message IDs, encryption, repetition and storing, which are the same for all
//! exchanges and stand in `engine`.

pub(crate) mod child;
pub(crate) mod configuration;
pub(crate) mod contents;
pub(crate) mod create_child_sa;
pub(crate) mod ike_auth;
pub(crate) mod ike_auth_eap;
pub(crate) mod ike_auth_initiator;
pub(crate) mod ike_followup_ke;
pub(crate) mod ike_intermediate;
pub(crate) mod ike_intermediate_initiator;
pub(crate) mod ike_sa_init;
pub(crate) mod ike_sa_init_initiator;
pub(crate) mod informational;
pub(crate) mod mobike;
pub(crate) mod rekey_child;
pub(crate) mod rekey_ike;
pub(crate) mod synchronise;

use crate::output::CloseReason;
use vipsec_wire::ike::{Group, Notify, NotifyType, Payload};
use vipsec_wire::record::v1::Continuation;

/// A request to be sent.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) payloads: Vec<Payload>,
    pub(crate) continuation: Continuation,
}

/// The answer to a request.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) payloads: Vec<Payload>,
    pub(crate) fate: Fate,
}

/// What becomes of the IKE SA after an exchange.
#[derive(Debug)]
pub(crate) enum Fate {
    /// It goes on.
    Keep,
    /// It goes on with the next request of the same undertaking.
    Continue(Request),
    /// It ends.
    Close(CloseReason),
}

impl Reply {
    /// An answer after which the SA goes on.
    pub(crate) fn new(payloads: Vec<Payload>) -> Reply {
        Reply { payloads, fate: Fate::Keep }
    }

    /// An error that changes nothing.
    pub(crate) fn error(kind: NotifyType) -> Reply {
        Reply::new(vec![contents::notify(kind)])
    }

    /// The group is not the one that was chosen (RFC 7296 section 1.3).
    pub(crate) fn invalid_group(wanted: Group) -> Reply {
        Reply::new(vec![invalid_group(wanted)])
    }
}

/// INVALID_KE_PAYLOAD with the group that is wanted.
pub(crate) fn invalid_group(wanted: Group) -> Payload {
    let data = wanted.number().to_be_bytes().to_vec();
    Payload::Notify(Notify::new(NotifyType::INVALID_KE_PAYLOAD, data))
}

/// The group that an INVALID_KE_PAYLOAD wants.
pub(crate) fn wanted_group(notify: &Notify) -> Option<Group> {
    let number: [u8; 2] = notify.data.as_slice().try_into().ok()?;
    Some(Group::from_number(u16::from_be_bytes(number)))
}
