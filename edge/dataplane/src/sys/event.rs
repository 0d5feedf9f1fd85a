//! Waiting for something to happen: epoll, and a signal from one thread to another.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

use super::check;

/// Wakes the thread that polls it. May be raised by any thread, any number of times.
pub(crate) struct Signal(File);

impl Signal {
    /// A signal that is not raised.
    pub(crate) fn new() -> io::Result<Signal> {
        // SAFETY: `eventfd` takes no pointers.
        let fd = check(unsafe { libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC) })?;
        // SAFETY: the descriptor is fresh and nobody else owns it.
        Ok(Signal(unsafe { File::from_raw_fd(fd) }))
    }

    /// Raises the signal. It can only fail when it is raised already.
    pub(crate) fn raise(&self) {
        let _ = (&self.0).write(&1u64.to_ne_bytes());
    }

    /// Lowers the signal.
    pub(crate) fn lower(&self) {
        let _ = (&self.0).read(&mut [0u8; 8]);
    }
}

impl AsRawFd for Signal {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// What was ready at a descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ready {
    /// The number under which the descriptor was added.
    pub(crate) token: u64,
    /// Something waits in the error queue.
    pub(crate) error: bool,
}

/// Waits for many descriptors at once.
pub(crate) struct Poller {
    epoll: OwnedFd,
    events: Vec<libc::epoll_event>,
}

const MAX_EVENTS: usize = 64;

impl Poller {
    /// A poller that waits for nothing yet.
    pub(crate) fn new() -> io::Result<Poller> {
        // SAFETY: `epoll_create1` takes no pointers.
        let fd = check(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        // SAFETY: the descriptor is fresh and nobody else owns it.
        let epoll = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Poller { epoll, events: vec![libc::epoll_event { events: 0, u64: 0 }; MAX_EVENTS] })
    }

    /// Reports when `fd` can be read, as `token`.
    pub(crate) fn add(&self, fd: &impl AsRawFd, token: u64) -> io::Result<()> {
        let mut event = libc::epoll_event { events: libc::EPOLLIN.cast_unsigned(), u64: token };
        let epoll = self.epoll.as_raw_fd();
        // SAFETY: `event` lives through the call; the kernel copies it.
        let added =
            unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, fd.as_raw_fd(), &raw mut event) };
        check(added).map(drop)
    }

    /// Waits at most `timeout` (`None`: for ever), rounded up to milliseconds, and appends what is
    /// ready.
    pub(crate) fn wait(
        &mut self,
        timeout: Option<Duration>,
        ready: &mut Vec<Ready>,
    ) -> io::Result<()> {
        let millis =
            timeout.map_or(-1, |t| i32::try_from(t.as_micros().div_ceil(1000)).unwrap_or(i32::MAX));
        let room = i32::try_from(self.events.len()).unwrap_or(i32::MAX);
        // SAFETY: the kernel writes at most `room` events into the vector, which has as many.
        let count = check(unsafe {
            libc::epoll_wait(self.epoll.as_raw_fd(), self.events.as_mut_ptr(), room, millis)
        })?;
        let found = self.events.iter().take(usize::try_from(count).unwrap_or(0));
        ready.extend(found.map(|e| Ready {
            token: e.u64,
            error: e.events & libc::EPOLLERR.cast_unsigned() != 0,
        }));
        Ok(())
    }
}

/// Waits until `fd` can be written, at most `timeout`. Says whether it can.
pub(crate) fn poll_output(fd: &impl AsRawFd, timeout: Duration) -> bool {
    let mut entry = libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLOUT, revents: 0 };
    let millis = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
    // SAFETY: one entry is given and it lives through the call.
    let count = unsafe { libc::poll(&raw mut entry, 1, millis) };
    count == 1 && entry.revents & libc::POLLOUT != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_raised_signal_is_seen_until_it_is_lowered() {
        let signal = Signal::new().expect("eventfd");
        let mut poller = Poller::new().expect("epoll");
        poller.add(&signal, 7).expect("add");
        let mut look = || {
            let mut ready = Vec::new();
            poller.wait(Some(Duration::ZERO), &mut ready).expect("wait");
            ready
        };
        assert!(look().is_empty());
        signal.raise();
        signal.raise();
        assert_eq!(look(), [Ready { token: 7, error: false }]);
        signal.lower();
        assert!(look().is_empty());
    }
}
