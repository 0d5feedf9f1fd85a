//! vip.
