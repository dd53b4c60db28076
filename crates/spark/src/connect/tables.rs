//! What a table is computed from, as a value that is built up.

use std::collections::BTreeMap;
use std::time::Duration;

use super::messages::relation as wire;
use super::messages::service::{Plan, PlanKind};

/// A source that Spark reads, with its options. Its debug output names the options but not their values: they may be secret.
#[derive(Clone, PartialEq)]
pub struct DataSource {
    /// Spark's name of the source, such as `kafka`.
    pub format: String,
    /// The columns, in Spark's DDL; `None`: those of the source.
    pub schema: Option<String>,
    /// Its options.
    pub options: BTreeMap<String, String>,
}

impl std::fmt::Debug for DataSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<&String> = self.options.keys().collect();
        f.debug_struct("DataSource").field("format", &self.format).field("options", &names).finish_non_exhaustive()
    }
}

/// A table that is not computed yet.
#[derive(Clone, PartialEq)]
pub struct Relation(pub(super) wire::RelationMessage);

impl Relation {
    /// The rows of a source as they come.
    pub fn stream(source: DataSource) -> Self {
        Self::read(source, true)
    }

    /// The rows that a source has now.
    pub fn batch(source: DataSource) -> Self {
        Self::read(source, false)
    }

    fn read(source: DataSource, is_streaming: bool) -> Self {
        let DataSource { format, schema, options } = source;
        let source = wire::DataSourceMessage { format: Some(format), schema, options, paths: Vec::new() };
        Self::of(wire::RelationKind::Read(wire::Read { data_source: Some(source), is_streaming }))
    }

    /// A query over views of the session.
    pub fn sql(query: impl Into<String>) -> Self {
        Self::of(wire::RelationKind::Sql(wire::Sql { query: query.into() }))
    }

    /// The same rows, with a watermark that stays `delay` behind the latest `event_time`. Spark counts in milliseconds.
    #[must_use]
    pub fn with_watermark(self, event_time: impl Into<String>, delay: Duration) -> Self {
        let delay_threshold = format!("{} milliseconds", delay.as_millis());
        let (input, event_time) = (Some(Box::new(self.0)), event_time.into());
        Self::of(wire::RelationKind::WithWatermark(Box::new(wire::WithWatermark {
            input,
            event_time,
            delay_threshold,
        })))
    }

    /// Of the rows that agree in `columns`, the first one within the watermark.
    #[must_use]
    pub fn drop_duplicates_within_watermark(self, columns: Vec<String>) -> Self {
        Self::of(wire::RelationKind::Deduplicate(Box::new(wire::Deduplicate {
            input: Some(Box::new(self.0)),
            column_names: columns,
            within_watermark: Some(true),
        })))
    }

    /// The same rows in at most so many partitions, without a shuffle.
    #[must_use]
    pub fn coalesced(self, partitions: i32) -> Self {
        Self::of(wire::RelationKind::Repartition(Box::new(wire::Repartition {
            input: Some(Box::new(self.0)),
            num_partitions: partitions,
            shuffle: Some(false),
        })))
    }

    /// The same rows. The progress of each batch has, under `name`, aggregates over them: SQL with aliases.
    #[must_use]
    pub fn observed<T: Into<String>>(self, name: impl Into<String>, aggregates: impl IntoIterator<Item = T>) -> Self {
        let text = |sql: T| Some(wire::ExpressionString { expression: sql.into() });
        let metrics = aggregates.into_iter().map(|sql| wire::ExpressionMessage { text: text(sql) }).collect();
        let (input, name) = (Some(Box::new(self.0)), name.into());
        Self::of(wire::RelationKind::CollectMetrics(Box::new(wire::CollectMetrics { input, name, metrics })))
    }

    fn of(kind: wire::RelationKind) -> Self {
        Self(wire::RelationMessage { kind: Some(kind) })
    }

    pub(super) fn plan(&self) -> Plan {
        Plan { kind: Some(PlanKind::Root(self.0.clone())) }
    }
}
