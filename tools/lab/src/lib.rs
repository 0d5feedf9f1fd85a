//! to be filled.
