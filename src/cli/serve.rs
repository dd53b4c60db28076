//! `turnstile warehouse serve`: the warehouse for PostgreSQL clients.

use std::path::PathBuf;

use super::pipeline_args::PipelineArgs;
use crate::exit::Exit;
use crate::flow::{self, LakeAccess};
use crate::process::Process;

/// Serve psql, drivers and BI tools over PostgreSQL's protocol
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  turnstile warehouse serve pipelines/mta-turnstile.toml
  psql -h 127.0.0.1 -p 5433 -U turnstile -c '\\d'
  TURNSTILE_WAREHOUSE_PASSWORD=… turnstile warehouse serve --listen 0.0.0.0:5433 --tls-cert c.pem --tls-key k.pem

Read-only. On loopback no password is required unless TURNSTILE_WAREHOUSE_PASSWORD is set; on other addresses one
is. Database and user are called turnstile. Limits and clients: docs/warehouse-postgres-wire.md.")]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    pipeline: PipelineArgs,
    /// Where to listen [default: `[warehouse] listen`, or 127.0.0.1:5433]
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<String>,
    /// A certificate (PEM) for TLS
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Its private key (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
}

pub(super) fn run(args: ServeArgs, process: &Process) -> anyhow::Result<Exit> {
    let context = args.pipeline.open(process, LakeAccess::Read)?;
    let setting = context.pipeline().warehouse.as_ref().and_then(|warehouse| warehouse.listen.clone());
    let listen = flow::address(&args.listen.or(setting).unwrap_or_else(|| flow::LISTEN.to_owned()))?;
    process.shutdown_on_signals()?;
    context.block_on(async {
        let server = flow::serve(&context, listen, args.tls_cert.zip(args.tls_key)).await?;
        let at = server.address();
        eprintln!(
            "listening at {at}: psql -h {} -p {} -U {} {}",
            at.ip(),
            at.port(),
            flow::USER,
            turnstile_wire::DATABASE
        );
        context.shutdown().cancelled().await;
        server.stop().await;
        Ok(Exit::Done)
    })
}
