//! Watches the topics beside a running flow: their end offsets, partitions and topics that are added or deleted, what
//! retention deletes. It also commits the consumer group's offsets, for lag tools.
//!
//! In: which partitions are read, and how far. Out: [`TopicSnapshot`], at most a second old. It has its own client,
//! so a slow broker never delays reading or commits.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use tokio::sync::watch;

use turnstile_kafka::{ClientError, KafkaConnection, LostTopic, TopicAdmin, TopicIdentityWatch};
use turnstile_message::TopicPartition;
use turnstile_pipeline::SourceSettings;
use turnstile_values::human;

use super::start::topic_names;

/// The fault of a flow whose observer is gone.
pub(super) const ENDED: &str = "the thread that watches the topics ended, which is a bug in turnstile";

/// How often the topics are asked how far they reach.
const ROUND: Duration = Duration::from_secs(1);
/// How long a question may wait for its answer.
const ANSWER: Duration = Duration::from_secs(1);
/// How often group offsets are committed.
const GROUP_EVERY: Duration = Duration::from_secs(5);
/// How often they are committed again though nothing moved: brokers expire the offsets of a group that is never heard of.
const GROUP_AGAIN: Duration = Duration::from_secs(180);
/// When topics are asked how long they keep messages: a run of a moment need not know.
const RETENTION_AFTER: Duration = Duration::from_secs(20);
const RETENTION_EVERY: Duration = Duration::from_secs(300);
/// How often in a row a topic must be missing before it counts as deleted: a broker that has just started knows few topics.
const MISSING: u32 = 3;
/// How long the end of a flow waits for the last group offsets to be committed.
const FAREWELL: Duration = Duration::from_secs(3);

/// What was seen last.
#[derive(Debug, Clone, Default)]
pub(crate) struct TopicSnapshot {
    /// Counts the rounds; 0 is before the first.
    pub(crate) round: u64,
    /// Partitions with the first offset that they hold and the one after the last. `None`: no broker answered.
    pub(crate) ranges: Option<Vec<(TopicPartition, (i64, i64))>>,
    /// Partitions that exist and are not read, with the first offset that they hold.
    pub(crate) new: Vec<(TopicPartition, i64)>,
    /// A topic that cannot be read further.
    pub(crate) lost: Option<LostTopic>,
    /// Ids of the topics, where the cluster gives them.
    pub(crate) topic_ids: BTreeMap<String, String>,
    /// How long each topic keeps its messages, milliseconds.
    pub(crate) retention_ms: BTreeMap<String, i64>,
}

/// The watching thread.
pub(crate) struct Observer {
    shared: Arc<ObserverShared>,
    seen: watch::Receiver<TopicSnapshot>,
    thread: JoinHandle<()>,
    /// Disconnects when the thread ends.
    ended: Receiver<()>,
}

#[derive(Default)]
struct ObserverShared {
    orders: Mutex<ObserverOrders>,
    woken: Condvar,
}

/// What the flow wants of the observer.
#[derive(Default)]
struct ObserverOrders {
    read: Vec<TopicPartition>,
    /// The group's offsets, until they are committed.
    offsets: Option<Vec<(TopicPartition, i64)>>,
    stop: bool,
}

impl Observer {
    /// Starts to watch the topics of `source`, of which `read` are being read; `topic_ids` are those of the topics
    /// as they were when reading began.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub(crate) fn start(
        source: &SourceSettings,
        connection: KafkaConnection,
        read: Vec<TopicPartition>,
        topic_ids: BTreeMap<String, String>,
    ) -> anyhow::Result<Self> {
        let orders = Mutex::new(ObserverOrders { read, ..ObserverOrders::default() });
        let shared = Arc::new(ObserverShared { orders, ..ObserverShared::default() });
        let (publish, seen) =
            watch::channel(TopicSnapshot { topic_ids: topic_ids.clone(), ..TopicSnapshot::default() });
        let now = Instant::now();
        let watch = TopicObserver {
            connection: connection.with_connect_timeout(ANSWER),
            source: source.clone(),
            shared: Arc::clone(&shared),
            publish,
            identity: TopicIdentityWatch::new(topic_ids, MISSING),
            offsets: Vec::new(),
            committed_at: now,
            // Whoever began to read knows all that there was then.
            discovered_at: now,
            retention_due: now + RETENTION_AFTER,
        };
        let (alive, ended) = sync_channel(0);
        let thread = std::thread::Builder::new().name("observer".to_owned()).spawn(move || {
            watch.run();
            drop(alive);
        })?;
        Ok(Self { shared, seen, thread, ended })
    }

    /// What was seen last.
    pub(crate) fn snapshot(&self) -> TopicSnapshot {
        self.seen.borrow().clone()
    }

    /// A receiver that is notified of each round.
    pub(crate) fn subscribe(&self) -> watch::Receiver<TopicSnapshot> {
        let mut seen = self.seen.clone();
        seen.mark_unchanged();
        seen
    }

    /// Says which partitions are read from now on.
    pub(crate) fn set_read(&self, partitions: &[TopicPartition]) {
        self.shared.orders.lock().read = partitions.to_vec();
    }

    /// Gives the group's offsets, next to read, to be committed within a few seconds.
    pub(crate) fn commit_group_offsets(&self, offsets: Vec<(TopicPartition, i64)>) {
        self.shared.orders.lock().offsets = Some(offsets);
    }

    /// Ends the watch; the last offsets given are committed first, unless that takes too long.
    pub(crate) fn stop(self) {
        self.shared.orders.lock().stop = true;
        self.shared.woken.notify_all();
        // A thread that is still waiting for a broker ends with the process: its offsets are advisory.
        if self.ended.recv_timeout(FAREWELL) == Err(RecvTimeoutError::Disconnected) {
            let _ = self.thread.join();
        }
    }
}

struct TopicObserver {
    connection: KafkaConnection,
    source: SourceSettings,
    shared: Arc<ObserverShared>,
    publish: watch::Sender<TopicSnapshot>,
    identity: TopicIdentityWatch,
    /// The group's offsets as they were committed last.
    offsets: Vec<(TopicPartition, i64)>,
    committed_at: Instant,
    discovered_at: Instant,
    retention_due: Instant,
}

impl TopicObserver {
    fn run(mut self) {
        let mut group_at = Instant::now();
        loop {
            let (stop, read) = {
                let orders = self.shared.orders.lock();
                (orders.stop, orders.read.clone())
            };
            if stop || group_at.elapsed() >= GROUP_EVERY {
                group_at = Instant::now();
                self.commit_group_offsets(stop);
            }
            if stop {
                return;
            }
            self.observe(&read);
            let mut orders = self.shared.orders.lock();
            self.shared.woken.wait_while_for(&mut orders, |orders| !orders.stop, ROUND);
        }
    }

    fn commit_group_offsets(&mut self, last: bool) {
        let news = self.shared.orders.lock().offsets.take();
        let has_failed = self.connection.group_commit_failed();
        let is_due = news.is_some() || has_failed || self.committed_at.elapsed() >= GROUP_AGAIN;
        self.offsets = news.unwrap_or_else(|| std::mem::take(&mut self.offsets));
        if !is_due || self.offsets.is_empty() || self.connection.settings().group().is_none() {
            return;
        }
        self.committed_at = Instant::now();
        let committed = if last {
            self.connection.commit_group_offsets_now(&self.offsets)
        } else {
            self.connection.commit_group_offsets(&self.offsets)
        };
        if let Err(error) = committed {
            tracing::debug!(error = human::error(&error), "group offsets were not committed");
        }
    }

    /// One round over the topics of which `read` are being read.
    fn observe(&mut self, read: &[TopicPartition]) {
        // A broker that does not answer now says nothing; reading reports its own troubles.
        let ranges = self.connection.watermarks(read).ok();
        let ranges = ranges.map(|ranges| read.iter().cloned().zip(ranges).collect());
        let lost = self.find_loss(read);
        let every = self.source.discover_us.map(|us| Duration::from_micros(us.max(0) as u64));
        let due = every.is_some_and(|every| self.discovered_at.elapsed() >= every);
        let found = if due { self.discover(read).ok() } else { None };
        let retention = if Instant::now() >= self.retention_due { self.retention(read) } else { None };
        self.publish.send_modify(|seen| {
            seen.ranges = ranges;
            seen.lost = lost;
            if let Some(found) = found {
                seen.new = found.new;
                self.identity.extend(found.topic_ids);
                seen.topic_ids.clone_from(self.identity.ids());
            }
            if let Some(retention_ms) = retention {
                seen.retention_ms = retention_ms;
            }
            seen.round += 1;
        });
    }

    fn find_loss(&mut self, read: &[TopicPartition]) -> Option<LostTopic> {
        let mut names: Vec<&str> = read.iter().map(|p| &*p.topic).collect();
        names.sort_unstable();
        names.dedup();
        self.identity.observe(&self.connection.topic_ids(&names))
    }

    /// What came since: partitions that are not read, and what else is to be known of their topics.
    fn discover(&mut self, read: &[TopicPartition]) -> Result<DiscoveredPartitions, ClientError> {
        let names = topic_names(&self.connection, &self.source.topics)?;
        let known = self.identity.ids();
        let mut found = DiscoveredPartitions::default();
        for name in &names {
            let partitions = self.connection.topic_partitions(name)?.into_iter();
            let mut new: Vec<_> = partitions.map(|id| TopicPartition::new(name.as_str(), id)).collect();
            new.retain(|partition| !read.contains(partition));
            let ranges = self.connection.watermarks(&new)?;
            found.new.extend(new.into_iter().zip(ranges).map(|(partition, (low, _))| (partition, low)));
            if !known.contains_key(name) {
                found.topic_ids.extend(self.connection.topic_ids(&[name])?);
            }
        }
        self.discovered_at = Instant::now();
        Ok(found)
    }

    /// How long the topics keep their messages. That takes a client more, which is not kept.
    fn retention(&mut self, read: &[TopicPartition]) -> Option<BTreeMap<String, i64>> {
        self.retention_due = Instant::now() + RETENTION_EVERY;
        let topics = TopicAdmin::open(self.connection.settings()).ok()?;
        let mut names: Vec<&str> = read.iter().map(|p| &*p.topic).collect();
        names.dedup();
        Some(names.into_iter().filter_map(|name| Some((name.to_owned(), topics.retention_ms(name)?))).collect())
    }
}

#[derive(Default)]
struct DiscoveredPartitions {
    new: Vec<(TopicPartition, i64)>,
    topic_ids: BTreeMap<String, String>,
}
