//! `turnstile check --connect`: each step on the way to a topic by itself, so that the one that fails has a name.

use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use turnstile_kafka::{ClientSettings, KafkaConnection};
use turnstile_message::{SourcePosition, TopicPartition};
use turnstile_pipeline::{Pipeline, Topics};

use super::add_environment;
use crate::exit::Exit;
use crate::flow;
use crate::process::Process;
use crate::report::Failure;

/// How a step ended, and what there is to say.
enum StepOutcome {
    Done(String),
    Failed(anyhow::Error),
    Skipped(String),
}

/// The steps in their order, as far as they were tried.
#[derive(Default)]
struct ConnectSteps {
    all: Vec<(&'static str, StepOutcome)>,
    partitions: Vec<(TopicPartition, i64, i64)>,
}

pub(super) fn run(process: &Process, mut pipeline: Pipeline, timeout: Duration, json: bool) -> anyhow::Result<Exit> {
    let stop = process.shutdown_on_signals()?;
    let mut steps = ConnectSteps::default();
    let settings = add_environment(&mut pipeline).and_then(|()| flow::client_settings(&pipeline, &stop));
    let settings = settings.map(|settings| settings.with_connect_timeout(timeout));
    if let Some(settings) = steps.note("settings", settings.map(|s| (describe_settings(&s), s))) {
        steps.try_cluster(&pipeline, &settings, timeout);
    }
    steps.skip_the_rest();
    if json {
        outln!("{:#}", steps.as_json());
    } else {
        out!("{}", steps.as_text());
    }
    let failed = steps.all.into_iter().find_map(|(_, outcome)| match outcome {
        StepOutcome::Failed(error) => Some(error),
        _ => None,
    });
    let Some(error) = failed else { return Ok(Exit::Done) };
    match error.downcast_ref::<Failure>().map_or(Exit::Failed, |failure| failure.exit) {
        // Ctrl-C: what was asked has no answer.
        Exit::Done => Ok(Exit::Failed),
        // A program reads it in the object.
        exit if json => Ok(exit),
        _ => Err(error),
    }
}

/// Every step, in the order in which each needs those before it.
const STEPS: [&str; 9] =
    ["settings", "resolve", "connect", "log in", "topic", "offsets", "read", "group", "dead letters"];

impl ConnectSteps {
    /// Notes a step; what it gave, when it went well.
    fn note<T>(&mut self, step: &'static str, result: anyhow::Result<(String, T)>) -> Option<T> {
        let (outcome, value) = match result {
            Ok((text, value)) => (StepOutcome::Done(text), Some(value)),
            Err(error) => (StepOutcome::Failed(error), None),
        };
        self.all.push((step, outcome));
        value
    }

    fn try_cluster(&mut self, pipeline: &Pipeline, settings: &ClientSettings, timeout: Duration) {
        let Some(addresses) = self.note("resolve", resolve(settings, timeout)) else { return };
        if self.note("connect", connect(&addresses, timeout)).is_none() {
            return;
        }
        let topics = &pipeline.source.topics;
        let Some(mut connection) = self.note("log in", log_in(settings, topics)) else { return };
        if let Some(partitions) = self.note("topic", find_topics(&connection, topics))
            && let Some(ranges) = self.note("offsets", find_offsets(&connection, &partitions))
        {
            self.partitions = ranges;
            let read = try_read(&mut connection, &self.partitions);
            self.note("read", read);
        }
        self.skip_up_to("group");
        match settings.group() {
            None => self.skip("group", "no group.id is set: lag tools will not see this pipeline"),
            Some(group) => {
                let used = try_group(&connection, group);
                // Nobody asked for this group, and a run reads without it.
                if settings.origin_of("group.id") == flow::GROUP_BY_NAME
                    && let Err(error) = &used
                {
                    let why = format!("{error}; a run reads without it, and lag tools will not see this pipeline");
                    self.skip("group", &why);
                } else {
                    self.note("group", used);
                }
            }
        }
        match &pipeline.stream.dead_letter_topic {
            None => self.skip("dead letters", "no dead_letter_topic is set: the lake alone keeps them"),
            Some(topic) => {
                let written = try_write(&connection, topic);
                self.note("dead letters", written);
            }
        }
    }

    fn skip(&mut self, step: &'static str, why: &str) {
        self.all.push((step, StepOutcome::Skipped(why.to_owned())));
    }

    fn skip_up_to(&mut self, end: &str) {
        let failed = self.all.iter().rev().find(|(_, outcome)| matches!(outcome, StepOutcome::Failed(_)));
        let why = failed.map_or_else(String::new, |(step, _)| format!("needs the step \"{step}\""));
        for step in STEPS.into_iter().skip(self.all.len()).take_while(|step| *step != end) {
            self.skip(step, &why);
        }
    }

    fn skip_the_rest(&mut self) {
        self.skip_up_to("");
    }

    fn as_text(&self) -> String {
        let mut text = String::new();
        for (step, outcome) in &self.all {
            let (state, message) = match outcome {
                StepOutcome::Done(message) => ("ok", message.clone()),
                StepOutcome::Failed(error) => ("failed", error.to_string()),
                StepOutcome::Skipped(why) => ("skipped", why.clone()),
            };
            text.push_str(&format!("{state:<8} {step:<13} {message}\n"));
            if *step == "offsets" {
                for (partition, earliest, latest) in &self.partitions {
                    let held = latest - earliest;
                    let line = format!("{:23}{partition}: earliest {earliest}, latest {latest}, {held} apart\n", "");
                    text.push_str(&line);
                }
            }
        }
        text
    }

    fn as_json(&self) -> Value {
        let step = |(step, outcome): &(&str, StepOutcome)| match outcome {
            StepOutcome::Done(text) => json!({ "step": step, "state": "ok", "told": text }),
            StepOutcome::Skipped(why) => json!({ "step": step, "state": "skipped", "told": why }),
            StepOutcome::Failed(error) => {
                let failure = error.downcast_ref::<Failure>();
                json!({
                    "step": step,
                    "state": "failed",
                    "told": error.to_string(),
                    "cause": error.chain().nth(1).map(ToString::to_string),
                    "hint": failure.and_then(|failure| failure.next_step().map(str::to_owned)),
                    "exit_code": failure.map_or(Exit::Failed, |failure| failure.exit) as u8,
                })
            }
        };
        let partition = |(partition, earliest, latest): &(TopicPartition, i64, i64)| json!({ "topic": &*partition.topic, "partition": partition.partition, "earliest": earliest, "latest": latest });
        json!({
            "ok": !self.all.iter().any(|(_, outcome)| matches!(outcome, StepOutcome::Failed(_))),
            "steps": self.all.iter().map(step).collect::<Vec<_>>(),
            "partitions": self.partitions.iter().map(partition).collect::<Vec<_>>(),
        })
    }
}

fn describe_settings(settings: &ClientSettings) -> String {
    let mut text = settings.shown("security.protocol").unwrap_or("PLAINTEXT").to_uppercase();
    if let Some(mechanism) = settings.shown("sasl.mechanisms").filter(|_| text.starts_with("SASL")) {
        text.push_str(&format!(", {mechanism}"));
    }
    let ignored: Vec<&str> = settings.ignored().collect();
    if !ignored.is_empty() {
        text.push_str(&format!("; ignored, for Java programs only: {}", ignored.join(", ")));
    }
    text
}

/// The addresses of all brokers named.
fn resolve(settings: &ClientSettings, timeout: Duration) -> anyhow::Result<(String, Vec<SocketAddr>)> {
    let (mut all, mut text, mut wrong) = (Vec::new(), Vec::new(), Vec::new());
    for server in settings.servers().split(',').map(str::trim).filter(|server| !server.is_empty()) {
        // librdkafka takes a protocol before the address.
        let address = server.rsplit_once("://").map_or(server, |(_, address)| address);
        let address = if address.contains(':') { address.to_owned() } else { format!("{address}:9092") };
        match look_up(&address, timeout) {
            Ok(found) => {
                let hosts: Vec<String> = found.iter().map(|address| address.ip().to_string()).collect();
                text.push(format!("{server} is {}", hosts.join(", ")));
                all.extend(found);
            }
            Err(reason) => wrong.push(format!("{server}: {reason}")),
        }
    }
    text.extend(wrong.iter().map(|wrong| format!("not resolved: {wrong}")));
    if all.is_empty() {
        return Err(Failure::new(Exit::Source, format!("no host of {} can be resolved", settings.servers()))
            .cause(anyhow::anyhow!(wrong.join("; ")))
            .hint("correct the hosts' names in bootstrap.servers, or this machine's name service")
            .into());
    }
    Ok((text.join("; "), all))
}

/// The system's resolver knows no limit of time, so it is asked on a thread that may be left behind.
fn look_up(address: &str, timeout: Duration) -> Result<Vec<SocketAddr>, String> {
    let (answer, answered) = sync_channel(1);
    let asked = address.to_owned();
    std::thread::spawn(move || {
        let found = asked.to_socket_addrs().map(Iterator::collect).map_err(|error| error.to_string());
        // Nobody listens any more when it took too long.
        let _ = answer.send(found);
    });
    answered.recv_timeout(timeout).unwrap_or_else(|_| Err("the name service did not answer".to_owned()))
}

/// Opens a connection to each address and closes it again; one that works is enough.
fn connect(addresses: &[SocketAddr], timeout: Duration) -> anyhow::Result<(String, ())> {
    let began = Instant::now();
    let (mut open, mut closed) = (Vec::new(), Vec::new());
    for address in addresses {
        let left = timeout.saturating_sub(began.elapsed()).max(Duration::from_millis(10));
        match TcpStream::connect_timeout(address, left) {
            Ok(_) => open.push(format!("{address} answers")),
            Err(error) => closed.push(format!("{address}: {error}")),
        }
    }
    if open.is_empty() {
        return Err(Failure::new(Exit::Source, "no broker can be connected to")
            .cause(anyhow::anyhow!(closed.join("; ")))
            .hint("start the broker, correct its address in bootstrap.servers, or let a firewall pass its port")
            .into());
    }
    open.extend(closed.into_iter().map(|closed| format!("not {closed}")));
    Ok((open.join("; "), ()))
}

/// TLS and SASL, as far as the settings ask for them, up to the first answer of Kafka's protocol.
fn log_in(settings: &ClientSettings, topics: &Topics) -> anyhow::Result<(String, KafkaConnection)> {
    let connection = KafkaConnection::open(settings).map_err(flow::client)?;
    let brokers = connection.brokers(topics.single()).map_err(flow::client)?;
    let text: Vec<String> = brokers.iter().map(|(id, address)| format!("broker {id} at {address}")).collect();
    Ok((text.join(", "), connection))
}

fn find_topics(connection: &KafkaConnection, topics: &Topics) -> anyhow::Result<(String, Vec<TopicPartition>)> {
    let partitions = flow::partitions(connection, topics)?;
    let mut text: Vec<String> = Vec::new();
    for of_topic in partitions.chunk_by(|a, b| a.topic == b.topic) {
        let count = of_topic.len();
        text.push(format!("{}, {count} {}", of_topic[0].topic, if count == 1 { "partition" } else { "partitions" }));
    }
    Ok((text.join("; "), partitions))
}

type Range = (TopicPartition, i64, i64);

fn find_offsets(connection: &KafkaConnection, partitions: &[TopicPartition]) -> anyhow::Result<(String, Vec<Range>)> {
    let ranges = connection.watermarks(partitions).map_err(flow::client)?;
    let ranges: Vec<_> = partitions.iter().cloned().zip(ranges).map(|(p, (low, high))| (p, low, high)).collect();
    let held: i64 = ranges.iter().map(|(_, low, high)| high - low).sum();
    Ok((format!("{held} offsets between earliest and latest"), ranges))
}

/// Fetches one message of each topic, or at the end of a partition that has none: the answer tells whether it is allowed.
fn try_read(connection: &mut KafkaConnection, ranges: &[Range]) -> anyhow::Result<(String, ())> {
    let mut text = Vec::new();
    for of_topic in ranges.chunk_by(|(a, ..), (b, ..)| a.topic == b.topic) {
        let fullest = of_topic.iter().max_by_key(|(_, earliest, latest)| latest - earliest);
        let Some((partition, earliest, latest)) = fullest else { continue };
        let at = SourcePosition { partition: partition.clone(), offset: (latest - 1).max(*earliest) };
        let record = connection.fetch_at(&at).map_err(flow::client)?;
        text.push(if record.is_some() { format!("fetched {at}") } else { format!("{partition} can be fetched") });
    }
    Ok((text.join("; "), ()))
}

fn try_group(connection: &KafkaConnection, group: &str) -> anyhow::Result<(String, ())> {
    match connection.may_use_group(group).map_err(flow::client)? {
        Some(true) => Ok((format!("offsets of {group} may be committed"), ())),
        Some(false) => {
            Err(forbidden(format!("offsets of the consumer group \"{group}\" may not be committed"), "READ"))
        }
        None => {
            Ok((format!("{group} can be seen; the cluster does not tell whether its offsets may be committed"), ()))
        }
    }
}

fn try_write(connection: &KafkaConnection, topic: &str) -> anyhow::Result<(String, ())> {
    match connection.may_write(topic).map_err(flow::client)? {
        Some(true) => Ok((format!("{topic} may be written"), ())),
        Some(false) => Err(forbidden(format!("topic \"{topic}\" may not be written"), "WRITE")),
        None => Ok((format!("{topic} is there; the cluster does not tell whether it may be written"), ())),
    }
}

fn forbidden(fact: String, operation: &str) -> anyhow::Error {
    Failure::new(Exit::Source, fact)
        .cause(anyhow::anyhow!("the cluster's access rules do not give this user {operation}"))
        .hint("ask for that permission, or use another user")
        .into()
}
