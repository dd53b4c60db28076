//! The calls of `spark.connect.SparkConnectService`, each with a deadline.

use std::future::Future;
use std::time::Duration;

use http::uri::PathAndQuery;
use prost::Message;
use tonic::client::Grpc;
use tonic::metadata::{AsciiMetadataKey, AsciiMetadataValue};
use tonic::{Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;

use super::connection::{Channel, Connection};
use super::failure::{self, CallFailure};
use crate::error::SparkError;

/// What this client calls itself.
pub(super) const CLIENT: &str = concat!("turnstile/", env!("CARGO_PKG_VERSION"));

impl Connection {
    /// A call with one response.
    pub(super) async fn unary<Q, A>(&self, method: &'static str, message: Q, limit: Duration) -> Result<A, CallFailure>
    where
        Q: Message + Default + Clone + 'static,
        A: Message + Default + 'static,
    {
        let (mut grpc, request, path) = self.prepare(method, message, limit).await?;
        let call = grpc.unary(request, path, ProstCodec::<Q, A>::default());
        self.within(limit, call).await.map(Response::into_inner)
    }

    /// A call with a stream of responses; `limit` is for its beginning.
    pub(super) async fn streaming<Q, A>(
        &self,
        method: &'static str,
        message: Q,
        limit: Duration,
    ) -> Result<Streaming<A>, CallFailure>
    where
        Q: Message + Default + Clone + 'static,
        A: Message + Default + 'static,
    {
        let (mut grpc, request, path) = self.prepare(method, message, limit).await?;
        let call = grpc.server_streaming(request, path, ProstCodec::<Q, A>::default());
        self.within(limit, call).await.map(Response::into_inner)
    }

    /// Waits for `call` at most so long.
    pub(super) async fn within<T>(
        &self,
        limit: Duration,
        call: impl Future<Output = Result<T, Status>>,
    ) -> Result<T, CallFailure> {
        match tokio::time::timeout(limit, call).await {
            Ok(answer) => answer.map_err(|status| failure::of_status(&self.remote, status)),
            Err(_) => Err(SparkError::Silent { server: self.remote.to_string(), after: limit }.into()),
        }
    }

    async fn prepare<Q>(
        &self,
        method: &'static str,
        message: Q,
        limit: Duration,
    ) -> Result<(Grpc<Channel>, Request<Q>, PathAndQuery), CallFailure> {
        let mut grpc =
            Grpc::with_origin(self.channel().await?, self.origin.clone()).max_decoding_message_size(LARGEST_RESPONSE);
        let ready = async { grpc.ready().await.map_err(|error| Status::from_error(Box::new(error))) };
        self.within(limit, ready).await?;
        let mut request = Request::new(message);
        let metadata = request.metadata_mut();
        metadata.insert("user-agent", AsciiMetadataValue::from_static(CLIENT));
        if let Some(token) = &self.remote.token {
            let mut value = self.header(&format!("Bearer {}", token.expose()), "token")?;
            value.set_sensitive(true);
            metadata.insert("authorization", value);
        }
        for (name, secret) in &self.remote.headers {
            let mut value = self.header(secret.expose(), name)?;
            value.set_sensitive(true);
            let name = AsciiMetadataKey::from_bytes(name.as_bytes()).map_err(|_| self.unsendable(name))?;
            metadata.insert(name, value);
        }
        let path = PathAndQuery::from_static(method);
        Ok((grpc, request, path))
    }

    fn header(&self, text: &str, name: &str) -> Result<AsciiMetadataValue, SparkError> {
        AsciiMetadataValue::try_from(text).map_err(|_| self.unsendable(name))
    }

    fn unsendable(&self, name: &str) -> SparkError {
        let message = format!("the {name} of its address cannot be sent: it has characters that no header has");
        SparkError::Refused { server: self.remote.to_string(), message }
    }
}

/// A server sends a table's rows in batches of a few megabytes.
const LARGEST_RESPONSE: usize = 64 << 20;
