//! The queues of the TUN device. `tun-rs` creates the device and its queues with offloads; reading
//! and writing is done here on the bare descriptors, because that crate splits and merges
//! super-packets by itself, with copies, while the data plane does so around the sealing.

use std::io::{self, IoSlice};
use std::os::fd::{AsRawFd, RawFd};

use tun_rs::{DeviceBuilder, SyncDevice};

use super::{check, check_size};

/// One queue of the device: a packet, or super-packet, a call.
pub(crate) struct TunQueue(SyncDevice);

/// Creates the device with one queue for each worker. Also says whether UDP super-packets may be
/// exchanged with the kernel, beside TCP's.
pub(crate) fn open_tun(name: &str, queues: u16) -> io::Result<(Vec<TunQueue>, bool)> {
    let first = DeviceBuilder::new()
        .name(name)
        .offload(true)
        .multi_queue(true)
        .inherit_enable_state()
        .build_sync()?;
    let udp = first.udp_gso();
    let mut all = Vec::new();
    for _ in 1..queues {
        all.push(TunQueue(first.try_clone()?));
    }
    all.insert(0, TunQueue(first));
    for queue in &all {
        set_nonblocking(queue.as_raw_fd())?;
    }
    Ok((all, udp))
}

fn set_nonblocking(fd: RawFd) -> io::Result<()> {
    // SAFETY: these commands of `fcntl` take no pointers.
    let flags = check(unsafe { libc::fcntl(fd, libc::F_GETFL) })?;
    // SAFETY: as above.
    check(unsafe { libc::fcntl(fd, libc::F_SETFL, flags | libc::O_NONBLOCK) }).map(drop)
}

impl TunQueue {
    /// Reads one packet with its virtio header in front; returns the number of bytes.
    pub(crate) fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let (at, length) = (buffer.as_mut_ptr().cast(), buffer.len());
        // SAFETY: the kernel writes at most `length` bytes into the buffer, which has as many.
        check_size(unsafe { libc::read(self.as_raw_fd(), at, length) })
    }

    /// Writes one packet, virtio header first, from several pieces of memory.
    pub(crate) fn write(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        let count = i32::try_from(pieces.len()).unwrap_or(i32::MAX);
        // SAFETY: `IoSlice` has the layout of `iovec`, and the pieces are alive through the call.
        check_size(unsafe { libc::writev(self.as_raw_fd(), pieces.as_ptr().cast(), count) })
    }
}

impl AsRawFd for TunQueue {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}
