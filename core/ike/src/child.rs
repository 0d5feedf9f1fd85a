//! A Child SA as the engine knows it: its constant description, which the data path works with, and
//! which IKE SA it belongs to at present.

use vipsec_esp::ChildSa;
use vipsec_wire::id::IkeSaId;

/// A Child SA.
#[derive(Debug, Clone)]
pub(crate) struct Child {
    pub(crate) sa: ChildSa,
    /// The IKE SA that it belongs to; `None` while the record that says so has not come.
    pub(crate) parent: Option<IkeSaId>,
}
