//! SQLite's result codes in the store's words.

use rusqlite::{Error, ErrorCode, ffi};
use vipsec_cluster::store::StoreError;

/// What was being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Opening,
    Reading,
    Writing,
    /// At the commit itself, where an I/O error leaves open whether it happened.
    Committing,
}

pub(super) fn explain(error: Error, phase: Phase) -> StoreError {
    let text = error.to_string();
    let Some(code) = error.sqlite_error_code() else {
        // A column of a type that we never write: somebody else wrote it.
        return StoreError::Corrupt(text);
    };
    match code {
        ErrorCode::DiskFull => StoreError::Full,
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => StoreError::Locked,
        ErrorCode::ReadOnly if moved(&error) => StoreError::Gone(text),
        ErrorCode::ReadOnly => StoreError::ReadOnly(text),
        ErrorCode::CannotOpen | ErrorCode::PermissionDenied => StoreError::Denied(text),
        ErrorCode::DatabaseCorrupt => StoreError::Corrupt(text),
        ErrorCode::NotADatabase => StoreError::Foreign(text),
        _ if phase == Phase::Committing => StoreError::Ambiguous(text),
        // Tables or columns are missing although the header says that the file is ours.
        ErrorCode::Unknown | ErrorCode::TypeMismatch | ErrorCode::ConstraintViolation => {
            StoreError::Corrupt(text)
        }
        _ => StoreError::Failed(text),
    }
}

fn moved(error: &Error) -> bool {
    error.sqlite_extended_error_code() == Some(ffi::SQLITE_READONLY_DBMOVED)
}
