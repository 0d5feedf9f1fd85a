//! The answering side of all flows, for targets and protected hosts.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, Scope};

use anyhow::{Context, Result, bail};

use super::recorder::Recorder;
use super::{CONNECT_LIMIT_US, POLL, Stop, datagram, echo, http, is_idle, stream};
use crate::clock::now_us;
use crate::flow::FlowRecord;

/// Serves what is listed, as `kind=address`, until told to end.
pub(super) fn run(node: &str, listen: &[String], stop: &Stop) -> Result<Vec<FlowRecord>> {
    let records = Mutex::new(Vec::new());
    thread::scope(|scope| -> Result<()> {
        let outcome = listen.iter().try_for_each(|entry| {
            let (kind, address) = entry.split_once('=').context("expected kind=address")?;
            let address: SocketAddr =
                address.parse().with_context(|| format!("{address} is no address"))?;
            start(scope, node, kind, address, &records, stop)
        });
        if outcome.is_err() {
            stop.request();
        }
        outcome
    })?;
    Ok(records.into_inner().unwrap_or_else(PoisonError::into_inner))
}

fn start<'scope, 'env: 'scope>(
    scope: &'scope Scope<'scope, 'env>,
    node: &'env str,
    kind: &'env str,
    address: SocketAddr,
    records: &'env Mutex<Vec<FlowRecord>>,
    stop: &'env Stop,
) -> Result<()> {
    let here = || format!("cannot serve {kind} on {address}");
    match kind {
        "datagram" => {
            let socket = patiently(stop, || UdpSocket::bind(address)).with_context(here)?;
            socket.set_read_timeout(Some(POLL))?;
            datagram::enlarge_buffers(&socket);
            scope.spawn(move || {
                let recorder = Recorder::new("datagram");
                datagram::serve(node, &socket, &recorder, stop);
                keep(records, recorder.finish());
            });
        }
        "http" | "stream" | "echo" => {
            let listener = patiently(stop, || TcpListener::bind(address)).with_context(here)?;
            listener.set_nonblocking(true)?;
            scope.spawn(move || accept(scope, node, kind, &listener, records, stop));
        }
        _ => bail!("{kind} is not served; http, stream, echo and datagram are"),
    }
    println!("serving {kind} on {address}");
    Ok(())
}

/// Binds again and again: the address may still be on its way to this host.
fn patiently<T>(stop: &Stop, bind: impl Fn() -> io::Result<T>) -> io::Result<T> {
    let give_up = now_us() + CONNECT_LIMIT_US;
    loop {
        match bind() {
            Err(_) if now_us() < give_up && !stop.is_requested() => thread::sleep(POLL),
            outcome => return outcome,
        }
    }
}

fn accept<'scope, 'env: 'scope>(
    scope: &'scope Scope<'scope, 'env>,
    node: &'env str,
    kind: &'env str,
    listener: &TcpListener,
    records: &'env Mutex<Vec<FlowRecord>>,
    stop: &'env Stop,
) {
    while !stop.is_requested() {
        match listener.accept() {
            Ok((stream, _)) => {
                scope.spawn(move || {
                    if let Err(error) = converse(node, kind, &stream, records, stop) {
                        eprintln!("{kind}: {error:#}");
                    }
                });
            }
            Err(error) if is_idle(&error) => thread::sleep(POLL / 10),
            Err(error) => {
                eprintln!("{kind}: {error}");
                thread::sleep(POLL);
            }
        }
    }
}

fn converse(
    node: &str,
    kind: &str,
    connection: &TcpStream,
    records: &Mutex<Vec<FlowRecord>>,
    stop: &Stop,
) -> Result<()> {
    connection.set_nonblocking(false)?;
    connection.set_nodelay(true)?;
    connection.set_read_timeout(Some(POLL))?;
    connection.set_write_timeout(Some(POLL))?;
    match kind {
        "http" => http::serve(node, connection, stop),
        "stream" => keep(records, stream::serve(node, connection, stop)?),
        _ => echo::serve(connection, stop),
    }
    Ok(())
}

fn keep(records: &Mutex<Vec<FlowRecord>>, record: FlowRecord) {
    records.lock().unwrap_or_else(PoisonError::into_inner).push(record);
}
