//! Commands about a running vipsec.

use super::client::{Client, ClientError};
use super::{CliError, Command, Daemon, Kind, SaArgs, tables};
use serde_json::{Value, json};
use std::io::Write;
use std::path::Path;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Longest wait for a node that was told to stop.
const STOPPING: Duration = Duration::from_secs(20);

pub(super) fn execute(command: Command, out: &mut dyn Write) -> Result<(), CliError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(ask(command, out))
}

async fn ask(command: Command, out: &mut dyn Write) -> Result<(), CliError> {
    match command {
        Command::Status(daemon) => show(&daemon, "/v1/status", tables::status, out).await,
        Command::Sas(daemon) => show(&daemon, "/v1/sas", tables::sas, out).await,
        Command::Connections(daemon) => {
            show(&daemon, "/v1/connections", tables::connections, out).await
        }
        Command::Events { past, daemon } => events(&daemon, past, out).await,
        Command::Transfer { vip, to, daemon } => {
            tell(&daemon, "/v1/transfer", json!({ "vip": vip, "to": to }), out).await
        }
        Command::Stop { open, daemon } => stop(open, &daemon, out).await,
        Command::Rekey(sa) => about_sa("/v1/rekey", sa, out).await,
        Command::Terminate(sa) => about_sa("/v1/terminate", sa, out).await,
        Command::Initiate { connection, child, vip, daemon } => {
            let body = json!({ "connection": connection, "child": child, "vip": vip });
            tell(&daemon, "/v1/initiate", body, out).await
        }
        Command::AcceptRollback { vip, daemon } => {
            tell(&daemon, "/v1/accept-rollback", json!({ "vip": vip }), out).await
        }
        Command::Run(_) | Command::CheckConfig(_) | Command::Keygen { .. } => Ok(()),
    }
}

async fn show(
    daemon: &Daemon,
    path: &str,
    table: fn(&Value) -> String,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    let answer = Client::connect(&daemon.socket).await?.get(path).await?;
    if daemon.json {
        writeln!(out, "{answer:#}")?;
    } else {
        write!(out, "{}", table(&answer))?;
    }
    Ok(())
}

async fn tell(
    daemon: &Daemon,
    path: &str,
    body: Value,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    let answer = Client::connect(&daemon.socket).await?.post(path, &body).await?;
    if daemon.json {
        writeln!(out, "{answer:#}")?;
    } else if let Some(text) = answer.get("text").and_then(Value::as_str) {
        writeln!(out, "{text}")?;
    }
    Ok(())
}

async fn about_sa(path: &str, sa: SaArgs, out: &mut dyn Write) -> Result<(), CliError> {
    let kind = match sa.kind {
        Kind::Ike => "ike",
        Kind::Child => "child",
    };
    tell(&sa.daemon, path, json!({ "kind": kind, "name": sa.name }), out).await
}

async fn events(daemon: &Daemon, past: usize, out: &mut dyn Write) -> Result<(), CliError> {
    let mut client = Client::connect(&daemon.socket).await?;
    let print = |line: &str| {
        match serde_json::from_str::<Value>(line) {
            Ok(event) if !daemon.json => writeln!(out, "{}", tables::event(&event))?,
            _ => writeln!(out, "{line}")?,
        }
        out.flush()
    };
    Ok(client.follow(&format!("/v1/events?past={past}"), print).await?)
}

/// Stops a running vipsec. A fence can be opened after its vipsec has gone, too.
async fn stop(open: bool, daemon: &Daemon, out: &mut dyn Write) -> Result<(), CliError> {
    match tell(daemon, "/v1/stop", json!({ "open": open }), out).await {
        Err(CliError::Client(ClientError::NotRunning(_))) if open => {
            crate::run::open_fence(crate::run::PLANE).await?;
            writeln!(out, "vipsec does not run here; its fence is open")?;
            Ok(())
        }
        Err(error) => Err(error),
        Ok(()) => Ok(until_gone(&daemon.socket).await?),
    }
}

/// Waits until nobody answers on the socket any more.
async fn until_gone(socket: &Path) -> Result<(), ClientError> {
    let began = Instant::now();
    while began.elapsed() < STOPPING {
        match Client::connect(socket).await {
            Err(ClientError::NotRunning(_)) => return Ok(()),
            _ => sleep(Duration::from_millis(20)).await,
        }
    }
    Err(ClientError::Refused(format!("vipsec has not stopped within {} s", STOPPING.as_secs())))
}
