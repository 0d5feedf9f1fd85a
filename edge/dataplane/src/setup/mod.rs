//! What the kernel must be told before packets can flow, and what of it stays when the process is
//! gone.
//!
//! Two kinds are kept apart. The *fence* (packet filter, rule and blackhole routes: [`Fence`]) is
//! there so that nothing that belongs in a tunnel leaves in clear; it outlives the process, however
//! that ends, until it is removed by an explicit command. Everything else ([`Scaffold`]) is taken
//! down at exit, or found and taken over at the next start.

mod address;
mod fence;
mod netlink;
mod policy;
mod ruleset;
mod sysctl;

pub(crate) use address::Scaffold;
pub(crate) use fence::Fence;
pub(crate) use netlink::Netlink;

/// Marks addresses, routes and rules in the kernel's tables as set up by vipsec (`IFA_PROTO`,
/// `RTA_PROTOCOL`, `FRA_PROTOCOL`), so that a later start knows them again.
const ORIGIN: u8 = 0x76;
