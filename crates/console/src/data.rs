//! What the pages show: plain values, and the trait that gives them.
//!
//! In: nothing; the program that runs the console implements [`ConsoleData`]. Out: values with units in their names.
//! Knows neither lake, engine nor SQL engine. Instants are microseconds since the epoch, UTC; `None` means unknown, which
//! a page says in words. Start at [`ConsoleData`].

mod charts;
mod dead_letters;
mod error;
mod overview;
mod partitions;
mod pipeline;
mod runs;
mod sql;
mod windows;

use async_trait::async_trait;
use tokio::sync::watch;

pub use charts::ChartSpec;
pub use dead_letters::{DeadLetterReason, DeadLetterSample, DeadLetterSummary, RequeueSummary};
pub use error::{ConsoleError, SqlProblem};
pub use overview::{
    CommitSummary, ConsoleNote, HistoryPoint, LagSummary, MemoryUse, NextClose, NoteSeverity, PipelineActivity,
    PipelineOverview, RecentFile, TargetOverview, ThroughputSummary,
};
pub use partitions::{PartitionOverview, PartitionRow, WatermarkHolder};
pub use pipeline::{PipelineDescription, PipelineListing, PlanEdge, PlanNode, PlanNodeKind, PlanPicture, SchemaColumn};
pub use runs::{RunCondition, RunDetail, RunListing, RunLogEntry, RunPage, TaskListing};
pub use sql::{CellKind, SqlColumn, SqlRequest, SqlTable, TableListing};
pub use windows::{
    OpenReason, WindowCondition, WindowCounts, WindowDetail, WindowFile, WindowListing, WindowPage, WindowSelection,
};

/// Gives the pages what they show, and carries out the two actions.
///
/// Every method may be called from many requests at once and should answer within 100 ms, [`sql`](Self::sql) and
/// [`chart`](Self::chart) excepted; [`overview`](Self::overview) is asked for with every page. All are safe to repeat but
/// the actions. `pipeline` is a name from [`pipelines`](Self::pipelines) or text from a URL: an unknown one is
/// [`ConsoleError::NotFound`].
///
/// # Errors
/// `NotFound`: there is no such pipeline, window, run or chart. `Unavailable`: try later; the page shows fact, cause and
/// hint. `Refused`: an action is not possible now. `Sql`, `Timeout`: of queries only.
#[async_trait]
pub trait ConsoleData: Send + Sync + 'static {
    /// A version that increases when something that a page shows has changed, at most about twice a second.
    ///
    /// Live pages are rendered when it changes, and only then.
    fn changes(&self) -> watch::Receiver<u64>;

    /// Why no action is offered, in one sentence; `None` where actions are offered.
    fn read_only(&self) -> Option<String>;

    /// The pipelines, in the order in which they are offered. The first is shown first.
    async fn pipelines(&self) -> Result<Vec<PipelineListing>, ConsoleError>;

    /// The state of a pipeline at a glance.
    async fn overview(&self, pipeline: &str) -> Result<PipelineOverview, ConsoleError>;

    /// Windows, newest first: `limit` of them after the first `offset` of those with the selected condition.
    ///
    /// Must not cost more with 100,000 windows than with 100.
    async fn windows(&self, pipeline: &str, selection: WindowSelection) -> Result<WindowPage, ConsoleError>;

    /// The window that starts at `start_us`.
    async fn window(&self, pipeline: &str, start_us: i64) -> Result<WindowDetail, ConsoleError>;

    /// The partitions of the topic or topics.
    async fn partitions(&self, pipeline: &str) -> Result<PartitionOverview, ConsoleError>;

    /// Messages that could not be processed, by reason, the most frequent first.
    async fn dead_letters(&self, pipeline: &str) -> Result<DeadLetterSummary, ConsoleError>;

    /// Sends the messages that were rejected for `reason` again, each to the topic that it came from.
    ///
    /// Not safe to repeat: messages that were sent twice are read twice.
    async fn requeue(&self, pipeline: &str, reason: &str) -> Result<RequeueSummary, ConsoleError>;

    /// Charts that are offered for this pipeline, such as entries and exits of each station over time.
    async fn charts(&self, pipeline: &str) -> Result<Vec<ChartSpec>, ConsoleError>;

    /// The rows of a chart that [`charts`](Self::charts) offers, within the limits of `request`, whose text is the
    /// chart's. Implementations may answer from a cache that is a few seconds old.
    async fn chart(&self, pipeline: &str, request: SqlRequest) -> Result<SqlTable, ConsoleError> {
        self.sql(pipeline, request).await
    }

    /// The tables that SQL may name.
    async fn tables(&self, pipeline: &str) -> Result<Vec<TableListing>, ConsoleError>;

    /// Runs read-only SQL within the limits of `request`. Anything but a read is [`ConsoleError::Sql`].
    async fn sql(&self, pipeline: &str, request: SqlRequest) -> Result<SqlTable, ConsoleError>;

    /// The pipeline file, its plan and its schemas.
    async fn description(&self, pipeline: &str) -> Result<PipelineDescription, ConsoleError>;

    /// Flow runs, newest first: `limit` of them after the first `offset`.
    async fn runs(&self, pipeline: &str, offset: u64, limit: usize) -> Result<RunPage, ConsoleError>;

    /// The flow run with this id: the newest `max_tasks` of its task runs, the newest `max_logs` lines of its log.
    async fn run(&self, pipeline: &str, id: &str, max_tasks: usize, max_logs: usize)
    -> Result<RunDetail, ConsoleError>;

    /// Asks the flow run with this id to end cleanly. Returns once the request is recorded; safe to repeat.
    async fn cancel(&self, pipeline: &str, id: &str) -> Result<(), ConsoleError>;
}
