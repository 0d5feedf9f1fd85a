//! The client side of the admin API.

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::io;
use std::path::{Path, PathBuf};
use tokio::net::UnixStream;

/// Why a command got no answer, or which answer it got.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens.
    #[error(
        "vipsec does not run here (nothing answers on {}); start it with `vipsec run -c FILE`, or name its socket with --socket",
        .0.display()
    )]
    NotRunning(PathBuf),
    /// The socket is not ours to use.
    #[error("{} is for its owner only; try again as root", .0.display())]
    Denied(PathBuf),
    /// The socket cannot be used for another reason.
    #[error("{} cannot be used", path.display())]
    Socket {
        /// The socket.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The conversation broke off.
    #[error("vipsec broke the conversation off")]
    Http(#[from] hyper::Error),
    /// The answer cannot be read.
    #[error("vipsec's answer cannot be read")]
    Json(#[from] serde_json::Error),
    /// The daemon says no.
    #[error("{0}")]
    Refused(String),
}

/// A running vipsec.
#[derive(Debug)]
pub(super) struct Client {
    sender: SendRequest<Full<Bytes>>,
}

impl Client {
    pub(super) async fn connect(path: &Path) -> Result<Client, ClientError> {
        let stream = UnixStream::connect(path).await.map_err(|source| {
            let path = path.to_owned();
            match source.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                    ClientError::NotRunning(path)
                }
                io::ErrorKind::PermissionDenied => ClientError::Denied(path),
                _ => ClientError::Socket { path, source },
            }
        })?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Client { sender })
    }

    pub(super) async fn get(&mut self, path: &str) -> Result<Value, ClientError> {
        let response = self.ask(Method::GET, path, Bytes::new()).await?;
        let body = response.into_body().collect().await?.to_bytes();
        Ok(serde_json::from_slice(&body)?)
    }

    pub(super) async fn post(&mut self, path: &str, body: &Value) -> Result<Value, ClientError> {
        let response = self.ask(Method::POST, path, Bytes::from(body.to_string())).await?;
        let body = response.into_body().collect().await?.to_bytes();
        Ok(serde_json::from_slice(&body)?)
    }

    /// Asks for an endless answer.
    pub(super) async fn follow(mut self, path: &str) -> Result<Lines, ClientError> {
        let body = self.ask(Method::GET, path, Bytes::new()).await?.into_body();
        Ok(Lines { _client: self, body, waiting: String::new() })
    }

    async fn ask(
        &mut self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<Response<Incoming>, ClientError> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "vipsec")
            .body(Full::new(body))
            .expect("method, path and header are constants of this program");
        self.sender.ready().await?;
        let response = self.sender.send_request(request).await?;
        if response.status().is_success() {
            return Ok(response);
        }
        let body = response.into_body().collect().await?.to_bytes();
        let text = serde_json::from_slice::<Value>(&body)
            .ok()
            .and_then(|value| Some(value.get("error")?.as_str()?.to_owned()));
        Err(ClientError::Refused(
            text.unwrap_or_else(|| String::from_utf8_lossy(&body).into_owned()),
        ))
    }
}

/// The lines of an endless answer.
#[derive(Debug)]
pub(super) struct Lines {
    /// Holds the connection open.
    _client: Client,
    body: Incoming,
    waiting: String,
}

impl Lines {
    /// The next line, without its end; `None` when there will be no more.
    pub(super) async fn next(&mut self) -> Result<Option<String>, ClientError> {
        loop {
            if let Some(end) = self.waiting.find('\n') {
                let whole: String = self.waiting.drain(..=end).collect();
                return Ok(Some(whole.trim_end().to_owned()));
            }
            let Some(frame) = self.body.frame().await else { return Ok(None) };
            if let Ok(data) = frame?.into_data() {
                self.waiting.push_str(&String::from_utf8_lossy(&data));
            }
        }
    }
}
