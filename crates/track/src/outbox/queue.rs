//! The bodies that wait.

use std::collections::VecDeque;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::OutboxCounts;

/// A queue of bodies within two limits.
#[derive(Debug)]
pub(super) struct OutboxQueue {
    capacity: usize,
    capacity_bytes: usize,
    waiting: Mutex<WaitingBodies>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct WaitingBodies {
    /// Each with its number, by which the sender knows whether the one it sends was dropped meanwhile.
    bodies: VecDeque<(u64, bytes::Bytes)>,
    bytes: usize,
    next_number: u64,
    closed: bool,
    delivered: u64,
    refused: u64,
    dropped: u64,
}

/// What the sender finds.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NextBody {
    /// The oldest body, which stays in the queue until [`OutboxQueue::finish`].
    Body(u64, bytes::Bytes),
    /// Nothing waits and nothing will.
    Closed,
}

impl OutboxQueue {
    pub(super) fn new(capacity: usize, capacity_bytes: usize) -> Self {
        let waiting = Mutex::new(WaitingBodies::default());
        Self { capacity: capacity.max(1), capacity_bytes, waiting, changed: Notify::new() }
    }

    pub(super) fn push(&self, body: Vec<u8>) {
        let mut waiting = self.waiting.lock();
        waiting.bytes += body.len();
        let number = waiting.next_number;
        waiting.next_number += 1;
        waiting.bodies.push_back((number, body.into()));
        // The newest stays even if it alone is too large: it is in memory already.
        while waiting.bodies.len() > 1 && (waiting.bodies.len() > self.capacity || waiting.bytes > self.capacity_bytes)
        {
            waiting.remove_oldest();
            waiting.dropped += 1;
        }
        drop(waiting);
        self.changed.notify_one();
    }

    pub(super) fn close(&self) {
        self.waiting.lock().closed = true;
        self.changed.notify_one();
    }

    /// The oldest body, once there is one.
    pub(super) async fn next(&self) -> NextBody {
        loop {
            {
                let waiting = self.waiting.lock();
                if let Some((number, body)) = waiting.bodies.front() {
                    return NextBody::Body(*number, body.clone());
                }
                if waiting.closed {
                    return NextBody::Closed;
                }
            }
            self.changed.notified().await;
        }
    }

    /// Removes the body with that number, if it was not dropped meanwhile.
    pub(super) fn finish(&self, number: u64, delivered: bool) {
        let mut waiting = self.waiting.lock();
        if waiting.bodies.front().is_some_and(|(front, _)| *front == number) {
            waiting.remove_oldest();
        } else {
            // It was counted as dropped, and was delivered or refused after all.
            waiting.dropped = waiting.dropped.saturating_sub(1);
        }
        match delivered {
            true => waiting.delivered += 1,
            false => waiting.refused += 1,
        }
    }

    pub(super) fn counts(&self) -> OutboxCounts {
        let WaitingBodies { delivered, refused, dropped, ref bodies, .. } = *self.waiting.lock();
        OutboxCounts { delivered, refused, dropped, waiting: bodies.len() }
    }
}

impl WaitingBodies {
    fn remove_oldest(&mut self) {
        if let Some((_, body)) = self.bodies.pop_front() {
            self.bytes -= body.len();
        }
    }
}
