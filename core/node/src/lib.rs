//! node: to be filled.
