//! The contract of the store: a map of keys to values with one global revision, transactions with
//! conditions, and a log of changes to follow.
//!
//! Every backend is linearizable (a transaction that is committed is seen by every read that begins
//! later, in every process) and durable (what is committed survives the loss of power). It knows
//! nothing of what the values mean; they are sealed before they come here.
//!
//! [`memory`] is a backend for tests and the simulator; with the feature `contract` there is the
//! test suite that every backend has to pass.

#[cfg(any(test, feature = "contract"))]
pub mod contract;
mod keys;
mod limits;
pub mod memory;

use core::fmt;

/// Grows with every committed transaction that changed something, over the whole store; by one, unless
/// the backend has other users beside us. 0 is the empty store before the first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub u64);

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The name of a value: text with `/` between its parts, such as `vip/192.0.2.10/epoch`. Ordered
/// by its bytes. At most [`Key::BYTES_MAX`] bytes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(String);

/// One value in the store.
#[derive(Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub key: Key,
    /// Its sealed content, at most [`VALUE_BYTES_MAX`] bytes.
    pub value: Vec<u8>,
    /// The transaction that put it there.
    pub revision: Revision,
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{} ({} bytes)", self.key, self.revision, self.value.len())
    }
}

/// Longest value in bytes.
pub const VALUE_BYTES_MAX: usize = 1 << 20;
/// Most operations and conditions of one transaction together.
pub const TRANSACTION_MAX: usize = 4000;
/// Most conditions of one transaction.
pub const CONDITIONS_MAX: usize = 64;

/// What must hold for a transaction to be committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// The key was last changed by this transaction.
    RevisionIs {
        /// The key.
        key: Key,
        /// Its revision; `None`: the key must not be there.
        revision: Option<Revision>,
    },
}

impl Condition {
    /// The key that it looks at.
    #[must_use]
    pub fn key(&self) -> &Key {
        let Condition::RevisionIs { key, .. } = self;
        key
    }
}

/// One step of a transaction; later steps see earlier ones.
#[derive(Clone, PartialEq, Eq)]
pub enum Operation {
    /// Puts the value there, whatever was there before.
    Put {
        /// The key.
        key: Key,
        /// The value.
        value: Vec<u8>,
    },
    /// Takes the value away; nothing happens if there is none.
    Delete {
        /// The key.
        key: Key,
    },
    /// Takes every value away whose key begins so.
    DeletePrefix {
        /// The beginning; never empty.
        prefix: String,
    },
}

impl fmt::Debug for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Operation::Put { key, value } => write!(f, "put {key} ({} bytes)", value.len()),
            Operation::Delete { key } => write!(f, "delete {key}"),
            Operation::DeletePrefix { prefix } => write!(f, "delete {prefix}*"),
        }
    }
}

/// Steps that happen together, or not at all when a condition does not hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Transaction {
    /// All of them must hold, in the state before the first step.
    pub conditions: Vec<Condition>,
    /// The steps.
    pub operations: Vec<Operation>,
}

/// What became of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Durable. The store's revision after it, and that of every key that it put. A transaction
    /// without steps leaves the revision as it was; one whose steps find nothing to change may.
    Committed(Revision),
    /// Nothing was changed.
    Refused {
        /// The keys whose condition did not hold.
        failed: Vec<Key>,
    },
}

/// One step in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A value was put.
    Put(Entry),
    /// A value was taken away.
    Deleted {
        /// The key.
        key: Key,
        /// By which transaction.
        revision: Revision,
    },
}

impl Change {
    /// The key that changed.
    #[must_use]
    pub fn key(&self) -> &Key {
        match self {
            Change::Put(entry) => &entry.key,
            Change::Deleted { key, .. } => key,
        }
    }

    /// The transaction that did it.
    #[must_use]
    pub fn revision(&self) -> Revision {
        match self {
            Change::Put(entry) => entry.revision,
            Change::Deleted { revision, .. } => *revision,
        }
    }
}

/// The changes after a revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Changes {
    /// In their order. Of a key that changed several times only the last change is certain to be
    /// here.
    Some {
        /// The changes; those of one transaction are never torn apart.
        changes: Vec<Change>,
        /// Up to which revision they go: where to ask next.
        up_to: Revision,
        /// There are more: ask again at once.
        more: bool,
    },
    /// The log does not go back so far, or the store's revision is lower than the one asked for (a
    /// store that was rolled back): read the range again.
    Compacted,
}

/// A store. The calls block; whoever needs to go on meanwhile gives it a thread.
pub trait Backend {
    /// All entries whose key begins with `prefix`, by key, and the store's revision at that point.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was read.
    fn range(&mut self, prefix: &str) -> Result<(Vec<Entry>, Revision), StoreError>;

    /// Commits the transactions of a batch durably together, each judged on its own and in order:
    /// a refused one does not fail the others, a later one sees the earlier ones.
    ///
    /// # Errors
    /// [`StoreError`]. With [`StoreError::is_ambiguous`] it is not known which transactions of the batch
    /// were committed, otherwise none was. No transaction is ever committed in part.
    fn commit(&mut self, batch: &[Transaction]) -> Result<Vec<Outcome>, StoreError>;

    /// The changes after `after`, at least all of one transaction, and not many more than `limit`.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was read.
    fn changes_since(&mut self, after: Revision, limit: usize) -> Result<Changes, StoreError>;

    /// The store's revision.
    ///
    /// # Errors
    /// [`StoreError`].
    fn revision(&mut self) -> Result<Revision, StoreError>;

    /// Forgets the log up to and including `up_to`; the entries themselves stay.
    ///
    /// # Errors
    /// [`StoreError`].
    fn compact(&mut self, up_to: Revision) -> Result<(), StoreError>;
}

/// What a store could not do, or will not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// No space is left for it.
    #[error("no space left for the store")]
    Full,
    /// Somebody else holds it for longer than we wait.
    #[error("the store is locked by another process")]
    Locked,
    /// It was there and is not any more, or was replaced under us.
    #[error("the store is gone: {0}")]
    Gone(String),
    /// It cannot be written.
    #[error("the store cannot be written: {0}")]
    ReadOnly(String),
    /// It cannot be opened for want of a right.
    #[error("the store may not be opened: {0}")]
    Denied(String),
    /// Its content is damaged. It is left as it is.
    #[error("the store is damaged: {0}")]
    Corrupt(String),
    /// It is something else. It is left as it is.
    #[error("this is no vipsec store: {0}")]
    Foreign(String),
    /// It was written by a later version. It is left as it is.
    #[error("the store has schema version {found}, this program knows up to {known}")]
    TooNew {
        /// The version found.
        found: i64,
        /// The latest version known.
        known: i64,
    },
    /// A key, value or transaction is too large. The caller's fault.
    #[error("too large for the store: {0}")]
    TooLarge(String),
    /// The store failed in another way.
    #[error("the store failed: {0}")]
    Failed(String),
    /// The store failed at the very moment of commit: it may or may not have happened.
    #[error("the store failed while committing: {0}")]
    Ambiguous(String),
}

impl StoreError {
    /// Whether the batch may have been committed all the same.
    #[must_use]
    pub fn is_ambiguous(&self) -> bool {
        matches!(self, StoreError::Ambiguous(_))
    }

    /// Whether it may pass by itself, so that trying again has a point. Damaged and foreign files
    /// are tried again as well, but only after somebody has put another one there.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        !matches!(
            self,
            StoreError::Corrupt(_)
                | StoreError::Foreign(_)
                | StoreError::TooNew { .. }
                | StoreError::TooLarge(_)
        )
    }
}
