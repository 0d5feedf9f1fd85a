//! fabric: to be filled.
