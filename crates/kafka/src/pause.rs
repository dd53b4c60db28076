//! A thread's sleep that ends early when the process is to end.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// A waker that ends this thread's `park`.
pub(crate) fn thread_waker() -> Waker {
    Waker::from(Arc::new(Unpark(thread::current())))
}

/// Lets this thread sleep for `time`, or until `token` is cancelled; true when it is.
pub fn pause(time: Duration, token: &CancellationToken) -> bool {
    let started = Instant::now();
    let waker = thread_waker();
    let mut cancelled = pin!(token.cancelled());
    while cancelled.as_mut().poll(&mut Context::from_waker(&waker)).is_pending() {
        let left = time.saturating_sub(started.elapsed());
        if left.is_zero() {
            return false;
        }
        thread::park_timeout(left);
    }
    true
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
