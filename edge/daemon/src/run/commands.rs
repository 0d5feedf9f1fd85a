//! What administrators ask for, asked of the node.

use super::daemon::Daemon;
use crate::admin::{Command, Failure, SaKind, SaRef};
use serde::Serialize;
use serde_json::{Value, json};
use std::net::IpAddr;
use vipsec_cluster::TransferAccepted;
use vipsec_node::{AdminError, ChildView, IkeView};
use vipsec_wire::id::{EspSpi, IkeSaId, NodeName, Vip};
use vipsec_wire::time::Timestamp;

/// One SA of a VIP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sa {
    Ike(Vip, IkeSaId),
    Child(Vip, EspSpi),
}

impl Daemon {
    pub(super) fn execute(&mut self, now: Timestamp, command: Command) -> Result<Value, Failure> {
        match command {
            Command::Status | Command::Connections | Command::Metrics => {
                Err(Failure::Refused("not answered by the node alone".to_owned()))
            }
            Command::Sas => value(&self.node.sas(now)),
            Command::Leases => value(&self.node.leases(now)),
            Command::Transfer { vip, to } => self.transfer(now, Vip(vip), &to),
            Command::Rekey(sa) => self.rekey(now, &sa),
            Command::Terminate(sa) => self.terminate(now, &sa),
            Command::Initiate { vip, connection, child } => {
                let vip = self.vip_or_only(vip)?;
                self.node.handle_initiate(now, vip, &connection, &child).map_err(failure)?;
                Ok(text(format!("{connection}, {child}: begun")))
            }
            Command::AcceptRollback { vip } => {
                self.node.handle_accept_rollback(now, Vip(vip)).map_err(failure)?;
                Ok(text(format!("{vip}: going on with the store as it is, without its SAs")))
            }
            Command::Reload => Err(Failure::Refused("answered by the loop".to_owned())),
            Command::Stop { .. } => Err(Failure::Refused("stopping already".to_owned())),
        }
    }

    fn transfer(&mut self, now: Timestamp, vip: Vip, to: &NodeName) -> Result<Value, Failure> {
        match self.node.handle_transfer(now, vip, to).map_err(failure)? {
            TransferAccepted::Begun => Ok(text(format!("{vip}: transfer to {to} has begun"))),
            TransferAccepted::Forwarded => {
                Ok(text(format!("{vip}: the owner was asked for a transfer to {to}")))
            }
        }
    }

    fn rekey(&mut self, now: Timestamp, name: &SaRef) -> Result<Value, Failure> {
        match find(&self.node.sas(now), name)? {
            Sa::Ike(vip, id) => self.node.handle_rekey_ike(now, vip, id),
            Sa::Child(vip, spi) => self.node.handle_rekey_child(now, vip, spi),
        }
        .map_err(failure)?;
        Ok(text(format!("{}: the rekey has begun", name.name)))
    }

    fn terminate(&mut self, now: Timestamp, name: &SaRef) -> Result<Value, Failure> {
        match find(&self.node.sas(now), name)? {
            Sa::Ike(vip, id) => self.node.handle_terminate_ike(now, vip, id),
            Sa::Child(vip, spi) => self.node.handle_terminate_child(now, vip, spi),
        }
        .map_err(failure)?;
        Ok(text(format!("{}: the delete has begun", name.name)))
    }

    fn vip_or_only(&self, vip: Option<IpAddr>) -> Result<Vip, Failure> {
        if let Some(vip) = vip {
            return Ok(Vip(vip));
        }
        let vips = self.node.status().vips;
        match vips.as_slice() {
            [only] => only.address.parse().map(Vip).map_err(|_| Failure::Bad(only.address.clone())),
            _ => Err(Failure::Bad("there are several VIPs; name one with --vip".to_owned())),
        }
    }
}

/// The one SA that a name means: that of this identifier or SPI, or the one of this connection or
/// child that is in use.
fn find(sas: &[IkeView], name: &SaRef) -> Result<Sa, Failure> {
    let wanted = name.name.to_ascii_lowercase();
    let found: Vec<Option<Sa>> = match name.kind {
        SaKind::Ike => {
            let named = |ike: &IkeView| ike.connection == name.name && ike.state == "established";
            let fits = |ike: &&IkeView| ike.id == wanted || named(ike);
            let sa = |ike: &IkeView| {
                let id = u64::from_str_radix(&ike.id, 16).ok()?;
                Some(Sa::Ike(Vip(ike.vip.parse().ok()?), IkeSaId(id)))
            };
            sas.iter().filter(fits).map(sa).collect()
        }
        SaKind::Child => {
            let children = sas.iter().flat_map(|ike| ike.children.iter().map(move |c| (ike, c)));
            let named = |c: &ChildView| c.child == name.name && c.state == "active";
            let fits = children.filter(|(_, c)| c.spi_in == wanted || named(c));
            let sa = |(ike, child): (&IkeView, &ChildView)| {
                let spi = u32::from_str_radix(&child.spi_in, 16).ok()?;
                Some(Sa::Child(Vip(ike.vip.parse().ok()?), EspSpi(spi)))
            };
            fits.map(sa).collect()
        }
    };
    match found.as_slice() {
        [Some(only)] => Ok(*only),
        [] => Err(Failure::NotFound(format!("no SA {:?}; `vipsec sas` shows them", name.name))),
        _ => Err(Failure::Bad(format!(
            "{:?} means several SAs; name one by its identifier or SPI",
            name.name
        ))),
    }
}

fn failure(error: AdminError) -> Failure {
    match error {
        AdminError::UnknownVip(_) => Failure::NotFound(crate::explain(&error)),
        _ => Failure::Refused(crate::explain(&error)),
    }
}

pub(super) fn value(view: &impl Serialize) -> Result<Value, Failure> {
    serde_json::to_value(view).map_err(|error| Failure::Refused(error.to_string()))
}

fn text(text: String) -> Value {
    json!({ "text": text })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An IKE SA in mid-rekey: replaced by another, and its Child SA by one of the other's.
    fn rekeyed() -> Vec<IkeView> {
        let sa = |id: &str, state, child| IkeView {
            vip: "192.0.2.10".to_owned(),
            id: id.to_owned(),
            connection: "road".to_owned(),
            state,
            children: vec![child],
            ..IkeView::default()
        };
        let child = |spi: &str, state| ChildView {
            child: "net".to_owned(),
            spi_in: spi.to_owned(),
            state,
            ..ChildView::default()
        };
        vec![
            sa("00000000000000aa", "superseded", child("000001aa", "superseded")),
            sa("00000000000000bb", "established", child("000001bb", "active")),
        ]
    }

    #[test]
    fn a_name_means_the_sa_in_use_and_an_identifier_any() {
        let sas = rekeyed();
        let find = |kind, name: &str| find(&sas, &SaRef { kind, name: name.to_owned() });
        let vip = Vip("192.0.2.10".parse().expect("an address"));
        assert_eq!(find(SaKind::Ike, "road").ok(), Some(Sa::Ike(vip, IkeSaId(0xbb))));
        assert_eq!(find(SaKind::Child, "net").ok(), Some(Sa::Child(vip, EspSpi(0x1bb))));
        assert_eq!(find(SaKind::Ike, "00000000000000AA").ok(), Some(Sa::Ike(vip, IkeSaId(0xaa))));
        assert_eq!(find(SaKind::Child, "000001aa").ok(), Some(Sa::Child(vip, EspSpi(0x1aa))));
        assert!(matches!(find(SaKind::Ike, "net"), Err(Failure::NotFound(_))));
    }

    #[test]
    fn a_name_of_several_is_refused() {
        let mut sas = rekeyed();
        sas[0].state = "established";
        let road = SaRef { kind: SaKind::Ike, name: "road".to_owned() };
        assert!(matches!(find(&sas, &road), Err(Failure::Bad(why)) if why.contains("several")));
    }
}
