//! Commands about a running vipsec.

use super::client::{Client, ClientError, Lines};
use super::{CliError, Command, Daemon, Kind, SaArgs, tables};
use serde_json::{Value, json};
use std::future::pending;
use std::io::Write;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Longest wait for a node that was told to stop.
const STOPPING: Duration = Duration::from_secs(20);
/// Longest wait for the end of a transfer.
const TRANSFERRING: Duration = Duration::from_secs(10);
/// How often a transfer's end is looked for.
const LOOK: Duration = Duration::from_millis(5);

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
        Command::Leases(daemon) => show(&daemon, "/v1/leases", tables::leases, out).await,
        Command::Events { past, daemon } => events(&daemon, past, out).await,
        Command::Transfer { vip, to, no_wait: true, daemon } => {
            tell(&daemon, "/v1/transfer", json!({ "vip": vip, "to": to }), out).await
        }
        Command::Transfer { vip, to, no_wait: false, daemon } => {
            transfer(&daemon, vip, &to, TRANSFERRING, out).await
        }
        Command::Reload(daemon) => tell(&daemon, "/v1/reload", json!({}), out).await,
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
        Command::Run(_)
        | Command::CheckConfig { .. }
        | Command::Keygen { .. }
        | Command::Import { .. } => Ok(()),
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
    let client = Client::connect(&daemon.socket).await?;
    let mut lines = client.follow(&format!("/v1/events?past={past}")).await?;
    while let Some(line) = lines.next().await? {
        match serde_json::from_str::<Value>(&line) {
            Ok(event) if !daemon.json => writeln!(out, "{}", tables::event(&event))?,
            _ => writeln!(out, "{line}")?,
        }
        out.flush()?;
    }
    Ok(())
}

/// Begins a transfer and waits for its end.
pub(super) async fn transfer(
    daemon: &Daemon,
    vip: IpAddr,
    to: &str,
    patience: Duration,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    let mut client = Client::connect(&daemon.socket).await?;
    // Followed from before the beginning, so that no end is missed.
    let events = Client::connect(&daemon.socket).await?.follow("/v1/events").await.ok();
    let began = Instant::now();
    client.post("/v1/transfer", &json!({ "vip": vip, "to": to })).await?;
    let mut last = None;
    tokio::select! {
        owned = until_owner(&mut client, vip, to, &mut last) => owned?,
        why = called_off(events, vip, to) => return Err(ClientError::Refused(why).into()),
        // The client may be in the middle of a request: there is no asking it once more.
        () = sleep(patience) => {
            return Err(ClientError::Refused(format!(
                "{vip}: {to} does not own it {} s after the transfer began; the owner is {}",
                patience.as_secs(),
                last.as_deref().unwrap_or("unknown"),
            )).into());
        }
    }
    let took = began.elapsed();
    if daemon.json {
        let took = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        writeln!(out, "{:#}", json!({ "vip": vip, "owner": to, "took_us": took }))?;
    } else {
        writeln!(out, "{vip}: transferred to {to} in {} ms", took.as_millis())?;
    }
    Ok(())
}

/// Waits until `node` owns the VIP; `last` is who was seen to own it last.
async fn until_owner(
    client: &mut Client,
    vip: IpAddr,
    node: &str,
    last: &mut Option<String>,
) -> Result<(), ClientError> {
    loop {
        *last = owner(&client.get("/v1/status").await?, vip);
        if last.as_deref() == Some(node) {
            return Ok(());
        }
        sleep(LOOK).await;
    }
}

fn owner(status: &Value, vip: IpAddr) -> Option<String> {
    let vips = status.get("vips")?.as_array()?;
    let status = vips.iter().find(|status| is_about(status, "address", vip))?;
    Some(status.get("owner")?.as_str()?.to_owned())
}

fn is_about(value: &Value, member: &str, vip: IpAddr) -> bool {
    value.get(member).and_then(Value::as_str).and_then(|text| text.parse().ok()) == Some(vip)
}

/// Waits for the event that calls the transfer off, and gives its text. Where it does not come from,
/// because another node is the owner or the events have ended, this waits for ever.
async fn called_off(events: Option<Lines>, vip: IpAddr, to: &str) -> String {
    let Some(mut events) = events else { return pending().await };
    while let Ok(Some(line)) = events.next().await {
        let Ok(event) = serde_json::from_str::<Value>(&line) else { continue };
        let text = |member| event.get(member).and_then(Value::as_str);
        if text("event") == Some("transfer-aborted")
            && text("node") == Some(to)
            && is_about(&event, "vip", vip)
        {
            return text("text").unwrap_or("the transfer was called off").to_owned();
        }
    }
    pending().await
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
