//! The `vipsec` program: configuration, key files, links between nodes, the main loop that drives
//! [`vipsec_node`], the admin API and the command line.
//!
//! A library only so that tests can use its parts; nothing else depends on it. Decisions about
//! protocol, ownership and packets are not made here but in core; packets do not pass here at all.

pub mod admin;
pub mod cli;
pub mod config;
pub mod import;
pub mod keys;
pub mod link;
pub mod random;
pub mod run;

/// Where the admin API listens unless the configuration says otherwise.
pub const DEFAULT_SOCKET: &str = "/run/vipsec.sock";

/// An error with all that lies behind it, in one line.
#[must_use]
pub fn explain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
