//! What the lab needs of the machine's distribution, brought by apt when it is missing.

use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::command;

/// A program that must be there, and the package that brings it on Debian and Ubuntu.
const NEEDED: [(&str, &str); 12] = [
    ("ip", "iproute2"),
    ("ping", "iputils-ping"),
    ("sysctl", "procps"),
    ("setpriv", "util-linux"),
    ("ethtool", "ethtool"),
    ("nft", "nftables"),
    ("tcpdump", "tcpdump"),
    ("iperf3", "iperf3"),
    ("swanctl", "strongswan-swanctl"),
    ("charon-systemd", "charon-systemd"),
    ("pki", "strongswan-pki"),
    ("etcd", "etcd-server"),
];

/// Packages that bring no program but must stand beside the others.
const PLUGINS: [(&str, &str); 2] = [
    ("/usr/lib/ipsec/plugins/libstrongswan-gcm.so", "libstrongswan-standard-plugins"),
    (
        "/usr/lib/ipsec/plugins/libstrongswan-kernel-libipsec.so",
        "libstrongswan-extra-plugins libcharon-extra-plugins libcharon-extauth-plugins",
    ),
];

/// What brings another distribution ([`crate::sid`]).
const FOR_SID: [(&str, &str); 1] = [("debootstrap", "debootstrap debian-archive-keyring")];

/// Installs what is missing, with `sid` also what gets Debian sid; does nothing, and needs no network, when nothing is.
///
/// # Errors
/// When apt fails, or when something is still missing afterwards.
pub fn install_missing(sid: bool) -> Result<()> {
    let missing = missing(sid);
    if missing.is_empty() {
        return Ok(());
    }
    println!("installing {} by apt-get", missing.join(" "));
    let environment = "env DEBIAN_FRONTEND=noninteractive";
    command::run(&format!("{environment} apt-get update -q"))?;
    let names = missing.join(" ");
    command::run(&format!("{environment} apt-get install -qy --no-install-recommends {names}"))
        .context("what the lab needs cannot be installed")?;
    let still = self::missing(sid);
    if !still.is_empty() {
        bail!("still missing after apt-get install: {}", still.join(" "));
    }
    Ok(())
}

fn missing(sid: bool) -> Vec<&'static str> {
    let programs = NEEDED.iter().chain(FOR_SID.iter().filter(|_| sid));
    let programs = programs.filter(|(program, _)| !is_installed(program));
    let plugins = PLUGINS.iter().filter(|(path, _)| !Path::new(path).exists());
    programs.chain(plugins).map(|(_, package)| *package).collect()
}

fn is_installed(program: &str) -> bool {
    ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"]
        .iter()
        .any(|directory| Path::new(directory).join(program).exists())
}
