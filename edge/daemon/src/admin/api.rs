//! The routes of the admin API. Every answer is JSON but for `/metrics`; an error is
//! `{"error": "…"}`.

use super::events::EventLog;
use super::{Command, Failure, Request, SaKind, SaRef};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::net::IpAddr;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};
use vipsec_wire::id::NodeName;

#[derive(Clone)]
struct Shared {
    requests: mpsc::Sender<Request>,
    events: Arc<EventLog>,
}

pub(super) fn router(requests: mpsc::Sender<Request>, events: Arc<EventLog>) -> Router {
    Router::new()
        .route("/v1/status", get(|State(api): State<Shared>| api.ask(Command::Status)))
        .route("/v1/sas", get(|State(api): State<Shared>| api.ask(Command::Sas)))
        .route("/v1/connections", get(|State(api): State<Shared>| api.ask(Command::Connections)))
        .route("/v1/leases", get(|State(api): State<Shared>| api.ask(Command::Leases)))
        .route("/v1/events", get(follow))
        .route("/metrics", get(metrics))
        .route("/v1/transfer", post(transfer))
        .route("/v1/reload", post(|State(api): State<Shared>| api.ask(Command::Reload)))
        .route("/v1/stop", post(stop))
        .route("/v1/rekey", post(rekey))
        .route("/v1/terminate", post(terminate))
        .route("/v1/initiate", post(initiate))
        .route("/v1/accept-rollback", post(accept_rollback))
        .fallback(|| async { answer(Err(Failure::NotFound("no such path".to_owned()))) })
        .with_state(Shared { requests, events })
}

impl Shared {
    async fn ask(self, command: Command) -> Response {
        answer(self.reply(command).await)
    }

    async fn reply(&self, command: Command) -> Result<Value, Failure> {
        let (reply, answer) = oneshot::channel();
        let stopping = || Failure::Refused("vipsec is stopping".to_owned());
        self.requests.send(Request { command, reply }).await.map_err(|_| stopping())?;
        answer.await.map_err(|_| stopping())?
    }
}

fn answer(result: Result<Value, Failure>) -> Response {
    let (status, value) = match result {
        Ok(value) => (StatusCode::OK, value),
        Err(failure) => {
            let status = match failure {
                Failure::Bad(_) => StatusCode::BAD_REQUEST,
                Failure::NotFound(_) => StatusCode::NOT_FOUND,
                Failure::Refused(_) => StatusCode::CONFLICT,
            };
            (status, json!({ "error": failure.to_string() }))
        }
    };
    (status, axum::Json(value)).into_response()
}

#[derive(Deserialize)]
struct Follow {
    #[serde(default)]
    past: usize,
}

async fn follow(State(api): State<Shared>, Query(query): Query<Follow>) -> Response {
    let Some(stream) = api.events.follow(query.past) else {
        return answer(Err(Failure::Refused("too many follow the events already".to_owned())));
    };
    ([(header::CONTENT_TYPE, "application/x-ndjson")], Body::new(stream)).into_response()
}

async fn metrics(State(api): State<Shared>) -> Response {
    match api.reply(Command::Metrics).await {
        Ok(Value::String(text)) => {
            ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response()
        }
        other => answer(other),
    }
}

/// Reads the JSON of a request, whatever its content type says.
fn read<T: DeserializeOwned>(body: &Bytes) -> Result<T, Unreadable> {
    let body = if body.is_empty() { &b"{}"[..] } else { body };
    serde_json::from_slice(body).map_err(|error| Unreadable(error.to_string()))
}

/// Why a request's JSON is not what it should be.
struct Unreadable(String);

impl IntoResponse for Unreadable {
    fn into_response(self) -> Response {
        answer(Err(Failure::Bad(self.0)))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Transfer {
    vip: IpAddr,
    to: NodeName,
}

async fn transfer(State(api): State<Shared>, body: Bytes) -> Result<Response, Unreadable> {
    let Transfer { vip, to } = read(&body)?;
    Ok(api.ask(Command::Transfer { vip, to }).await)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Stop {
    #[serde(default)]
    open: bool,
}

async fn stop(State(api): State<Shared>, body: Bytes) -> Result<Response, Unreadable> {
    let Stop { open } = read(&body)?;
    Ok(api.ask(Command::Stop { open }).await)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sa {
    kind: Kind,
    name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Ike,
    Child,
}

impl From<Sa> for SaRef {
    fn from(sa: Sa) -> SaRef {
        let kind = match sa.kind {
            Kind::Ike => SaKind::Ike,
            Kind::Child => SaKind::Child,
        };
        SaRef { kind, name: sa.name }
    }
}

async fn rekey(State(api): State<Shared>, body: Bytes) -> Result<Response, Unreadable> {
    Ok(api.ask(Command::Rekey(read::<Sa>(&body)?.into())).await)
}

async fn terminate(State(api): State<Shared>, body: Bytes) -> Result<Response, Unreadable> {
    Ok(api.ask(Command::Terminate(read::<Sa>(&body)?.into())).await)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Initiate {
    vip: Option<IpAddr>,
    connection: String,
    child: String,
}

async fn initiate(State(api): State<Shared>, body: Bytes) -> Result<Response, Unreadable> {
    let Initiate { vip, connection, child } = read(&body)?;
    Ok(api.ask(Command::Initiate { vip, connection, child }).await)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AcceptRollback {
    vip: IpAddr,
}

async fn accept_rollback(State(api): State<Shared>, body: Bytes) -> Result<Response, Unreadable> {
    let AcceptRollback { vip } = read(&body)?;
    Ok(api.ask(Command::AcceptRollback { vip }).await)
}
