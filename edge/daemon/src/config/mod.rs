//! The configuration: TOML text in, values that cannot be wrong out. [`file`] mirrors the text, the
//! other files check it, [`Config`] is the result.
//!
//! Nothing here touches the network or starts anything; the only files read are the configuration
//! itself and those of pre-shared keys.

pub mod address;
pub mod connection;
pub mod core;
mod file;
mod limits;
pub mod mistake;
pub mod node;
pub mod pool;
pub mod proof;
pub mod proposal;
pub mod service;
pub mod store;
pub mod vip;

#[cfg(test)]
mod tests;

use crate::keys;
use mistake::{ConfigError, Mistakes};
use proof::Proof;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use vipsec_wire::secret::SecretBytes;
use zeroize::Zeroizing;

/// Octets below which a pre-shared key is noted as weak.
const PSK_ADVISED: usize = 16;

/// A configuration without mistakes.
#[derive(Debug, Clone)]
pub struct Config {
    /// This node.
    pub node: node::Node,
    /// The store; present on every node that is a candidate.
    pub store: Option<store::Store>,
    /// Times of the cluster.
    pub timers: node::Timers,
    /// All members, this one among them.
    pub members: Vec<node::Member>,
    /// At least one.
    pub vips: Vec<vip::Vip>,
}

impl Config {
    /// Reads and checks the file at `path`, and the files of pre-shared keys that it names.
    ///
    /// # Errors
    /// [`ConfigError`], with every mistake that was found.
    pub fn load(path: &Path) -> Result<Config, ConfigError> {
        let source = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        // It may hold pre-shared keys.
        let source = Zeroizing::new(source);
        let read_psk = |path: &Path| keys::read_psk(path).map_err(|error| crate::explain(&error));
        Config::parse(&source, path, &read_psk)
    }

    /// Checks `source`, the text of `path`; `read_psk` gives the content of a pre-shared key's file.
    ///
    /// # Errors
    /// [`ConfigError::Mistakes`].
    pub fn parse(
        source: &str,
        path: &Path,
        read_psk: &dyn Fn(&Path) -> Result<SecretBytes, String>,
    ) -> Result<Config, ConfigError> {
        let mut mistakes = Mistakes::default();
        let config = check(source, read_psk, &mut mistakes);
        match config {
            Some(config) if mistakes.is_empty() => Ok(config),
            _ => Err(mistakes.into_error(path, source)),
        }
    }

    /// What is allowed but not wise about the file at `path`, where this configuration is from.
    #[must_use]
    pub fn notes(&self, path: &Path) -> Vec<String> {
        let mut notes = Vec::new();
        let connections = self.vips.iter().flat_map(|vip| &vip.connections);
        let has_keys = connections
            .clone()
            .any(|connection| matches!(connection.proof, Proof::Psk { in_place: true, .. }));
        let mode = std::fs::metadata(path).map(|file| file.permissions().mode() & 0o7777);
        if let Ok(mode) = mode
            && has_keys
            && mode & 0o077 != 0
        {
            let file = path.display();
            notes.push(format!(
                "{file}: holds pre-shared keys, and its mode {mode:04o} lets others read them; \
                 mend it with `chmod 600 {file}`, or use `psk_file`"
            ));
        }
        let short = |connection: &&connection::Connection| match &connection.proof {
            Proof::Psk { key, .. } => key.expose().len() < PSK_ADVISED,
            Proof::Pubkey(_) | Proof::Eap(_) => false,
        };
        for connection in connections.filter(short) {
            notes.push(format!(
                "connection {:?}: a pre-shared key of less than {PSK_ADVISED} octets can be guessed \
                 by whoever hears one hand-shake as the gateway",
                connection.name
            ));
        }
        if let Some(store::Place::Sqlite(path)) = self.store.as_ref().map(|store| &store.place)
            && let Some(directory) = path.parent()
            && !directory.as_os_str().is_empty()
            && !directory.is_dir()
        {
            notes.push(format!("{}: the store's directory is not there", directory.display()));
        }
        notes
    }

    /// Whether this node may own `vip`.
    #[must_use]
    pub fn is_candidate_for(&self, vip: &vip::Vip) -> bool {
        vip.candidates.iter().any(|candidate| candidate.node == self.node.name)
    }

    /// Whether this node may own any VIP.
    #[must_use]
    pub fn is_candidate(&self) -> bool {
        self.vips.iter().any(|vip| self.is_candidate_for(vip))
    }

    /// This node as the others know it.
    #[must_use]
    pub fn this_member(&self) -> Option<&node::Member> {
        self.members.iter().find(|member| member.name == self.node.name)
    }
}

fn check(
    source: &str,
    read_psk: &dyn Fn(&Path) -> Result<SecretBytes, String>,
    mistakes: &mut Mistakes,
) -> Option<Config> {
    let file = file::read(source, mistakes);
    if file.node.is_none() && mistakes.is_empty() {
        mistakes.at(0..0, "the section `[node]` is missing; it must give at least `name`");
    }
    let node_section = file.node.as_ref()?;
    let node = node::node(node_section.get_ref(), mistakes)?;
    let store = file.store.as_ref().map(|raw| store::store(raw, mistakes));
    let timers = node::timers(file.cluster.as_ref().unwrap_or(&file::Cluster::default()), mistakes);
    let whole = mistakes.is_empty();
    let members = node::members(&file.members, &node, node_section, mistakes);
    if !whole && members.is_empty() {
        return None;
    }
    let around = vip::Surroundings { node: &node, members: &members, read_psk };
    let vips = vip::vips(&file.vips, &around, mistakes);
    if file.vips.is_empty() && mistakes.is_empty() {
        mistakes.at(0..0, "no VIP; there must be at least one section `[[vip]]`");
    }
    vip::refuse_idle(&file.vips, &vips, &node, mistakes);
    if vip::is_candidate(&vips, &node) && store.is_none() && mistakes.is_empty() {
        let text = "a candidate keeps its SAs in the store; a section `[store]` must be given";
        mistakes.at(vip::first_span(&file.vips), text);
    }
    Some(Config { node, store, timers, members, vips })
}
