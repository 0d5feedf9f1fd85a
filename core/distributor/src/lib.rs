//! distributor: to be filled.
