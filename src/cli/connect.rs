//! `turnstile check --connect`: each step on the way to a topic by itself, so that the one that fails has a name.

use std::time::Duration;

use serde_json::{Value, json};
use turnstile_kafka::ClientSettings;
use turnstile_kafka::diagnosis::{
    self, AuthenticatedClient, ConnectedBrokers, DiagnosisError, FetchProbe, PartitionRange, Permission,
    ResolvedBrokers,
};
use turnstile_message::TopicPartition;
use turnstile_pipeline::Pipeline;
use turnstile_values::human;

use super::pipeline_file::add_environment;
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
    ranges: Vec<PartitionRange>,
    /// What may be wrong although every step went well.
    question: Option<String>,
}

pub(super) fn run(process: &Process, mut pipeline: Pipeline, timeout: Duration, json: bool) -> anyhow::Result<Exit> {
    let stop = process.shutdown_on_signals()?;
    let mut steps = ConnectSteps::default();
    let settings = add_environment(&mut pipeline).and_then(|()| flow::client_settings(&pipeline, &stop));
    let settings = settings.map(|settings| settings.with_connect_timeout(timeout));
    if let Some(settings) = steps.note("settings", settings.map(|s| (describe_settings(&s), s))) {
        steps.try_cluster(&pipeline, &settings, timeout, process);
    }
    steps.skip_the_rest();
    if json {
        outln!("{}", steps.as_json());
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

    /// Notes a step of the diagnosis; `describe` says what it found.
    fn probe<T>(
        &mut self,
        step: &'static str,
        result: Result<T, DiagnosisError>,
        describe: impl FnOnce(&T) -> String,
    ) -> Option<T> {
        self.note(step, result.map(|found| (describe(&found), found)).map_err(flow::diagnosis_failed))
    }

    fn try_cluster(&mut self, pipeline: &Pipeline, settings: &ClientSettings, timeout: Duration, process: &Process) {
        let resolved = diagnosis::resolve_brokers(settings, timeout);
        let Some(resolved) = self.probe("resolve", resolved, describe_resolved) else { return };
        let connected = diagnosis::connect_brokers(&resolved.addresses, timeout);
        if self.probe("connect", connected, describe_connected).is_none() {
            return;
        }
        let topics = &pipeline.source.topics;
        let client = diagnosis::authenticate(settings, topics.single());
        let Some(client) = self.probe("log in", client, describe_brokers) else { return };
        let AuthenticatedClient { mut connection, .. } = client;
        let partitions = flow::partitions(&connection, topics);
        if let Some(partitions) = self.note("topic", partitions.map(|found| (describe_topics(&found), found)))
            && let Some(ranges) =
                self.probe("offsets", diagnosis::partition_ranges(&connection, &partitions), |r| describe_ranges(r))
        {
            let fetched = diagnosis::fetch_each_topic(&mut connection, &ranges);
            if self.probe("read", fetched, |found| describe_fetches(found)).is_some() {
                // A message that cannot be decoded is no fault of the connection.
                let question = flow::zone_question(pipeline, &mut connection, &ranges, &process.runtime);
                self.question = question.ok().flatten();
            }
            self.ranges = ranges;
        }
        self.skip_up_to("group");
        match settings.group() {
            None => self.skip("group", "no group.id is set: lag tools will not see this pipeline"),
            Some(group) => {
                let permission = diagnosis::check_group(&connection, group).map_err(flow::diagnosis_failed);
                match permission {
                    // The group is the default one, and a run reads without it.
                    Err(error) if settings.origin_of("group.id") == flow::GROUP_BY_NAME => {
                        let why = human::error(error.as_ref());
                        let why = format!("{why}; a run reads without it, but lag tools will not see this pipeline");
                        self.skip("group", &why);
                    }
                    permission => {
                        self.note("group", permission.map(|found| (describe_group(group, found), ())));
                    }
                }
            }
        }
        match &pipeline.stream.dead_letter_topic {
            None => self.skip("dead letters", "no dead_letter_topic is set: dead letters are kept in the lake only"),
            Some(topic) => {
                let permission = diagnosis::check_write(&connection, topic);
                self.probe("dead letters", permission, |found| describe_write(topic, *found));
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
                for range in &self.ranges {
                    let PartitionRange { partition, earliest, latest } = range;
                    let held = human::plural(range.len().unsigned_abs(), "offset");
                    let line = format!("{:23}{partition}: earliest {earliest}, latest {latest}, {held}\n", "");
                    text.push_str(&line);
                }
            }
        }
        text.extend(self.question.iter().map(|question| format!("question {question}\n")));
        text
    }

    fn as_json(&self) -> Value {
        let step = |(step, outcome): &(&str, StepOutcome)| match outcome {
            StepOutcome::Done(text) => json!({ "step": step, "state": "ok", "message": text }),
            StepOutcome::Skipped(why) => json!({ "step": step, "state": "skipped", "message": why }),
            StepOutcome::Failed(error) => {
                let failure = error.downcast_ref::<Failure>();
                json!({
                    "step": step,
                    "state": "failed",
                    "message": error.to_string(),
                    "cause": error.chain().nth(1).map(ToString::to_string),
                    "hint": failure.and_then(|failure| failure.next_step().map(str::to_owned)),
                    "exit_code": failure.map_or(Exit::Failed, |failure| failure.exit) as u8,
                })
            }
        };
        let partition = |range: &PartitionRange| {
            let PartitionRange { partition, earliest, latest } = range;
            json!({ "topic": &*partition.topic, "partition": partition.partition, "earliest": earliest, "latest": latest })
        };
        json!({
            "ok": !self.all.iter().any(|(_, outcome)| matches!(outcome, StepOutcome::Failed(_))),
            "steps": self.all.iter().map(step).collect::<Vec<_>>(),
            "partitions": self.ranges.iter().map(partition).collect::<Vec<_>>(),
            "question": self.question,
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

fn describe_resolved(found: &ResolvedBrokers) -> String {
    let resolved = found.hosts.iter().map(|(server, hosts)| {
        let hosts: Vec<String> = hosts.iter().map(ToString::to_string).collect();
        format!("{server} is {}", hosts.join(", "))
    });
    let unresolved = found.unresolved.0.iter().map(|(server, error)| format!("not resolved: {server}: {error}"));
    resolved.chain(unresolved).collect::<Vec<_>>().join("; ")
}

fn describe_connected(found: &ConnectedBrokers) -> String {
    let open = found.open.iter().map(|address| format!("{address} answers"));
    let closed = found.closed.0.iter().map(|(address, error)| format!("not {address}: {error}"));
    open.chain(closed).collect::<Vec<_>>().join("; ")
}

fn describe_brokers(client: &AuthenticatedClient) -> String {
    let brokers = client.brokers.iter().map(|(id, address)| format!("broker {id} at {address}"));
    brokers.collect::<Vec<_>>().join(", ")
}

fn describe_topics(partitions: &[TopicPartition]) -> String {
    let topics = partitions.chunk_by(|a, b| a.topic == b.topic).map(|of_topic| {
        let count = of_topic.len();
        format!("{}, {}", of_topic[0].topic, human::plural(count as u64, "partition"))
    });
    topics.collect::<Vec<_>>().join("; ")
}

fn describe_ranges(ranges: &[PartitionRange]) -> String {
    let held: i64 = ranges.iter().map(PartitionRange::len).sum();
    format!("{} between earliest and latest", human::plural(held.unsigned_abs(), "offset"))
}

fn describe_fetches(found: &[FetchProbe]) -> String {
    let fetches = found.iter().map(|fetch| match fetch.found {
        true => format!("fetched {}", fetch.position),
        false => format!("{} can be fetched", fetch.position.partition),
    });
    fetches.collect::<Vec<_>>().join("; ")
}

fn describe_group(group: &str, permission: Permission) -> String {
    match permission {
        Permission::Granted => format!("committing offsets of {group} is permitted"),
        Permission::Unknown => {
            format!("{group} is visible; the cluster does not report whether committing its offsets is permitted")
        }
    }
}

fn describe_write(topic: &str, permission: Permission) -> String {
    match permission {
        Permission::Granted => format!("writing to {topic} is permitted"),
        Permission::Unknown => {
            format!("{topic} exists; the cluster does not report whether writing to it is permitted")
        }
    }
}
