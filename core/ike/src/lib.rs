//! ike: to be filled.
