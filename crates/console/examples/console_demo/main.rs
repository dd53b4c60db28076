//! The console over made-up data that moves, to look at its pages.
//!
//! `cargo run -p turnstile-console --example console_demo [full|empty|failing] [ADDRESS]`

mod demo_data;
mod demo_runs;
mod demo_tables;
mod demo_values;
mod demo_windows;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use demo_data::{DemoConsole, DemoMood};
use turnstile_console::{ConsoleServer, ConsoleSettings};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let mood = match arguments.next().as_deref() {
        Some("empty") => DemoMood::Empty,
        Some("failing") => DemoMood::Failing,
        _ => DemoMood::Full,
    };
    let listen: SocketAddr = arguments.next().as_deref().unwrap_or("127.0.0.1:8080").parse()?;
    let data = Arc::new(DemoConsole::new(mood, 100_000));
    let moving = Arc::clone(&data);
    let settings = ConsoleSettings { listen, ..ConsoleSettings::default() };
    let console = ConsoleServer::start(settings, data, None).await?;
    println!("{}", console.url());
    loop {
        tokio::time::sleep(Duration::from_millis(500)).await;
        moving.step();
    }
}
