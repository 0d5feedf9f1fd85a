//! An etcd of one member (Debian's `etcd-server`), for candidates that keep their SAs there.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;

use crate::command::wait_for;
use crate::netns::Namespace;
use crate::process::{Process, Program};
use crate::run::Lab;

/// Port of its clients.
const CLIENT_PORT: u16 = 2379;
/// Port of its members.
const PEER_PORT: u16 = 2380;
/// Longest wait until it serves.
const PATIENCE: Duration = Duration::from_secs(30);

/// Starts it in a namespace at an address of it (an IPv6 one in brackets), and waits until it
/// serves; its URL is given besides.
///
/// # Errors
/// When it does not come up.
pub fn start(lab: &Lab, namespace: &Namespace, address: &str) -> Result<(Process, String)> {
    let directory = lab.subdirectory("etcd")?;
    let log = directory.join("etcd.log");
    let url = |port: u16| format!("http://{address}:{port}");
    let (client, peer) = (url(CLIENT_PORT), url(PEER_PORT));
    let data = directory.join("data").display().to_string();
    let cluster = format!("only={peer}");
    let arguments = [
        ("--name", "only"),
        ("--data-dir", &data),
        ("--listen-client-urls", &client),
        ("--advertise-client-urls", &client),
        ("--listen-peer-urls", &peer),
        ("--initial-advertise-peer-urls", &peer),
        ("--initial-cluster", &cluster),
    ];
    let arguments = arguments.iter().flat_map(|(name, value)| [*name, *value].map(str::to_owned));
    let process = Process::start(Program {
        namespace: namespace.clone(),
        path: PathBuf::from("/usr/bin/etcd"),
        arguments: arguments.collect(),
        environment: Vec::new(),
        log: log.clone(),
        lasting: false,
    })?;
    wait_for("etcd to serve", PATIENCE, || {
        let text = fs::read_to_string(&log).unwrap_or_default();
        Ok(text.contains("serving insecure client requests").then_some(()))
    })?;
    Ok((process, client))
}
