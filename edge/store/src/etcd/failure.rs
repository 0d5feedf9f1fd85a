//! What etcd's errors mean for us. They are told by code and text (etcd's `rpctypes`).

use tonic::{Code, Status};
use vipsec_cluster::store::StoreError;

/// What was being done: only a transaction may have happened without our knowing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Reading,
    Committing,
}

pub(super) fn explain(status: &Status, phase: Phase) -> StoreError {
    let text = status.message().to_owned();
    match status.code() {
        Code::ResourceExhausted if text.contains("space exceeded") => StoreError::Full,
        Code::InvalidArgument if text.contains("too large") || text.contains("too many") => {
            StoreError::TooLarge(text)
        }
        Code::InvalidArgument if text.contains("user") || text.contains("auth") => {
            StoreError::Denied(text)
        }
        Code::Unauthenticated | Code::PermissionDenied | Code::FailedPrecondition => {
            StoreError::Denied(text)
        }
        Code::InvalidArgument | Code::Unimplemented | Code::ResourceExhausted => {
            StoreError::Failed(text)
        }
        _ if phase == Phase::Committing => StoreError::Ambiguous(text),
        _ => StoreError::Failed(text),
    }
}

/// The history does not go back so far, or not on so far yet.
pub(super) fn is_out_of_history(status: &Status) -> bool {
    status.code() == Code::OutOfRange
}
