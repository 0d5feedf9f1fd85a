//! Kernel settings of the network namespace. They are raised where they must be and left so: after
//! a crash nobody knows what they were before, and lowering them while a VIP stands on `lo` would
//! let the kernel answer for it.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::DataPlaneError;

const ROOT: &str = "/proc/sys/net";

fn path(name: &str) -> PathBuf {
    Path::new(ROOT).join(name)
}

/// Whether the namespace speaks IPv6 at all.
pub(super) fn has_ipv6() -> bool {
    path("ipv6/conf").exists()
}

/// Sets one value.
fn write(name: &str, value: u32) -> Result<(), DataPlaneError> {
    fs::write(path(name), value.to_string())
        .map_err(|e| DataPlaneError::io(format!("set net/{name} to {value}"), e))
}

/// Sets a value unless it is at least that already.
fn raise(name: &str, least: u32) -> Result<(), DataPlaneError> {
    let text = fs::read_to_string(path(name))
        .map_err(|e| DataPlaneError::io(format!("read net/{name}"), e))?;
    let present: u32 = text.trim().parse().unwrap_or(0);
    if present < least { write(name, least) } else { Ok(()) }
}

/// The kernel answers ARP only for addresses of the interface that was asked, never for those on
/// `lo`, and asks with addresses of that interface. Reverse path checks become loose: a peer's own
/// address may lie inside a protected prefix, whose route leads into the TUN.
pub(super) fn keep_kernel_silent() -> Result<(), DataPlaneError> {
    raise("ipv4/conf/all/arp_ignore", 1)?;
    raise("ipv4/conf/all/arp_announce", 2)?;
    let strict = fs::read_to_string(path("ipv4/conf/all/rp_filter")).unwrap_or_default();
    if strict.trim() == "1" { write("ipv4/conf/all/rp_filter", 2) } else { Ok(()) }
}

/// The same for one interface towards the peers or the protected hosts.
pub(super) fn loosen_reverse_path(interface: &str) -> Result<(), DataPlaneError> {
    let name = format!("ipv4/conf/{interface}/rp_filter");
    let strict = fs::read_to_string(path(&name)).unwrap_or_default();
    if strict.trim() == "1" { write(&name, 2) } else { Ok(()) }
}

/// Lets the kernel route between the tunnels and the hosts behind the gateway.
pub(super) fn enable_forwarding() -> Result<(), DataPlaneError> {
    write("ipv4/conf/all/forwarding", 1)?;
    if has_ipv6() { write("ipv6/conf/all/forwarding", 1) } else { Ok(()) }
}

/// A TUN that takes what comes and says nothing of its own: no reverse path check, no redirects, no
/// link-local address, no router solicitations.
pub(super) fn quieten_tun(name: &str) -> Result<(), DataPlaneError> {
    write(&format!("ipv4/conf/{name}/rp_filter"), 0)?;
    write(&format!("ipv4/conf/{name}/send_redirects"), 0)?;
    if has_ipv6() {
        write(&format!("ipv6/conf/{name}/addr_gen_mode"), 1)?;
        write(&format!("ipv6/conf/{name}/accept_ra"), 0)?;
    }
    Ok(())
}
