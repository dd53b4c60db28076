//! The schemas of a pipeline's messages, as a query's plan holds them. A query that meets another one fails; it is started again with
//! what the registry says of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::AsArray;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use turnstile_message::WriterSchema;
use turnstile_registry::{RegistryError, SchemaRegistry};
use turnstile_spark::{
    DataSource, MESSAGES_VIEW, RegistrySchemas, Relation, Session, SparkError, SparkPlan, schema_ids,
};
use turnstile_values::human;

use crate::flow::context::Context;
use crate::flow::fault::{client, refused_by_plan, registry_failed};
use crate::flow::schemas::{RETRIES, open_registry};

/// How often the registry is asked again for what it did not know.
const ASK_AGAIN: Duration = Duration::from_secs(30);

/// Most schemas of each kind that are kept for the messages of later batches: those that the registry has, and ids that it does not
/// know. Beyond, those of one batch are kept.
const KEPT: [usize; 2] = [50, 1_000];

/// Most ids that one batch is asked for.
const IDS_OF_A_BATCH: usize = 10_000;

/// What is known of schemas by their ids.
pub(super) struct QuerySchemas {
    context: Context,
    registry: Option<Arc<SchemaRegistry>>,
    known: RegistrySchemas,
    asked_at: Instant,
}

impl QuerySchemas {
    /// None yet. The registry is not asked.
    ///
    /// # Errors
    /// Its settings are wrong.
    pub(super) fn new(context: &Context) -> anyhow::Result<Self> {
        let registry = open_registry(context.pipeline(), context.runtime())?;
        Ok(Self { context: context.clone(), registry, known: RegistrySchemas::new(), asked_at: Instant::now() })
    }

    /// Takes those that the plan of the pipeline's query held: `held` says of each id whether the registry knew it.
    ///
    /// # Errors
    /// The registry refuses, or has not answered for as long as a flow waits.
    pub(super) async fn recall(&mut self, held: &BTreeMap<u32, bool>) -> anyhow::Result<()> {
        for (id, was_known) in held {
            let schema = if *was_known { self.ask(*id).await? } else { None };
            self.known.insert(*id, schema);
        }
        Ok(())
    }

    /// The plan with these schemas.
    ///
    /// # Errors
    /// What of the pipeline Spark cannot do.
    pub(super) fn plan(&self) -> anyhow::Result<SparkPlan> {
        let pipeline = self.context.pipeline();
        let planned = SparkPlan::of(pipeline, &self.known).map_err(|refused| {
            refused_by_plan(&pipeline.name, &refused).hint("`turnstile check --engine spark` shows the plan")
        });
        Ok(planned?)
    }

    /// What the binding keeps of them.
    pub(super) fn held(&self) -> BTreeMap<u32, bool> {
        self.known.iter().map(|(id, schema)| (*id, schema.is_some())).collect()
    }

    /// Whether the plan has this one.
    pub(super) fn holds(&self, id: u32) -> bool {
        self.known.contains_key(&id)
    }

    /// Learns the schemas `ids` of one batch.
    ///
    /// # Errors
    /// As of [`QuerySchemas::recall`].
    pub(super) async fn learn(&mut self, ids: &BTreeSet<u32>) -> anyhow::Result<()> {
        let mut new = Vec::new();
        for id in ids {
            if !self.known.contains_key(id) {
                let schema = self.ask(*id).await?;
                let unknown = if schema.is_some() { "" } else { " (unknown to the registry)" };
                new.push(format!("{id}{unknown}"));
                self.known.insert(*id, schema);
            }
        }
        for (is_known, most) in [true, false].into_iter().zip(KEPT) {
            if self.known.values().filter(|schema| schema.is_some() == is_known).count() > most {
                self.known.retain(|id, schema| schema.is_some() != is_known || ids.contains(id));
            }
        }
        let more = new.len().saturating_sub(5);
        new.truncate(5);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        self.context
            .events()
            .note(format!("messages have the schemas {}{more}: the query is started again with them", new.join(", ")));
        Ok(())
    }

    /// Asks, every half a minute, for what the registry did not know; whether it knows some of that now.
    pub(super) async fn has_news(&mut self) -> bool {
        if self.asked_at.elapsed() < ASK_AGAIN {
            return false;
        }
        self.asked_at = Instant::now();
        let unknown: Vec<u32> = self.known.iter().filter(|(_, schema)| schema.is_none()).map(|(id, _)| *id).collect();
        let mut news = false;
        for id in unknown {
            match self.ask_once(id).await {
                Ok(None) => {}
                Ok(schema) => {
                    self.context.events().note(format!("the registry knows schema {id} now"));
                    self.known.insert(id, schema);
                    news = true;
                }
                Err(error) => {
                    tracing::debug!(%error, id, "the registry was not asked again");
                    break;
                }
            }
        }
        news
    }

    /// Asks until the registry answers.
    async fn ask(&self, id: u32) -> anyhow::Result<Option<Arc<WriterSchema>>> {
        let (began, mut waits, shutdown) = (Instant::now(), RETRIES.waits(), self.context.shutdown());
        loop {
            let error = match self.ask_once(id).await {
                Ok(schema) => return Ok(schema),
                Err(error) => error,
            };
            let can_wait = matches!(error, RegistryError::Unreachable { .. });
            let Some(wait) = waits.next_after(began.elapsed()).filter(|_| can_wait) else {
                return Err(registry_failed(error));
            };
            let seconds = wait.as_secs_f32();
            self.context.events().note(format!("{}; trying again in {seconds} s", human::error(&error)));
            tokio::select! {
                () = shutdown.cancelled() => return Err(client(turnstile_kafka::ClientError::Stopped)),
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    async fn ask_once(&self, id: u32) -> Result<Option<Arc<WriterSchema>>, RegistryError> {
        // `[source]` without a registry is refused for formats that need one.
        let Some(registry) = self.registry.clone() else { return Ok(None) };
        // Its client blocks.
        let asked = tokio::task::spawn_blocking(move || registry.schema(id)).await;
        asked.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
    }
}

/// The ids of the schemas of the messages in `range`.
///
/// # Errors
/// Those of the connection; `Spark` if messages are gone; `TooLarge`.
pub(super) async fn ids_in(session: &Session, range: &DataSource, limit: u64) -> Result<BTreeSet<u32>, SparkError> {
    session.create_view(MESSAGES_VIEW, Relation::batch(range.clone())).await?;
    let batches = session.collect(&Relation::sql(schema_ids(IDS_OF_A_BATCH)), limit).await?;
    let mut ids = BTreeSet::new();
    for batch in &batches {
        let Some(Ok(column)) = batch.columns().first().map(|column| cast(column, &DataType::Int64)) else { continue };
        ids.extend(column.as_primitive::<Int64Type>().values().iter().filter_map(|id| u32::try_from(*id).ok()));
    }
    Ok(ids)
}
