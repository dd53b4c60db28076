//! Sends one delivery; finds out what of it arrived before when that is not known.

use serde_json::{Value, json};
use uuid::Uuid;

use super::batch::ReportPart;
use super::client::PrefectClient;
use super::error::PrefectError;
use super::payload;
use super::server_runs::ServerRuns;
use super::settings::PrefectSettings;
use crate::run::{FlowRun, RunState};
use crate::tracker::now_us;

/// Most items that the server lists at once.
const LIST_LIMIT: usize = 200;

/// How many such lists of log lines are asked for: of the time that one request's lines cover.
const MAX_PAGES: u32 = 50;

/// Sends deliveries.
#[derive(Debug)]
pub(super) struct PrefectSender {
    pub(super) client: PrefectClient,
    pub(super) settings: PrefectSettings,
    pub(super) runs: ServerRuns,
    /// The run of this process: it is created again when its beginning was dropped.
    pub(super) current: Option<FlowRun>,
    /// A person cancelled this run in Prefect: its being cancelled is known there.
    pub(super) cancelled_there: bool,
}

impl PrefectSender {
    /// Sends `delivery`. `repeated`: it may have arrived before. Safe to repeat then.
    ///
    /// # Errors
    /// See [`PrefectError`]; what is `Refused` will be refused again.
    pub(super) async fn send(&mut self, delivery: &ReportPart, repeated: bool) -> Result<(), PrefectError> {
        match delivery {
            ReportPart::Flow(run) => self.send_flow(run).await,
            ReportPart::Tasks(run, tasks) => {
                let run = self.server_run(*run).await?;
                let events = tasks.iter().flat_map(|task| payload::task_events(task, &run)).collect();
                self.client.post("/events", &Value::Array(events)).await.map(|_| ())
            }
            ReportPart::Logs(run, lines) => {
                let run = self.server_run(*run).await?;
                let mut lines: Vec<_> = lines.iter().map(|line| payload::log(line, &run)).collect();
                if repeated {
                    self.remove_known_lines(&run, &mut lines).await?;
                }
                if lines.is_empty() {
                    return Ok(());
                }
                self.client.post("/logs/", &Value::Array(lines)).await.map(|_| ())
            }
            ReportPart::Windows(run, windows) => {
                let run = self.server_run(*run).await?;
                self.send_artifact(payload::window_table(windows, &run), repeated).await
            }
            ReportPart::Links(run, windows) => {
                let run = self.server_run(*run).await?;
                match payload::file_links(windows, &run) {
                    Some(links) => self.send_artifact(links, repeated).await,
                    None => Ok(()),
                }
            }
        }
    }

    async fn server_run(&mut self, run: Uuid) -> Result<String, PrefectError> {
        if let Some(known) = self.runs.known(run) {
            return Ok(known.clone());
        }
        if let Some(current) = self.current.as_ref().filter(|current| current.id == run) {
            return self.runs.ensure(&self.client, current, &self.settings).await;
        }
        let found = self.runs.find(&self.client, run).await?;
        found.ok_or_else(|| PrefectError::Refused { status: 404, detail: format!("it has no flow run {run}") })
    }

    async fn send_flow(&mut self, run: &FlowRun) -> Result<(), PrefectError> {
        let id = self.runs.ensure(&self.client, run, &self.settings).await?;
        if run.state == RunState::Pending || (run.state == RunState::Cancelling && self.cancelled_there) {
            return Ok(());
        }
        let answer = self.set_state(&id, run, false).await?;
        let (status, there) = (answer["status"].as_str(), answer["state"]["type"].as_str());
        match status {
            Some("ACCEPT") => Ok(()),
            // The server has it already: this is a repetition.
            Some("REJECT" | "ABORT") if there == Some(run.state.prefect_type()) => Ok(()),
            // Cancelling ends as cancelled and in no other way: a person asked for it while the run was ending.
            Some("REJECT" | "ABORT") if there == Some("CANCELLING") && run.state == RunState::Completed => {
                let cancelled = FlowRun { state: RunState::Cancelled, ..run.clone() };
                self.set_state(&id, &cancelled, false).await.map(|_| ())
            }
            // What happened here has happened, whatever the server thought meanwhile.
            Some("REJECT" | "ABORT") if run.state.is_final() => self.set_state(&id, run, true).await.map(|_| ()),
            Some("REJECT" | "ABORT") => {
                tracing::debug!(state = run.state.name(), reason = %answer["details"]["reason"], "Prefect refused a state");
                Ok(())
            }
            Some("WAIT") => Err(PrefectError::Busy { status: 200, after: None }),
            _ => Err(PrefectError::Garbage("no state".into())),
        }
    }

    async fn set_state(&self, id: &str, run: &FlowRun, force: bool) -> Result<Value, PrefectError> {
        self.client.post(&format!("/flow_runs/{id}/set_state"), &payload::set_state(run, force, now_us())).await
    }

    async fn send_artifact(&self, artifact: Value, repeated: bool) -> Result<(), PrefectError> {
        if repeated {
            let filter =
                json!({"flow_run_id": {"any_": [artifact["flow_run_id"]]}, "key": {"any_": [artifact["key"]]}});
            let body = json!({"artifacts": filter, "limit": LIST_LIMIT, "sort": "UPDATED_DESC"});
            let known = self.client.post("/artifacts/filter", &body).await?;
            let same = |known: &Value| ["data", "description", "type"].iter().all(|key| known[key] == artifact[key]);
            if known.as_array().is_some_and(|known| known.iter().any(same)) {
                return Ok(());
            }
        }
        self.client.post("/artifacts/", &artifact).await.map(|_| ())
    }

    /// Removes the lines that the server has: it gives them no ids that could be ours.
    async fn remove_known_lines(&self, run: &str, lines: &mut Vec<Value>) -> Result<(), PrefectError> {
        let times: Vec<_> = lines.iter().filter_map(|line| line["timestamp"].as_str()).collect();
        let (Some(first), Some(last)) = (times.iter().min(), times.iter().max()) else { return Ok(()) };
        let between = json!({"after_": first, "before_": last});
        let mut known = Vec::new();
        for _ in 0..MAX_PAGES {
            let filter = json!({"flow_run_id": {"any_": [run]}, "timestamp": between});
            let body = json!({"logs": filter, "limit": LIST_LIMIT, "offset": known.len(), "sort": "TIMESTAMP_ASC"});
            let page = self.client.post("/logs/filter", &body).await?;
            let page = page.as_array().ok_or_else(|| PrefectError::Garbage("no list of logs".into()))?;
            known.extend(page.iter().cloned());
            if page.len() < LIST_LIMIT {
                break;
            }
        }
        lines.retain(|line| {
            // The fraction of a second may be written in another way; the second itself is not.
            let second =
                |line: &Value| line["timestamp"].as_str().map(|text| text.chars().take(19).collect::<String>());
            let same = |known: &Value| known["message"] == line["message"] && second(known) == second(line);
            match known.iter().position(same) {
                Some(at) => {
                    known.swap_remove(at);
                    false
                }
                None => true,
            }
        });
        Ok(())
    }
}
