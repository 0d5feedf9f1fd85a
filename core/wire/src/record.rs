//! record: to be filled.
