//! A whole cluster in virtual time: several [`Cluster`](crate::Cluster) values, one in-memory store,
//! links that can be cut, and what must hold after every step.

mod faults;
mod guards;
mod takeover;
mod targets;
mod transfer;
mod world;
