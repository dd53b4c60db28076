//! Reads back what a Prefect server has.

use std::time::Duration;

use serde_json::{Value, json};
use turnstile_track::{PrefectClient, PrefectError};
use turnstile_values::Secret;
use uuid::Uuid;

use crate::story::wait_for;

pub(crate) struct ServerView {
    pub(crate) client: PrefectClient,
    runtime: tokio::runtime::Runtime,
}

impl ServerView {
    pub(crate) fn of(api: &str) -> Self {
        Self::with_key(api, None)
    }

    pub(crate) fn with_key(api: &str, key: Option<&str>) -> Self {
        let client = PrefectClient::connect(api, key.map(Secret::new), Duration::from_secs(60)).unwrap();
        Self { client, runtime: tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap() }
    }

    pub(crate) fn try_post(&self, path: &str, body: &Value) -> Result<Value, PrefectError> {
        self.runtime.block_on(self.client.post(path, body))
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Value {
        self.answer(path, || self.try_post(path, body))
    }

    pub(crate) fn patch(&self, path: &str, body: &Value) -> Value {
        self.answer(path, || self.runtime.block_on(self.client.patch(path, body)))
    }

    pub(crate) fn get(&self, path: &str) -> Value {
        self.answer(path, || self.runtime.block_on(self.client.get(path)))
    }

    /// What the server answers: its SQLite may be locked for a moment.
    fn answer(&self, path: &str, mut ask: impl FnMut() -> Result<Value, PrefectError>) -> Value {
        wait_for(path, || match ask() {
            Ok(value) => Some(value),
            Err(PrefectError::Busy { .. } | PrefectError::Away { .. }) => None,
            Err(error) => panic!("{path}: {error}"),
        })
    }

    pub(crate) fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// The flow runs with this key: one, or none.
    pub(crate) fn flow_runs(&self, run: Uuid) -> Vec<Value> {
        let filter = json!({"flow_runs": {"idempotency_key": {"any_": [run.to_string()]}}});
        self.post("/flow_runs/filter", &filter).as_array().unwrap().clone()
    }

    pub(crate) fn flow_run(&self, run: Uuid) -> Value {
        let mut found = self.flow_runs(run);
        assert_eq!(found.len(), 1);
        found.remove(0)
    }

    /// The flow run once it is in this state.
    pub(crate) fn flow_run_in(&self, run: Uuid, state: &str) -> Value {
        wait_for(state, || self.flow_runs(run).into_iter().find(|found| found["state_type"] == state))
    }

    /// The task runs once there are so many and all have ended, by start.
    pub(crate) fn task_runs(&self, flow_run: &Value, count: usize) -> Vec<Value> {
        let filter = json!({"flow_runs": {"id": {"any_": [flow_run["id"]]}}, "sort": "EXPECTED_START_TIME_ASC"});
        wait_for("task runs", || {
            let found = self.post("/task_runs/filter", &filter).as_array().unwrap().clone();
            let ended = found.iter().filter(|task| !task["end_time"].is_null()).count();
            (ended >= count).then_some(found)
        })
    }

    /// The texts of the flow run's log, in the order of their times.
    pub(crate) fn logs(&self, flow_run: &Value) -> Vec<String> {
        let mut texts: Vec<String> = Vec::new();
        loop {
            let filter = json!({"logs": {"flow_run_id": {"any_": [flow_run["id"]]}},
                                "sort": "TIMESTAMP_ASC", "offset": texts.len(), "limit": 200});
            let page = self.post("/logs/filter", &filter);
            let page = page.as_array().unwrap();
            texts.extend(page.iter().map(|line| line["message"].as_str().unwrap().to_owned()));
            if page.len() < 200 {
                return texts;
            }
        }
    }

    pub(crate) fn artifacts(&self, flow_run: &Value) -> Vec<Value> {
        let filter = json!({"artifacts": {"flow_run_id": {"any_": [flow_run["id"]]}}, "sort": "ID_DESC"});
        self.post("/artifacts/filter", &filter).as_array().unwrap().clone()
    }

    pub(crate) fn set_state(&self, flow_run: &Value, state: &str) -> Value {
        let id = flow_run["id"].as_str().unwrap();
        self.post(&format!("/flow_runs/{id}/set_state"), &json!({"state": {"type": state}}))
    }
}
