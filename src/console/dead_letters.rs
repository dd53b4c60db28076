//! Messages that could not be processed, by reason, and the action that sends them again.

use std::collections::BTreeMap;

use turnstile_console::data::{ConsoleError, DeadLetterReason, DeadLetterSample, DeadLetterSummary, RequeueSummary};
use turnstile_lake::{Catalog, DeadLetterReader, Lake, OwnedDeadLetter};
use turnstile_values::{MILLISECOND_US, human};

use super::unavailable;
use crate::flow::{self, Context, ledger_failed};

/// Files whose messages are counted and shown.
const FILES: usize = 100;

/// Messages that are shown of a reason.
const SAMPLES: usize = 5;

/// Bytes that are kept of a message that is shown.
const SAMPLE_BYTES: usize = 1 << 10;

/// The newest dead letters of a catalog. `read_only`: why none can be sent again.
pub(super) async fn summary(
    context: Option<&Context>,
    lake: &Lake,
    catalog: &Catalog,
    read_only: Option<String>,
) -> Result<DeadLetterSummary, ConsoleError> {
    let all = catalog.dead_letters().len();
    let files = turnstile_lake::recent_dead_letter_files(lake, catalog, FILES).await;
    let files = files.map_err(|error| unavailable(ledger_failed(error)))?;
    let mut reasons: BTreeMap<String, DeadLetterReason> = BTreeMap::new();
    let mut reader = DeadLetterReader::new(lake);
    for file in files.iter().rev() {
        for (reason, count) in &file.file.counts {
            let at_us = file.committed_at_us;
            let known = reasons.entry(reason.clone()).or_insert_with(|| DeadLetterReason {
                reason: reason.clone(),
                explanation: explanation(reason).map(str::to_owned),
                count: 0,
                first_at_us: None,
                last_at_us: Some(at_us),
                samples: Vec::new(),
                warning: read_only.clone(),
                can_requeue: read_only.is_none(),
            });
            known.count += count;
            known.first_at_us = Some(at_us);
        }
        let wanted = |reason: &DeadLetterReason| reason.samples.len() < SAMPLES;
        if !file.file.counts.keys().any(|reason| reasons.get(reason).is_some_and(wanted)) {
            continue;
        }
        let letters = flow::dead_letters(&mut reader, file, None).await.map_err(unavailable)?;
        for letter in letters.iter().rev() {
            let reason = reasons.get_mut(flow::reason_of(letter)).filter(|reason| wanted(reason));
            reason.into_iter().for_each(|reason| reason.samples.push(sample(letter)));
        }
    }
    let same_plan = match context {
        Some(context) => same_plan_warning(context, &files).await?,
        None => None,
    };
    if let (None, Some(warning)) = (read_only, same_plan) {
        reasons.values_mut().for_each(|reason| reason.warning = Some(warning.clone()));
    }
    let mut reasons: Vec<DeadLetterReason> = reasons.into_values().collect();
    reasons.sort_by_key(|reason| std::cmp::Reverse(reason.count));
    let scope = match all > FILES {
        true => format!("of the newest {FILES} of {} files", human::count(all as u64)),
        false => "since the pipeline began, as far as retention keeps them".to_owned(),
    };
    Ok(DeadLetterSummary { reasons, files: all as u64, scope })
}

/// What to say when the plan is still the one that rejected the newest of these messages.
async fn same_plan_warning(
    context: &Context,
    files: &[turnstile_lake::Published],
) -> Result<Option<String>, ConsoleError> {
    let Some(newest) = files.last() else { return Ok(None) };
    let pipeline = context.pipeline();
    let lake = context.lake().await.map_err(unavailable)?;
    let plan = turnstile_lake::plan_hash_at(lake, &pipeline.name, newest.seq).await;
    let plan = plan.map_err(|error| unavailable(ledger_failed(error)))?;
    Ok((plan.as_ref() == Some(&pipeline.plan_hash)).then(|| {
        "the plan is still the one that rejected them: sent again now, most will be rejected again".to_owned()
    }))
}

fn sample(letter: &OwnedDeadLetter) -> DeadLetterSample {
    let value = letter.value.as_deref().unwrap_or_default();
    DeadLetterSample {
        partition: letter.position.partition.clone(),
        offset: letter.position.offset,
        timestamp_us: (letter.timestamp_ms >= 0).then(|| letter.timestamp_ms.saturating_mul(MILLISECOND_US)),
        field: letter.field.clone(),
        key: letter.key.clone(),
        value: value[..value.len().min(SAMPLE_BYTES)].to_vec(),
        value_bytes: value.len() as u64,
    }
}

/// What a reason means.
fn explanation(reason: &str) -> Option<&'static str> {
    Some(match reason {
        "not-utf8" => "The value is not text in UTF-8.",
        "csv" => "The value is not a CSV row.",
        "json" => "The value is not JSON of the expected form.",
        "wire-format" => "The value does not begin as one that a schema registry's serializer wrote.",
        "schema" => "The schema that the message names is not known or does not fit.",
        "avro" => "The value is not Avro of its schema.",
        "fields" => "The row does not have as many fields as the schema.",
        "type" => "A field's value is not of its type.",
        "event-time" => "The message has no event time.",
        "query" => "The query cannot be computed for this row.",
        "late" => "The row came after its windows had closed.",
        "future" => "The event time is further ahead of the clock than `[stream] future` allows.",
        _ => return None,
    })
}

/// Sends all messages again that were rejected for `reason`.
pub(super) async fn send_again(context: &Context, reason: &str) -> Result<RequeueSummary, ConsoleError> {
    let lake = context.lake().await.map_err(unavailable)?;
    let found = flow::dead_letter_files(lake, &context.pipeline().name, None, Some(reason)).await;
    let (mut letters, mut reader) = (Vec::new(), DeadLetterReader::new(lake));
    for file in &found.map_err(unavailable)?.files {
        letters.extend(flow::dead_letters(&mut reader, file, Some(reason)).await.map_err(unavailable)?);
    }
    if letters.is_empty() {
        let fact = format!("there are no messages that were rejected for {reason:?}");
        return Err(ConsoleError::Refused { fact, hint: None });
    }
    // librdkafka's calls wait; the runtime's threads do not.
    let sender = context.clone();
    let sent = tokio::task::spawn_blocking(move || flow::requeue(&sender, letters.iter(), None)).await;
    let sent = sent.map_err(|error| unavailable(error.into()))?.map_err(unavailable)?.sent;
    let topics: Vec<(String, u64)> = sent.into_iter().map(|(topic, reasons)| (topic, reasons.values().sum())).collect();
    Ok(RequeueSummary { sent: topics.iter().map(|(_, count)| count).sum(), topics, note: None })
}
