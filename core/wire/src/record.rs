//! Stored records and mirrored state.

mod child;
mod ike;

/// Records of the first version.
pub mod v1 {
    pub use super::child::*;
    pub use super::ike::*;
}
