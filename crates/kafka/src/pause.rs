//! Waits of a thread outside the runtime: for a future, or for a time that a token ends early.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// What `future` comes to, which another thread wakes; `None` once `time` is up.
fn ready_within<F: Future>(mut future: Pin<&mut F>, time: Duration) -> Option<F::Output> {
    let started = Instant::now();
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return Some(output);
        }
        let left = time.saturating_sub(started.elapsed());
        if left.is_zero() {
            return None;
        }
        thread::park_timeout(left);
    }
}

/// Runs a future that another thread completes, without a runtime.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    loop {
        if let Some(output) = ready_within(future.as_mut(), Duration::MAX) {
            return output;
        }
    }
}

/// Lets this thread sleep for `time`, or until `token` is cancelled; true when it is.
pub fn pause(time: Duration, token: &CancellationToken) -> bool {
    ready_within(pin!(token.cancelled()), time).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_ends_with_its_time_or_with_the_token() {
        let token = CancellationToken::new();
        assert!(!pause(Duration::from_millis(1), &token));
        let canceller = thread::spawn({
            let token = token.clone();
            move || token.cancel()
        });
        assert!(pause(Duration::MAX, &token));
        canceller.join().unwrap();
        assert!(pause(Duration::ZERO, &token));
    }
}
