//! Rejected messages: the cluster is asked for those of a batch when its counts say that there are some, or are lost.

use std::sync::Arc;

use anyhow::Context as _;
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int32Type, Int64Type, TimeUnit, TimestampMillisecondType};
use turnstile_engine::{DeadLetter, Reason, Rejection};
use turnstile_message::{SourcePosition, TopicPartition};
use turnstile_pipeline::MESSAGE_ORDER;
use turnstile_spark::{
    DETAIL, DataSource, FIELD, KEY, MESSAGES_VIEW, REASON, ROWS_VIEW, Relation, SENT, Session, SparkError, SparkPlan,
    VALUE,
};

/// The rejected messages of a range of offsets, and how many messages and tombstones it has.
#[derive(Debug, Default)]
pub(super) struct RangeAccount {
    pub(super) read: u64,
    pub(super) tombstones: u64,
    pub(super) rejected: Vec<DeadLetter>,
    /// The latest event time of the others, microseconds since the epoch.
    pub(super) newest_us: Option<i64>,
}

/// What a cluster answers about a range of offsets.
pub(super) struct RangeAnswer {
    counts: Vec<RecordBatch>,
    rejected: Vec<RecordBatch>,
}

/// Has the cluster read `range` once more.
///
/// # Errors
/// Those of the connection; `Spark` if messages are gone.
pub(super) async fn ask(
    session: &Session,
    plan: &SparkPlan,
    range: DataSource,
    with_counts: bool,
) -> Result<RangeAnswer, SparkError> {
    session.create_view(MESSAGES_VIEW, Relation::batch(range)).await?;
    session.create_view(ROWS_VIEW, Relation::sql(&plan.rows)).await?;
    let counts = match with_counts {
        true => {
            let sql = format!(
                "SELECT count(1) AS read, count_if(value IS NULL) AS tombstones, \
                 (SELECT unix_micros(max(`{event_time}`)) FROM ({accepted})) AS newest_us FROM {MESSAGES_VIEW}",
                event_time = plan.watermark.0.replace('`', "``"),
                accepted = plan.accepted,
            );
            session.collect(&Relation::sql(sql)).await?
        }
        false => Vec::new(),
    };
    Ok(RangeAnswer { counts, rejected: session.collect(&Relation::sql(&plan.rejected)).await? })
}

impl RangeAnswer {
    /// The answer as values.
    ///
    /// # Errors
    /// Columns are not those that were asked for.
    pub(super) fn account(&self) -> anyhow::Result<RangeAccount> {
        let mut account = RangeAccount::default();
        if let Some(row) = self.counts.iter().find(|batch| batch.num_rows() == 1) {
            let number = |name: &str| -> anyhow::Result<u64> {
                Ok(column(row, name, &DataType::Int64)?.as_primitive::<Int64Type>().value(0) as u64)
            };
            (account.read, account.tombstones) = (number("read")?, number("tombstones")?);
            let newest = column(row, "newest_us", &DataType::Int64)?;
            account.newest_us = newest.is_valid(0).then(|| newest.as_primitive::<Int64Type>().value(0));
        }
        for batch in &self.rejected {
            letters(batch, &mut account.rejected)?;
        }
        account.rejected.sort_by(|a, b| {
            let place = |letter: &DeadLetter| (letter.position.partition.clone(), letter.position.offset);
            place(a).cmp(&place(b))
        });
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
