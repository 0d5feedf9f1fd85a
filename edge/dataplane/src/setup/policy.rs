//! Policy routing: what goes to a protected prefix is looked up in a table of its own, where a route
//! leads into the TUN and, behind it, a blackhole route waits for the day when the TUN is gone. The
//! process's own marked packets are exempt, so they never loop.
//!
//! The blackhole routes are also the durable list of what is protected: a later start reads it back.

use std::net::IpAddr;

use netlink_packet_route::AddressFamily;
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::rule::{RuleAction, RuleAttribute, RuleFlags, RuleMessage};
use rtnetlink::{IpVersion, RouteMessageBuilder};

use super::ORIGIN;
use super::netlink::{Netlink, collect, is_gone, is_there};
use crate::config::Prefix;
use crate::error::DataPlaneError;

/// Metric of the routes into the TUN.
const METRIC_TUNNEL: u32 = 100;
/// Metric of the blackhole routes behind them.
const METRIC_BLACKHOLE: u32 = 60_000;

/// Where a protected prefix leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// Into the TUN with this interface index.
    Tunnel(u32),
    /// Nowhere.
    Blackhole,
}

fn version(family_v4: bool) -> IpVersion {
    if family_v4 { IpVersion::V4 } else { IpVersion::V6 }
}

fn route(prefix: &Prefix, way: Way, table: u32) -> RouteMessage {
    let mut message = RouteMessageBuilder::<IpAddr>::new()
        .table_id(table)
        .protocol(RouteProtocol::Other(ORIGIN))
        .build();
    message.header.address_family =
        if prefix.address().is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    message.header.destination_prefix_length = prefix.length();
    let attributes = &mut message.attributes;
    attributes.push(RouteAttribute::Destination(prefix.address().into()));
    match way {
        Way::Tunnel(index) => {
            attributes.push(RouteAttribute::Priority(METRIC_TUNNEL));
            attributes.push(RouteAttribute::Oif(index));
            message.header.kind = RouteType::Unicast;
            message.header.scope = RouteScope::Link;
        }
        Way::Blackhole => {
            attributes.push(RouteAttribute::Priority(METRIC_BLACKHOLE));
            message.header.kind = RouteType::BlackHole;
            message.header.scope = RouteScope::Universe;
        }
    }
    message
}

fn prefix_of(message: &RouteMessage) -> Option<Prefix> {
    let length = message.header.destination_prefix_length;
    let destination = message.attributes.iter().find_map(|a| match a {
        RouteAttribute::Destination(RouteAddress::Inet(v4)) => Some(IpAddr::V4(*v4)),
        RouteAttribute::Destination(RouteAddress::Inet6(v6)) => Some(IpAddr::V6(*v6)),
        _ => None,
    });
    let any = match message.header.address_family {
        AddressFamily::Inet => IpAddr::from([0u8; 4]),
        _ => IpAddr::from([0u8; 16]),
    };
    Prefix::new(destination.unwrap_or(any), length)
}

fn table_of(message: &RouteMessage) -> u32 {
    let long = message.attributes.iter().find_map(|a| match a {
        RouteAttribute::Table(table) => Some(*table),
        _ => None,
    });
    long.unwrap_or(u32::from(message.header.table))
}

impl Netlink {
    /// Adds or confirms the route of one protected prefix.
    pub(super) async fn add_route(
        &self,
        prefix: &Prefix,
        way: Way,
        table: u32,
    ) -> Result<(), DataPlaneError> {
        let request = self.handle.route().add(route(prefix, way, table)).replace();
        let added = request.execute().await;
        added.map_err(|e| DataPlaneError::netlink(format!("route {prefix} ({way:?})"), e))
    }

    /// The blackhole routes that stand, with the table that each is in.
    pub(super) async fn blackholes(
        &self,
    ) -> Result<Vec<(Prefix, u32, RouteMessage)>, DataPlaneError> {
        let mut found = Vec::new();
        for v4 in [true, false] {
            let mut filter = RouteMessage::default();
            filter.header.address_family =
                if v4 { AddressFamily::Inet } else { AddressFamily::Inet6 };
            let all = collect(self.handle.route().get(filter).execute()).await;
            for message in all.map_err(|e| DataPlaneError::netlink("list routes", e))? {
                let ours = message.header.protocol == RouteProtocol::Other(ORIGIN)
                    && message.header.kind == RouteType::BlackHole;
                if let (true, Some(prefix)) = (ours, prefix_of(&message)) {
                    found.push((prefix, table_of(&message), message));
                }
            }
        }
        Ok(found)
    }

    /// Deletes a route that was listed before.
    pub(super) async fn delete_route(&self, message: RouteMessage) -> Result<(), DataPlaneError> {
        match self.handle.route().del(message).execute().await {
            Err(e) if !is_gone(&e) => Err(DataPlaneError::netlink("delete a blackhole route", e)),
            _ => Ok(()),
        }
    }

    /// Adds the rule "without `mark`, look up `table`", and deletes rules of ours that say
    /// otherwise. The old one goes only when the new one stands.
    pub(super) async fn ensure_rule(
        &self,
        v4: bool,
        mark: u32,
        table: u32,
    ) -> Result<(), DataPlaneError> {
        let mut request = self.handle.rule().add();
        *request.message_mut() = rule(v4, mark, table);
        match request.execute().await {
            Err(e) if !is_there(&e) => {
                return Err(DataPlaneError::netlink(format!("add the rule for table {table}"), e));
            }
            _ => {}
        }
        self.delete_rules(v4, Some((mark, table))).await
    }

    /// Deletes the rules that vipsec set up, except the one for `keep`.
    pub(super) async fn delete_rules(
        &self,
        v4: bool,
        keep: Option<(u32, u32)>,
    ) -> Result<(), DataPlaneError> {
        let all = collect(self.handle.rule().get(version(v4)).execute()).await;
        let ours = RuleAttribute::Protocol(RouteProtocol::Other(ORIGIN));
        for message in all.map_err(|e| DataPlaneError::netlink("list rules", e))? {
            let has = |a: RuleAttribute| message.attributes.contains(&a);
            let kept = keep.is_some_and(|(m, t)| {
                has(RuleAttribute::FwMark(m)) && has(RuleAttribute::Table(t))
            });
            if !has(ours.clone()) || kept {
                continue;
            }
            match self.handle.rule().del(message).execute().await {
                Err(e) if !is_gone(&e) => return Err(DataPlaneError::netlink("delete a rule", e)),
                _ => {}
            }
        }
        Ok(())
    }
}

fn rule(v4: bool, mark: u32, table: u32) -> RuleMessage {
    let mut message = RuleMessage::default();
    message.header.family = if v4 { AddressFamily::Inet } else { AddressFamily::Inet6 };
    message.header.action = RuleAction::ToTable;
    message.header.flags = RuleFlags::Invert;
    message.attributes = vec![
        RuleAttribute::Priority(table),
        RuleAttribute::FwMark(mark),
        RuleAttribute::Table(table),
        RuleAttribute::Protocol(RouteProtocol::Other(ORIGIN)),
    ];
    message
}
