//! Sends a provider's messages to a topic at a given rate.
//!
//! ```text
//! provider ─▶ one reused record ─▶ wait until it is due ─▶ producer (waits while its queue is full)
//! ```

use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::error::ClientError;
use crate::pace::{Pace, PaceSchedule};
use crate::pause::pause;
use crate::producer::{Producer, ProducerStats, SendError};
use crate::provider::{ProducerRecord, Provider, ProviderError};

/// Messages between two checks of the token while none has to wait: a check costs about as much as a message.
const CHECK_EVERY: u64 = 64;

/// A message due sooner than this is sent at once: shorter sleeps overrun.
const SHORTEST_SLEEP: Duration = Duration::from_millis(1);

/// What to feed into which topic.
#[derive(Debug, Clone)]
pub struct FeedPlan {
    /// The topic; it must exist.
    pub topic: String,
    /// How fast.
    pub pace: Pace,
    /// Stop after this many messages.
    pub count: Option<u64>,
    /// How often to report progress.
    pub report_every: Duration,
}

/// How far a feed has come.
#[derive(Debug, Clone, Copy)]
pub struct FeedProgress {
    /// The producer's counts.
    pub stats: ProducerStats,
    /// Time since the feed started.
    pub elapsed: Duration,
    /// Event time of the last message sent, milliseconds since the epoch.
    pub event_at_ms: Option<i64>,
}

/// What a feed reports while it runs.
#[derive(Debug)]
pub enum FeedReport<'a> {
    /// The message was handed to the producer. Only if a second or more lies between two messages.
    Sent(&'a ProducerRecord),
    /// About as often as the plan says.
    Progress(&'a FeedProgress),
}

/// Why a feed ended early.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    /// The provider has bad input.
    #[error(transparent)]
    Provider(#[from] ProviderError),
    /// The producer takes no more.
    #[error(transparent)]
    Send(#[from] SendError),
}

/// Sends what the provider yields until it ends, the count is reached or `shutdown` is cancelled; with a producer that keeps its
/// prefix also until a delivery has failed ([`Producer::first_failure`]).
///
/// It returns without a flush: messages may still be on their way, so end with [`Producer::close`].
///
/// # Errors
/// The provider's input or the producer; all messages before it were handed to the producer.
pub fn feed(
    provider: &mut dyn Provider,
    producer: &Producer,
    plan: &FeedPlan,
    shutdown: &CancellationToken,
    mut report: impl FnMut(FeedReport<'_>),
) -> Result<FeedProgress, FeedError> {
    let started = Instant::now();
    let mut schedule = PaceSchedule::new(plan.pace);
    let mut record = ProducerRecord::default();
    let mut progress = FeedProgress { stats: producer.stats(), elapsed: Duration::ZERO, event_at_ms: None };
    let mut reported_at = started;
    let mut nth = 0;
    while plan.count.is_none_or(|count| nth < count) && provider.next(&mut record)? {
        let due = schedule.due(nth, record.event_at_ms);
        let mut stopped = nth % CHECK_EVERY == 0 && shutdown.is_cancelled();
        while !due.is_zero() && !stopped {
            let early = due.saturating_sub(started.elapsed());
            if early < SHORTEST_SLEEP {
                break;
            }
            let report_in = plan.report_every.saturating_sub(reported_at.elapsed());
            stopped = pause(early.min(report_in.max(SHORTEST_SLEEP)), shutdown);
            report_if_due(producer, plan, started, &mut reported_at, &mut progress, &mut report);
        }
        if stopped {
            break;
        }
        match send(producer, &plan.topic, &record, shutdown) {
            Err(SendError::Client(ClientError::Stopped) | SendError::Ended) => break,
            sent => sent?,
        }
        if nth == 0 && producer.tracks_prefix() {
            // A row at which the run before ended is likely to fail again, and what follows it would be sent once more.
            // librdkafka reports deliveries only to who asks: its poll does not return with the first one.
            while producer.stats().outstanding() > 0 && !pause(SHORTEST_SLEEP, shutdown) {}
        }
        progress.event_at_ms = Some(record.event_at_ms);
        if plan.pace.is_slow() {
            report(FeedReport::Sent(&record));
        }
        nth += 1;
        // A clock read a message would cost as much as the message.
        if nth % 256 == 0 {
            report_if_due(producer, plan, started, &mut reported_at, &mut progress, &mut report);
        }
    }
    progress.stats = producer.stats();
    progress.elapsed = started.elapsed();
    Ok(progress)
}

/// Waits for room in the queue as [`Producer::send`] does, and for this feed's own token.
fn send(
    producer: &Producer,
    topic: &str,
    record: &ProducerRecord,
    shutdown: &CancellationToken,
) -> Result<(), SendError> {
    loop {
        match producer.try_send(topic, record) {
            // Only sending polls the deliveries that make room.
            Err(SendError::QueueFull) if pause(SHORTEST_SLEEP, shutdown) => return Err(ClientError::Stopped.into()),
            Err(SendError::QueueFull) => {}
            taken => return taken,
        }
    }
}

fn report_if_due(
    producer: &Producer,
    plan: &FeedPlan,
    started: Instant,
    reported_at: &mut Instant,
    progress: &mut FeedProgress,
    report: &mut impl FnMut(FeedReport<'_>),
) {
    if reported_at.elapsed() >= plan.report_every {
        *reported_at = Instant::now();
        progress.stats = producer.stats();
        progress.elapsed = started.elapsed();
        report(FeedReport::Progress(progress));
    }
}
