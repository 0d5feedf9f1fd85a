//! Flows as a user would have them, each measured where it ends: run inside a namespace by the
//! `vipsec-lab-probe` program, stopped by SIGTERM, written to a file at the end.
//!
//! While they run they say on standard output what a spectator wants to know: pauses, breaks, and
//! who answers.

mod datagram;
mod echo;
mod http;
mod pattern;
mod ping;
mod prober;
mod recorder;
mod serve;
mod stream;

use std::fs;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use signal_hook::consts::{SIGINT, SIGTERM};
use socket2::{Domain, Socket, Type};

pub use prober::Prober;

use crate::clock::now_us;
use crate::flow::FlowRecord;

/// How long a flow may take to be established.
const CONNECT_LIMIT_US: u64 = 20_000_000;
/// How often blocked calls look whether they should end.
const POLL: Duration = Duration::from_millis(100);

/// Command line of the prober.
#[derive(Debug, Parser)]
#[command(about = "Flows of the vipsec lab, measured where they end")]
pub struct Arguments {
    /// Where the records go when the prober ends.
    #[arg(long)]
    record: PathBuf,
    /// Name of the flow in records and messages.
    #[arg(long, default_value = "")]
    name: String,
    #[command(subcommand)]
    flow: Flow,
}

#[derive(Debug, Subcommand)]
enum Flow {
    /// Answers the other flows: http, stream, echo (TCP) and datagram (UDP).
    Serve {
        /// The node's name, told to the clients.
        #[arg(long)]
        node: String,
        /// What to serve where, as `http=192.0.2.10:80`.
        #[arg(long)]
        listen: Vec<String>,
    },
    /// ICMP echo.
    Ping {
        #[arg(long)]
        to: IpAddr,
        #[arg(long, default_value_t = 10_000)]
        interval_us: u64,
    },
    /// UDP echo with sequence numbers checked at both ends.
    Datagram {
        #[arg(long)]
        to: SocketAddr,
        #[arg(long, default_value_t = 400)]
        interval_us: u64,
    },
    /// Small numbered messages over one TCP connection, echoed.
    Echo {
        #[arg(long)]
        to: SocketAddr,
        /// Own address of the connection; without it the kernel chooses.
        #[arg(long)]
        from: Option<IpAddr>,
        #[arg(long, default_value_t = 10_000)]
        interval_us: u64,
    },
    /// A transfer over one TCP connection, both ways, every byte verified.
    Stream {
        #[arg(long)]
        to: SocketAddr,
        /// Rate of each direction.
        #[arg(long, default_value_t = 10_000)]
        kbit_s: u64,
    },
    /// Kept-alive HTTP connections, one to each of the named nodes.
    Http {
        #[arg(long)]
        to: SocketAddr,
        /// Names of the nodes that must each answer one connection.
        #[arg(long, value_delimiter = ',')]
        nodes: Vec<String>,
        #[arg(long, default_value_t = 20_000)]
        interval_us: u64,
    },
}

/// Runs a prober until it is told to end and writes its records.
///
/// # Errors
/// When the flow cannot be established or the records cannot be written.
pub fn run(arguments: &Arguments) -> Result<()> {
    let stop = Stop::on_signals()?;
    let name = arguments.name.as_str();
    let records = match &arguments.flow {
        Flow::Serve { node, listen } => serve::run(node, listen, &stop)?,
        Flow::Ping { to, interval_us } => ping::run(name, *to, *interval_us, &stop)?,
        Flow::Datagram { to, interval_us } => datagram::run(name, *to, *interval_us, &stop)?,
        Flow::Echo { to, from, interval_us } => echo::run(name, *to, *from, *interval_us, &stop)?,
        Flow::Stream { to, kbit_s } => stream::run(name, *to, *kbit_s, &stop)?,
        Flow::Http { to, nodes, interval_us } => http::run(name, *to, nodes, *interval_us, &stop)?,
    };
    write(&arguments.record, &records)
}

/// The request to end, set by SIGTERM and SIGINT.
#[derive(Debug, Clone)]
struct Stop(Arc<AtomicBool>);

impl Stop {
    fn on_signals() -> Result<Self> {
        let flag = Arc::new(AtomicBool::new(false));
        for signal in [SIGTERM, SIGINT] {
            signal_hook::flag::register(signal, Arc::clone(&flag))
                .context("cannot listen for signals")?;
        }
        Ok(Self(flag))
    }

    fn is_requested(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    fn request(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Connects, again and again while the service is not there yet.
fn connect(to: SocketAddr, stop: &Stop) -> Result<TcpStream> {
    connect_from(None, to, stop)
}

/// [`connect`] from a given address of this host.
fn connect_from(from: Option<IpAddr>, to: SocketAddr, stop: &Stop) -> Result<TcpStream> {
    let give_up = now_us() + CONNECT_LIMIT_US;
    let attempt = || {
        let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
        if let Some(from) = from {
            socket.bind(&SocketAddr::new(from, 0).into())?;
        }
        socket.connect_timeout(&to.into(), Duration::from_secs(2))?;
        Ok::<TcpStream, std::io::Error>(socket.into())
    };
    loop {
        match attempt() {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(POLL))?;
                stream.set_write_timeout(Some(POLL))?;
                return Ok(stream);
            }
            Err(error) if now_us() > give_up || stop.is_requested() => {
                return Err(error).with_context(|| format!("cannot connect to {to}"));
            }
            Err(_) => thread::sleep(POLL),
        }
    }
}

/// Whether a socket call ended because nothing happened, and may be repeated.
fn is_idle(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
    matches!(error.kind(), Interrupted | TimedOut | WouldBlock)
}

/// Writes beside the file and renames, so that nobody reads half of it.
fn write(path: &Path, records: &[FlowRecord]) -> Result<()> {
    let unfinished = path.with_extension("unfinished");
    let text = serde_json::to_vec(records).context("cannot encode the records")?;
    fs::write(&unfinished, text)
        .and_then(|()| fs::rename(&unfinished, path))
        .with_context(|| format!("cannot write {}", path.display()))
}
