//! tell.
