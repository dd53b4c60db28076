//! Free ports on loopback.

use std::net::TcpListener;

use anyhow::{Context, Result};

/// A port that was free a moment ago. Another process may take it before the server binds it, so
/// whoever starts a server on it must be ready for "address in use".
///
/// # Errors
/// When the loopback interface has no port left.
pub fn free_port() -> Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).context("no free port on 127.0.0.1")?;
    Ok(listener.local_addr()?.port())
}
