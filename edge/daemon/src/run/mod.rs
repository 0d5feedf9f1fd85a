//! tmp
use crate::config::Config;
/// tmp
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A
    #[error("x")]
    A,
}
/// tmp
/// # Errors
/// tmp
pub fn run(_: Config) -> Result<(), RunError> {
    Err(RunError::A)
}
/// tmp
/// # Errors
/// tmp
pub fn check_keys(_: &Config) -> Result<(), RunError> {
    Ok(())
}
