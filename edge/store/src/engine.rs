//! What the thread needs of a backend beyond the contract: a cheap look for changes, and a trial
//! whether writing works again.

use vipsec_cluster::store::{Backend, StoreError};

/// A backend that can be driven by the thread.
pub trait Engine: Backend {
    /// Whether anybody else has committed something since the last call. Called every few
    /// milliseconds; it may say yes too often, never no when there is something.
    ///
    /// # Errors
    /// [`StoreError`] when the store is not there any more.
    fn changed(&mut self) -> Result<bool, StoreError>;

    /// Writes something without meaning, to see whether writing works.
    ///
    /// # Errors
    /// [`StoreError`] when it does not.
    fn probe(&mut self) -> Result<(), StoreError>;

    /// Writes something without meaning that is as large as what is usually written, to see
    /// whether a full store has room again.
    ///
    /// # Errors
    /// [`StoreError::Full`] when it has not, others as with [`Engine::probe`].
    fn probe_room(&mut self) -> Result<(), StoreError>;

    /// Puts everything in order before the end of the process. Failing is no harm.
    fn settle(&mut self) {}
}

/// Opens a backend, and opens it again after it was lost.
pub trait Open: Send + 'static {
    /// The backend.
    type Engine: Engine;

    /// Opens it. The first call of a process may create a new store; later ones must find the old.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was changed.
    fn open(&mut self) -> Result<Self::Engine, StoreError>;
}
