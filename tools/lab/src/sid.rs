//! Programs that are newer than those of this machine's distribution: Debian's unstable one (sid) in a
//! directory of its own, which leaves the machine's packages alone.
//!
//! Sid moves, and is not reached from everywhere, so what needs it is no part of the usual tests.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::command::run;

const HOME: &str = "/var/cache/vipsec-lab";
const MIRROR: &str = "http://deb.debian.org/debian";
const PACKAGES: &str = "strongswan-swanctl charon-systemd libstrongswan-standard-plugins \
     libstrongswan-extra-plugins libcharon-extra-plugins libcharon-extauth-plugins";
/// Seconds that each of the two steps may take; both together take one minute.
const LIMIT_S: u32 = 280;

/// Where sid is, on this machine.
///
/// # Errors
/// When it is not there.
pub fn root() -> Result<PathBuf> {
    let root = Path::new(HOME).join("sid");
    ensure!(root.exists(), "no Debian sid; `cargo xtask interop --sid` gets it");
    Ok(root)
}

/// Gets sid with strongSwan, if it is not there.
///
/// # Errors
/// When it cannot be had within ten minutes.
pub fn install() -> Result<()> {
    if root().is_ok() {
        return Ok(());
    }
    println!("getting strongSwan from Debian sid");
    // The directory has its name only when it is whole.
    let part = Path::new(HOME).join("sid.part");
    let path = part.display();
    if part.exists() {
        fs::remove_dir_all(&part).with_context(|| format!("cannot remove {path}"))?;
    }
    fs::create_dir_all(&part).with_context(|| format!("cannot make {path}"))?;
    let environment = "env DEBIAN_FRONTEND=noninteractive PATH=/usr/sbin:/usr/bin:/sbin:/bin";
    run(&format!(
        "{environment} timeout {LIMIT_S} debootstrap --variant=minbase --include=ca-certificates \
         sid {path} {MIRROR}"
    ))?;
    run(&format!(
        "{environment} timeout {LIMIT_S} chroot {path} apt-get install -qy \
         --no-install-recommends {PACKAGES}"
    ))?;
    fs::rename(&part, Path::new(HOME).join("sid")).with_context(|| format!("cannot rename {path}"))
}
