//! The console of several pipelines, which run elsewhere or not at all.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;
use turnstile_console::data::{
    ChartSpec, ConsoleData, ConsoleError, DeadLetterSummary, PartitionOverview, PipelineDescription, PipelineListing,
    PipelineOverview, RequeueSummary, RunDetail, RunPage, SqlRequest, SqlTable, TableListing, WindowDetail, WindowPage,
    WindowSelection,
};

use super::{PipelineConsole, READ_ONLY};

/// Pipelines that are shown in one console, in the order in which they are offered.
pub(crate) struct SeveralPipelines {
    pipelines: Vec<Arc<PipelineConsole>>,
    /// Goes up with the ledger of any of them.
    version: watch::Sender<u64>,
}

impl SeveralPipelines {
    /// A console of `pipelines`, whose names differ.
    pub(crate) fn new(pipelines: Vec<Arc<PipelineConsole>>) -> Arc<Self> {
        Arc::new(Self { pipelines, version: watch::Sender::new(0) })
    }

    /// Looks at the ledgers again and again, until shutdown, and tells when one has grown.
    pub(crate) async fn follow_ledgers(self: &Arc<Self>, every: Duration) {
        let mut following = tokio::task::JoinSet::new();
        for pipeline in &self.pipelines {
            let followed = Arc::clone(pipeline);
            following.spawn(async move { followed.follow_ledger(every).await });
            let (mut changes, this) = (pipeline.changes(), Arc::clone(self));
            following.spawn(async move {
                while changes.changed().await.is_ok() {
                    this.version.send_modify(|version| *version += 1);
                }
            });
        }
        // The first to end does so at shutdown, as all do.
        following.join_next().await;
        following.shutdown().await;
    }

    fn find(&self, name: &str) -> Result<&PipelineConsole, ConsoleError> {
        let found = self.pipelines.iter().find(|pipeline| pipeline.name() == name);
        found.map(Arc::as_ref).ok_or_else(|| ConsoleError::NotFound { what: "pipeline", name: name.to_owned() })
    }
}

#[async_trait]
impl ConsoleData for SeveralPipelines {
    fn changes(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    fn read_only(&self) -> Option<String> {
        Some(READ_ONLY.to_owned())
    }

    async fn pipelines(&self) -> Result<Vec<PipelineListing>, ConsoleError> {
        let mut all = Vec::with_capacity(self.pipelines.len());
        for pipeline in &self.pipelines {
            all.extend(pipeline.pipelines().await?);
        }
        Ok(all)
    }

    async fn overview(&self, pipeline: &str) -> Result<PipelineOverview, ConsoleError> {
        self.find(pipeline)?.overview(pipeline).await
    }

    async fn windows(&self, pipeline: &str, selection: WindowSelection) -> Result<WindowPage, ConsoleError> {
        self.find(pipeline)?.windows(pipeline, selection).await
    }

    async fn window(&self, pipeline: &str, start_us: i64) -> Result<WindowDetail, ConsoleError> {
        self.find(pipeline)?.window(pipeline, start_us).await
    }

    async fn partitions(&self, pipeline: &str) -> Result<PartitionOverview, ConsoleError> {
        self.find(pipeline)?.partitions(pipeline).await
    }

    async fn dead_letters(&self, pipeline: &str) -> Result<DeadLetterSummary, ConsoleError> {
        self.find(pipeline)?.dead_letters(pipeline).await
    }

    async fn requeue(&self, pipeline: &str, reason: &str) -> Result<RequeueSummary, ConsoleError> {
        self.find(pipeline)?.requeue(pipeline, reason).await
    }

    async fn charts(&self, pipeline: &str) -> Result<Vec<ChartSpec>, ConsoleError> {
        self.find(pipeline)?.charts(pipeline).await
    }

    async fn tables(&self, pipeline: &str) -> Result<Vec<TableListing>, ConsoleError> {
        self.find(pipeline)?.tables(pipeline).await
    }

    async fn sql(&self, pipeline: &str, request: SqlRequest) -> Result<SqlTable, ConsoleError> {
        self.find(pipeline)?.sql(pipeline, request).await
    }

    async fn description(&self, pipeline: &str) -> Result<PipelineDescription, ConsoleError> {
        self.find(pipeline)?.description(pipeline).await
    }

    async fn runs(&self, pipeline: &str, offset: u64, limit: usize) -> Result<RunPage, ConsoleError> {
        self.find(pipeline)?.runs(pipeline, offset, limit).await
    }

    async fn run(
        &self,
        pipeline: &str,
        id: &str,
        max_tasks: usize,
        max_logs: usize,
    ) -> Result<RunDetail, ConsoleError> {
        self.find(pipeline)?.run(pipeline, id, max_tasks, max_logs).await
    }

    async fn cancel(&self, pipeline: &str, id: &str) -> Result<(), ConsoleError> {
        self.find(pipeline)?.cancel(pipeline, id).await
    }
}
