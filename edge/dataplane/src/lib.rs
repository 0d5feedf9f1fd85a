//! The user data path of vipsec: worker threads between the TUN and the sockets, answers for the
//! addresses that this node owns, and the fence that keeps in what belongs in a tunnel.
//!
//! What a packet *means* is decided in `vipsec-path`, whose `Path` every worker drives. This crate
//! moves bytes: in batches, with the kernel's offloads on both sides, and with its own threads apart
//! from the control plane. It is the one crate that may use `unsafe`, all of it in `sys`.
//!
//! - `setup`: what the kernel is told by netlink, sysctl and nft, and what of it outlives us;
//! - `answer`: ARP and neighbour discovery for owned addresses;
//! - `worker`: the loop, its sockets, mailboxes and reports;
//! - `offload`: cutting and merging super-packets;
//! - `sys`: system calls.
//!
//! One data plane stands in a network namespace at a time.

mod answer;
mod config;
mod counters;
mod error;
mod offload;
mod plane;
mod setup;
mod sys;
mod worker;

pub use config::{
    Clock, Config, DEFAULT_MARK, DEFAULT_TABLE, InnerSide, Prefix, TunConfig, VipConfig,
};
pub use counters::CounterValues;
pub use error::DataPlaneError;
pub use plane::{DataPlane, Handle, remove_fence};
pub use worker::WorkerReport;

/// Runs a thread's work. A thread that panics ends the process: half a data plane that still answers
/// for its addresses would be worse than none, and a restart keeps the tunnels.
fn or_abort(what: &str, work: impl FnOnce()) {
    let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
    if done.is_err() {
        tracing::error!("{what} panicked; the process ends");
        //= RFC 7296 section 2.4 #7: no worker, with its Child SAs, fails without the whole process
        std::process::abort();
    }
}
