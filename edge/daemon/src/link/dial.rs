//! Opening connections to members and accepting theirs, over and over, until one counts.

use super::connection::{self, End, Greeted, Inbox};
use super::registry::{Candidate, Verdict};
use super::{LinkError, LinkEvent, Peer, Shared, WAITING, socket, tls};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ServerConfig};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};
use vipsec_wire::id::NodeName;

/// Longest wait for a TCP connection, and again for TLS and the greeting.
const PATIENCE: Duration = Duration::from_secs(2);
/// First and longest pause before another try.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));
/// How long the higher name lets the lower one go first.
const COURTESY: Duration = Duration::from_millis(100);
/// Handshakes that may be under way at once.
const HANDSHAKES: usize = 16;

/// Keeps a connection with `peer` open.
pub(super) async fn keep_open(shared: Arc<Shared>, tls: Arc<ClientConfig>, peer: Peer) {
    if peer.name < shared.local.name {
        sleep(COURTESY).await;
    }
    let mut pause = PAUSE.0;
    loop {
        until_needed(&shared, &peer.name).await;
        let began = Instant::now();
        match open(&shared, &tls, &peer).await {
            Ok(greeted) => serve(&shared, greeted, &peer.name, true).await,
            Err(error) => {
                let why = crate::explain(&error);
                tracing::debug!(node = %peer.name, why, "no link");
            }
        }
        pause = if began.elapsed() > PAUSE.1 { PAUSE.0 } else { (pause * 2).min(PAUSE.1) };
        sleep(pause).await;
    }
}

/// Opens another connection with `peer` whenever the one that counts is older than `age`, so that
/// the keys of TLS and of the fabric do not live for ever. Only one end does this.
pub(super) async fn renew(shared: Arc<Shared>, tls: Arc<ClientConfig>, peer: Peer, age: Duration) {
    let mut connections = JoinSet::new();
    loop {
        until_old(&shared, &peer.name, age).await;
        while connections.try_join_next().is_some() {}
        match open(&shared, &tls, &peer).await {
            Ok(greeted) => {
                let (shared, node) = (shared.clone(), peer.name.clone());
                connections.spawn(async move { serve(&shared, greeted, &node, true).await });
            }
            Err(error) => {
                let why = crate::explain(&error);
                tracing::debug!(node = %peer.name, why, "the link is not renewed yet");
            }
        }
        sleep(age / 100).await;
    }
}

/// Waits until the connection with `peer` is older than `age`.
async fn until_old(shared: &Shared, peer: &NodeName, age: Duration) {
    loop {
        let since = shared.state().registry.since(peer);
        let left = since.map_or(age / 100, |since| age.saturating_sub(since.elapsed()));
        if left.is_zero() {
            return;
        }
        sleep(left).await;
    }
}

/// Waits while a connection with `peer` stands.
async fn until_needed(shared: &Shared, peer: &NodeName) {
    loop {
        let ended = shared.ended.notified();
        if shared.state().is_needed(peer) {
            return;
        }
        ended.await;
    }
}

async fn open(
    shared: &Shared,
    tls: &Arc<ClientConfig>,
    peer: &Peer,
) -> Result<Greeted<TcpStream>, LinkError> {
    let local = &shared.local;
    let connecting = socket::connect(local.control, peer.control, local.mark);
    let stream = timeout(PATIENCE, connecting).await.map_err(|_| LinkError::Timeout)??;
    let name = ServerName::from(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    let handshake = async {
        let stream = TlsConnector::from(tls.clone()).connect(name, stream).await?;
        connection::greet(TlsStream::from(stream), local, &peer.name).await
    };
    timeout(PATIENCE, handshake).await.map_err(|_| LinkError::Timeout)?
}

/// Accepts the connections of `peers`.
pub(super) async fn accept(
    shared: Arc<Shared>,
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    peers: Vec<Peer>,
) {
    let door = Door::new(&peers);
    let peers = Arc::new(peers);
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
        };
        let Ok((stream, from)) = accepted else {
            sleep(PAUSE.0).await;
            continue;
        };
        let Some(permit) = door.admit(from.ip()) else { continue };
        let (shared, tls, peers) = (shared.clone(), tls.clone(), peers.clone());
        connections.spawn(async move {
            let answered = timeout(PATIENCE, answer(&shared, stream, tls, &peers)).await;
            drop(permit);
            match answered.unwrap_or(Err(LinkError::Timeout)) {
                Ok((greeted, node)) => serve(&shared, greeted, &node, false).await,
                Err(error) => {
                    let why = crate::explain(&error);
                    tracing::debug!(%from, why, "a control connection was refused");
                }
            }
        });
    }
}

/// How many may be in the handshake at once. Strangers have a door of their own, so that they
/// cannot stand in the members' way.
struct Door {
    addresses: BTreeSet<IpAddr>,
    members: Arc<Semaphore>,
    strangers: Arc<Semaphore>,
}

impl Door {
    fn new(peers: &[Peer]) -> Door {
        Door {
            addresses: peers.iter().map(|peer| peer.control.ip()).collect(),
            members: Arc::new(Semaphore::new(HANDSHAKES.max(2 * peers.len()))),
            strangers: Arc::new(Semaphore::new(HANDSHAKES)),
        }
    }

    /// Room for one from this address; `None` when there is none.
    fn admit(&self, from: IpAddr) -> Option<OwnedSemaphorePermit> {
        let known = self.addresses.contains(&from);
        let room = if known { &self.members } else { &self.strangers };
        room.clone().try_acquire_owned().ok()
    }
}

async fn answer(
    shared: &Shared,
    stream: TcpStream,
    tls: Arc<ServerConfig>,
    peers: &[Peer],
) -> Result<(Greeted<TcpStream>, NodeName), LinkError> {
    let stream = socket::tune(stream)?;
    let stream = TlsStream::from(TlsAcceptor::from(tls).accept(stream).await?);
    let key = tls::peer_key(stream.get_ref().1.peer_certificates());
    let peer = peers.iter().find(|peer| Some(peer.public_key) == key);
    let peer = peer.ok_or(LinkError::NoHello)?.name.clone();
    let greeted = connection::greet(stream, &shared.local, &peer).await?;
    Ok((greeted, peer))
}

/// Serves a greeted connection to its end, if it counts.
async fn serve(shared: &Shared, greeted: Greeted<TcpStream>, node: &NodeName, opened_here: bool) {
    let incarnation = greeted.hello.incarnation;
    let secrets = match connection::fabric_secrets(&greeted, &shared.local.name) {
        Ok(secrets) => secrets,
        Err(error) => {
            tracing::error!(%node, why = crate::explain(&error), "no keys for the fabric");
            return;
        }
    };
    let (sender, mut outgoing) = mpsc::channel(WAITING);
    let Some((id, replaced)) = admit(shared, node, incarnation, opened_here, sender) else {
        drop(outgoing);
        connection::retire(greeted).await;
        return;
    };
    let inbox = Inbox { id, node, events: &shared.events };
    if let Some(old) = replaced {
        let down = LinkEvent::Down { node: node.clone(), closed_by_kernel: false };
        let _ = shared.events.send((old, down)).await;
    }
    inbox.tell(LinkEvent::Up { node: node.clone(), incarnation, secrets }).await;
    let end = connection::run(greeted, &mut outgoing, &inbox).await;
    {
        let mut state = shared.state();
        if state.registry.remove(node, id) {
            state.senders.remove(node);
        }
    }
    shared.ended.notify_waiters();
    let closed_by_kernel = match end {
        End::Closed => true,
        End::Lost(error) => {
            tracing::debug!(%node, why = crate::explain(&error), "link lost");
            false
        }
    };
    inbox.tell(LinkEvent::Down { node: node.clone(), closed_by_kernel }).await;
}

/// Lets a connection count, if it is the better one: its number and that of the one it replaces. The
/// replaced one sees that nobody can send on it any more, and ends.
fn admit(
    shared: &Shared,
    node: &NodeName,
    incarnation: u64,
    opened_here: bool,
    sender: mpsc::Sender<vipsec_wire::secret::SecretBytes>,
) -> Option<(u64, Option<u64>)> {
    let mut state = shared.state();
    if state.closing {
        return None;
    }
    state.next_id += 1;
    let id = state.next_id;
    let opened_by_lower = opened_here == (shared.local.name < *node);
    let candidate = Candidate { id, opened_by_lower, incarnation, since: Instant::now() };
    match state.registry.offer(node, candidate) {
        Verdict::Counts { replaces } => {
            state.senders.insert(node.clone(), sender);
            Some((id, replaces))
        }
        Verdict::Surplus => None,
    }
}
