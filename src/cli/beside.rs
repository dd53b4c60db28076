//! What runs beside a pipeline: the loads of its warehouse, and the port for PostgreSQL clients.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use tokio::runtime::Runtime;
use turnstile_pipeline::Pipeline;
use turnstile_wire::Server;

use crate::flow::{self, Background};

/// Where PostgreSQL clients are let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Port {
    /// Where `[warehouse] listen` says, or nowhere.
    AsConfigured,
    /// There, or at the usual address, or at any free port of loopback when that is taken.
    Somewhere,
}

/// Loads and port of a pipeline that runs. By default there are none.
#[derive(Default)]
pub(super) struct Beside {
    loads: Option<Background>,
    port: Option<(Runtime, Server)>,
}

impl Beside {
    /// Begins to load and to listen, for a pipeline that has a warehouse.
    ///
    /// # Errors
    /// The port cannot be opened as the settings say.
    pub(super) fn start(pipeline: &Pipeline, folder: &Path, port: Port) -> anyhow::Result<Self> {
        let Some(settings) = &pipeline.warehouse else { return Ok(Self { loads: None, port: None }) };
        let listen = settings.listen.as_deref().map(flow::address).transpose()?;
        let port = match (listen, port) {
            (Some(listen), _) => Some(open(pipeline, folder, listen)?),
            (None, Port::AsConfigured) => None,
            (None, Port::Somewhere) => {
                let usual = flow::address(super::serve::LISTEN)?;
                let free = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
                // Someone else's PostgreSQL may be there; which port it became is told.
                Some(open(pipeline, folder, usual).or_else(|_| open(pipeline, folder, free))?)
            }
        };
        Ok(Self { loads: Background::start(pipeline, folder)?, port })
    }

    /// Where PostgreSQL clients are let in.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        self.port.as_ref().map(|(_, server)| server.address())
    }

    /// What the loads had to say since the last call.
    pub(super) fn notes(&self) -> Vec<String> {
        self.loads.as_ref().map(Background::notes).unwrap_or_default()
    }

    /// Ends both, after the load that is under way.
    pub(super) fn stop(self) {
        if let Some(loads) = self.loads {
            loads.stop();
        }
        if let Some((runtime, server)) = self.port {
            runtime.block_on(server.stop());
        }
    }
}

fn open(pipeline: &Pipeline, folder: &Path, listen: SocketAddr) -> anyhow::Result<(Runtime, Server)> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("warehouse-sql").build()?;
    let server = runtime.block_on(async {
        let warehouse = flow::open_to_load(pipeline, folder).await?;
        flow::serve(pipeline, warehouse, listen, None).await
    })?;
    Ok((runtime, server))
}
