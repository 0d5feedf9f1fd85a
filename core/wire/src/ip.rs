//! ip: to be filled.
