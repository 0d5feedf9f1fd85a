//! strongSwan as its distribution ships it, run without systemd: one `charon-systemd` a
//! namespace, driven by `swanctl`.
//!
//! Its userspace ESP (`kernel-libipsec`) is used, since the kernels of test machines often have
//! none. It always encapsulates in UDP 4500 and knows neither transport mode nor extended
//! sequence numbers. Its own packets are marked, so that a service on the gateway's own address
//! is reached through the tunnel, too.

mod config;
mod log;
mod sas;

use std::net::IpAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

pub use config::{Child, Connection, Credential, Settings};
pub use log::{ExchangeCounts, exchanges};
pub use sas::{ChildSa, IkeSa, parse_sas};

use crate::command::{output_of, wait_for};
use crate::netns::Namespace;
use crate::process::{Process, Program};
use crate::run::Lab;

const CHARON: &str = "/usr/sbin/charon-systemd";
const SWANCTL: &str = "/usr/sbin/swanctl";
/// Says `Y` where AppArmor is at work.
const APPARMOR: &str = "/sys/module/apparmor/parameters/enabled";

/// A strongSwan daemon in a namespace.
#[derive(Debug)]
pub struct StrongSwan {
    directory: PathBuf,
    swanctl: PathBuf,
    process: Process,
}

impl StrongSwan {
    /// Writes its configuration, starts it and loads connections and secrets.
    ///
    /// # Errors
    /// When the files cannot be written, or the daemon does not come up or refuses the
    /// configuration.
    pub fn start(lab: &Lab, namespace: &Namespace, settings: &Settings) -> Result<Self> {
        let directory = lab.subdirectory(&format!("{}-strongswan", namespace.role()))?;
        config::write(&directory, settings)?;
        let (path, arguments) = match &settings.root {
            None => (unconfined(CHARON, &directory)?, Vec::new()),
            Some(root) => elsewhere(root, &directory),
        };
        let program = Program {
            namespace: namespace.clone(),
            path,
            arguments,
            environment: vec![("STRONGSWAN_CONF".into(), path_text(&directory, "strongswan.conf"))],
            log: directory.join("stdout.log"),
            lasting: settings.lasting,
        };
        let swanctl = unconfined(SWANCTL, &directory)?;
        let mut swan = Self { process: Process::start(program)?, swanctl, directory };
        wait_for("strongSwan's control socket", Duration::from_secs(10), || {
            anyhow::ensure!(swan.process.is_alive(), "{}", swan.process.obituary());
            // The file may be there before anybody listens, or since an earlier process.
            Ok(UnixStream::connect(swan.directory.join("charon.vici")).ok().map(drop))
        })?;
        swan.swanctl("--load-all")?;
        Ok(swan)
    }

    /// Replaces its connections and secrets; what is up stays. What its daemon was started with stays,
    /// too.
    ///
    /// # Errors
    /// When the files cannot be written or the daemon refuses them.
    pub fn load(&self, settings: &Settings) -> Result<()> {
        config::write(&self.directory, settings)?;
        self.swanctl("--load-all").map(|_| ())
    }

    /// Runs `swanctl` with the given words.
    ///
    /// # Errors
    /// When it fails; the error carries what it said.
    pub fn swanctl(&self, arguments: &str) -> Result<String> {
        let mut command = Command::new(&self.swanctl);
        command
            .env("STRONGSWAN_CONF", path_text(&self.directory, "strongswan.conf"))
            .env("SWANCTL_DIR", path_text(&self.directory, "swanctl"))
            .args(arguments.split_whitespace());
        output_of(&mut command)
    }

    /// Brings a Child SA up, with its IKE SA if there is none.
    ///
    /// # Errors
    /// When the peer refuses or does not answer within 10 s.
    pub fn initiate(&self, child: &str) -> Result<()> {
        self.swanctl(&format!("--initiate --child {child} --timeout 10"))
            .with_context(|| format!("strongSwan cannot bring {child} up"))
            .map(|_| ())
    }

    /// Its security associations.
    ///
    /// # Errors
    /// When the daemon does not answer.
    pub fn sas(&self) -> Result<Vec<IkeSa>> {
        Ok(parse_sas(&self.swanctl("--list-sas")?))
    }

    /// The virtual address of a family that the gateway has assigned, without its prefix length.
    ///
    /// # Errors
    /// When there is none.
    pub fn virtual_address(&self, ipv6: bool) -> Result<String> {
        let sas = self.swanctl("--list-sas")?;
        let bracketed = sas.lines().find(|line| line.trim_start().starts_with("local "));
        bracketed
            .and_then(|line| line.rsplit_once('[')?.1.split_once(']'))
            .and_then(|(addresses, _)| {
                let is_right = |text: &&str| {
                    text.parse::<IpAddr>().is_ok_and(|address| address.is_ipv6() == ipv6)
                };
                addresses.split_whitespace().find(is_right).map(str::to_owned)
            })
            .with_context(|| format!("strongSwan has no such virtual address:\n{sas}"))
    }

    /// What its log says so far.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn log(&self) -> Result<String> {
        let path = self.log_path();
        std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
    }

    /// Path of its log.
    #[must_use]
    pub fn log_path(&self) -> PathBuf {
        self.directory.join("charon.log")
    }

    /// How to call `swanctl` for this daemon by hand.
    #[must_use]
    pub fn hint(&self) -> String {
        format!(
            "STRONGSWAN_CONF={} {} --list-sas",
            path_text(&self.directory, "strongswan.conf"),
            self.swanctl.display()
        )
    }

    /// Identifier of the daemon's process.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.process.pid().as_raw()
    }

    /// The daemon's process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }
}

/// The daemon of another distribution, which finds its files where they are. `ip netns exec` has given
/// it mounts of its own, which end with it.
fn elsewhere(root: &Path, directory: &Path) -> (PathBuf, Vec<String>) {
    let script = r#"for place in /dev /proc "$2"; do
        mkdir -p "$1$place" && mount --rbind "$place" "$1$place" || exit 1
    done
    exec chroot "$1" "$3""#;
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let arguments = ["-c".into(), script.into(), "sh".into(), text(root), text(directory)];
    ("/bin/sh".into(), arguments.into_iter().chain([CHARON.to_owned()]).collect())
}

/// Path of a program that may read the lab's files. The distributions' AppArmor profiles are bound
/// to the paths of strongSwan's programs and allow them nothing outside /etc and /run; a copy of
/// the same program has no profile.
fn unconfined(program: &str, directory: &Path) -> Result<PathBuf> {
    let is_confined = std::fs::read(APPARMOR).is_ok_and(|state| state.starts_with(b"Y"));
    if !is_confined {
        return Ok(program.into());
    }
    let directory = directory.join("bin");
    std::fs::create_dir_all(&directory)
        .with_context(|| format!("cannot make {}", directory.display()))?;
    let copy = directory.join(Path::new(program).file_name().unwrap_or_default());
    std::fs::copy(program, &copy).with_context(|| format!("cannot copy {program}"))?;
    Ok(copy)
}

fn path_text(directory: &Path, file: &str) -> String {
    directory.join(file).to_string_lossy().into_owned()
}
