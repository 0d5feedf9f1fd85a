//! The Unix socket: never open to others, not even for a moment, and never taken from a process
//! that still answers on it.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use tokio::net::UnixListener;

/// Listens at `path` with mode 0600, in the place of a socket that nobody listens on any more.
pub(super) fn bind(path: &Path) -> io::Result<UnixListener> {
    if UnixStream::connect(path).is_ok() {
        return Err(io::Error::new(
            io::ErrorKind::AddrInUse,
            "another vipsec answers on it; stop it, or set `socket` in the configuration",
        ));
    }
    if fs::symlink_metadata(path).is_ok_and(|there| !there.file_type().is_socket()) {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "is there and is no socket"));
    }
    // Made under another name and closed to others before anybody can find it.
    let draft = draft(path);
    let _ = fs::remove_file(&draft);
    let listener = UnixListener::bind(&draft)?;
    let finished = fs::set_permissions(&draft, Permissions::from_mode(0o600))
        .and_then(|()| fs::rename(&draft, path));
    if let Err(error) = finished {
        let _ = fs::remove_file(&draft);
        return Err(error);
    }
    Ok(listener)
}

fn draft(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}", std::process::id()));
    PathBuf::from(name)
}
