//! `turnstile deadletter`: messages that could not be processed, and how to resend them.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use clap::{Args as ClapArgs, Subcommand};
use serde_json::json;
use turnstile_lake::{DeadLetterReader, Lake, OwnedDeadLetter, Published};
use turnstile_values::human;

use super::pipeline_args::PipelineArgs;
use crate::exit::Exit;
use crate::flow::{self, ByReason, DeadLetterFiles, LakeAccess, RequeueOutcome, Requeued};
use crate::process::Process;
use crate::report;

/// List, show or resend messages that could not be processed.
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  turnstile deadletter list pipelines/mta-turnstile.toml
  turnstile deadletter show pipelines/mta-turnstile.toml --count 10
  turnstile deadletter requeue pipelines/mta-turnstile.toml --reason type --topic repaired")]
pub(crate) struct DeadletterArgs {
    #[command(subcommand)]
    command: DeadletterCommand,
}

#[derive(Debug, Subcommand)]
enum DeadletterCommand {
    /// One line per dead-letter file: how many messages, and why
    #[command(after_help = "\
Examples:
  turnstile deadletter list
  turnstile deadletter list pipelines/mta-turnstile.toml --reason late --json")]
    List(DeadletterFilter),
    /// The messages: their positions, why they were rejected, their bytes
    #[command(after_help = "\
Examples:
  turnstile deadletter show --count 10
  turnstile deadletter show pipelines/mta-turnstile.toml --reason type --json")]
    Show {
        #[command(flatten)]
        of: DeadletterFilter,
        /// At most this many
        #[arg(long, visible_alias = "max", value_name = "N")]
        count: Option<usize>,
    },
    /// Resend messages with their original key, value and timestamp
    #[command(after_help = "\
Examples:
  turnstile deadletter requeue pipelines/mta-turnstile.toml --reason future
  turnstile deadletter requeue pipelines/mta-turnstile.toml --topic repaired \\
      --file _dead_letters/mta-turnstile_00000000000000000007.jsonl.gz

It prints how many messages were sent, by topic and reason, and warns of those that the pipeline is certain to reject
again: its plan is still the one that rejected them. Correct the pipeline first. While the pipeline runs it waits until
the messages were read, and prints how many of them were rejected again, and why.")]
    Requeue {
        #[command(flatten)]
        of: DeadletterFilter,
        /// The topic to send to [default: the one that each came from]
        #[arg(long)]
        topic: Option<String>,
        /// How long to wait until the running pipeline has read the messages
        #[arg(long, value_name = "TIME", default_value = "1 minute", value_parser = super::duration)]
        wait: Duration,
        /// End as soon as the messages are sent
        #[arg(long, conflicts_with = "wait")]
        no_wait: bool,
    },
}

#[derive(Debug, ClapArgs)]
struct DeadletterFilter {
    #[command(flatten)]
    pipeline: PipelineArgs,
    /// Only this dead-letter file
    #[arg(long, value_name = "NAME")]
    file: Option<String>,
    /// Only messages with this reason, such as `type` or `late`
    #[arg(long, value_name = "WORD")]
    reason: Option<String>,
    /// Print JSON lines
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: DeadletterArgs, process: &Process) -> anyhow::Result<Exit> {
    match args.command {
        DeadletterCommand::List(of) => list(&of, process),
        DeadletterCommand::Show { of, count } => show(&of, process, count.unwrap_or(usize::MAX)),
        DeadletterCommand::Requeue { of, topic, wait, no_wait } => {
            requeue(&of, process, topic.as_deref(), if no_wait { Duration::ZERO } else { wait })
        }
    }
}

fn list(of: &DeadletterFilter, process: &Process) -> anyhow::Result<Exit> {
    let at = of.pipeline.ledger(process)?;
    let found = process.runtime.block_on(async { of.files(&at.open().await?, &at.pipeline).await })?;
    for (name, messages, reasons) in by_object(&found.files) {
        if of.json {
            outln!("{}", json!({ "name": name, "messages": messages, "reasons": reasons }));
        } else {
            outln!("{name}  {}: {}", human::plural(messages, "message"), by_reason(&reasons));
        }
    }
    of.note_empty(&at.pipeline, &found, of.json);
    Ok(Exit::Done)
}

/// The files that hold the messages now, in the order of their first commits: name, messages, messages by reason.
fn by_object(files: &[Published]) -> Vec<(&str, u64, BTreeMap<String, u64>)> {
    let mut at: HashMap<&str, usize> = HashMap::new();
    let mut objects: Vec<(&str, u64, BTreeMap<String, u64>)> = Vec::new();
    for published in files {
        let name = flow::object_of(published);
        let at = *at.entry(name).or_insert_with(|| {
            objects.push((name, 0, BTreeMap::new()));
            objects.len() - 1
        });
        let (_, messages, reasons) = &mut objects[at];
        *messages += published.file.rows;
        published.file.counts.iter().for_each(|(reason, n)| *reasons.entry(reason.clone()).or_default() += n);
    }
    objects
}

fn show(of: &DeadletterFilter, process: &Process, count: usize) -> anyhow::Result<Exit> {
    let at = of.pipeline.ledger(process)?;
    process.runtime.block_on(async {
        let lake = at.open().await?;
        let found = of.files(&lake, &at.pipeline).await?;
        of.note_empty(&at.pipeline, &found, of.json);
        let (mut left, mut reader) = (count, DeadLetterReader::new(&lake));
        for file in &found.files {
            if left == 0 {
                break;
            }
            let letters = flow::dead_letters(&mut reader, file, of.reason.as_deref()).await?;
            letters.iter().take(left).for_each(|letter| print_letter(letter, of.json));
            left = left.saturating_sub(letters.len());
        }
        Ok(Exit::Done)
    })
}

fn print_letter(letter: &OwnedDeadLetter, json: bool) {
    // Bytes that are not UTF-8 are encoded as in the dead-letter file: docs/ledger.md.
    let exact = |bytes: &Option<Vec<u8>>| match bytes.as_ref().map(|b| std::str::from_utf8(b)) {
        Some(Ok(text)) => (Some(text.to_owned()), None),
        Some(Err(_)) => (None, bytes.as_ref().map(|b| BASE64_STANDARD.encode(b))),
        None => (None, None),
    };
    if json {
        let ((key, key_base64), (value, value_base64)) = (exact(&letter.key), exact(&letter.value));
        let timestamp = (letter.timestamp_ms >= 0).then(|| human::instant(letter.timestamp_ms.saturating_mul(1000)));
        outln!(
            "{}",
            json!({
                "topic": &*letter.position.partition.topic, "partition": letter.position.partition.partition,
                "offset": letter.position.offset, "timestamp": timestamp, "reason": letter.reason,
                "field": letter.field, "key": key, "value": value, "key_base64": key_base64,
                "value_base64": value_base64,
            })
        );
    } else {
        let field = letter.field.as_ref().map(|f| format!(" in {f}")).unwrap_or_default();
        let value = letter.value.as_ref().map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        outln!("{}{field}: {}", letter.position, letter.reason);
        outln!("  {}", value.unwrap_or_else(|| "(null)".to_owned()));
    }
}

fn requeue(of: &DeadletterFilter, process: &Process, topic: Option<&str>, wait: Duration) -> anyhow::Result<Exit> {
    let context = of.pipeline.open(process, LakeAccess::Read)?;
    process.shutdown_on_signals()?;
    let (letters, again) = context.block_on(async {
        let lake = context.lake().await?;
        let found = of.files(lake, &context.pipeline().name).await?;
        of.note_empty(&context.pipeline().name, &found, of.json);
        let (mut letters, mut reader) = (Vec::with_capacity(found.files.len()), DeadLetterReader::new(lake));
        for file in found.files {
            let of_file = flow::dead_letters(&mut reader, &file, of.reason.as_deref()).await?;
            letters.push((file, of_file));
        }
        let again = flow::rejected_again(&context, &letters, topic).await?;
        anyhow::Ok((letters, again))
    })?;
    let all = letters.iter().flat_map(|(_, letters)| letters);
    let requeued =
        if all.clone().next().is_some() { flow::requeue(&context, all, topic)? } else { Requeued::default() };
    if !of.json {
        for (topic, reasons) in &requeued.sent {
            let messages = human::plural(reasons.values().sum(), "message");
            outln!("{messages} sent to {topic}: {}", by_reason(reasons));
        }
        if requeued.sent.is_empty() {
            outln!("0 messages sent");
        }
    }
    if !again.is_empty() {
        report::warn(&format!(
            "the plan of {} is the one that rejected {}, and will reject these again: {}",
            context.pipeline().name,
            human::plural(again.values().sum(), "message"),
            by_reason(&again)
        ));
    }
    if requeued.positions.is_empty() && !of.json {
        return Ok(Exit::Done);
    }
    let outcome = context.block_on(flow::requeue_outcome(&context, &requeued.positions, wait))?;
    if of.json {
        outln!("{}", requeued_json(&requeued, &again, &outcome));
    } else if let Some(line) = outcome_line(&outcome, &context.pipeline().name) {
        outln!("{line}");
    }
    Ok(Exit::Done)
}

/// What became of the messages, as far as it is known.
fn outcome_line(outcome: &RequeueOutcome, pipeline: &str) -> Option<String> {
    match outcome {
        RequeueOutcome::Unknown => None,
        RequeueOutcome::NotRunning => Some(format!(
            "{pipeline} is not running: its next run reads them, and `turnstile deadletter list` then shows what it rejects"
        )),
        RequeueOutcome::NotReadYet => {
            Some(format!("{pipeline} has not read all of them yet; `turnstile deadletter list` shows what it rejects"))
        }
        RequeueOutcome::Read { came_back, accepted } if came_back.is_empty() => {
            Some(format!("{pipeline} has accepted {}", human::plural(*accepted, "message")))
        }
        RequeueOutcome::Read { came_back, accepted } => Some(format!(
            "{pipeline} has accepted {}, and rejected {} again: {}",
            human::plural(*accepted, "message"),
            human::plural(came_back.values().sum(), "message"),
            by_reason(came_back)
        )),
    }
}

fn requeued_json(requeued: &Requeued, again: &ByReason, outcome: &RequeueOutcome) -> serde_json::Value {
    let topics = requeued.sent.iter().map(|(topic, reasons)| json!({ "topic": topic, "reasons": reasons }));
    let (accepted, came_back) = match outcome {
        RequeueOutcome::Read { came_back, accepted } => (Some(accepted), Some(came_back)),
        _ => (None, None),
    };
    json!({
        "sent": requeued.sent.values().flat_map(|reasons| reasons.values()).sum::<u64>(),
        "topics": topics.collect::<Vec<_>>(),
        "rejected_again": again,
        "accepted": accepted,
        "came_back": came_back,
    })
}

/// `type 20, late 3`.
fn by_reason(counts: &BTreeMap<String, u64>) -> String {
    let counts = counts.iter().map(|(reason, count)| format!("{reason} {}", human::count(*count)));
    counts.collect::<Vec<_>>().join(", ")
}

impl DeadletterFilter {
    /// The files that it selects.
    async fn files(&self, lake: &Lake, pipeline: &str) -> anyhow::Result<DeadLetterFiles> {
        flow::dead_letter_files(lake, pipeline, self.file.as_deref(), self.reason.as_deref()).await
    }

    /// Says why nothing was found.
    fn note_empty(&self, pipeline: &str, found: &DeadLetterFiles, json: bool) {
        if !found.files.is_empty() {
            return;
        }
        match &self.reason {
            Some(reason) if !found.reasons.is_empty() => {
                eprintln!(
                    "{pipeline} has no dead letters of the reason {reason:?}; there are: {}",
                    by_reason(&found.reasons)
                );
            }
            _ if json => {}
            _ => eprintln!("{pipeline} has no dead letters"),
        }
    }
}
