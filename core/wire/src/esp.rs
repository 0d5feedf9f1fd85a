//! esp: to be filled.
