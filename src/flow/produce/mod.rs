//! Produces a provider's messages into a topic: the feed, the thread that saves a replay's progress, what failed.
//!
//! In: a [`ProduceJob`], with the provider of a [`ProduceSource`]. Out: [`ProduceEvent`]s while it runs, and what was
//! [`Produced`]. Prints nothing. Start at [`produce`].

mod never_ahead;
mod replay_state;
mod source;

use std::convert::Infallible;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use turnstile_kafka::{
    ClientError, ClientSettings, DeliveryFailure, FeedError, FeedPlan, FeedProgress, FeedReport, KafkaConnection,
    NewTopicPlan, Pace, Producer, ProducerLimits, ProducerRecord, ProducerStats, Provider, ProviderError, SendError,
    SkippedRows, TopicAdmin, feed,
};
use turnstile_values::human;

use super::fault::client;
use crate::exit::Exit;
use crate::report::Failure;
pub(crate) use never_ahead::NeverAhead;
pub(crate) use replay_state::ReplayState;
pub(crate) use source::{BEGINS_BACK, ProduceRate, ProduceSource, ProduceTimes};

/// How long a stopped producer waits for the broker to acknowledge what is on its way.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(60);

/// How often a resumable replay saves its progress.
const SAVE_EVERY: Duration = Duration::from_secs(1);

/// What to produce.
pub(crate) struct ProduceJob {
    pub(crate) topic: String,
    /// Creates the topic with this many partitions if it does not exist.
    pub(crate) partitions: Option<i32>,
    pub(crate) provider: Box<dyn Provider>,
    pub(crate) pace: Pace,
    /// Ends after this many messages.
    pub(crate) count: Option<u64>,
    /// The state of a replay that can be resumed.
    pub(crate) resume: Option<ReplayState>,
    /// Time between two events of progress.
    pub(crate) report_every: Duration,
}

/// What happens while messages are produced.
pub(crate) enum ProduceEvent<'a> {
    /// A replay is resumed: where, in one line.
    Resuming(&'a str),
    /// Messages will be sent; how many, if that is known.
    Started {
        total: Option<u64>,
    },
    /// The message was sent. Only if a second or more lies between two messages.
    Sent(&'a ProducerRecord),
    Progress(&'a FeedProgress),
}

/// What was produced.
pub(crate) struct Produced {
    pub(crate) stats: ProducerStats,
    pub(crate) failures: Vec<DeliveryFailure>,
    pub(crate) skipped_rows: SkippedRows,
    /// Rows delivered by earlier runs, if the replay can be resumed.
    pub(crate) delivered_before: Option<u64>,
    pub(crate) took: Duration,
    /// Whether everything was sent and delivered.
    pub(crate) result: anyhow::Result<()>,
}

impl Produced {
    fn nothing() -> Self {
        Self {
            stats: ProducerStats::default(),
            failures: Vec::new(),
            skipped_rows: SkippedRows::default(),
            delivered_before: None,
            took: Duration::ZERO,
            result: Ok(()),
        }
    }
}

/// Produces until the provider or the count ends, or shutdown.
///
/// # Errors
/// Nothing was sent: the broker or the topic cannot be reached, or the replay cannot be resumed.
pub(crate) fn produce(
    job: ProduceJob,
    settings: &ClientSettings,
    shutdown: &CancellationToken,
    mut listen: impl FnMut(ProduceEvent<'_>),
) -> anyhow::Result<Produced> {
    match ensure_topic(&job, settings) {
        Err(ClientError::Stopped) => return Ok(Produced::nothing()),
        checked => checked.map_err(client)?,
    }
    let ProduceJob { topic, mut provider, pace, count, resume, report_every, .. } = job;
    let mut before = 0;
    if let Some(resume) = &resume {
        provider = resume.skip(provider)?;
        before = resume.delivered_before();
        if let Some(text) = resume.describe_start() {
            listen(ProduceEvent::Resuming(&text));
        }
        // A file that cannot be written is reported before the first row is sent.
        resume.save(0, None)?;
    }
    let limits = ProducerLimits { track_prefix: resume.is_some(), ..ProducerLimits::default() };
    let producer = Producer::open(settings, limits).map_err(client)?;
    let total = provider.total().map(|total| total.saturating_sub(before));
    listen(ProduceEvent::Started { total: count.into_iter().chain(total).min() });

    let began = Instant::now();
    let plan = FeedPlan { topic: topic.clone(), pace, count, report_every };
    let (fed, mut saved) = std::thread::scope(|scope| {
        let producer = &producer;
        let (feeding, ended) = sync_channel::<Infallible>(1);
        let saving =
            resume.as_ref().map(|resume| scope.spawn(move || save_periodically(resume, producer, &ended, shutdown)));
        let fed = feed(&mut *provider, producer, &plan, shutdown, |report| {
            listen(match report {
                FeedReport::Sent(record) => ProduceEvent::Sent(record),
                FeedReport::Progress(progress) => ProduceEvent::Progress(progress),
            });
        });
        drop(feeding);
        let saved = saving.map_or(Ok(()), |saving| {
            saving.join().unwrap_or_else(|_| Err(anyhow::anyhow!("the thread that saves progress panicked")))
        });
        (fed, saved)
    });
    let stats = producer.finish(CLOSE_TIMEOUT);
    if let Some(resume) = &resume {
        saved = saved.and_then(|()| resume.save(producer.delivered_prefix(), Some(stats.delivered)));
    }
    let (skipped_rows, failures) = (provider.skipped_rows(), producer.failures());
    let result = saved
        .and_then(|()| fed.map(|_| ()).map_err(feed_failed))
        .and_then(|()| check_delivery(&topic, before, &producer, stats, &failures));
    let delivered_before = resume.is_some().then_some(before);
    Ok(Produced { stats, failures, skipped_rows, delivered_before, took: began.elapsed(), result })
}

fn ensure_topic(job: &ProduceJob, settings: &ClientSettings) -> Result<(), ClientError> {
    let Some(partitions) = job.partitions else {
        return KafkaConnection::open(settings)?.topic_partitions(&job.topic).map(|_| ());
    };
    let plan = NewTopicPlan { topic: job.topic.clone(), partitions, replication: -1, config: Vec::new() };
    if TopicAdmin::open(settings)?.create_if_missing(&plan)? {
        tracing::info!(topic = job.topic, partitions, "created the topic");
    }
    Ok(())
}

/// Saves a replay's progress once a second until the feed has `ended`, on its own thread: the feed may wait long for its
/// next row.
fn save_periodically(
    resume: &ReplayState,
    producer: &Producer,
    ended: &Receiver<Infallible>,
    shutdown: &CancellationToken,
) -> anyhow::Result<()> {
    while ended.recv_timeout(SAVE_EVERY) == Err(RecvTimeoutError::Timeout) {
        // Reading the counts polls for acknowledgements.
        producer.stats();
        if let Err(error) = resume.save(producer.delivered_prefix(), None) {
            shutdown.cancel();
            return Err(error);
        }
    }
    Ok(())
}

/// Whether all messages were delivered.
fn check_delivery(
    topic: &str,
    before: u64,
    producer: &Producer,
    stats: ProducerStats,
    failures: &[DeliveryFailure],
) -> anyhow::Result<()> {
    if let Some((number, failure)) = producer.first_failure() {
        let largest = producer.largest_failure().map(|(number, bytes)| (before + number + 1, bytes));
        return Err(row_failed(before + number + 1, &failure, largest));
    }
    if stats.failed == 0 {
        return Ok(());
    }
    let reason = failures.first().map_or("the broker did not accept them".into(), |failure| failure.reason.clone());
    let usual = "`turnstile topic describe` shows whether the topic can be reached; delivered messages stay";
    let hint = turnstile_kafka::advice(&reason.to_string()).unwrap_or(usual);
    let failed = human::plural(stats.failed, "message");
    Err(Failure::new(Exit::Source, format!("{failed} did not reach topic \"{topic}\"")).cause(reason).hint(hint).into())
}

/// A resumable replay ends at the first row that is not delivered, and resumes there. A broker refuses whole batches, so the
/// row that is too large may be another: the `largest`.
fn row_failed(row: u64, failure: &DeliveryFailure, largest: Option<(u64, usize)>) -> anyhow::Error {
    let which = match largest {
        Some((largest, bytes)) if largest != row => {
            format!("row {largest}, with {bytes} bytes the largest of its batch")
        }
        _ => "that row".to_owned(),
    };
    Failure::new(
        Exit::Source,
        format!("row {row} did not reach topic \"{}\": the replay ends before it", failure.topic),
    )
    .cause(failure.reason.clone())
    .hint(format!(
        "correct {which}, or remove it (the rows before row {row} must stay as they are), or make the topic accept it, such \
         as with a larger max.message.bytes; the same command then resumes there"
    ))
    .into()
}

/// An error of a provider, with its exit code.
pub(crate) fn provider_failed(error: ProviderError) -> anyhow::Error {
    let exit = if let ProviderError::Settings(_) = error { Exit::Config } else { Exit::Failed };
    Failure::of(exit, error).into()
}

fn feed_failed(error: FeedError) -> anyhow::Error {
    match error {
        FeedError::Provider(error) => provider_failed(error),
        FeedError::Send(SendError::Client(error)) => client(error),
        FeedError::Send(error) => Failure::of(Exit::Source, error).into(),
    }
}
