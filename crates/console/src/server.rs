//! The listener: accepts connections, as many as the limit allows, and ends them when asked.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::connection::ConnectionHandler;
use crate::data::ConsoleData;
use crate::routes::router;
use crate::settings::ConsoleSettings;
use crate::site::Site;
use crate::start_error::ConsoleStartError;

/// Wait after the system refused to accept, such as for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A console that answers.
pub struct ConsoleServer {
    address: SocketAddr,
    https: bool,
    stop: CancellationToken,
    accepting: JoinHandle<()>,
}

impl ConsoleServer {
    /// Listens and answers until [`stop`](Self::stop); dropped, it stops too, without waiting for requests in progress.
    ///
    /// `extra`: the caller's own routes, which pass the same checks of host, origin and token. A path that is a page's
    /// already panics at the start, as axum does.
    ///
    /// # Errors
    /// `Exposed`, `Setting`: correct the settings. `Bind`: the address is taken or not this host's.
    pub async fn start(
        settings: ConsoleSettings,
        data: Arc<dyn ConsoleData>,
        extra: Option<Router>,
    ) -> Result<Self, ConsoleStartError> {
        settings.check()?;
        let bind = |source| ConsoleStartError::Bind { address: settings.listen, source };
        let listener = TcpListener::bind(settings.listen).await.map_err(bind)?;
        let address = listener.local_addr().map_err(bind)?;
        let stop = CancellationToken::new();
        let site = Site::new(&settings, data, stop.clone())?;
        let handler = ConnectionHandler {
            router: router(&site, extra),
            tls: settings.tls.clone(),
            limits: settings.limits,
            stop: stop.clone(),
        };
        let accepting = tokio::spawn(accept(listener, handler));
        Ok(Self { address, https: settings.tls.is_some(), stop, accepting })
    }

    /// Where it listens, with the real port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address for a browser: `http://127.0.0.1:8080/`.
    pub fn url(&self) -> String {
        let scheme = if self.https { "https" } else { "http" };
        format!("{scheme}://{}/", self.address)
    }

    /// Stops: accepts no more, ends live streams, lets requests in progress finish within the limit of the settings.
    pub async fn stop(mut self) {
        self.stop.cancel();
        // It ends by itself, within that limit; a panic in it was reported where it happened.
        let _ = (&mut self.accepting).await;
    }
}

impl Drop for ConsoleServer {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn accept(listener: TcpListener, handler: ConnectionHandler) {
    let places = Arc::new(Semaphore::new(handler.limits.connections));
    let stop = handler.stop.clone();
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        // The place comes first: beyond the limit, clients wait in the kernel's queue and cost nothing here.
        let accepted = stop.run_until_cancelled(async {
            let place = Arc::clone(&places).acquire_owned().await;
            (place, listener.accept().await)
        });
        match accepted.await {
            None => break,
            Some((Ok(place), Ok((stream, _)))) => {
                let serving = handler.clone().serve(stream);
                connections.spawn(async move {
                    serving.await;
                    drop(place);
                });
            }
            Some((_, accepted)) => {
                let error = accepted.err();
                tracing::debug!(?error, "the console accepted no connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    let finished = async { while connections.join_next().await.is_some() {} };
    // What is left after that is dropped with the set.
    let _ = tokio::time::timeout(handler.limits.stop_timeout, finished).await;
}
