//! vipsec in real network namespaces: what moves, what survives, what never leaves in clear, and
//! what a dead node does not say.

mod distribution;
mod etcd;
mod fail_closed;
mod ipv6;
mod restart;
mod service;
mod silence;
mod store;
mod takeover;
