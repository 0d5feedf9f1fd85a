//! Configurations of other programs in our words.

pub mod settings;
pub mod swanctl;
#[cfg(test)]
mod tests;

use crate::keys::{self, KeyFileError};
use settings::{Section, SettingsError, View};
use std::path::Path;
use swanctl::{Imported, Place};

/// Why nothing was taken over.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The file to be read.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// A file for a secret.
    #[error(transparent)]
    Key(#[from] KeyFileError),
}

/// Reads a swanctl.conf and makes the files of its secrets, with mode 0600; none of them may be there
/// already.
///
/// # Errors
/// [`ImportError`].
pub fn swanctl(file: &Path, place: &Place) -> Result<Imported, ImportError> {
    let root = Section::load(file)?;
    let imported = swanctl::import(&View::root(&root), place);
    let there = imported.secrets.iter().find(|(path, _)| !swanctl::is_free(path));
    if let Some((path, _)) = there {
        return Err(KeyFileError::Exists(path.clone()).into());
    }
    for (path, secret) in &imported.secrets {
        keys::write_secret(path, secret)?;
    }
    Ok(imported)
}
