//! The lab: network namespaces with real peers in them, probers that measure what a user of the
//! network would feel, and an oracle that reads what crossed the wire.
//!
//! Everything that a [`Lab`](run::Lab) makes is gone when it is dropped: on return, on panic, on
//! Ctrl-C and SIGTERM; what a killed run left behind is reaped by the next one.
//!
//! What is not here: any knowledge of vipsec's insides. The lab drives the `vipsec` program by its
//! configuration file and its command line, as its users do. It is never shipped.

#![allow(clippy::print_stdout)] // The lab's output is its purpose.

pub mod authority;
pub mod binaries;
pub mod capture;
pub mod clock;
pub mod command;
pub mod disk;
pub mod etcd;
pub mod flow;
pub mod netns;
pub mod node;
pub mod packages;
pub mod probe;
pub mod process;
pub mod run;
pub mod sid;
pub mod strongswan;
pub mod topology;
pub mod workload;
