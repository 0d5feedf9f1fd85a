//! The file beneath: whether it is still the one that was opened, and who may read it.
//!
//! SQLite would go on writing into a file that was deleted or replaced under it; the bytes would be
//! lost for everybody else. So its identity is looked at before every use.

use std::fs::{self, Metadata, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use vipsec_cluster::store::StoreError;

/// Owner only.
pub(super) const MODE: u32 = 0o600;

/// Which file it is, independent of its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FileId {
    device: u64,
    inode: u64,
}

impl From<&Metadata> for FileId {
    fn from(metadata: &Metadata) -> FileId {
        FileId { device: metadata.dev(), inode: metadata.ino() }
    }
}

/// The database and its log.
#[derive(Debug)]
pub(super) struct Identity {
    database: FileId,
    log: Option<FileId>,
}

impl Identity {
    pub(super) fn of(path: &Path) -> Result<Identity, StoreError> {
        let database = id(path)?.ok_or_else(|| gone(path))?;
        Ok(Identity { database, log: id(&log_path(path))? })
    }

    pub(super) fn check(&self, path: &Path) -> Result<(), StoreError> {
        match id(path)? {
            None => return Err(gone(path)),
            Some(found) if found != self.database => return Err(replaced(path)),
            Some(_) => {}
        }
        let log = log_path(path);
        match (self.log, id(&log)?) {
            (Some(_), None) => Err(gone(&log)),
            (Some(known), Some(found)) if known != found => Err(replaced(&log)),
            _ => Ok(()),
        }
    }

    /// The log comes into being with the first commit.
    pub(super) fn learn_log(&mut self, path: &Path) -> Result<(), StoreError> {
        if self.log.is_none() {
            self.log = id(&log_path(path))?;
        }
        Ok(())
    }
}

fn id(path: &Path) -> Result<Option<FileId>, StoreError> {
    Ok(metadata(path)?.as_ref().map(FileId::from))
}

fn metadata(path: &Path) -> Result<Option<Metadata>, StoreError> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(Some(metadata)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io(path, &error)),
    }
}

pub(super) fn exists(path: &Path) -> Result<bool, StoreError> {
    Ok(metadata(path)?.is_some())
}

pub(super) fn log_path(path: &Path) -> PathBuf {
    beside(path, "-wal")
}

/// The path with something appended to its last part.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Takes from everybody but the owner what rights they have on the file and its companions.
pub(super) fn make_private(path: &Path) -> Result<(), StoreError> {
    for file in [path.to_owned(), log_path(path), beside(path, "-shm")] {
        let Some(metadata) = metadata(&file)? else { continue };
        if metadata.mode() & 0o077 != 0 {
            tracing::warn!(file = %file.display(), "others had rights on the store; taken away");
            fs::set_permissions(&file, Permissions::from_mode(MODE))
                .map_err(|error| io(&file, &error))?;
        }
    }
    Ok(())
}

pub(super) fn gone(path: &Path) -> StoreError {
    StoreError::Gone(format!("{} is not there", path.display()))
}

fn replaced(path: &Path) -> StoreError {
    StoreError::Gone(format!("{} was replaced by another file", path.display()))
}

pub(super) fn io(path: &Path, error: &std::io::Error) -> StoreError {
    let text = format!("{}: {error}", path.display());
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => StoreError::Full,
        ErrorKind::ReadOnlyFilesystem => StoreError::ReadOnly(text),
        ErrorKind::PermissionDenied => StoreError::Denied(text),
        ErrorKind::NotFound => StoreError::Gone(text),
        _ => StoreError::Failed(text),
    }
}
