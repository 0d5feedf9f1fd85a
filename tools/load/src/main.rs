//! A load of IKE set-ups for any responder: every initiator is an engine of its own with an
//! identity and an inner address of its own, many of them at a time, all in this process behind
//! one address.
//!
//! Pre-shared key, X25519, AES-GCM-256 for IKE and ESP. And what ESP costs beside the AEAD alone. What
//! is measured is printed as JSON.
//! What is not here: the responder, and any judgement of the figures.

#![allow(clippy::print_stdout)] // The figures are its purpose.

mod initiator;
mod run;
mod seal;
mod sockets;

use std::net::{IpAddr, Ipv4Addr};

use anyhow::Result;
use clap::{Args, Parser, Subcommand};

#[derive(Debug, Parser)]
struct Cli {
    #[command(subcommand)]
    load: Load,
}

/// What is measured.
#[derive(Debug, Subcommand)]
enum Load {
    /// IKE set-ups of a responder.
    SetUps(Arguments),
    /// Sealing and opening of packets, beside the AEAD alone.
    Seal,
}

/// What is asked of the responder.
#[derive(Debug, Clone, Args)]
struct Arguments {
    /// Own address; ports 500 and 4500 must be free on it.
    #[arg(long)]
    local: IpAddr,
    /// The responder.
    #[arg(long)]
    remote: IpAddr,
    /// Initiators.
    #[arg(long)]
    count: u32,
    /// Number of the first, from which its identity and its inner address are made.
    #[arg(long, default_value_t = 0)]
    first: u32,
    /// Set-ups under way at a time.
    #[arg(long, default_value_t = 16)]
    window: usize,
    /// The key that all of them have.
    #[arg(long)]
    psk: String,
    /// The responder's identity, a name.
    #[arg(long)]
    remote_id: String,
    /// The address behind the responder.
    #[arg(long)]
    inner: IpAddr,
    /// The inner address of initiator 0; the others follow it.
    #[arg(long, default_value = "10.64.0.1")]
    base: Ipv4Addr,
}

fn main() -> Result<()> {
    let figures = match Cli::parse().load {
        Load::SetUps(arguments) => serde_json::to_string(&run::run(&arguments)?)?,
        Load::Seal => serde_json::to_string(&seal::measure()?)?,
    };
    println!("{figures}");
    Ok(())
}
