//! Running a node: everything is opened, then one loop feeds the pure [`vipsec_node::Node`] and does
//! what it wants done, until somebody says stop.

mod commands;
mod daemon;
mod fencing;
mod log;
mod metrics;
mod outputs;
mod probe;
mod reload;
mod resolve;
mod service;
mod sockets;
mod start;
mod state;

use crate::config::Config;
use crate::keys::{self, KeyFileError};
use std::io;
use std::path::{Path, PathBuf};
use vipsec_crypto::identity::Identity;

/// Why a node cannot run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A key file.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// The identity is not the one that the others know.
    #[error(
        "{}: its public key is {found}, but the member {node} has another `public_key`; \
         correct one of them on all nodes",
        file.display()
    )]
    Identity {
        /// The key file.
        file: PathBuf,
        /// This node.
        node: String,
        /// What the file's public key is.
        found: String,
    },
    /// The directory of the node's state.
    #[error("{}: {what}", path.display())]
    State {
        /// The file or directory.
        path: PathBuf,
        /// What cannot be done with it.
        what: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The list of what was protected at run time holds something else.
    #[error(
        "{}: line {line} is no prefix; the file says what stays closed across a restart of this \
         machine. Correct the line, or remove it if its peer may be reached in clear",
        path.display()
    )]
    Protected {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// The floor file holds something else.
    #[error(
        "{}: line {line} is no floor; the file guards against a store that was rolled back. \
         Remove it only if the store is known to be the newest",
        path.display()
    )]
    Floors {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// The admin socket.
    #[error("admin socket {}", path.display())]
    Socket {
        /// The socket.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The links to the other members.
    #[error(transparent)]
    Links(#[from] crate::link::LinksError),
    /// The data path.
    #[error("the data plane cannot be set up")]
    DataPlane(#[from] vipsec_dataplane::DataPlaneError),
    /// The operating system.
    #[error("{what}")]
    System {
        /// What was being done.
        what: &'static str,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

/// Runs the node until it is told to stop. `file` is where the configuration is from, and is read
/// again when it is told to reload.
///
/// # Errors
/// [`RunError`]; nothing that was set up is left but the fence.
pub fn run(config: Config, file: &Path) -> Result<(), RunError> {
    log::start(config.node.log);
    service::raise_priority();
    let notes = config.notes(file);
    for note in notes {
        tracing::warn!("{note}");
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| RunError::System { what: "start the main loop", source })?;
    runtime.block_on(async {
        let daemon = start::start(config, file).await?;
        daemon.run().await
    })
}

/// Takes the fence away that a node which runs no more has left: from then on traffic to the peers
/// may leave in clear.
///
/// # Errors
/// [`RunError::DataPlane`].
pub async fn open_fence(plane: &str) -> Result<(), RunError> {
    Ok(vipsec_dataplane::remove_fence(plane).await?)
}

/// Name of the data plane of a network namespace.
pub const PLANE: &str = "main";

/// Whether the key files that the configuration names are there and are the right ones.
///
/// # Errors
/// [`RunError::Key`], [`RunError::Identity`].
pub fn check_keys(config: &Config) -> Result<(), RunError> {
    identity(config)?;
    if let Some(store) = &config.store {
        keys::read_store(&store.key)?;
    }
    Ok(())
}

/// The node's identity; `None` when it is alone and has none.
fn identity(config: &Config) -> Result<Option<Identity>, RunError> {
    let Some(file) = &config.node.identity else { return Ok(None) };
    let identity = keys::read_node(file)?;
    let expected = config.this_member().and_then(|member| member.public_key);
    if expected.is_some_and(|expected| expected != identity.public_key()) {
        return Err(RunError::Identity {
            file: file.clone(),
            node: config.node.name.to_string(),
            found: keys::public_to_text(&identity.public_key()),
        });
    }
    Ok(Some(identity))
}
