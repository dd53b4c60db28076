//! Free ports on loopback.

use std::net::TcpListener;
use std::ops::Range;
use std::process;
use std::sync::atomic::{AtomicU16, Ordering};

use anyhow::{Result, bail};

/// Below the ports that the system gives to outgoing connections and to those who ask for any port: while a killed
/// server waits to be restarted, no other process is given it.
const PORTS: Range<u16> = 20_000..32_000;

/// How far apart two processes begin to look.
const STRIDE: u32 = 127;

/// How often a start is tried again when another process took the port in between.
const PORT_TRIES: usize = 3;

/// A port that is free now and that this process gives out once. Another process may take it before the server binds
/// it, so whoever starts a server on it must be ready for "address in use".
///
/// # Errors
/// When no port of the range is free.
pub fn free_port() -> Result<u16> {
    static GIVEN: AtomicU16 = AtomicU16::new(0);
    let count = PORTS.end - PORTS.start;
    let first = (process::id().wrapping_mul(STRIDE) % u32::from(count)) as u16;
    for _ in PORTS {
        let next = GIVEN.fetch_add(1, Ordering::Relaxed) % count;
        let port = PORTS.start + (first + next) % count;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no port from {} to {} is free on 127.0.0.1", PORTS.start, PORTS.end - 1)
}

/// Tries again when another process took a port between its choice and its use.
pub(super) fn with_free_ports<T>(start: impl Fn() -> Result<T>) -> Result<T> {
    let mut tries = PORT_TRIES;
    loop {
        tries -= 1;
        match start() {
            Err(fault) if tries > 0 && fault.to_string().contains("Address already in use") => {}
            other => return other,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_port_is_given_twice() {
        let given: HashSet<u16> = (0..200).map(|_| free_port().unwrap()).collect();
        assert_eq!(given.len(), 200);
    }
}
