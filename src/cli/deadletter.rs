//! `turnstile deadletter`: messages that could not be processed, and how to resend them.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use clap::{Args as ClapArgs, Subcommand};
use serde_json::json;
use turnstile_kafka::{Producer, ProducerLimits, ProducerRecord};
use turnstile_lake::{DeadLetterReader, OwnedDeadLetter, Published, RowLocation};

use super::last_run::context_or_last;
use crate::exit::Exit;
use crate::flow::{self, Context, LakeAccess};
use crate::process::Process;
use crate::report::Failure;

/// How long the broker may take to acknowledge all resent messages.
const FLUSH: Duration = Duration::from_secs(60);

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
      --file _dead_letters/mta-turnstile_00000000000000000007.jsonl.gz")]
    Requeue {
        #[command(flatten)]
        of: DeadletterFilter,
        /// The topic to send to [default: the one that each came from]
        #[arg(long)]
        topic: Option<String>,
    },
}

#[derive(Debug, ClapArgs)]
struct DeadletterFilter {
    /// The pipeline file [default: the pipeline that `turnstile up` or `stream` ran last in
    /// ./turnstile-data]
    #[arg(value_name = "PIPELINE.toml")]
    pipeline: Option<PathBuf>,
    /// Only this dead-letter file
    #[arg(long, value_name = "NAME")]
    file: Option<String>,
    /// Only messages with this reason, such as `type` or `late`
    #[arg(long, value_name = "WORD")]
    reason: Option<String>,
    /// Set a key of the pipeline file; may be given several times
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Print JSON lines
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: DeadletterArgs, process: &Process) -> anyhow::Result<Exit> {
    match args.command {
        DeadletterCommand::List(of) => list(&of, process),
        DeadletterCommand::Show { of, count } => show(&of, process, count.unwrap_or(usize::MAX)),
        DeadletterCommand::Requeue { of, topic } => requeue(&of, process, topic),
    }
}

fn list(of: &DeadletterFilter, process: &Process) -> anyhow::Result<Exit> {
    let context = context_or_last(process, of.pipeline.as_ref(), &of.set, LakeAccess::Read)?;
    let (files, _) = read(&context, of, false)?;
    for (name, messages, reasons) in by_object(&files) {
        if of.json {
            outln!("{}", json!({ "name": name, "messages": messages, "reasons": reasons }));
        } else {
            let reasons: Vec<String> = reasons.iter().map(|(reason, n)| format!("{reason} {n}")).collect();
            outln!("{name}  {messages} messages: {}", reasons.join(", "));
        }
    }
    if files.is_empty() && !of.json {
        eprintln!("{} has no dead letters", context.pipeline().name);
    }
    Ok(Exit::Done)
}

/// The files that hold the messages now, in the order of their first commits: name, messages, messages by reason.
fn by_object(files: &[Published]) -> Vec<(&str, u64, BTreeMap<&str, u64>)> {
    let mut at: HashMap<&str, usize> = HashMap::new();
    let mut objects: Vec<(&str, u64, BTreeMap<&str, u64>)> = Vec::new();
    for published in files {
        let name = object_of(published);
        let at = *at.entry(name).or_insert_with(|| {
            objects.push((name, 0, BTreeMap::new()));
            objects.len() - 1
        });
        let (_, messages, reasons) = &mut objects[at];
        *messages += published.file.rows;
        published.file.counts.iter().for_each(|(reason, n)| *reasons.entry(reason).or_default() += n);
    }
    objects
}

/// The file that holds the messages now.
fn object_of(published: &Published) -> &str {
    match &published.place {
        RowLocation::Compacted { object, .. } => object,
        _ => &published.file.name,
    }
}

fn show(of: &DeadletterFilter, process: &Process, count: usize) -> anyhow::Result<Exit> {
    let context = context_or_last(process, of.pipeline.as_ref(), &of.set, LakeAccess::Read)?;
    let (_, letters) = read(&context, of, true)?;
    for letter in letters.iter().take(count) {
        let text = |bytes: &Option<Vec<u8>>| bytes.as_ref().map(|b| String::from_utf8_lossy(b).into_owned());
        // Bytes that are not UTF-8 are encoded as in the dead-letter file: docs/ledger.md.
        let exact = |bytes: &Option<Vec<u8>>| match bytes.as_ref().map(|b| std::str::from_utf8(b)) {
            Some(Ok(text)) => (Some(text.to_owned()), None),
            Some(Err(_)) => (None, bytes.as_ref().map(|b| BASE64_STANDARD.encode(b))),
            None => (None, None),
        };
        let ((key, key_base64), (value, value_base64)) = (exact(&letter.key), exact(&letter.value));
        if of.json {
            outln!(
                "{}",
                json!({
                    "topic": &*letter.position.partition.topic, "partition": letter.position.partition.partition,
                    "offset": letter.position.offset, "timestamp_ms": letter.timestamp_ms, "reason": letter.reason,
                    "field": letter.field, "key": key, "value": value, "key_base64": key_base64,
                    "value_base64": value_base64,
                })
            );
        } else {
            let field = letter.field.as_ref().map(|f| format!(" in {f}")).unwrap_or_default();
            outln!("{}{field}: {}", letter.position, letter.reason);
            outln!("  {}", text(&letter.value).unwrap_or_else(|| "(null)".to_owned()));
        }
    }
    Ok(Exit::Done)
}

fn requeue(of: &DeadletterFilter, process: &Process, topic: Option<String>) -> anyhow::Result<Exit> {
    let context = context_or_last(process, of.pipeline.as_ref(), &of.set, LakeAccess::Read)?;
    let (_, letters) = read(&context, of, true)?;
    process.shutdown_on_signals()?;
    let settings = context.client_settings()?;
    let producer = Producer::open(&settings, ProducerLimits::default()).map_err(flow::client)?;
    let topics = topic.clone().unwrap_or_else(|| context.pipeline().source.topics.to_string());
    for letter in &letters {
        let topic = topic.as_deref().unwrap_or(&letter.position.partition.topic);
        let record = ProducerRecord::resent(letter.key.as_deref(), letter.value.as_deref(), letter.timestamp_ms);
        producer
            .send(topic, &record)
            .map_err(|e| Failure::new(Exit::Source, format!("{} was not resent", letter.position)).cause(e))?;
    }
    let (stats, failures) = producer.close(FLUSH);
    if let Some(failure) = failures.first() {
        return Err(Failure::new(
            Exit::Source,
            format!("{} of {} messages did not reach {topics}", stats.failed, letters.len()),
        )
        .cause(failure.reason.clone())
        .into());
    }
    if of.json {
        outln!("{}", json!({ "topic": topics, "sent": stats.delivered }));
    } else {
        outln!("{} messages sent to {topics}", stats.delivered);
    }
    Ok(Exit::Done)
}

/// The dead-letter files that `of` selects, and their messages if `contents` is set.
fn read(
    context: &Context,
    of: &DeadletterFilter,
    contents: bool,
) -> anyhow::Result<(Vec<Published>, Vec<OwnedDeadLetter>)> {
    let pipeline = context.pipeline();
    context.block_on(async {
        let lake = context.lake().await?;
        let mut files = turnstile_lake::dead_letter_files(lake, &pipeline.name).await.map_err(flow::ledger_failed)?;
        files.retain(|f| {
            // Retention may have deleted others by now.
            !matches!(f.place, RowLocation::Retired { .. })
                && of.file.as_ref().is_none_or(|name| *name == f.file.name || *name == object_of(f))
        });
        if let Some(word) = &of.reason {
            files.retain(|f| f.file.counts.contains_key(word));
        }
        if let (Some(name), true) = (&of.file, files.is_empty()) {
            return Err(Failure::new(Exit::Failed, format!("{name:?} is not a dead-letter file of {}", pipeline.name))
                .hint("`turnstile deadletter list` lists them")
                .into());
        }
        let mut letters = Vec::new();
        if contents {
            let mut reader = DeadLetterReader::new(lake);
            for file in &files {
                let gone = || Failure::new(Exit::Lake, format!("{} is no longer in the lake", object_of(file)));
                letters.extend(reader.read(file).await?.ok_or_else(gone)?);
            }
            letters.retain(|l| of.reason.as_ref().is_none_or(|word| l.reason.split(':').next() == Some(word)));
        }
        Ok((files, letters))
    })
}
