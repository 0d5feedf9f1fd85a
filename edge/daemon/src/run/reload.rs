//! The configuration file read again while the node runs. Connections, pools and protected prefixes
//! may change; whatever else differs needs a restart, and then nothing is changed at all. SAs of what
//! did not change are not touched.

use super::daemon::Daemon;
use crate::admin::Failure;
use crate::config::connection::Connection;
use crate::config::vip::Vip;
use crate::config::{Config, core};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use tokio::sync::oneshot;

/// The configuration that the node runs with.
pub(super) struct Running {
    file: PathBuf,
    config: Config,
    /// Who waits for the answer to a reload.
    pub(super) asked: Vec<oneshot::Sender<Result<Value, Failure>>>,
}

/// What became of connections, each with its VIP.
#[derive(Debug, Default, PartialEq, Eq)]
struct Difference {
    added: Vec<String>,
    changed: Vec<String>,
    removed: Vec<String>,
}

impl Running {
    pub(super) fn new(config: Config, file: &Path) -> Running {
        Running { file: file.to_owned(), config, asked: Vec::new() }
    }
}

impl Daemon {
    /// Carries a reload out that an administrator has asked for.
    pub(super) async fn answer_reload(&mut self) {
        for reply in std::mem::take(&mut self.running.asked) {
            let answer = self.reload().await;
            let _ = reply.send(answer);
        }
    }

    pub(super) async fn reload_for_signal(&mut self) {
        match self.reload().await {
            Ok(answer) => tracing::info!("{}", answer["text"].as_str().unwrap_or("reloaded")),
            Err(failure) => tracing::error!("the configuration stays as it was: {failure}"),
        }
    }

    async fn reload(&mut self) -> Result<Value, Failure> {
        let file = &self.running.file;
        let config = Config::load(file).map_err(|error| Failure::Bad(crate::explain(&error)))?;
        let fixed = needs_restart(&self.running.config, &config);
        if !fixed.is_empty() {
            return Err(Failure::Refused(format!(
                "{}: nothing was changed, for this needs a restart: {}",
                file.display(),
                fixed.join(", ")
            )));
        }
        self.protect_more(&config).await?;
        let notes = config.notes(file);
        let difference = difference(&self.running.config, &config);
        self.node.handle_config(self.clock.now(), core::vips(&config));
        self.running.config = config;
        self.carry_out().await;
        for note in &notes {
            tracing::warn!("{note}");
        }
        Ok(difference.answer(&notes))
    }

    /// Closes what is protected from now on. What is not any more stays closed until a restart:
    /// late packets of its SAs must not leave in clear.
    async fn protect_more(&self, config: &Config) -> Result<(), Failure> {
        let all = config.vips.iter().flat_map(|vip| &vip.protected);
        let all = core::dataplane_prefixes(all);
        self.plane.protect(&all).await.map_err(|error| {
            Failure::Refused(format!("nothing was changed: {}", crate::explain(&error)))
        })?;
        Ok(())
    }
}

/// The parts of a configuration that differ and cannot change while the node runs.
fn needs_restart(old: &Config, new: &Config) -> Vec<String> {
    let parts = [
        (old.node == new.node, "[node]"),
        (old.store == new.store, "[store]"),
        (old.timers == new.timers, "[cluster]"),
        (old.members == new.members, "[[member]]"),
    ];
    let differ = parts.into_iter().filter(|(same, _)| !same);
    let mut all: Vec<String> = differ.map(|(_, name)| name.to_owned()).collect();
    for vip in old.vips.iter().filter(|vip| find(new, vip).is_none()) {
        all.push(format!("[[vip]] {} is gone", vip.address));
    }
    for vip in &new.vips {
        match find(old, vip) {
            None => all.push(format!("[[vip]] {} is new", vip.address)),
            Some(before) if is_same_but_for_connections(before, vip) => {}
            Some(_) => all.push(format!("[[vip]] {} itself or its services", vip.address)),
        }
    }
    all
}

fn find<'a>(config: &'a Config, vip: &Vip) -> Option<&'a Vip> {
    config.vips.iter().find(|other| other.address == vip.address)
}

fn is_same_but_for_connections(old: &Vip, new: &Vip) -> bool {
    let Vip { connections, pools, protected, .. } = new.clone();
    Vip { connections, pools, protected, ..old.clone() } == *new
}

/// Connections that have come, changed or gone; one changes with its pools.
fn difference(old: &Config, new: &Config) -> Difference {
    let mut difference = Difference::default();
    let name = |vip: &Vip, connection: &Connection| match new.vips.len() {
        1 => connection.name.clone(),
        _ => format!("{} of {}", connection.name, vip.address),
    };
    for vip in &new.vips {
        let Some(before) = find(old, vip) else { continue };
        for connection in &vip.connections {
            match before.connections.iter().find(|other| other.name == connection.name) {
                None => difference.added.push(name(vip, connection)),
                Some(other) if other == connection && pools(before, other) == pools(vip, other) => {
                }
                Some(_) => difference.changed.push(name(vip, connection)),
            }
        }
        let gone = |c: &&Connection| vip.connections.iter().all(|other| other.name != c.name);
        let gone = before.connections.iter().filter(gone);
        difference.removed.extend(gone.map(|connection| name(vip, connection)));
    }
    difference
}

fn pools<'a>(vip: &'a Vip, connection: &Connection) -> Vec<&'a crate::config::pool::Pool> {
    vip.pools.iter().filter(|pool| connection.pools.contains(&pool.name)).collect()
}

impl Difference {
    fn answer(&self, notes: &[String]) -> Value {
        let parts =
            [("added", &self.added), ("changed", &self.changed), ("removed", &self.removed)];
        let said = parts.iter().filter(|(_, names)| !names.is_empty());
        let said: Vec<String> =
            said.map(|(what, names)| format!("{what}: {}", names.join(", "))).collect();
        let mut text = match said.is_empty() {
            true => "reloaded; no connection has changed".to_owned(),
            false => format!("reloaded; connections {}", said.join("; ")),
        };
        for note in notes {
            text.push_str("\nnote: ");
            text.push_str(note);
        }
        let Difference { added, changed, removed } = self;
        json!({ "text": text, "added": added, "changed": changed, "removed": removed, "notes": notes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vipsec_wire::secret::SecretBytes;

    const EXAMPLE: &str = include_str!("../../examples/vipsec.toml");

    fn parse(source: &str) -> Config {
        let read_psk = |_: &Path| Ok(SecretBytes::from(&b"a pre-shared key"[..]));
        Config::parse(source, Path::new("test.toml"), &read_psk).expect("no mistakes")
    }

    /// The example after one change.
    fn after(from: &str, to: &str) -> Config {
        assert!(EXAMPLE.contains(from), "{from:?} is not in the example");
        parse(&EXAMPLE.replacen(from, to, 1))
    }

    #[test]
    fn what_is_not_about_connections_needs_a_restart_and_is_named() {
        let old = parse(EXAMPLE);
        assert_eq!(needs_restart(&old, &parse(EXAMPLE)), Vec::<String>::new());
        for (from, to, named) in [
            ("workers = 1", "workers = 2", "[node]"),
            ("when_unavailable = \"unprotected\"", "when_unavailable = \"refuse\"", "[store]"),
            ("heartbeat_ms = 50", "heartbeat_ms = 100", "[cluster]"),
            ("10.1.0.4:7400", "10.1.0.5:7400", "[[member]]"),
            ("replay = \"bounded\"", "replay = \"strict\"", "[[vip]] 192.0.2.10 itself"),
            ("port = 80 ", "port = 81 ", "or its services"),
        ] {
            let found = needs_restart(&old, &after(from, to));
            assert!(found.len() == 1 && found[0].contains(named), "{to}: {found:?}");
        }
        let moved = parse(&EXAMPLE.replace("192.0.2.10", "192.0.2.11"));
        let found = needs_restart(&old, &moved);
        assert!(found[0].contains("is gone") && found[1].contains("is new"), "{found:?}");
    }

    #[test]
    fn connections_that_came_changed_and_went_are_named_and_others_are_not() {
        let old = parse(EXAMPLE);
        let names = |list: &[&str]| list.iter().map(|name| (*name).to_owned()).collect();
        let changes = [
            ("name = \"branch\"", "name = \"office\"", (&["office"][..], &[][..], &["branch"][..])),
            ("rekey_s = 14400", "rekey_s = 7200", (&[], &["road"], &[])),
            ("lease_s = 86400", "lease_s = 60", (&[], &["road"], &[])),
            ("local = [\"10.3.0.0/24\"]\n", "local = [\"10.4.0.0/24\"]\n", (&[], &["branch"], &[])),
            ("protected = [\"10.77.0.0/24\"]", "protected = [\"10.0.0.0/8\"]", (&[], &[], &[])),
        ];
        for (from, to, (added, changed, removed)) in changes {
            let new = after(from, to);
            assert_eq!(needs_restart(&old, &new), Vec::<String>::new(), "{to}");
            let (added, changed, removed) = (names(added), names(changed), names(removed));
            assert_eq!(difference(&old, &new), Difference { added, changed, removed }, "{to}");
        }
        let nothing = difference(&old, &parse(EXAMPLE)).answer(&[]);
        assert_eq!(nothing["text"], "reloaded; no connection has changed");
    }
}
