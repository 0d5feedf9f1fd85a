//! The `vipsec` program.

fn main() {}
