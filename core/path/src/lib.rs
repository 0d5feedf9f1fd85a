//! path: to be filled.
