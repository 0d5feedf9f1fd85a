//! The configuration file of a node, as its operator would write it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// Port of the control connections.
pub(super) const CONTROL_PORT: u16 = 7400;
/// Port of the fabric.
pub const FABRIC_PORT: u16 = 7401;

/// What a node's file says. The VIPs are given as text: they are what the tests are about.
#[derive(Debug, Clone)]
pub struct Setup {
    /// The node's name.
    pub name: String,
    /// File and key of the store, for candidates.
    pub store: Option<Store>,
    /// All members; none for a single gateway.
    pub members: Vec<Member>,
    /// `[[vip]]` sections.
    pub vips: String,
    /// Further lines of the `[cluster]` section.
    pub cluster: String,
    /// How much it logs: `info`, `debug`…
    pub log_level: String,
}

/// The backend of a store.
#[derive(Debug, Clone)]
pub enum Place {
    /// The embedded one: its file, shared by the candidates of the lab.
    Sqlite(PathBuf),
    /// An etcd: the URL of a member.
    Etcd(String),
}

/// The store.
#[derive(Debug, Clone)]
pub struct Store {
    /// The backend.
    pub place: Place,
    /// Its key.
    pub key: PathBuf,
    /// `unprotected` or `refuse`.
    pub when_unavailable: String,
}

/// A member of the cluster.
#[derive(Debug, Clone)]
pub struct Member {
    /// Its name.
    pub name: String,
    /// Its public key in base64.
    pub public_key: String,
    /// `candidate`, `target` or both.
    pub roles: Vec<String>,
    /// Address of its control and fabric sockets.
    pub address: String,
}

impl Setup {
    /// The text of the file; the node keeps its own files in `directory`.
    pub(super) fn to_toml(&self, directory: &Path) -> String {
        let mut text = format!("[node]\nname = \"{}\"\n", self.name);
        for (key, file) in [("state_dir", "state"), ("socket", "vipsec.sock")] {
            line(&mut text, &format!("{key} = \"{}\"", directory.join(file).display()));
        }
        line(&mut text, &format!("log = {{ level = {:?}, format = \"text\" }}", self.log_level));
        if !self.members.is_empty() {
            line(&mut text, &format!("identity = \"{}\"", directory.join("node.key").display()));
        }
        if let Some(store) = &self.store {
            line(&mut text, &store.to_toml());
        }
        if !self.cluster.is_empty() {
            line(&mut text, &format!("[cluster]\n{}", self.cluster));
        }
        for member in &self.members {
            line(&mut text, &member.to_toml());
        }
        text.push_str(&self.vips);
        text
    }
}

impl Store {
    fn to_toml(&self) -> String {
        let place = match &self.place {
            Place::Sqlite(file) => format!("kind = \"sqlite\"\npath = \"{}\"", file.display()),
            Place::Etcd(url) => format!("kind = \"etcd\"\nendpoints = [\"{url}\"]"),
        };
        format!(
            "[store]\n{place}\nkey = \"{}\"\nwhen_unavailable = \"{}\"",
            self.key.display(),
            self.when_unavailable
        )
    }
}

impl Member {
    fn to_toml(&self) -> String {
        let Self { name, public_key, roles, address } = self;
        format!(
            "[[member]]\nname = \"{name}\"\npublic_key = \"{public_key}\"\nroles = {roles:?}\n\
             control = \"{address}:{CONTROL_PORT}\"\nfabric = \"{address}:{FABRIC_PORT}\""
        )
    }
}

fn line(text: &mut String, content: &str) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{content}");
}
