//! The query on the cluster: begun, found again, asked, stopped.

use std::collections::BTreeMap;
use std::time::Duration;

use turnstile_pipeline::Pipeline;
use turnstile_spark::{
    BatchProgress, DataSource, QueryHandle, Relation, Session, SessionSettings, SparkAddress, SparkError, SparkPlan,
    StreamSink, StreamTrigger,
};

use super::binding::StartedQuery;

/// Batches of which the cluster keeps the progress.
const PROGRESS_KEPT: &str = "1000";

/// How the query of a pipeline is started.
pub(super) struct QueryRecipe {
    pub(super) plan: SparkPlan,
    /// The Kafka source of the query.
    pub(super) messages: DataSource,
    pub(super) rows: String,
    pub(super) checkpoint: String,
    pub(super) trigger: StreamTrigger,
    /// Settings of the session beside the plan's.
    pub(super) settings: Vec<(String, String)>,
    pub(super) name: String,
}

/// A query that runs in a session, or did.
pub(super) struct Cluster {
    pub(super) session: Session,
    pub(super) query: QueryHandle,
}

/// How a query is.
#[derive(Debug)]
pub(super) enum QueryCondition {
    Running,
    /// It read what there was, as it was asked to.
    Ended,
    Failed(SparkError),
}

impl QueryRecipe {
    /// How the query of `pipeline` with `partitions` in its topics is started.
    pub(super) fn new(
        pipeline: &Pipeline,
        plan: SparkPlan,
        messages: DataSource,
        [rows, checkpoint]: [String; 2],
        trigger: Option<StreamTrigger>,
        partitions: usize,
    ) -> Self {
        let every = Duration::from_micros(pipeline.spark.every_us.unsigned_abs());
        let own = [
            // Groups are kept in so many stores, each with files for each batch. Spark's own default is 200.
            ("spark.sql.shuffle.partitions", partitions.max(1).to_string()),
            // What was not published yet is known by these.
            ("spark.sql.streaming.fileSink.log.deletion", "false".to_owned()),
            ("spark.sql.streaming.fileSink.log.compactInterval", "100".to_owned()),
            ("spark.sql.streaming.numRecentProgressUpdates", PROGRESS_KEPT.to_owned()),
            ("spark.sql.streaming.stopActiveRunOnRestart", "true".to_owned()),
        ];
        let own = own.into_iter().map(|(key, value)| (key.to_owned(), value));
        let given = pipeline.spark.conf.iter().map(|(key, value)| (key.clone(), value.clone()));
        Self {
            plan,
            messages,
            rows,
            checkpoint,
            trigger: trigger.unwrap_or(StreamTrigger::Every(every)),
            settings: own.chain(given).collect(),
            name: format!("turnstile {}", pipeline.name),
        }
    }

    /// Starts the query in a new session, from its checkpoint. A run of the same query elsewhere on the cluster ends.
    ///
    /// # Errors
    /// Those of the connection; `Spark` if the query cannot be planned.
    pub(super) async fn start(&self, address: &SparkAddress) -> Result<Cluster, SparkError> {
        let session = Session::open(address.clone(), SessionSettings::default()).await?;
        let started = async {
            session.set(self.settings.iter().map(|(key, value)| (key.as_str(), value.as_str()))).await?;
            let table = session.prepare(&self.plan, Relation::stream(self.messages.clone())).await?;
            let sink = StreamSink {
                format: "parquet".to_owned(),
                path: self.rows.clone(),
                checkpoint: self.checkpoint.clone(),
                options: BTreeMap::new(),
                trigger: self.trigger,
                name: self.name.clone(),
            };
            session.start(table, &sink).await
        };
        match started.await {
            Ok(query) => Ok(Cluster { session, query }),
            Err(error) => {
                let _ = session.release().await;
                Err(error)
            }
        }
    }

    /// Returns to a query that runs; `None` if it does not run any more.
    ///
    /// # Errors
    /// The server cannot be reached.
    pub(super) async fn find(
        &self,
        address: &SparkAddress,
        running: &StartedQuery,
    ) -> Result<Option<Cluster>, SparkError> {
        let address = SparkAddress { session_id: Some(running.session), ..address.clone() };
        let query = running.query.clone();
        let found = async {
            let session = Session::open(address, SessionSettings::default()).await?;
            let state = session.query_state(&query).await?;
            Ok::<_, SparkError>(state.active.then_some(Cluster { session, query }))
        };
        match found.await {
            Err(SparkError::SessionLost { .. } | SparkError::Spark { .. }) => Ok(None),
            found => found,
        }
    }
}

impl Cluster {
    /// How the query is.
    ///
    /// # Errors
    /// Those of the connection; `SessionLost` if the server does not know it any more.
    pub(super) async fn condition(&self) -> Result<QueryCondition, SparkError> {
        if self.session.query_state(&self.query).await?.active {
            return Ok(QueryCondition::Running);
        }
        Ok(match self.session.query_failure(&self.query).await? {
            Some(failure) => QueryCondition::Failed(failure),
            None => QueryCondition::Ended,
        })
    }

    /// The newest batches' progress, oldest first. What this release cannot read is left out: it is only counts.
    ///
    /// # Errors
    /// As [`Cluster::condition`].
    pub(super) async fn progress(&self) -> Result<Vec<BatchProgress>, SparkError> {
        let recent = self.session.recent_progress(&self.query).await?;
        recent.iter().for_each(|json| tracing::trace!(json, "progress"));
        let read = recent.iter().filter_map(|json| match BatchProgress::parse(json) {
            Ok(progress) => progress,
            Err(error) => {
                tracing::debug!(%error, "the progress of a batch was not understood");
                None
            }
        });
        Ok(read.collect())
    }
}
