//! Serves two small tables on loopback, to try a client by hand:
//!
//! `cargo run -p turnstile-wire --example serve_tables`, then `psql -h 127.0.0.1 -p 5433 turnstile`.

#[path = "../tests/it/tables.rs"]
mod tables;

use std::sync::Arc;

use turnstile_wire::{ServeSettings, WireError, WireServer};

#[tokio::main]
async fn main() -> Result<(), WireError> {
    let server = WireServer::start(Arc::new(tables::Tables::default()), ServeSettings::default()).await?;
    println!("listening on {}; ends with the input (Ctrl-D)", server.address());
    let until_its_end = || std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
    let _ended_either_way = tokio::task::spawn_blocking(until_its_end).await;
    server.stop().await;
    Ok(())
}
