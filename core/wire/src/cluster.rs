//! cluster: to be filled.

pub mod ownership;
