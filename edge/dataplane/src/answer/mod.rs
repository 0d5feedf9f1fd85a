//! Answers ARP requests and neighbour solicitations for the addresses that this node owns, and
//! announces them. The kernel does neither, so an address is alive exactly as long as the process
//! that owns it.
//!
//! A thread of its own does this: an answer takes microseconds, whatever the workers and the control
//! plane are doing. Withdrawing takes effect before the call returns.

mod site;
mod thread;

pub(crate) use site::{Site, open_sites};

use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use vipsec_wire::id::Vip;

use crate::sys::Signal;

/// What callers and the thread share.
struct Shared {
    state: Mutex<State>,
    signal: Signal,
}

#[derive(Default)]
struct State {
    owned: BTreeSet<Vip>,
    /// VIPs whose announcements have to start anew.
    fresh: Vec<Vip>,
    stop: bool,
}

impl Shared {
    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The thread that answers. Dropping it ends the thread.
pub(crate) struct Answerer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Answerer {
    /// Starts the thread, owning nothing.
    pub(crate) fn start(sites: Vec<Site>) -> io::Result<Answerer> {
        let shared = Arc::new(Shared { state: Mutex::default(), signal: Signal::new()? });
        let for_thread = Arc::clone(&shared);
        let mut thread = thread::AnswerThread::new(sites, for_thread)?;
        let thread = std::thread::Builder::new()
            .name("vipsec-answer".to_owned())
            .spawn(move || crate::or_abort("the answering thread", || thread.run()))?;
        Ok(Answerer { shared, thread: Some(thread) })
    }

    /// From now on the addresses of this VIP are answered for; they are announced at once and
    /// several times more.
    pub(crate) fn announce(&self, vip: Vip) {
        self.shared.with(|state| {
            state.owned.insert(vip);
            state.fresh.push(vip);
        });
        self.shared.signal.raise();
    }

    /// From now on nothing is said about this VIP.
    pub(crate) fn withdraw(&self, vip: Vip) {
        self.shared.with(|state| {
            state.owned.remove(&vip);
            state.fresh.retain(|v| *v != vip);
        });
    }
}

impl Drop for Answerer {
    fn drop(&mut self) {
        self.shared.with(|state| {
            state.owned.clear();
            state.stop = true;
        });
        self.shared.signal.raise();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
