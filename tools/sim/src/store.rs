//! The store of one cluster (or of one peer): the memory backend with latency and failures.

use crate::host::HostId;
use crate::random::Generator;
use core::time::Duration;
use std::collections::BTreeSet;
use vipsec_cluster::store::memory::{Content, Fault, Memory};
use vipsec_cluster::store::{Backend, Changes, Key, Outcome, Revision, StoreError, Transaction};
use vipsec_crypto::seal::StoreKey;
use vipsec_node::{StoreReply, StoreRequest};

/// Changes that one look brings at most.
const CHANGES_MAX: usize = 256;

/// How long a store takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Least time of a request, there and back.
    pub latency: Duration,
    /// Greatest additional time.
    pub jitter: Duration,
    /// Greatest time until a watch sees a commit.
    pub watch: Duration,
}

/// A store.
pub struct Store {
    memory: Memory,
    /// Bytes of its key.
    key: [u8; 32],
    /// How long it takes.
    pub pace: Pace,
    /// Answers come only when this is over.
    stalled: bool,
    down: bool,
    /// Commits of which the answer gets lost, or that fail: in thousandths.
    pub flaky: u32,
    /// Hosts that do not reach it.
    cut: BTreeSet<HostId>,
    snapshot: Option<Content>,
}

impl Store {
    /// An empty store.
    #[must_use]
    pub fn new(key: [u8; 32], pace: Pace) -> Store {
        Store {
            memory: Memory::new(),
            key,
            pace,
            stalled: false,
            down: false,
            flaky: 0,
            cut: BTreeSet::new(),
            snapshot: None,
        }
    }

    /// Another copy of its key.
    ///
    /// # Panics
    /// Never: the key has the right length.
    #[must_use]
    pub fn key(&self) -> StoreKey {
        StoreKey::new(&self.key).expect("32 bytes")
    }

    /// Everything fails from now on, or works again.
    pub fn set_down(&mut self, down: bool) {
        self.down = down;
        self.memory.set_down(down.then_some(StoreError::Locked));
    }

    /// Nothing is answered from now on, or it is again.
    pub fn set_stalled(&mut self, stalled: bool) {
        self.stalled = stalled;
    }

    /// Whether answers are held back.
    #[must_use]
    pub fn is_stalled(&self) -> bool {
        self.stalled
    }

    /// A host does not reach the store from now on, or does again.
    pub fn set_cut(&mut self, host: HostId, cut: bool) {
        if cut {
            self.cut.insert(host);
        } else {
            self.cut.remove(&host);
        }
    }

    /// Whether requests of a host are answered, apart from the odd one that fails.
    #[must_use]
    pub fn reaches(&self, host: HostId) -> bool {
        !self.down && !self.stalled && !self.cut.contains(&host)
    }

    /// Whether anything may go wrong at present.
    #[must_use]
    pub fn is_failing(&self) -> bool {
        self.down || self.stalled || self.flaky > 0 || !self.cut.is_empty()
    }

    /// Remembers the present content.
    pub fn take_snapshot(&mut self) {
        self.snapshot = Some(self.memory.snapshot());
    }

    /// Puts the remembered content back, if the record at `key` is another by now; whether it was.
    pub fn roll_back(&mut self, key: &Key) -> bool {
        let Some(content) = self.snapshot.take() else { return false };
        let present = self.memory.snapshot();
        let entry = |memory: &mut Memory| memory.range(key.as_str()).map(|(entries, _)| entries);
        let now = entry(&mut self.memory);
        self.memory.restore(content);
        let before = entry(&mut self.memory);
        let changed = now != before;
        if !changed {
            self.memory.restore(present);
        }
        changed
    }

    /// Carries a request out, with its answer; also gives what was committed.
    pub fn handle(
        &mut self,
        random: &mut Generator,
        host: HostId,
        request: StoreRequest,
    ) -> (Option<StoreReply>, Option<(Transaction, Revision)>) {
        if self.cut.contains(&host) {
            return (refusal(request), None);
        }
        match request {
            StoreRequest::Load { request, prefix } => {
                let reply = match self.memory.range(&prefix) {
                    Ok((entries, revision)) => StoreReply::Loaded { request, entries, revision },
                    Err(error) => StoreReply::Failed { request, error },
                };
                (Some(reply), None)
            }
            StoreRequest::Commit { request, transaction } => {
                if random.chance(self.flaky) {
                    let fails = random.chance(500);
                    let error = StoreError::Failed("an odd moment".to_owned());
                    let fault = if fails { Fault::Fails(error) } else { Fault::AnswerLost };
                    self.memory.push_fault(fault);
                }
                let before = self.revision();
                let outcome = self.memory.commit(core::slice::from_ref(&transaction));
                let after = self.revision();
                let committed = (after > before).then_some((transaction, after));
                let reply = match outcome.map(|mut all| all.pop()) {
                    Ok(Some(outcome)) => StoreReply::Judged { request, outcome },
                    Ok(None) => StoreReply::Judged {
                        request,
                        outcome: Outcome::Refused { failed: Vec::new() },
                    },
                    Err(error) => StoreReply::Failed { request, error },
                };
                (Some(reply), committed)
            }
            StoreRequest::Watch { .. } => (None, None),
        }
    }

    fn revision(&mut self) -> Revision {
        self.memory.revision().unwrap_or_default()
    }

    /// What has changed after a revision; `None` when the store cannot say.
    pub fn changes(&mut self, host: HostId, after: Revision) -> Option<Changes> {
        if self.cut.contains(&host) || self.stalled {
            return None;
        }
        self.memory.changes_since(after, CHANGES_MAX).ok()
    }
}

fn refusal(request: StoreRequest) -> Option<StoreReply> {
    let error = StoreError::Failed("the store is not reached".to_owned());
    match request {
        StoreRequest::Load { request, .. } | StoreRequest::Commit { request, .. } => {
            Some(StoreReply::Failed { request, error })
        }
        StoreRequest::Watch { .. } => None,
    }
}
