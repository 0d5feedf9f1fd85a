//! One connection to one member of an etcd, with the calls that are used here. Each has an end.

use super::EtcdConfig;
use super::failure::{Phase, explain};
use super::messages::{
    AuthenticateRequest, AuthenticateResponse, CompactionRequest, CompactionResponse, RangeRequest,
    RangeResponse, TxnRequest, TxnResponse, WatchCreateRequest, WatchRequest, WatchResponse,
};
use futures_util::StreamExt as _;
use futures_util::stream;
use http::uri::PathAndQuery;
use std::time::Duration;
use tokio::sync::mpsc;
use tonic::client::Grpc;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Request, Status};
use tonic_prost::ProstCodec;
use vipsec_cluster::store::StoreError;

/// Largest answer in bytes: a page of values of a megabyte each.
const ANSWER_MAX: usize = 512 << 20;
/// Answers of a watch that may wait to be read.
const WATCH_QUEUE: usize = 16;

#[derive(Debug, Clone)]
pub(super) struct Client {
    channel: Channel,
    token: Option<MetadataValue<Ascii>>,
    patience: Duration,
}

impl Client {
    /// Connects, and says who we are.
    pub(super) async fn connect(url: &str, config: &EtcdConfig) -> Result<Client, StoreError> {
        let refused =
            |error: &dyn core::fmt::Display| StoreError::Failed(format!("{url}: {error}"));
        let endpoint = Endpoint::from_shared(url.to_owned()).map_err(|error| refused(&error))?;
        let mut endpoint = endpoint.connect_timeout(config.patience).tcp_nodelay(true);
        if let Some(tls) = &config.tls {
            let mut client = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(&tls.ca));
            if let Some((certificate, key)) = &tls.identity {
                client = client.identity(Identity::from_pem(certificate, key));
            }
            endpoint = endpoint.tls_config(client).map_err(|error| refused(&error))?;
        }
        let connected = tokio::time::timeout(config.patience, endpoint.connect()).await;
        let channel = connected.map_err(|_| refused(&"no answer"))?;
        let channel = channel.map_err(|error| refused(&Chain(&error)))?;
        let mut client = Client { channel, token: None, patience: config.patience };
        if let Some(login) = &config.login {
            client.token = Some(client.authenticate(&login.user, &login.password).await?);
        }
        Ok(client)
    }

    async fn authenticate(
        &self,
        user: &str,
        password: &str,
    ) -> Result<MetadataValue<Ascii>, StoreError> {
        let request = AuthenticateRequest { name: user.to_owned(), password: password.to_owned() };
        let answer = self.ask("/etcdserverpb.Auth/Authenticate", request).await;
        let answer: AuthenticateResponse =
            answer.map_err(|status| explain(&status, Phase::Reading))?;
        answer.token.parse().map_err(|_| StoreError::Failed("a token of odd letters".to_owned()))
    }

    pub(super) async fn range(&self, request: RangeRequest) -> Result<RangeResponse, Status> {
        self.ask("/etcdserverpb.KV/Range", request).await
    }

    pub(super) async fn txn(&self, request: TxnRequest) -> Result<TxnResponse, Status> {
        self.ask("/etcdserverpb.KV/Txn", request).await
    }

    pub(super) async fn compact(&self, revision: i64) -> Result<CompactionResponse, Status> {
        self.ask("/etcdserverpb.KV/Compact", CompactionRequest { revision }).await
    }

    /// Follows a range from a revision on. The answers end when the connection does.
    pub(super) async fn watch(
        &self,
        range: (Vec<u8>, Vec<u8>),
        start_revision: i64,
    ) -> Result<mpsc::Receiver<WatchResponse>, Status> {
        let (key, range_end) = range;
        let create = WatchCreateRequest { key, range_end, start_revision };
        let create = stream::iter([WatchRequest { create: Some(create) }]);
        let request = self.signed(create.chain(stream::pending()));
        let mut grpc = self.ready().await?;
        let codec = ProstCodec::<WatchRequest, WatchResponse>::default();
        let path = PathAndQuery::from_static("/etcdserverpb.Watch/Watch");
        let opened = tokio::time::timeout(self.patience, grpc.streaming(request, path, codec));
        let mut stream = opened.await.map_err(|_| no_answer())??.into_inner();
        let (sender, receiver) = mpsc::channel(WATCH_QUEUE);
        tokio::spawn(async move {
            while let Ok(Some(answer)) = stream.message().await {
                if sender.send(answer).await.is_err() {
                    break;
                }
            }
        });
        Ok(receiver)
    }

    async fn ask<Q, A>(&self, path: &'static str, question: Q) -> Result<A, Status>
    where
        Q: prost::Message + 'static,
        A: prost::Message + Default + 'static,
    {
        let request = self.signed(question);
        let exchange = async {
            let mut grpc = self.ready().await?;
            let path = PathAndQuery::from_static(path);
            grpc.unary(request, path, ProstCodec::<Q, A>::default()).await
        };
        let answer = tokio::time::timeout(self.patience, exchange).await;
        Ok(answer.map_err(|_| no_answer())??.into_inner())
    }

    async fn ready(&self) -> Result<Grpc<Channel>, Status> {
        let mut grpc = Grpc::new(self.channel.clone()).max_decoding_message_size(ANSWER_MAX);
        let ready = grpc.ready().await;
        ready.map_err(|error| Status::unavailable(Chain(&error).to_string()))?;
        Ok(grpc)
    }

    fn signed<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(token) = &self.token {
            request.metadata_mut().insert("token", token.clone());
        }
        request
    }
}

fn no_answer() -> Status {
    Status::deadline_exceeded("no answer in time")
}

/// An error with its causes: tonic's own says "transport error".
struct Chain<'a>(&'a dyn core::error::Error);

impl core::fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}
