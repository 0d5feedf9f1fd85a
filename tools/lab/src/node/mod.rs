//! vipsec nodes as their operators run them: a configuration file, a process, the command line.

mod config;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

pub use config::{FABRIC_PORT, Member, Place, Setup, Store};

use crate::binaries::binaries;
use crate::command::{output_of, run_words, wait_for};
use crate::netns::Namespace;
use crate::process::{Process, Program};
use crate::run::Lab;

/// A vipsec process in a namespace, and its files.
#[derive(Debug)]
pub struct Node {
    name: String,
    namespace: Namespace,
    directory: PathBuf,
    process: Process,
}

impl Node {
    /// Writes the configuration and starts the process.
    ///
    /// # Errors
    /// When the program does not compile, refuses its configuration or cannot be started.
    pub fn start(lab: &Lab, namespace: &Namespace, setup: &Setup) -> Result<Self> {
        let directory = lab.subdirectory(&format!("{}-vipsec", setup.name))?;
        let file = directory.join("vipsec.toml");
        std::fs::write(&file, setup.to_toml(&directory))
            .with_context(|| format!("cannot write {}", file.display()))?;
        let vipsec = binaries()?.vipsec;
        run_words(&[&text(&vipsec), "check-config", "-c", &text(&file)])?;
        let process = Process::start(Program {
            namespace: namespace.clone(),
            path: vipsec,
            arguments: vec!["run".into(), "-c".into(), text(&file)],
            environment: Vec::new(),
            log: directory.join("vipsec.log"),
            lasting: lab.is_kept(),
        })?;
        Ok(Self { name: setup.name.clone(), namespace: namespace.clone(), directory, process })
    }

    /// Its name in the cluster.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it runs.
    #[must_use]
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Its process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Path of its log.
    #[must_use]
    pub fn log_path(&self) -> &Path {
        self.process.log_path()
    }

    /// Runs a command of the program against this node.
    ///
    /// # Errors
    /// When it fails; the error carries what it said.
    pub fn cli(&self, arguments: &str) -> Result<String> {
        let vipsec = binaries()?.vipsec;
        let mut command = self.namespace.command(&text(&vipsec));
        command.args(arguments.split_whitespace()).arg("--socket").arg(self.socket());
        output_of(&mut command)
    }

    /// Runs a command and reads its JSON.
    ///
    /// # Errors
    /// When it fails or prints no JSON.
    pub fn json(&self, arguments: &str) -> Result<Value> {
        let printed = self.cli(&format!("{arguments} --json"))?;
        serde_json::from_str(&printed)
            .with_context(|| format!("{arguments} --json printed no JSON: {printed}"))
    }

    /// Waits until the node answers its command line.
    ///
    /// # Errors
    /// When it has ended or does not answer within 10 s.
    pub fn wait_until_up(&mut self) -> Result<()> {
        wait_for(&format!("node {}", self.name), Duration::from_secs(10), || {
            ensure!(self.process.is_alive(), "{}", self.process.obituary());
            Ok(self.cli("status").ok().map(|_| ()))
        })
        .with_context(|| self.process.obituary())
    }

    /// The owner of a VIP and the epoch, as this node knows them.
    ///
    /// # Errors
    /// When the node does not answer.
    pub fn owner(&self, vip: &str) -> Result<Option<(String, u64)>> {
        let status = self.vip_status(vip)?;
        let owner = status["owner"].as_str().map(str::to_owned);
        Ok(owner.zip(status["epoch"].as_u64()))
    }

    /// What this node is to a VIP: `owner`, `ready`, `not-ready`, `target`…
    ///
    /// # Errors
    /// When the node does not answer.
    pub fn role(&self, vip: &str) -> Result<String> {
        let status = self.vip_status(vip)?;
        Ok(status["role"].as_str().unwrap_or_default().to_owned())
    }

    /// The security associations that this node holds, as its `sas --json` gives them.
    ///
    /// # Errors
    /// When the node does not answer.
    pub fn sas(&self) -> Result<Vec<Value>> {
        let sas = self.json("sas")?;
        Ok(sas.as_array().or_else(|| sas["sas"].as_array()).cloned().unwrap_or_default())
    }

    fn vip_status(&self, vip: &str) -> Result<Value> {
        let status = self.json("status")?;
        let vips = status["vips"].as_array().context("a status without VIPs")?;
        let found = vips.iter().find(|entry| entry["address"] == vip);
        found.cloned().with_context(|| format!("no VIP {vip} in {status}"))
    }

    /// How to look at this node by hand.
    #[must_use]
    pub fn hint(&self, command: &str) -> String {
        let vipsec = binaries().map_or_else(|_| "vipsec".into(), |found| text(&found.vipsec));
        format!(
            "ip netns exec {} {vipsec} {command} --socket {}",
            self.namespace.name(),
            self.socket()
        )
    }

    fn socket(&self) -> String {
        text(&self.directory.join("vipsec.sock"))
    }
}

/// Makes a node's key and returns the member that the other nodes are to know.
///
/// # Errors
/// When `vipsec keygen node` fails.
pub fn make_member(lab: &Lab, name: &str, address: &str, roles: &[&str]) -> Result<Member> {
    let directory = lab.subdirectory(&format!("{name}-vipsec"))?;
    let file = directory.join("node.key");
    let printed = run_words(&[&text(&binaries()?.vipsec), "keygen", "node", &text(&file)])?;
    let public_key = printed.split_whitespace().last().context("keygen printed no public key")?;
    Ok(Member {
        name: name.to_owned(),
        public_key: public_key.to_owned(),
        roles: roles.iter().map(|role| (*role).to_owned()).collect(),
        address: address.to_owned(),
    })
}

/// Makes the key of a store and returns its path.
///
/// # Errors
/// When `vipsec keygen store` fails.
pub fn make_store_key(lab: &Lab, name: &str) -> Result<PathBuf> {
    let file = lab.directory().join(format!("{name}.key"));
    run_words(&[&text(&binaries()?.vipsec), "keygen", "store", &text(&file)])?;
    Ok(file)
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
