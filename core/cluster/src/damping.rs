//! damping.
