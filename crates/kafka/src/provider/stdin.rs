//! Standard input whose read ends at shutdown.

use std::io::{self, Read};

use tokio::sync::mpsc::{Receiver, channel};
use tokio_util::sync::CancellationToken;

use crate::pause::block_on;

/// Read-ahead from standard input: this many chunks of this many bytes.
const CHUNKS: usize = 16;
pub(super) const CHUNK: usize = 64 << 10;

/// Standard input, read by a separate thread so that waiting for it can be interrupted.
pub(super) struct StdinChunks {
    chunks: Receiver<io::Result<Vec<u8>>>,
    chunk: Vec<u8>,
    used: usize,
    shutdown: CancellationToken,
}

impl StdinChunks {
    pub(super) fn start(shutdown: CancellationToken) -> Self {
        let (send, chunks) = channel(CHUNKS);
        // The thread ends with its input or with the first chunk that is no longer received; nothing waits for it.
        std::thread::spawn(move || {
            let mut stdin = io::stdin().lock();
            loop {
                let mut chunk = vec![0; CHUNK];
                let read = stdin.read(&mut chunk);
                let ended = !matches!(read, Ok(n) if n > 0);
                let sent = send.blocking_send(read.map(|n| {
                    chunk.truncate(n);
                    chunk
                }));
                if ended || sent.is_err() {
                    return;
                }
            }
        });
        Self { chunks, chunk: Vec::new(), used: 0, shutdown }
    }
}

impl Read for StdinChunks {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.used == self.chunk.len() {
            // Stopped: nothing more is sent, not even a line that was cut off here.
            let Some(Some(chunk)) = block_on(self.shutdown.run_until_cancelled(self.chunks.recv())) else {
                return Ok(0);
            };
            (self.chunk, self.used) = (chunk?, 0);
            if self.chunk.is_empty() {
                return Ok(0);
            }
        }
        let n = out.len().min(self.chunk.len() - self.used);
        out[..n].copy_from_slice(&self.chunk[self.used..self.used + n]);
        self.used += n;
        Ok(n)
    }
}
