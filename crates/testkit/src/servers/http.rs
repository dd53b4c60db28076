//! Just enough HTTP to check readiness and create a bucket.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result};

/// How long one request may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Sends one request to `127.0.0.1:port` and returns the answer's status.
pub(super) fn status(port: u16, method: &str, path: &str, body: &str) -> Result<u16> {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )?;
    // "HTTP/1.1 200": all that is of interest, and every server sends it whole.
    let mut head = [0u8; 12];
    stream.read_exact(&mut head)?;
    let code = std::str::from_utf8(&head[9..]).ok().and_then(|code| code.parse().ok());
    code.with_context(|| format!("{address} did not answer in HTTP"))
}

/// Whether a GET of `path` is answered with one of `statuses`.
pub(super) fn answers(port: u16, path: &str, statuses: &[u16]) -> bool {
    status(port, "GET", path, "").is_ok_and(|status| statuses.contains(&status))
}
