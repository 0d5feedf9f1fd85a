//! What every backend has to do.
