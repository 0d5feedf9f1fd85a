//! crypto: to be filled.
