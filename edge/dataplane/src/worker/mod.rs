//! Workers: threads that each drive one [`vipsec_path::Path`] with their own sockets and their own
//! queue of the TUN.

mod inward;
mod mailbox;
mod outlet;
mod reporter;
mod run;
mod sockets;
mod transmit;

pub(crate) use mailbox::{IkeMessage, Instruction, Mailbox};
pub(crate) use reporter::Reporter;
pub use reporter::WorkerReport;
pub(crate) use run::{Equipment, Worker};
pub(crate) use sockets::Sockets;
