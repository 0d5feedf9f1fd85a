//! Links: one control connection with every other member, TCP with TLS 1.3 (design section 8).
//! Both ends open; of two at once the one opened by the lower name stays. After some hours the lower
//! name opens a new one in its place. What goes through it is opaque here, except for the greeting.
//!
//! The end of a connection is news: a kernel closes those of a process that has died, so it is told
//! at once.

mod connection;
mod dial;
mod registry;
mod socket;
#[cfg(test)]
mod tests;
pub mod tls;

use crate::random::OsRandom;
use registry::Registry;
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use tokio::time::timeout;
use vipsec_crypto::Random;
use vipsec_crypto::identity::{Identity, PublicKey};
use vipsec_node::FabricSecrets;
use vipsec_wire::ParseError;
use vipsec_wire::id::NodeName;
use vipsec_wire::secret::SecretBytes;
use zeroize::Zeroizing;

/// Frames that may wait for one peer. One that does not take them is lost.
const WAITING: usize = 4096;
/// About the age at which a link is renewed.
const RENEWAL: Duration = Duration::from_secs(8 * 3600);

/// This end of all links.
#[derive(Debug, Clone)]
pub struct Local {
    /// Our name.
    pub name: NodeName,
    /// Our process: greater than that of every earlier process of this node.
    pub incarnation: u64,
    /// How many workers we have, 1 to 256.
    pub workers: u16,
    /// Where we accept connections, and from where we open them.
    pub control: SocketAddr,
    /// The mark of our own packets; `None` where nothing looks at it.
    pub mark: Option<u32>,
}

/// Another member.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Its name.
    pub name: NodeName,
    /// Its key.
    pub public_key: PublicKey,
    /// Where it accepts connections.
    pub control: SocketAddr,
}

/// What happens on the links.
#[derive(Debug)]
pub enum LinkEvent {
    /// A connection stands.
    Up {
        /// With whom.
        node: NodeName,
        /// The peer's process.
        incarnation: u64,
        /// What the keys of the fabric are made from; never the same twice.
        secrets: FabricSecrets,
    },
    /// A frame came.
    Message {
        /// From whom.
        node: NodeName,
        /// Its content.
        content: Zeroizing<Vec<u8>>,
    },
    /// The connection is gone.
    Down {
        /// With whom.
        node: NodeName,
        /// Whether the peer's kernel closed it without a word: most likely the process is dead.
        closed_by_kernel: bool,
    },
}

/// Why a connection did not come up or did not last.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The network, or TLS within it.
    #[error("the connection broke")]
    Io(#[from] io::Error),
    /// TLS gave no keys.
    #[error("the connection gives no keys")]
    Tls(#[from] rustls::Error),
    /// The peer sent what cannot be read.
    #[error("the peer sent what cannot be read")]
    Parse(#[from] ParseError),
    /// Its greeting names another node than its key.
    #[error("the peer calls itself {claimed}, but its key is that of {proven}")]
    Name {
        /// What it says.
        claimed: NodeName,
        /// What it has proven.
        proven: NodeName,
    },
    /// It did not greet.
    #[error("the peer did not greet")]
    NoHello,
    /// It did not answer in time.
    #[error("the peer did not answer in time")]
    Timeout,
    /// A better connection stands, or one end has taken this one down.
    #[error("taken down")]
    Retired,
}

/// What the tasks of all links share.
struct Shared {
    local: Local,
    state: Mutex<State>,
    /// Woken whenever a connection ends.
    ended: Notify,
    events: mpsc::Sender<(u64, LinkEvent)>,
}

#[derive(Default)]
struct State {
    registry: Registry,
    /// Of the connections that count.
    senders: BTreeMap<NodeName, mpsc::Sender<SecretBytes>>,
    next_id: u64,
    /// No further connection counts.
    closing: bool,
}

impl State {
    fn is_needed(&self, peer: &NodeName) -> bool {
        !self.closing && !self.registry.has(peer)
    }
}

impl Shared {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All links of this node. Dropped, they are cut without a word.
pub struct Links {
    shared: Arc<Shared>,
    tasks: JoinSet<()>,
    events: mpsc::Receiver<(u64, LinkEvent)>,
    /// Which connection's events count, as far as events have been handed out.
    counting: BTreeMap<NodeName, u64>,
}

impl Links {
    /// Begins to accept and to open connections. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// When the address cannot be listened on or the identity not be used.
    pub fn start(local: Local, identity: &Identity, peers: &[Peer]) -> Result<Links, LinksError> {
        let tls = tls::Tls::new(identity)?;
        let listener = socket::listen(local.control, local.mark)
            .map_err(|source| LinksError::Listen { address: local.control, source })?;
        let (sender, events) = mpsc::channel(1024);
        let state = Mutex::new(State::default());
        let shared = Arc::new(Shared { local, state, ended: Notify::new(), events: sender });
        let mut tasks = JoinSet::new();
        let server = tls.server(peers.iter().map(|peer| peer.public_key).collect())?;
        tasks.spawn(dial::accept(shared.clone(), listener, server, peers.to_vec()));
        for peer in peers {
            let client = tls.client(peer.public_key)?;
            tasks.spawn(dial::keep_open(shared.clone(), client.clone(), peer.clone()));
            if shared.local.name < peer.name {
                tasks.spawn(dial::renew(shared.clone(), client, peer.clone(), renewal()));
            }
        }
        Ok(Links { shared, tasks, events, counting: BTreeMap::new() })
    }

    /// Sends a frame of `content` to `node`; dropped when there is no connection. A peer that does
    /// not take its frames is cut off.
    pub fn send(&self, node: &NodeName, content: SecretBytes) {
        let mut state = self.shared.state();
        let Some(sender) = state.senders.get(node) else { return };
        if let Err(mpsc::error::TrySendError::Full(_)) = sender.try_send(content) {
            tracing::warn!(%node, "does not take its messages; the link is cut");
            state.senders.remove(node);
        }
    }

    /// The next thing that happens. Cancel-safe.
    pub async fn next_event(&mut self) -> LinkEvent {
        loop {
            let Some((id, event)) = self.events.recv().await else {
                return std::future::pending().await;
            };
            if self.counts(id, &event) {
                return event;
            }
        }
    }

    /// Events of a replaced connection may come late: only those of the last one that came up count.
    fn counts(&mut self, id: u64, event: &LinkEvent) -> bool {
        match event {
            LinkEvent::Up { node, .. } => {
                self.counting.insert(node.clone(), id);
                true
            }
            LinkEvent::Message { node, .. } => self.counting.get(node) == Some(&id),
            LinkEvent::Down { node, .. } => {
                let counts = self.counting.get(node) == Some(&id);
                if counts {
                    self.counting.remove(node);
                }
                counts
            }
        }
    }

    /// Takes all links down in words, so that nobody takes it for a death.
    pub async fn shut_down(mut self) {
        {
            let mut state = self.shared.state();
            state.closing = true;
            state.senders.clear();
        }
        let ended = async {
            while !self.shared.state().registry.is_empty() {
                let _ = timeout(Duration::from_millis(10), self.events.recv()).await;
            }
        };
        let _ = timeout(Duration::from_millis(500), ended).await;
        self.tasks.shutdown().await;
    }
}

/// The age at which a link is renewed: within an eighth of [`RENEWAL`], so that not all are renewed
/// at once.
fn renewal() -> Duration {
    let mut byte = [0];
    OsRandom::default().fill(&mut byte);
    RENEWAL * 7 / 8 + RENEWAL / 4 * u32::from(byte[0]) / 255
}

/// Why there can be no links at all.
#[derive(Debug, thiserror::Error)]
pub enum LinksError {
    /// TLS.
    #[error(transparent)]
    Tls(#[from] tls::TlsError),
    /// The address of control connections.
    #[error("control connections cannot be accepted on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
}
