//! Holds a batch back until the schemas of its messages have been fetched from the registry.
//!
//! In: batches, as they are read. Out: the same ones, once the worker knows their schemas. A registry that does not
//! answer is retried for ten minutes; meanwhile the batch waits, so nothing is lost.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use turnstile_engine::Worker;
use turnstile_message::{MessageBatch, WriterSchema};
use turnstile_pipeline::Pipeline;
use turnstile_registry::{RegistryError, SchemaRegistry, SchemaRegistrySettings};
use turnstile_values::{RetryPolicy, RetryWaits, human};

use super::committer;
use super::fault::{client, registry_failed};
use super::secret::read_secret;

/// How long a schema registry may be silent before the run gives up.
pub(super) const RETRIES: RetryPolicy = committer::RETRIES.give_up_after(Duration::from_secs(600));
/// A client of the pipeline's registry, for the formats that need one.
pub(crate) fn open_registry(pipeline: &Pipeline, runtime: &Handle) -> anyhow::Result<Option<Arc<SchemaRegistry>>> {
    let Some(settings) = &pipeline.source.registry else { return Ok(None) };
    let user = match (&settings.user, &settings.password) {
        (Some(user), Some(source)) => {
            let what = format!("a password for the schema registry {}", settings.url);
            Some((user.clone(), read_secret(source, &what)?))
        }
        _ => None,
    };
    let registry = SchemaRegistry::new(SchemaRegistrySettings { url: settings.url.clone(), user }, runtime.clone());
    let registry = registry.map_err(registry_failed)?;
    Ok(Some(Arc::new(registry)))
}

/// Most schemas that are fetched before the worker handles its commands again.
const ASKS: usize = 8;

/// The batch that waits for its schemas, when one does.
#[derive(Debug)]
pub(super) struct SchemaFetcher {
    registry: Arc<SchemaRegistry>,
    held: Option<HeldBatch>,
}

/// A batch, and the schema ids that are not known yet.
#[derive(Debug)]
struct HeldBatch {
    batch: MessageBatch,
    ids: Vec<u32>,
    /// Since when the registry does not answer.
    silent_since: Option<Instant>,
    waits: RetryWaits,
    again_at: Instant,
}

impl SchemaFetcher {
    pub(super) fn new(registry: Arc<SchemaRegistry>) -> Self {
        Self { registry, held: None }
    }

    /// Whether a batch waits.
    pub(super) fn is_holding(&self) -> bool {
        self.held.is_some()
    }

    /// Takes a batch in. Not while another one waits.
    pub(super) fn hold(&mut self, batch: MessageBatch, worker: &mut Worker) {
        let ids = worker.missing_schemas(&batch);
        self.held =
            Some(HeldBatch { batch, ids, silent_since: None, waits: RETRIES.waits(), again_at: Instant::now() });
    }

    /// The batch that was held, once `worker` knows its schemas. `None`: it keeps waiting; `note` gets the reason.
    ///
    /// # Errors
    /// When the registry refuses, or has not answered for as long as a flow waits.
    pub(super) fn release(
        &mut self,
        worker: &mut Worker,
        note: impl FnMut(String),
    ) -> anyhow::Result<Option<MessageBatch>> {
        let Some(held) = &mut self.held else { return Ok(None) };
        let registry = &self.registry;
        let learn = |id, schema: Option<Arc<WriterSchema>>| worker.register_schema(id, schema.as_deref());
        match held.fetch(Instant::now(), |id| registry.schema(id), learn, note) {
            Ok(true) => Ok(self.held.take().map(|held| held.batch)),
            Ok(false) => Ok(None),
            Err(error) => Err(registry_failed(error)),
        }
    }

    /// Waits until `worker` knows the schemas of `batch`, or `shutdown` is cancelled.
    pub(super) async fn resolve(
        &mut self,
        batch: MessageBatch,
        worker: &mut Worker,
        shutdown: &CancellationToken,
    ) -> anyhow::Result<MessageBatch> {
        self.hold(batch, worker);
        loop {
            // The registry's client blocks.
            let released = tokio::task::block_in_place(|| self.release(worker, |note| tracing::warn!("{note}")))?;
            if let Some(batch) = released {
                return Ok(batch);
            }
            tokio::select! {
                () = shutdown.cancelled() => return Err(client(turnstile_kafka::ClientError::Stopped)),
                () = tokio::time::sleep(RETRIES.first_wait) => {}
            }
        }
    }
}

impl HeldBatch {
    /// Asks for what is missing; whether nothing is any more.
    fn fetch(
        &mut self,
        now: Instant,
        mut ask: impl FnMut(u32) -> Result<Option<Arc<WriterSchema>>, RegistryError>,
        mut learn: impl FnMut(u32, Option<Arc<WriterSchema>>),
        mut note: impl FnMut(String),
    ) -> Result<bool, RegistryError> {
        if now < self.again_at {
            return Ok(false);
        }
        for _ in 0..ASKS {
            let Some(id) = self.ids.last().copied() else { break };
            match ask(id) {
                Ok(schema) => {
                    learn(id, schema);
                    self.ids.pop();
                    self.waits.reset();
                    if self.silent_since.take().is_some() {
                        note("the schema registry answers again".to_owned());
                    }
                }
                Err(error @ RegistryError::Unreachable { .. }) => {
                    let silent = now.duration_since(*self.silent_since.get_or_insert(now));
                    let Some(wait) = self.waits.next_after(silent) else { return Err(error) };
                    note(format!("{}; trying again in {} s", human::error(&error), wait.as_secs_f32()));
                    self.again_at = now + wait;
                    return Ok(false);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(self.ids.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use turnstile_message::BatchBuilder;

    fn held(ids: &[u32], now: Instant) -> HeldBatch {
        let batch = BatchBuilder::default().finish();
        HeldBatch { batch, ids: ids.to_vec(), silent_since: None, waits: RETRIES.waits(), again_at: now }
    }

    fn unreachable() -> RegistryError {
        RegistryError::Unreachable {
            url: "http://r".to_owned(),
            reason: turnstile_registry::UnreachableReason::Answer("gone".to_owned()),
        }
    }

    #[test]
    fn a_registry_that_comes_back_is_asked_only_for_what_is_still_missing() {
        let now = Instant::now();
        let mut held = held(&[3, 2, 1], now);
        let (mut asked, mut learned, mut notes) = (Vec::new(), Vec::new(), Vec::new());
        let mut look = |held: &mut HeldBatch, now, up: &[u32]| {
            let ask = |id| {
                asked.push(id);
                if up.contains(&id) { Ok(None) } else { Err(unreachable()) }
            };
            held.fetch(now, ask, |id, _| learned.push(id), |note| notes.push(note)).unwrap()
        };
        assert!(!look(&mut held, now, &[1]));
        assert!(!look(&mut held, now + RETRIES.first_wait / 2, &[1, 2, 3]), "it is not asked before its time");
        assert!(look(&mut held, now + RETRIES.first_wait, &[2, 3]));
        assert_eq!((asked, learned), (vec![1, 2, 2, 3], vec![1, 2, 3]));
        assert_eq!(
            notes,
            [
                "the schema registry http://r is not available: gone; trying again in 0.2 s",
                "the schema registry answers again"
            ]
        );
    }

    #[test]
    fn a_worker_with_many_schemas_to_ask_for_looks_at_its_commands_in_between() {
        let now = Instant::now();
        let mut held = held(&[1; 20], now);
        let mut looks = || held.fetch(now, |_| Ok(None), |_, _| (), |_| panic!("no note")).unwrap();
        assert_eq!([looks(), looks(), looks()], [false, false, true]);
    }

    #[test]
    fn a_registry_that_stays_away_is_waited_for_as_long_as_a_lake() {
        let began = Instant::now();
        let mut held = held(&[1], began);
        let (mut now, mut notes) = (began, 0);
        let error = loop {
            match held.fetch(now, |_| Err(unreachable()), |_, _| (), |_| notes += 1) {
                Ok(done) => assert!(!done),
                Err(error) => break error,
            }
            now = held.again_at;
        };
        assert!(matches!(error, RegistryError::Unreachable { .. }));
        let (waited, limit) = (now - began, RETRIES.give_up_after.unwrap_or_default());
        assert!(waited >= limit && waited <= limit + RETRIES.longest_wait, "{waited:?}");
        assert!((60..80).contains(&notes), "{notes} notes in ten minutes");
    }

    #[test]
    fn a_registry_that_refuses_is_not_asked_again() {
        let now = Instant::now();
        let denied = || RegistryError::Denied { url: "http://r".to_owned(), reason: "it answered 401".to_owned() };
        let result = held(&[1], now).fetch(now, |_| Err(denied()), |_, _| (), |_| panic!("no note"));
        assert!(matches!(result, Err(RegistryError::Denied { .. })));
    }
}
