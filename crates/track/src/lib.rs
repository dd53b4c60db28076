//! Tracks flows and tasks: what ran, when, with which result, and what a team's tools should know of it.
//!
//! In: [`TrackEvent`]s, which the binary derives from a flow's events. Out: runs in a [store](RunStore), and reports to
//! Prefect, Prometheus, OpenTelemetry, OpenLineage and webhooks.
//! Never slows the flow: everything here reads a bounded queue. Knows neither Kafka nor the lake. Start at [`TrackEvent`].

mod alerts;
mod change;
mod event;
mod health;
mod lineage;
mod metrics;
mod otlp;
mod outbox;
mod prefect;
mod run;
mod store;
#[cfg(test)]
mod test_events;
#[cfg(test)]
mod test_server;
mod tracker;

pub use alerts::{
    Alert, AlertChange, AlertCondition, AlertDelivery, AlertEvaluator, AlertRule, AlertSeverity, WEBHOOK_CAPACITY,
};
pub use change::{RunChange, WindowArtifact};
pub use event::{
    CommitPhases, CommitReport, FileContent, FileReport, LoadReport, LogLevel, MoveReport, RetainReport, StatusReport,
    TrackEvent,
};
pub use health::{Health, HealthCheck, HealthReport, STATUS_OVERDUE_US};
pub use lineage::{
    LINEAGE_CAPACITY, LINEAGE_PRODUCER, LineageDataset, LineageEnd, LineageEvent, LineageEventType, LineageJob,
    LineageRun, LineageSink, MAX_LINEAGE_FILE_BYTES, MAX_LINEAGE_FILES, MAX_LINEAGE_PARTITIONS,
};
pub use metrics::{
    CounterStart, MAX_LABEL_VALUES, MAX_PARTITION_SERIES, METRICS, METRICS_CONTENT_TYPE, MetricFamily, MetricHistogram,
    MetricInfo, MetricKind, MetricPoint, MetricValue, Metrics, resident_bytes,
};
pub use otlp::{OTLP_CAPACITY, OTLP_METRICS_INTERVAL, OtlpExporter, OtlpResource, OtlpSettings};
pub use outbox::{HttpOutbox, OUTBOX_RETRIES, OutboxCounts, OutboxError, OutboxSettings};
pub use prefect::{
    BlockCredentials, BlockRef, BlockValues, DeploymentSchedule, PrefectClient, PrefectError, PrefectReporter,
    PrefectSettings, PrefectWorker, ReporterStats, ScheduledWork, WorkerSettings, read_block,
};
pub use run::{CrashedRun, FlowRun, RunLogLine, RunState, TaskRun};
pub use store::{
    BUSY_WAIT, CancelOutcome, OpenedStore, RetentionLimits, RunDetails, RunFilter, RunStore, RunStoreError,
    StoreWriter, StoreWriterCounts,
};
pub use tracker::{
    CHANGE_CAPACITY, CancelSignal, ChangeStream, EVENT_CAPACITY, FlowStart, MessageMove, SEEN_EVERY, TrackCore,
    TrackEnd, TrackNames, TrackSender, Tracker, TrackerBuilder,
};
