//! vipsec with real peers: strongSwan in both roles, and vipsec itself for what strongSwan's
//! userspace ESP does not have.

mod algorithms;
mod certificates;
mod configuration;
mod delete;
mod eap;
mod fragments;
mod hybrid;
mod initiator;
mod liveness;
mod mobike;
mod peers;
mod ppk;
mod rekey;
mod responder;
mod takeover;
mod transport;
