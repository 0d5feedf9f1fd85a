//! What is opened before the loop begins, in an order in which nothing answers for a VIP before all
//! of it stands.

use super::daemon::{Daemon, Inputs};
use super::state::StateDir;
use super::{RunError, identity, metrics::Metrics};
use crate::admin::{self, events::EventLog};
use crate::config::store::{Etcd, Place};
use crate::config::{Config, core};
use crate::keys::{self, KeyFileError};
use crate::link::{Links, Local, Peer};
use crate::random::OsRandom;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use vipsec_crypto::identity::Identity;
use vipsec_dataplane::{Clock, DataPlane, Handle, WorkerReport};
use vipsec_node::Node;
use vipsec_path::Path;
use vipsec_store::{EtcdConfig, EtcdLogin, EtcdTls, Pace, Reply, SqliteConfig, Store};

/// Reports of workers that may wait for the loop.
const REPORTS: usize = 8192;

/// Opens everything and makes the node, which has not begun yet.
pub(super) async fn start(config: Config, file: &std::path::Path) -> Result<Daemon, RunError> {
    let clock = Clock::start();
    let state = StateDir::open(&config.node.state_dir)?;
    let identity = identity(&config)?;
    let store_key = config.store.as_ref().map(|store| keys::read_store(&store.key)).transpose()?;
    let failed = |source| RunError::State {
        path: config.node.state_dir.clone(),
        what: "the start cannot be noted",
        source,
    };
    let incarnation = state.incarnation(clock.now());
    let recent_starts = state.note_start(clock.now()).map_err(failed)?;
    let begin = core::Start { incarnation, recent_starts, floors: state.floors().clone() };
    let node = Node::new(core::node(&config, &begin, store_key), Box::new(OsRandom::default()));
    let events = Arc::new(EventLog::default());
    let mut plane_config = core::data_plane(&config, clock);
    plane_config.protected.extend(state.protected());
    let mark = plane_config.mark;
    let links = links(&config, incarnation, mark, identity.as_ref())?;
    let (sender, admin) = mpsc::channel(64);
    let socket = &config.node.socket;
    let api = admin::serve(socket, sender, events.clone())
        .map_err(|source| RunError::Socket { path: socket.clone(), source })?;
    let (store, store_replies) = open_store(&config)?.unzip();
    let (plane, reports) = open_plane(&config, plane_config).await?;
    let inputs = Inputs::new(reports, store_replies, admin, links);
    let metrics = Metrics::new();
    let listings = BTreeMap::new();
    let running = super::reload::Running::new(config, file);
    let daemon = Daemon {
        node,
        clock,
        plane,
        store,
        state,
        events,
        metrics,
        mark,
        api,
        inputs,
        listings,
        running,
    };
    Ok(daemon)
}

/// The data plane and what its workers report.
async fn open_plane(
    config: &Config,
    plane: vipsec_dataplane::Config,
) -> Result<(Handle, mpsc::Receiver<WorkerReport>), RunError> {
    let (reporter, reports) = mpsc::channel(REPORTS);
    let inner_mtu = plane.tun.mtu;
    let make_path =
        |worker| Path::new(core::worker(config, worker, inner_mtu), Box::new(OsRandom::default()));
    Ok((DataPlane::start(plane, make_path, reporter).await?, reports))
}

type OpenStore = (Store, mpsc::Receiver<Reply>);

/// The store of a candidate.
fn open_store(config: &Config) -> Result<Option<OpenStore>, RunError> {
    let Some(store) = config.store.as_ref().filter(|_| config.is_candidate()) else {
        return Ok(None);
    };
    let opened = match &store.place {
        Place::Sqlite(path) => Store::sqlite(SqliteConfig::new(path), Pace::default()),
        Place::Etcd(etcd) => Store::etcd(etcd_config(etcd)?, Pace::etcd()),
    };
    opened.map(Some).map_err(|source| RunError::System { what: "start the store's thread", source })
}

/// Longest wait for an answer of etcd's: longer than an election of its members takes at best.
const ETCD_PATIENCE: Duration = Duration::from_secs(2);

/// The etcd, with what its files hold.
fn etcd_config(etcd: &Etcd) -> Result<EtcdConfig, RunError> {
    let tls = etcd.tls.as_ref().map(|tls| {
        let pair = |(certificate, key): &(PathBuf, PathBuf)| {
            Ok((keys::read_public(certificate)?, keys::read_private(key)?.as_bytes().to_vec()))
        };
        let identity = tls.identity.as_ref().map(pair).transpose()?;
        Ok::<_, KeyFileError>(EtcdTls { ca: keys::read_public(&tls.ca)?, identity })
    });
    let login = etcd.login.as_ref().map(|(user, file)| {
        let password = keys::read_private(file)?.trim_end_matches(['\r', '\n']).to_owned();
        Ok::<_, KeyFileError>(EtcdLogin { user: user.clone(), password })
    });
    Ok(EtcdConfig {
        endpoints: etcd.endpoints.clone(),
        prefix: etcd.prefix.clone(),
        tls: tls.transpose()?,
        login: login.transpose()?,
        compacts: etcd.compact,
        patience: ETCD_PATIENCE,
    })
}

/// The links, when there are others.
fn links(
    config: &Config,
    incarnation: u64,
    mark: u32,
    identity: Option<&Identity>,
) -> Result<Option<Links>, RunError> {
    let (Some(identity), Some(me)) = (identity, config.this_member()) else { return Ok(None) };
    let peers: BTreeMap<_, _> = config
        .members
        .iter()
        .filter(|member| member.name != me.name)
        .filter_map(|member| Some((member.name.clone(), (member.public_key?, member.control))))
        .collect();
    if peers.is_empty() {
        return Ok(None);
    }
    let peers: Vec<Peer> = peers
        .into_iter()
        .map(|(name, (public_key, control))| Peer { name, public_key, control })
        .collect();
    let local = Local {
        name: me.name.clone(),
        incarnation,
        workers: config.node.workers,
        control: me.control,
        mark: Some(mark),
    };
    Ok(Some(Links::start(local, identity, &peers)?))
}
