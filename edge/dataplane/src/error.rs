//! What can go wrong when a data plane is set up, changed or taken down. Packets never raise these:
//! what goes wrong with a packet is counted.

use std::io;

/// A failure of the data plane. All are local: the peer cannot cause them.
#[derive(Debug, thiserror::Error)]
pub enum DataPlaneError {
    /// A system call on a socket, device or file failed.
    #[error("{what}")]
    Io {
        /// What was being done, with the name of the object.
        what: String,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// The kernel refused a change of links, addresses, routes or rules.
    #[error("{what}")]
    Netlink {
        /// What was being done, with the name of the object.
        what: String,
        /// The kernel's answer.
        #[source]
        source: rtnetlink::Error,
    },
    /// A named interface is not there.
    #[error("interface {0:?} does not exist")]
    NoInterface(String),
    /// `nft` refused the rules.
    #[error("nft refused the fence: {0}")]
    Fence(String),
    /// What an SA protects cannot be added to the fence.
    #[error("the fence cannot be extended: {0}")]
    Unfenced(String),
    /// A value in the configuration that cannot be used.
    #[error("{0}")]
    Config(String),
    /// Another data plane lives in this network namespace.
    #[error("another vipsec data plane runs in this network namespace")]
    AlreadyRunning,
    /// A worker does not take its commands any more.
    #[error("worker {0} does not take commands")]
    WorkerStuck(u16),
}

impl DataPlaneError {
    /// Wraps what a system call said.
    pub(crate) fn io(what: impl Into<String>, source: io::Error) -> DataPlaneError {
        DataPlaneError::Io { what: what.into(), source }
    }

    /// Wraps what netlink said.
    pub(crate) fn netlink(what: impl Into<String>, source: rtnetlink::Error) -> DataPlaneError {
        DataPlaneError::Netlink { what: what.into(), source }
    }
}
