//! cluster: to be filled.
