//! Which flow run of the server is which of ours.
//!
//! The server draws its own ids. Ours is each run's idempotency key, so that a run is found again after a restart.

use std::collections::{HashMap, VecDeque};

use serde_json::{Value, json};
use uuid::Uuid;

use super::client::PrefectClient;
use super::error::PrefectError;
use super::payload;
use super::settings::PrefectSettings;
use crate::run::FlowRun;

/// Runs that are remembered; the oldest is looked up again when it is needed.
const LIMIT: usize = 64;

/// The runs that are known.
#[derive(Debug, Default)]
pub(super) struct ServerRuns {
    runs: HashMap<Uuid, String>,
    order: VecDeque<Uuid>,
    flows: HashMap<String, String>,
}

impl ServerRuns {
    /// The server's id of `run`, if it is known already.
    pub(super) fn known(&self, run: Uuid) -> Option<&String> {
        self.runs.get(&run)
    }

    /// The server's id of a run, looked up by its key; `None`: the server does not have it.
    pub(super) async fn find(&mut self, client: &PrefectClient, run: Uuid) -> Result<Option<String>, PrefectError> {
        if let Some(known) = self.runs.get(&run) {
            return Ok(Some(known.clone()));
        }
        let body = json!({"flow_runs": {"idempotency_key": {"any_": [run.to_string()]}}, "limit": 1});
        let found = client.post("/flow_runs/filter", &body).await?;
        let found = found.as_array().ok_or_else(|| PrefectError::Garbage("no list of flow runs".into()))?;
        let Some(found) = found.first() else { return Ok(None) };
        let id = id_of(found, "flow run")?;
        self.remember(run, &id);
        Ok(Some(id))
    }

    /// The server's id of a run, which is created if it is not there. Safe to repeat.
    pub(super) async fn ensure(
        &mut self,
        client: &PrefectClient,
        run: &FlowRun,
        settings: &PrefectSettings,
    ) -> Result<String, PrefectError> {
        if let Some(known) = self.runs.get(&run.id) {
            return Ok(known.clone());
        }
        let flow = match self.flows.get(&run.flow) {
            Some(flow) => flow.clone(),
            None => {
                let created = client.post("/flows/", &json!({"name": run.flow, "tags": ["turnstile"]})).await?;
                let id = id_of(&created, "flow")?;
                self.flows.insert(run.flow.clone(), id.clone());
                id
            }
        };
        let created = client.post("/flow_runs/", &payload::flow_run(run, &flow, settings)).await;
        if let Err(PrefectError::Garbage(_)) = &created {
            // The flow may have been deleted since.
            self.flows.remove(&run.flow);
        }
        let created = created?;
        let id = id_of(&created, "flow run")?;
        self.remember(run.id, &id);
        Ok(id)
    }

    fn remember(&mut self, run: Uuid, id: &str) {
        if self.runs.insert(run, id.to_owned()).is_none() {
            self.order.push_back(run);
        }
        while self.order.len() > LIMIT {
            if let Some(oldest) = self.order.pop_front() {
                self.runs.remove(&oldest);
            }
        }
    }
}

/// The id in a response, which goes into addresses: it must be one.
pub(super) fn id_of(value: &Value, what: &str) -> Result<String, PrefectError> {
    let id = value["id"].as_str().and_then(|text| Uuid::parse_str(text).ok());
    id.map(|id| id.to_string()).ok_or_else(|| PrefectError::Garbage(format!("a {what} without an id")))
}
