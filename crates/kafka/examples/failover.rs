//! Kills the leader of a partition again and again while it is written and read, and prints what that cost.
//!
//!     TURNSTILE_TEST_KAFKA_HOME=… cargo run -p turnstile-kafka --example failover -- 20
//!
//! `cargo xtask bench failover` runs it with the Kafka that it has fetched.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use turnstile_kafka::{
    ClientSettings, KafkaConnection, LeaderWatch, NewTopicPlan, PartitionReader, Producer, ProducerLimits,
    ProducerRecord, ReadLimits, ReadQueue, StartAt, TopicAdmin,
};
use turnstile_message::TopicPartition;
use turnstile_testkit::servers::{KafkaCluster, KafkaConfig};

const TOPIC: &str = "failover";
/// How often the cluster is asked who leads.
const ASK_EVERY: Duration = Duration::from_millis(20);
/// How long anything may take before the measurement is given up.
const LIMIT: Duration = Duration::from_secs(120);

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// What the reader has seen. Records hold their own number, from 0.
#[derive(Default)]
struct Seen {
    next: u64,
    lost: u64,
    doubled: u64,
    /// Arrival of records by number; those before the last kill are forgotten.
    arrived: BTreeMap<u64, Instant>,
}

fn main() -> Outcome<()> {
    let kills = std::env::args().nth(1).map_or(Ok(20), |text| text.parse::<u32>())?;
    let mut cluster = KafkaCluster::start(&turnstile_testkit::kafka_home(), KafkaConfig::default())?;
    let settings = ClientSettings::from_servers(&cluster.bootstrap())?;
    let topics = TopicAdmin::open(&settings)?;
    let config = vec![("min.insync.replicas".to_owned(), "2".to_owned())];
    topics.create(&NewTopicPlan { topic: TOPIC.to_owned(), partitions: 1, replication: 3, config })?;
    let connection = KafkaConnection::open(&settings)?;
    // The broker that is asked may hear of the topic later than the one that made it.
    until("a leader", || {
        connection.leaders(TOPIC).is_ok_and(|all| all.first().is_some_and(|l| l.1 >= 0)).then_some(())
    })?;

    let positions = vec![(TopicPartition::new(TOPIC, 0), StartAt::Earliest)];
    let limits = ReadLimits { watch_leaders: true, ..ReadLimits::default() };
    let mut reader = PartitionReader::open(&settings, positions, limits)?;
    let watch = reader.leader_watch();
    let queue = reader.split().pop().ok_or("the reader has no queue")?;
    let producer = Producer::open(&settings, ProducerLimits::default())?;
    let (stop, sent, seen) = (AtomicBool::new(false), Mutex::new(Vec::new()), Mutex::new(Seen::default()));
    println!(
        "kill  broker  new leader known  fetched from  new record read  of that after it was known  lost  doubled"
    );
    // How many records there are to read, once that is known.
    let delivered = AtomicU64::new(u64::MAX);
    let measured = thread::scope(|scope| {
        let producing = scope.spawn(|| produce(&producer, &sent, &stop));
        scope.spawn(|| read(queue, &seen, &delivered));
        let result =
            (1..=kills).try_for_each(|nth| kill(nth, &mut cluster, &connection, &topics, &watch, &sent, &seen));
        stop.store(true, Ordering::Relaxed);
        let ended = producing.join();
        // What was delivered last has still to be read: a tail that is missing is lost too.
        delivered.store(producer.flush(LIMIT).delivered, Ordering::Relaxed);
        ended.map_err(|_| "the producing thread panicked")?;
        result
    });
    measured?;
    let (stats, failures) = producer.close(LIMIT);
    let mut seen = seen.into_inner();
    seen.lost += stats.delivered.saturating_sub(seen.next);
    println!("{} records delivered, {} not: {failures:?}", stats.delivered, stats.failed);
    println!("{kills} kills: {} lost, {} doubled", seen.lost, seen.doubled);
    if seen.lost + seen.doubled + stats.failed > 0 {
        return Err("records were lost or doubled".into());
    }
    Ok(())
}

/// Sends numbered records, one each two milliseconds, and notes when.
fn produce(producer: &Producer, sent: &Mutex<Vec<Instant>>, stop: &AtomicBool) {
    for number in 0_u64.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let record = ProducerRecord { value: number.to_string().into_bytes(), ..ProducerRecord::default() };
        sent.lock().push(Instant::now());
        if let Err(error) = producer.send(TOPIC, &record) {
            eprintln!("not sent: {error}");
            break;
        }
        thread::sleep(Duration::from_millis(2));
    }
}

/// Reads until as many records as were `delivered` are seen, or no more come.
fn read(mut queue: ReadQueue, seen: &Mutex<Seen>, delivered: &AtomicU64) {
    let mut heard_at = Instant::now();
    while seen.lock().next < delivered.load(Ordering::Relaxed) {
        if delivered.load(Ordering::Relaxed) != u64::MAX && heard_at.elapsed() > LIMIT {
            return;
        }
        let batch = match queue.next(4096, 1 << 20, Duration::from_millis(10)) {
            Ok(batch) => batch,
            Err(error) => {
                eprintln!("not read: {error}");
                return;
            }
        };
        let now = Instant::now();
        if !batch.is_empty() {
            heard_at = now;
        }
        let mut seen = seen.lock();
        for row in 0..batch.len() {
            let text = batch.values.get(row).and_then(|value| std::str::from_utf8(value).ok());
            let Some(number) = text.and_then(|text| text.parse::<u64>().ok()) else { continue };
            if number < seen.next {
                seen.doubled += 1;
                continue;
            }
            seen.lost += number - seen.next;
            seen.next = number + 1;
            seen.arrived.insert(number, now);
        }
    }
}

/// Kills the leader, waits until reading has resumed, and brings the broker back.
fn kill(
    nth: u32,
    cluster: &mut KafkaCluster,
    connection: &KafkaConnection,
    topics: &TopicAdmin,
    watch: &LeaderWatch,
    sent: &Mutex<Vec<Instant>>,
    seen: &Mutex<Seen>,
) -> Outcome<()> {
    let lead = || Ok::<i32, Box<dyn Error + Send + Sync>>(connection.leaders(TOPIC)?.first().ok_or("no partition")?.1);
    let locked = || seen.lock();
    let old = lead()?;
    // One lock at a time: two in a statement would wait for each other.
    let wrong = || {
        let seen = locked();
        (seen.lost, seen.doubled)
    };
    let before = wrong();
    locked().arrived.clear();
    watch.take();
    let killed_at = Instant::now();
    cluster.kill9(old)?;
    let known_at =
        until("a new leader", || lead().is_ok_and(|leader| leader != old && leader >= 0).then(Instant::now))?;
    // The first record that was sent after the kill: only the new leader can have taken it.
    let first = sent.lock().partition_point(|at| *at <= killed_at) as u64;
    let resumed_at = until("a record", || locked().arrived.range(first..).next().map(|(_, at)| *at))?;
    cluster.restart(old)?;
    until("three replicas in sync", || {
        topics.describe(TOPIC).is_ok_and(|t| t.partitions.iter().all(|p| p.in_sync.len() == 3)).then_some(())
    })?;
    // How long the reader itself was without a leader, without the time that the producer takes on top.
    let gap = watch.take().last().map(|change| format!("{:.2} s", change.gap.as_secs_f64()));
    let now = wrong();
    let after = resumed_at.saturating_duration_since(known_at);
    println!(
        "{nth:>4}  {old:>6}  {:>14.2} s  {:>12}  {:>13.2} s  {:>24.2} s  {:>4}  {:>7}",
        (known_at - killed_at).as_secs_f64(),
        gap.as_deref().unwrap_or("-"),
        (resumed_at - killed_at).as_secs_f64(),
        after.as_secs_f64(),
        now.0 - before.0,
        now.1 - before.1,
    );
    Ok(())
}

fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> Outcome<T> {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return Ok(found);
        }
        if began.elapsed() > LIMIT {
            return Err(format!("no {what} within {} s", LIMIT.as_secs()).into());
        }
        thread::sleep(ASK_EVERY);
    }
}
