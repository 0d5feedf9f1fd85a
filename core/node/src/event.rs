//! What happened, for people, logs and programs.

use crate::sealing::RecordError;
use core::fmt;
use std::collections::BTreeMap;
use vipsec_cluster::store::{Key, StoreError};
use vipsec_wire::id::{EspSpi, IkeSaId, NodeName, Vip};

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
    /// A record that can be read and makes no SA with the others: it alone is left out.
    BadSa(Key, vipsec_ike::Error),
    /// A worker has no room for a Child SA, or cannot use its keys.
    NotInstalled(Vip, EspSpi),
    /// A new SA goes on although the store has not confirmed it.
    Unprotected(Vip, Vec<IkeSaId>),
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
            Event::Unprotected(..) => "unprotected",
            Event::Protected(_) => "protected",
            Event::TargetHealth { .. } => "target-health",
            Event::BadMessage(..) => "bad-message",
        }
    }
}

impl Event {
    /// What it is about, for programs: `vip`, `node`, `epoch`, `ike` (an IKE SA), `child` (a Child
    /// SA's inbound SPI), `record`, `peer` (its address), `reason`, each where it applies.
    #[must_use]
    pub fn fields(&self) -> BTreeMap<&'static str, String> {
        let mut fields = BTreeMap::new();
        match self {
            Event::Cluster(event) => cluster_fields(event, &mut fields),
            Event::Ike(vip, event) => {
                fields.insert("vip", vip.to_string());
                ike_fields(event, &mut fields);
            }
            Event::BadRecord(key, _) | Event::BadSa(key, _) => {
                fields.insert("record", key.to_string());
            }
            Event::Protected(vip) => {
                fields.insert("vip", vip.to_string());
            }
            Event::Unprotected(vip, ids) => {
                fields.insert("vip", vip.to_string());
                let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
                fields.insert("ike", ids.join(","));
            }
            Event::NotInstalled(vip, spi) => {
                fields.insert("vip", vip.to_string());
                fields.insert("child", spi.to_string());
            }
            Event::TargetHealth { vip, service, node, .. } => {
                fields.insert("vip", vip.to_string());
                fields.insert("service", service.clone());
                fields.insert("node", node.to_string());
            }
            Event::BadMessage(node, _) => {
                fields.insert("node", node.to_string());
            }
            Event::StoreDown(_) | Event::StoreUp => {}
        }
        fields
    }
}

fn cluster_fields(event: &vipsec_cluster::Event, fields: &mut BTreeMap<&'static str, String>) {
    use vipsec_cluster::Event as E;
    let (vip, epoch, node) = match event {
        E::MemberUp { node } | E::MemberSuspected { node } | E::MemberLost { node, .. } => {
            (None, None, Some(node))
        }
        E::Claiming { vip, epoch }
        | E::ClaimFailed { vip, epoch, .. }
        | E::Owned { vip, epoch }
        | E::RecordLost { vip, epoch, .. }
        | E::StoreEmptied { vip, floor: epoch } => (Some(vip), Some(epoch), None),
        E::Damped { vip, .. } | E::Refused { vip, .. } => (Some(vip), None, None),
        E::Deposed { vip, epoch, owner } => (Some(vip), Some(epoch), owner.as_ref()),
        E::Conflict { vip, epoch, other } => (Some(vip), Some(epoch), Some(other)),
        E::TransferBegun { vip, to } | E::TransferAborted { vip, to, .. } => {
            (Some(vip), None, Some(to))
        }
        E::TransferDone { vip, to, epoch } => (Some(vip), Some(epoch), Some(to)),
    };
    fields.extend(vip.map(|vip| ("vip", vip.to_string())));
    fields.extend(epoch.map(|epoch| ("epoch", epoch.to_string())));
    fields.extend(node.map(|node| ("node", node.to_string())));
}

fn ike_fields(event: &vipsec_ike::Event, fields: &mut BTreeMap<&'static str, String>) {
    use vipsec_ike::Event as E;
    let (ike, child) = match event {
        E::Established { id, .. } | E::Closed { id, .. } | E::Failed { id, .. } => (Some(id), None),
        E::BadRecord { id, .. } => (Some(id), None),
        E::IkeRekeyed { new, .. } => (Some(new), None),
        E::ChildUp { ike, spi_in, .. } | E::ChildClosed { ike, spi_in, .. } => {
            (Some(ike), Some(spi_in))
        }
        E::ChildRekeyed { ike, new, .. } => (Some(ike), Some(new)),
        E::ChildFailed { ike, .. } => (Some(ike), None),
        E::Moved { id, .. } => (Some(id), None),
        E::CookieMode(_) | E::RetryLater { .. } => (None, None),
    };
    fields.extend(ike.map(|id| ("ike", id.to_string())));
    fields.extend(child.map(|spi| ("child", spi.to_string())));
    let (peer, reason) = match event {
        E::Established { remote, .. } => (Some(remote), None),
        E::Failed { remote, reason, .. } => (Some(remote), Some(reason.to_string())),
        E::Closed { reason, .. } => (None, Some(reason.to_string())),
        E::ChildFailed { error, .. } => (None, Some(error.to_string())),
        _ => (None, None),
    };
    fields.extend(peer.map(|peer| ("peer", peer.to_string())));
    fields.extend(reason.map(|reason| ("reason", reason)));
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
        E::Moved { .. } => "peer-moved",
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
            Event::BadSa(key, error) => {
                write!(f, "record {key} makes no SA and is left out: {error}")
            }
            Event::NotInstalled(vip, spi) => {
                write!(f, "{vip}: Child SA {spi} could not be installed")
            }
            Event::Unprotected(vip, ids) => {
                let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
                write!(f, "{vip}: IKE SA {} goes on and is not in the store yet", ids.join(", "))
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
            write!(f, "IKE SA {id} ({connection}) is closed: {reason}")
        }
        E::Failed { remote, reason, .. } => write!(f, "no IKE SA with {remote}: {reason}"),
        E::ChildUp { child, spi_in, spi_out, .. } => {
            write!(f, "Child SA {child} is up, SPIs {spi_in} in, {spi_out} out")
        }
        E::ChildRekeyed { child, old, new, .. } => {
            write!(f, "Child SA {child} {old} was rekeyed to {new}")
        }
        E::ChildClosed { child, spi_in, .. } => write!(f, "Child SA {child} {spi_in} is closed"),
        E::ChildFailed { child, error, .. } => {
            write!(f, "Child SA {} failed: {error}", child.as_deref().unwrap_or("(none fits)"))
        }
        E::Moved { id, from, to } => {
            write!(f, "the peer of IKE SA {id} is at {to} now, no longer at {from}")
        }
        E::CookieMode(true) => f.write_str("many half-open IKE SAs: cookies are asked for"),
        E::CookieMode(false) => f.write_str("cookies are no longer asked for"),
        E::RetryLater { connection, wait } => {
            write!(f, "{connection} is tried again in {} s", wait.as_secs())
        }
        E::BadRecord { id, what } => write!(f, "the record of IKE SA {id} is left out: {what}"),
    }
}
