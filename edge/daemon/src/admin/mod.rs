//! The admin API: HTTP/1 over a Unix socket that its owner alone may use. Requests that concern the
//! node are handed to the main loop and answered by it; nothing is decided here.

mod api;
pub mod events;
mod socket;
#[cfg(test)]
mod tests;

use events::EventLog;
use serde_json::Value;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::net::UnixListener;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use vipsec_wire::id::NodeName;

/// What an administrator asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// The node, its cluster, its VIPs.
    Status,
    /// IKE SAs with their Child SAs.
    Sas,
    /// Connections of services.
    Connections,
    /// Addresses of pools and whose they are.
    Leases,
    /// All counters, in Prometheus' text form.
    Metrics,
    /// Move a VIP.
    Transfer {
        /// Which.
        vip: IpAddr,
        /// To whom.
        to: NodeName,
    },
    /// Read the configuration file again.
    Reload,
    /// End the process.
    Stop {
        /// Also take the fence down.
        open: bool,
    },
    /// Rekey an SA.
    Rekey(SaRef),
    /// Delete an SA.
    Terminate(SaRef),
    /// Begin a connection.
    Initiate {
        /// The VIP; may be left out where there is one.
        vip: Option<IpAddr>,
        /// The connection's name.
        connection: String,
        /// The child's name.
        child: String,
    },
    /// Go on with a store that was rolled back.
    AcceptRollback {
        /// Which VIP.
        vip: IpAddr,
    },
}

/// Names one SA.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SaRef {
    /// Of which kind.
    pub kind: SaKind,
    /// An IKE SA's identifier or a Child SA's inbound SPI, in hexadecimal as `sas` shows it; or the
    /// name of a connection or child that has one SA.
    pub name: String,
}

/// A kind of SA.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SaKind {
    /// IKE SA.
    Ike,
    /// Child SA.
    Child,
}

/// A command and where its answer goes.
#[derive(Debug)]
pub struct Request {
    /// What is asked for.
    pub command: Command,
    /// The answer.
    pub reply: oneshot::Sender<Result<Value, Failure>>,
}

/// Why a command was not carried out; nothing has changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The request makes no sense.
    #[error("{0}")]
    Bad(String),
    /// What it names is not there.
    #[error("{0}")]
    NotFound(String),
    /// It cannot be done as things stand.
    #[error("{0}")]
    Refused(String),
}

/// An API that is served. Dropped, it is not any more, and its socket is gone.
#[derive(Debug)]
pub struct Served {
    path: PathBuf,
    task: JoinHandle<io::Result<()>>,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.task.abort();
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Begins to serve the API on the socket at `path`.
///
/// # Errors
/// When the socket cannot be made, or another vipsec answers on it.
pub fn serve(
    path: &Path,
    requests: mpsc::Sender<Request>,
    events: Arc<EventLog>,
) -> io::Result<Served> {
    let listener: UnixListener = socket::bind(path)?;
    let router = api::router(requests, events);
    let task = tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(Served { path: path.to_owned(), task })
}
