//! Passes a flow's events to its listeners: the printed progress, tracking, a console.
//!
//! In: events, from the flow and from what runs beside it. Out: the same events, in order, to each listener.
//! A listener has its own queue and can slow down neither the flow nor another listener: events that do not fit into
//! its queue are dropped and counted. Start at [`EventSink::emit`].

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use super::event::Event;
use super::owner::now_us;

/// Where events go. Cloning is cheap; all clones have the same listeners.
#[derive(Debug, Clone, Default)]
pub(crate) struct EventSink {
    listeners: Arc<Mutex<Vec<Listener>>>,
}

#[derive(Debug)]
struct Listener {
    queue: mpsc::Sender<(i64, Event)>,
    left_out: Arc<AtomicU64>,
}

/// One listener's events.
#[derive(Debug)]
pub(crate) struct EventStream {
    queue: mpsc::Receiver<(i64, Event)>,
    left_out: Arc<AtomicU64>,
}

impl EventSink {
    /// Adds a listener, which gets what is emitted from now on; at most `capacity` events wait for it.
    pub(crate) fn subscribe(&self, capacity: usize) -> EventStream {
        let (sender, receiver) = mpsc::channel(capacity.max(1));
        let left_out = Arc::new(AtomicU64::new(0));
        self.listeners.lock().push(Listener { queue: sender, left_out: Arc::clone(&left_out) });
        EventStream { queue: receiver, left_out }
    }

    /// Gives `event` to every listener that has room. Never waits.
    pub(crate) fn emit(&self, event: Event) {
        let now_us = now_us();
        self.listeners.lock().retain(|listener| match listener.queue.try_send((now_us, event.clone())) {
            Ok(()) => true,
            Err(TrySendError::Full(_)) => {
                listener.left_out.fetch_add(1, Ordering::Relaxed);
                true
            }
            Err(TrySendError::Closed(_)) => false,
        });
    }

    /// Emits something that a person should know.
    pub(crate) fn note(&self, text: impl Into<String>) {
        self.emit(Event::Note(text.into()));
    }

    /// Ends all listeners' streams once they have taken what waits for them.
    pub(crate) fn close(&self) {
        self.listeners.lock().clear();
    }
}

impl EventStream {
    /// The next event, for a listener with its own thread; `None` once the sink is closed.
    pub(crate) fn blocking_next(&mut self) -> Option<Event> {
        Some(self.blocking_next_with_time()?.1)
    }

    /// The same, with the moment when it was emitted, microseconds since the epoch.
    pub(crate) fn blocking_next_with_time(&mut self) -> Option<(i64, Event)> {
        self.queue.blocking_recv()
    }

    /// How many events were left out since the last call.
    pub(crate) fn take_left_out(&self) -> u64 {
        self.left_out.swap(0, Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(stream: &mut EventStream) -> Vec<String> {
        std::iter::from_fn(|| stream.blocking_next())
            .map(|event| match event {
                Event::Note(text) => text,
                other => panic!("{other:?}"),
            })
            .collect()
    }

    #[test]
    fn every_listener_gets_every_event_in_order() {
        let sink = EventSink::default();
        let mut streams = [sink.subscribe(8), sink.subscribe(8)];
        sink.note("one");
        sink.clone().note("two");
        sink.close();
        for stream in &mut streams {
            assert_eq!(texts(stream), ["one", "two"]);
            assert_eq!(stream.take_left_out(), 0);
        }
    }

    #[test]
    fn a_listener_that_does_not_take_its_events_does_not_block_the_flow_and_learns_how_many_it_missed() {
        let sink = EventSink::default();
        let (mut slow, mut fast) = (sink.subscribe(2), sink.subscribe(100));
        (0..10).for_each(|n| sink.note(n.to_string()));
        sink.close();
        assert_eq!(texts(&mut slow), ["0", "1"], "the oldest are kept, in order");
        assert_eq!((slow.take_left_out(), slow.take_left_out()), (8, 0));
        assert_eq!((texts(&mut fast).len(), fast.take_left_out()), (10, 0));
    }

    #[test]
    fn a_listener_that_left_is_forgotten() {
        let sink = EventSink::default();
        drop(sink.subscribe(1));
        sink.note("one");
        assert_eq!(sink.listeners.lock().len(), 0);
    }
}
