//! What runs beside a pipeline: the loads of its warehouse, and the port for PostgreSQL clients.

use std::net::{Ipv4Addr, SocketAddr};

use turnstile_wire::WireServer;

use super::context::Context;
use super::loader::BackgroundLoads;
use super::serve::{LISTEN, address, serve};

/// Where the port for PostgreSQL clients is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PortChoice {
    /// Where `[warehouse] listen` says, or nowhere.
    AsConfigured,
    /// There, or at the usual address, or at any free port of loopback when that is taken.
    Any,
}

/// Loads and port of a running pipeline. By default there are none.
#[derive(Default)]
pub(crate) struct Services {
    loads: Option<BackgroundLoads>,
    port: Option<WireServer>,
}

impl Services {
    /// Begins to load and to listen, for a pipeline that has a warehouse.
    ///
    /// # Errors
    /// The port cannot be opened as the settings say; a model or a target's setting is wrong.
    pub(crate) async fn start(context: &Context, port: PortChoice) -> anyhow::Result<Self> {
        let Some(settings) = &context.pipeline().warehouse else { return Ok(Self::default()) };
        let listen = settings.listen.as_deref().map(address).transpose()?;
        let port = match (listen, port) {
            (Some(listen), _) => Some(serve(context, listen, None).await?),
            (None, PortChoice::AsConfigured) => None,
            (None, PortChoice::Any) => {
                let free = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
                // Someone else's PostgreSQL may be there.
                match serve(context, address(LISTEN)?, None).await {
                    Ok(server) => Some(server),
                    Err(_) => Some(serve(context, free, None).await?),
                }
            }
        };
        Ok(Self { loads: BackgroundLoads::start(context)?, port })
    }

    /// Where PostgreSQL clients connect.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        self.port.as_ref().map(WireServer::address)
    }

    /// Ends both once the shutdown token is cancelled, after the load that is under way.
    pub(crate) async fn stop(self) {
        if let Some(loads) = self.loads {
            loads.stopped().await;
        }
        if let Some(server) = self.port {
            server.stop().await;
        }
    }
}
