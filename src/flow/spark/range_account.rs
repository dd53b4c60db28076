//! The cluster is asked for messages of a batch once more: for those that go to the dead letters when its counts say that there are
//! some, and for counts that the query cannot give or that were lost.

use std::sync::Arc;

use anyhow::Context as _;
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int32Type, Int64Type, TimeUnit, TimestampMillisecondType};
use turnstile_engine::{DeadLetter, Reason, Rejection};
use turnstile_message::{SourcePosition, TopicPartition};
use turnstile_pipeline::{MESSAGE_ORDER, WindowSpec};
use turnstile_spark::{
    DETAIL, DataSource, FIELD, KEY, MESSAGES_VIEW, OBSERVED_ROWS, REASON, ROWS_VIEW, Relation, SENT, Session,
    SparkError, SparkPlan, VALUE,
};
use turnstile_values::human;

/// What a cluster is asked about a range of offsets.
#[derive(Debug, Clone, Copy)]
pub(super) struct Question {
    /// The clock of their batch, milliseconds since the epoch.
    pub(super) clock_ms: i64,
    /// The event time from which on they are in time, microseconds since the epoch.
    pub(super) in_time_from_us: i64,
    /// Whether they are to be counted.
    pub(super) with_counts: bool,
    /// Whether late messages are dead letters.
    pub(super) with_late: bool,
}

/// The dead letters of a range of offsets, and its counts if they were asked for.
#[derive(Debug, Default)]
pub(super) struct RangeAccount {
    pub(super) read: u64,
    pub(super) tombstones: u64,
    /// Messages that came too late.
    pub(super) late: u64,
    /// Messages in time that the query's condition leaves out.
    pub(super) filtered: u64,
    pub(super) rejected: Vec<DeadLetter>,
    /// Late messages as dead letters.
    pub(super) late_letters: Vec<DeadLetter>,
    /// The latest event time of those that are not rejected, microseconds since the epoch.
    pub(super) newest_us: Option<i64>,
}

/// What a cluster answers about a range of offsets.
#[derive(Debug, Default)]
pub(super) struct RangeAnswer {
    counts: Vec<RecordBatch>,
    rejected: Vec<RecordBatch>,
    late: Vec<RecordBatch>,
}

/// Has the cluster read `range` once more; each part of the answer may take `limit` bytes.
///
/// # Errors
/// Those of the connection; `Spark` if messages are gone; `TooLarge`.
pub(super) async fn ask(
    session: &Session,
    plan: &SparkPlan,
    range: &DataSource,
    question: Question,
    limit: u64,
) -> Result<RangeAnswer, SparkError> {
    session.create_view(MESSAGES_VIEW, Relation::batch(range.clone())).await?;
    // Without the observation Spark pushes conditions on rows down through their views, each step written out in all that use it:
    // a plan that does not end.
    let rows = Relation::sql(plan.rows_at(question.clock_ms)).observed(OBSERVED_ROWS, &plan.observed[1]);
    session.create_view(ROWS_VIEW, rows).await?;
    let collect = async |sql: &str| session.collect(&Relation::sql(sql), limit).await;
    let mut answer = RangeAnswer::default();
    if question.with_counts {
        answer.counts = collect(&plan.counts(question.in_time_from_us)).await?;
    }
    answer.rejected = collect(&plan.rejected).await?;
    if question.with_late {
        answer.late = collect(&plan.late(question.in_time_from_us)).await?;
    }
    Ok(answer)
}

impl RangeAnswer {
    /// The answer as values. Windows that end up to `closed_until_us` were complete before the batch.
    ///
    /// # Errors
    /// Columns are not those that were asked for.
    pub(super) fn account(&self, window: &WindowSpec, closed_until_us: Option<i64>) -> anyhow::Result<RangeAccount> {
        let mut account = RangeAccount::default();
        if let Some(row) = self.counts.iter().find(|batch| batch.num_rows() == 1) {
            let number = |name: &str| -> anyhow::Result<u64> {
                Ok(column(row, name, &DataType::Int64)?.as_primitive::<Int64Type>().value(0) as u64)
            };
            (account.read, account.tombstones) = (number("read")?, number("tombstones")?);
            (account.late, account.filtered) = (number("late")?, number("filtered")?);
            let newest = column(row, "newest_us", &DataType::Int64)?;
            account.newest_us = newest.is_valid(0).then(|| newest.as_primitive::<Int64Type>().value(0));
        }
        for batch in &self.rejected {
            letters(batch, &mut account.rejected)?;
        }
        for batch in &self.late {
            letters(batch, &mut account.late_letters)?;
        }
        for letter in &mut account.late_letters {
            let event_us = letter.rejection.detail.parse().context("a late message has no event time")?;
            let end = window.last_end_us(event_us);
            letter.rejection.detail = match closed_until_us {
                Some(closed) if end > closed => {
                    format!("the watermark of Spark had passed {}", human::instant(event_us))
                }
                // As the embedded engine says it.
                _ => format!("the window that ends at {} was already closed", human::instant(end)),
            };
        }
        Ok(account)
    }
}

fn letters(batch: &RecordBatch, out: &mut Vec<DeadLetter>) -> anyhow::Result<()> {
    let [topic, partition, offset] = MESSAGE_ORDER;
    let text = |name: &str| column(batch, name, &DataType::Utf8);
    let (topics, reasons, fields, details) = (text(topic)?, text(REASON)?, text(FIELD)?, text(DETAIL)?);
    let partitions = column(batch, partition, &DataType::Int32)?;
    let offsets = column(batch, offset, &DataType::Int64)?;
    let sent = column(batch, SENT, &DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into())))?;
    let (keys, values) = (column(batch, KEY, &DataType::Binary)?, column(batch, VALUE, &DataType::Binary)?);
    for row in 0..batch.num_rows() {
        let text = |of: &Arc<dyn Array>| of.is_valid(row).then(|| of.as_string::<i32>().value(row).to_owned());
        let bytes = |of: &Arc<dyn Array>| of.is_valid(row).then(|| of.as_binary::<i32>().value(row).to_vec());
        let reason = text(&reasons).context("a rejected message has no reason")?;
        let partition = TopicPartition::new(
            text(&topics).context("a rejected message has no topic")?,
            partitions.as_primitive::<Int32Type>().value(row),
        );
        out.push(DeadLetter {
            position: SourcePosition { partition, offset: offsets.as_primitive::<Int64Type>().value(row) },
            timestamp_ms: sent.as_primitive::<TimestampMillisecondType>().value(row),
            rejection: Rejection {
                reason: Reason::parse(&reason).with_context(|| format!("{reason:?} is no reason of a rejection"))?,
                field: text(&fields),
                detail: text(&details).unwrap_or_default(),
            },
            key: bytes(&keys),
            value: bytes(&values),
        });
    }
    Ok(())
}

fn column(batch: &RecordBatch, name: &str, kind: &DataType) -> anyhow::Result<Arc<dyn Array>> {
    let values = batch.column_by_name(name).with_context(|| format!("Spark's answer has no column {name}"))?;
    Ok(cast(values, kind)?)
}
