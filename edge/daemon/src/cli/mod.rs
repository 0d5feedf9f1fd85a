//! The command line: what each subcommand takes, and what it prints. Commands about a running
//! vipsec are questions to its admin API.

mod client;
mod control;
mod tables;
#[cfg(test)]
mod tests;

pub use client::ClientError;

use crate::config::Config;
use crate::config::mistake::{ConfigError, Mistake};
use crate::keys::{self, KeyFileError};
use crate::random::OsRandom;
use clap::{Args, Parser, Subcommand};
use serde_json::{Value, json};
use std::io::{self, Write};
use std::net::IpAddr;
use std::path::PathBuf;

/// One virtual IP in front of a cluster, its IPsec moved with it.
#[derive(Debug, Parser)]
#[command(name = "vipsec", version, about, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the node that a configuration file describes
    Run(ConfigFile),
    /// Say what is wrong with a configuration file
    CheckConfig {
        #[command(flatten)]
        file: ConfigFile,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Make key files, or show the public half of one
    Keygen {
        #[command(subcommand)]
        kind: Keygen,
        /// Print JSON
        #[arg(long, global = true)]
        json: bool,
    },
    /// Take the configuration of another program over
    Import {
        #[command(subcommand)]
        from: Import,
    },
    /// Show the node, its cluster and its VIPs
    Status(Daemon),
    /// Show IKE SAs with their Child SAs
    Sas(Daemon),
    /// Show connections of services and where they are
    Connections(Daemon),
    /// Show addresses of pools and whose they are
    Leases(Daemon),
    /// Follow what happens
    Events {
        /// Begin with so many events of the past
        #[arg(long, value_name = "NUMBER", default_value_t = 0)]
        past: usize,
        #[command(flatten)]
        daemon: Daemon,
    },
    /// Move a VIP to another node without losing a packet, and wait until that owns it
    Transfer {
        /// The address
        vip: IpAddr,
        /// The node that shall own it
        #[arg(long, value_name = "NODE")]
        to: String,
        /// Return as soon as the transfer has begun
        #[arg(long)]
        no_wait: bool,
        #[command(flatten)]
        daemon: Daemon,
    },
    /// Read the configuration file again: connections, pools and protected prefixes
    Reload(Daemon),
    /// Stop the node; nothing leaves in clear afterwards, unless --open
    Stop {
        /// Take the fence down too: traffic to the peers may leave in clear
        #[arg(long)]
        open: bool,
        #[command(flatten)]
        daemon: Daemon,
    },
    /// Rekey an SA now
    Rekey(SaArgs),
    /// Delete an SA
    Terminate(SaArgs),
    /// Begin a connection with one of its children
    Initiate {
        /// The connection's name
        connection: String,
        /// The child's name
        child: String,
        /// The VIP, when there are several
        #[arg(long, value_name = "VIP")]
        vip: Option<IpAddr>,
        #[command(flatten)]
        daemon: Daemon,
    },
    /// Go on with a store that was rolled back to an older state, without its SAs
    AcceptRollback {
        /// The VIP that was refused
        vip: IpAddr,
        #[command(flatten)]
        daemon: Daemon,
    },
}

#[derive(Debug, Args)]
struct ConfigFile {
    /// The configuration file
    #[arg(short, long, value_name = "FILE")]
    config: PathBuf,
}

#[derive(Debug, Args)]
struct Daemon {
    /// The admin socket of the running vipsec
    #[arg(long, value_name = "PATH", default_value = crate::DEFAULT_SOCKET)]
    socket: PathBuf,
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct SaArgs {
    /// Which kind of SA
    #[arg(value_enum)]
    kind: Kind,
    /// Its identifier or inbound SPI as `sas` shows it, or the name of a connection or child
    #[arg(value_name = "SA")]
    name: String,
    #[command(flatten)]
    daemon: Daemon,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Kind {
    /// An IKE SA
    Ike,
    /// A Child SA
    Child,
}

#[derive(Debug, Subcommand)]
enum Import {
    /// Print strongSwan's swanctl.conf as a configuration of ours; what was left out is listed in it
    Swanctl {
        /// The file, with all that it includes
        file: PathBuf,
        /// The VIP, where a connection names no local address or another shall be taken
        #[arg(long, value_name = "ADDRESS")]
        vip: Option<IpAddr>,
        /// The interface of the VIPs
        #[arg(long, value_name = "NAME", default_value = "eth0")]
        interface: String,
        /// The directory for files of pre-shared keys, made with mode 0600
        #[arg(long, value_name = "DIRECTORY", default_value = "/etc/vipsec")]
        secrets: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
enum Keygen {
    /// Make the key that seals the store; all candidates need the same file
    Store {
        /// The file to make
        file: PathBuf,
    },
    /// Make a node's identity and print its public key
    Node {
        /// The file to make
        file: PathBuf,
    },
    /// Print the public key of a node's identity
    Public {
        /// The file of the identity
        file: PathBuf,
    },
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A key file.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// The configuration of another program.
    #[error(transparent)]
    Import(#[from] crate::import::ImportError),
    /// The running daemon.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// Running the node.
    #[error(transparent)]
    Run(#[from] crate::run::RunError),
    /// The terminal.
    #[error("the output cannot be written")]
    Output(#[from] io::Error),
}

impl CliError {
    /// Whether it only says that whoever read our output has had enough.
    #[must_use]
    pub fn is_end_of_reading(&self) -> bool {
        matches!(self, CliError::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }
}

impl Cli {
    /// Carries the command out; what it has to say goes to `out`.
    ///
    /// # Errors
    /// [`CliError`].
    pub fn execute(self, out: &mut dyn Write) -> Result<(), CliError> {
        match self.command {
            Command::Run(ConfigFile { config: path }) => {
                let config = Config::load(&path)?;
                Ok(crate::run::run(config, &path)?)
            }
            Command::CheckConfig { file, json: false } => check_config(&file, out),
            Command::CheckConfig { file, json: true } => check_config_json(&file, out),
            Command::Keygen { kind, json } => keygen(kind, json, out),
            Command::Import { from } => import(from, out),
            other => control::execute(other, out),
        }
    }
}

fn import(from: Import, out: &mut dyn Write) -> Result<(), CliError> {
    let Import::Swanctl { file, vip, interface, secrets } = from;
    let place = crate::import::swanctl::Place { vip, interface, secrets };
    let imported = crate::import::swanctl(&file, &place)?;
    for left in &imported.left_out {
        writeln!(out, "# not taken over: {left}")?;
    }
    for (path, _) in &imported.secrets {
        writeln!(out, "# pre-shared key: {}", path.display())?;
    }
    write!(out, "{}", imported.text)?;
    Ok(())
}

fn check_config(file: &ConfigFile, out: &mut dyn Write) -> Result<(), CliError> {
    let config = Config::load(&file.config)?;
    crate::run::check_keys(&config)?;
    for note in config.notes(&file.config) {
        writeln!(out, "note: {note}")?;
    }
    let path = file.config.display();
    writeln!(out, "{path}: no mistakes; node {}, {} VIPs", config.node.name, config.vips.len())?;
    Ok(())
}

/// The same as an object: `mistakes`, each with `line`, `column` and `text`, and `notes`.
fn check_config_json(file: &ConfigFile, out: &mut dyn Write) -> Result<(), CliError> {
    let checked = Config::load(&file.config);
    let (mistakes, notes) = match &checked {
        Ok(config) => (&[][..], config.notes(&file.config)),
        Err(ConfigError::Mistakes { mistakes, .. }) => (mistakes.as_slice(), Vec::new()),
        Err(ConfigError::Read { .. }) => (&[][..], Vec::new()),
    };
    let mistake = |m: &Mistake| json!({ "line": m.line, "column": m.column, "text": m.text });
    let mistakes: Vec<Value> = mistakes.iter().map(mistake).collect();
    writeln!(out, "{:#}", json!({ "mistakes": mistakes, "notes": notes }))?;
    Ok(crate::run::check_keys(&checked?)?)
}

fn keygen(kind: Keygen, json: bool, out: &mut dyn Write) -> Result<(), CliError> {
    let public = match kind {
        Keygen::Store { file } => {
            keys::generate_store(&file, &mut OsRandom::default())?;
            if json {
                writeln!(out, "{:#}", json!({ "file": file }))?;
            } else {
                writeln!(out, "{}: made; every candidate needs this same file", file.display())?;
            }
            return Ok(());
        }
        Keygen::Node { file } => keys::generate_node(&file, &mut OsRandom::default())?,
        Keygen::Public { file } => keys::read_node(&file)?.public_key(),
    };
    let public = keys::public_to_text(&public);
    if json {
        writeln!(out, "{:#}", json!({ "public_key": public }))?;
    } else {
        writeln!(out, "{public}")?;
    }
    Ok(())
}
