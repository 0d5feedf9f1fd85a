//! The system calls of the data plane, wrapped so that the rest of the crate is safe code. Nothing
//! here knows what a packet means.

mod address;
mod batch;
mod errors;
mod event;
mod link;
mod socket;
mod tun;

pub(crate) use batch::{Datagram, Outgoing, ReceiveBatch, SendBatch};
pub(crate) use errors::read_path_mtu;
pub(crate) use event::{Poller, Ready, Signal, poll_output};
pub(crate) use link::{LinkSocket, SolicitedGroup};
pub(crate) use socket::{Fragmentation, esp_socket, namespace_lock, udp_socket};
pub(crate) use tun::{TunQueue, open_tun};

use std::io;

/// Turns the return value of a system call into a result.
fn check(value: libc::c_int) -> io::Result<libc::c_int> {
    if value < 0 { Err(io::Error::last_os_error()) } else { Ok(value) }
}

/// The same for calls that return a size.
fn check_size(value: libc::ssize_t) -> io::Result<usize> {
    usize::try_from(value).map_err(|_| io::Error::last_os_error())
}

/// Whether an error only says that there is nothing to do now.
pub(crate) fn would_block(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}
