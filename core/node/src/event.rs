//! What happened, for people, logs and programs.

use crate::sealing::RecordError;
use core::fmt;
use vipsec_cluster::store::{Key, StoreError};
use vipsec_wire::id::{EspSpi, NodeName, Vip};

/// Something that people may want to know.
#[derive(Debug, Clone)]
pub enum Event {
    /// Of the cluster.
    Cluster(vipsec_cluster::Event),
    /// Of the IKE engine of a VIP.
    Ike(Vip, vipsec_ike::Event),
    /// The store does not answer.
    StoreDown(StoreError),
    /// The store answers again.
    StoreUp,
    /// A record cannot be used: its SA alone is left out, and the record stays as it is.
    BadRecord(Key, RecordError),
    /// Records that do not make an SA together: it alone is left out.
    BadSa(Vip, vipsec_ike::Error),
    /// A worker has no room for a Child SA, or cannot use its keys.
    NotInstalled(Vip, EspSpi),
    /// A new SA goes on although the store has not confirmed it.
    Unprotected(Vip),
    /// All SAs of the VIP are in the store again.
    Protected(Vip),
    /// The health of a target has changed.
    TargetHealth {
        /// The VIP.
        vip: Vip,
        /// The service.
        service: String,
        /// The target.
        node: NodeName,
        /// What it is now.
        healthy: bool,
    },
    /// A message from another node could not be read.
    BadMessage(NodeName, vipsec_wire::ParseError),
}

impl Event {
    /// A short name for programs, lower case with hyphens.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Event::Cluster(event) => cluster_kind(event),
            Event::Ike(_, event) => ike_kind(event),
            Event::StoreDown(_) => "store-down",
            Event::StoreUp => "store-up",
            Event::BadRecord(..) | Event::BadSa(..) => "bad-record",
            Event::NotInstalled(..) => "not-installed",
            Event::Unprotected(_) => "unprotected",
            Event::Protected(_) => "protected",
            Event::TargetHealth { .. } => "target-health",
            Event::BadMessage(..) => "bad-message",
        }
    }
}

fn cluster_kind(event: &vipsec_cluster::Event) -> &'static str {
    use vipsec_cluster::Event as E;
    match event {
        E::MemberUp { .. } => "member-up",
        E::MemberSuspected { .. } => "member-suspected",
        E::MemberLost { .. } => "member-lost",
        E::Claiming { .. } => "claiming",
        E::ClaimFailed { .. } => "claim-failed",
        E::Damped { .. } => "damped",
        E::Refused { .. } => "refused",
        E::Owned { .. } => "owned",
        E::Deposed { .. } => "deposed",
        E::Conflict { .. } => "conflict",
        E::RecordLost { .. } => "record-lost",
        E::StoreEmptied { .. } => "store-emptied",
        E::TransferBegun { .. } => "transfer-begun",
        E::TransferAborted { .. } => "transfer-aborted",
        E::TransferDone { .. } => "transfer-done",
    }
}

fn ike_kind(event: &vipsec_ike::Event) -> &'static str {
    use vipsec_ike::Event as E;
    match event {
        E::Established { .. } => "ike-up",
        E::IkeRekeyed { .. } => "ike-rekeyed",
        E::Closed { .. } => "ike-down",
        E::Failed { .. } => "ike-failed",
        E::ChildUp { .. } => "child-up",
        E::ChildRekeyed { .. } => "child-rekeyed",
        E::ChildClosed { .. } => "child-down",
        E::ChildFailed { .. } => "child-failed",
        E::CookieMode(_) => "cookie-mode",
        E::RetryLater { .. } => "retry-later",
        E::BadRecord { .. } => "bad-record",
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::Cluster(event) => write_cluster(event, f),
            Event::Ike(vip, event) => write_ike(*vip, event, f),
            Event::StoreDown(error) => write!(f, "the store does not answer: {error}"),
            Event::StoreUp => f.write_str("the store answers again"),
            Event::BadRecord(key, error) => write!(f, "record {key} is left out: {error}"),
            Event::BadSa(vip, error) => write!(f, "{vip}: an SA is left out: {error}"),
            Event::NotInstalled(vip, spi) => {
                write!(f, "{vip}: Child SA {spi} could not be installed")
            }
            Event::Unprotected(vip) => {
                write!(f, "{vip}: a new SA goes on that is not in the store yet")
            }
            Event::Protected(vip) => write!(f, "{vip}: all SAs are in the store again"),
            Event::TargetHealth { vip, service, node, healthy } => {
                let state = if *healthy { "healthy" } else { "unhealthy" };
                write!(f, "{vip}: {service} on {node} is {state}")
            }
            Event::BadMessage(node, error) => write!(f, "message from {node}: {error}"),
        }
    }
}

fn write_cluster(event: &vipsec_cluster::Event, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    use vipsec_cluster::Event as E;
    match event {
        E::MemberUp { node } => write!(f, "{node} is there"),
        E::MemberSuspected { node } => write!(f, "{node} has closed its control connection"),
        E::MemberLost { node, closed: true } => write!(f, "{node} is lost: its process ended"),
        E::MemberLost { node, closed: false } => write!(f, "{node} is lost: it fell silent"),
        E::Claiming { vip, epoch } => write!(f, "{vip}: claiming epoch {epoch}"),
        E::ClaimFailed { vip, epoch, store: true } => {
            write!(f, "{vip}: the claim of epoch {epoch} could not be stored")
        }
        E::ClaimFailed { vip, epoch, store: false } => {
            write!(f, "{vip}: another node was faster than the claim of epoch {epoch}")
        }
        E::Damped { vip, wait } => {
            write!(f, "{vip}: ownership flaps, waiting {} ms longer", wait.as_millis())
        }
        E::Refused { refusal, .. } => write!(f, "{refusal}"),
        E::Owned { vip, epoch } => write!(f, "{vip}: this node is the owner, epoch {epoch}"),
        E::Deposed { vip, epoch, owner: Some(owner) } => {
            write!(f, "{vip}: {owner} is the owner, epoch {epoch}")
        }
        E::Deposed { vip, epoch, owner: None } => {
            write!(f, "{vip}: this node is the owner no longer, epoch {epoch}")
        }
        E::Conflict { vip, epoch, other } => {
            write!(f, "{vip}: {other} says that it owns epoch {epoch} too; given up")
        }
        E::RecordLost { vip, epoch, .. } => {
            write!(
                f,
                "{vip}: the store has lost the record of epoch {epoch}; nothing can be stored"
            )
        }
        E::StoreEmptied { vip, floor } => {
            write!(f, "{vip}: the store is new and empty, going on above epoch {floor}")
        }
        E::TransferBegun { vip, to } => write!(f, "{vip}: transfer to {to} begins"),
        E::TransferAborted { vip, to, why } => {
            write!(f, "{vip}: transfer to {to} was called off: {why}")
        }
        E::TransferDone { vip, to, epoch } => {
            write!(f, "{vip}: transferred to {to}, epoch {epoch}")
        }
    }
}

fn write_ike(vip: Vip, event: &vipsec_ike::Event, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    use vipsec_ike::Event as E;
    write!(f, "{vip}: ")?;
    match event {
        E::Established { id, connection, remote_identity, remote, .. } => {
            write!(f, "IKE SA {id} ({connection}) with {remote_identity} at {remote} is up")
        }
        E::IkeRekeyed { old, new } => write!(f, "IKE SA {old} was rekeyed to {new}"),
        E::Closed { id, connection, reason } => {
            write!(f, "IKE SA {id} ({connection}) is closed: {reason:?}")
        }
        E::Failed { remote, reason, .. } => write!(f, "no IKE SA with {remote}: {reason:?}"),
        E::ChildUp { child, spi_in, spi_out, .. } => {
            write!(f, "Child SA {child} is up, SPIs {spi_in} in, {spi_out} out")
        }
        E::ChildRekeyed { child, old, new, .. } => {
            write!(f, "Child SA {child} {old} was rekeyed to {new}")
        }
        E::ChildClosed { child, spi_in, .. } => write!(f, "Child SA {child} {spi_in} is closed"),
        E::ChildFailed { child, error, .. } => {
            write!(f, "Child SA {} failed: {error:?}", child.as_deref().unwrap_or("(none fits)"))
        }
        E::CookieMode(true) => f.write_str("many half-open IKE SAs: cookies are asked for"),
        E::CookieMode(false) => f.write_str("cookies are no longer asked for"),
        E::RetryLater { connection, wait } => {
            write!(f, "{connection} is tried again in {} s", wait.as_secs())
        }
        E::BadRecord { id, what } => write!(f, "the record of IKE SA {id} is left out: {what}"),
    }
}
