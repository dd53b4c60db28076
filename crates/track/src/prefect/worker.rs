//! Works for a deployment of a Prefect server: a schedule there starts a piece of work here.
//!
//! In: what the deployment is called, and an async function. Out: flow runs of the server, claimed one at a time, with
//! how they ended. Source: the requests of a worker of Prefect 3.8.8, recorded: work pool, deployment, heartbeat, poll,
//! PENDING, RUNNING, COMPLETED.

use std::future::Future;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;
use turnstile_values::human;
use uuid::Uuid;

use super::client::PrefectClient;
use super::error::PrefectError;
use super::outage::{OutageLine, PrefectOutage};
use super::payload::slug;
use super::server_runs::id_of;
use crate::run::RunState;
use crate::tracker::now_us;

/// The type of our work pools: no worker of Prefect's own takes its runs.
const POOL_TYPE: &str = "turnstile";
/// Runs that are asked for at once; other deployments of the pool may be among them.
const POLL_LIMIT: u32 = 20;
/// How long the end of a run is tried to be reported after the worker was asked to stop.
const LAST_REPORT: Duration = Duration::from_secs(5);

/// When a deployment starts runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeploymentSchedule {
    /// Every so often.
    Interval(Duration),
    /// By a cron expression, in a time zone such as `America/New_York`.
    Cron {
        /// Five fields.
        expression: String,
        /// An IANA name.
        timezone: String,
    },
}

/// What a worker works for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerSettings {
    /// The work pool; created if it is not there.
    pub pool: String,
    /// The flow of the runs, such as `MTA warehouse load`.
    pub flow: String,
    /// The deployment's name; created if it is not there.
    pub deployment: String,
    /// When it starts runs; `None`: people start them, or its schedule is left as it is there.
    pub schedule: Option<DeploymentSchedule>,
    /// Parameters of its runs.
    pub parameters: Map<String, Value>,
    /// Tags of the deployment and its runs.
    pub tags: Vec<String>,
    /// This worker's name.
    pub name: String,
    /// How often the server is asked for runs: two requests each time.
    pub poll: Duration,
}

/// A run that the server wants to be run.
#[derive(Debug, Clone)]
pub struct ScheduledWork {
    /// Its id on the server.
    pub id: String,
    /// Its name there.
    pub name: String,
    /// Its parameters.
    pub parameters: Value,
    /// Cancelled when a person cancels the run, or the worker stops.
    pub cancel: CancellationToken,
}

/// A worker. It knows one deployment.
#[derive(Debug)]
pub struct PrefectWorker {
    client: PrefectClient,
    settings: WorkerSettings,
    outage: PrefectOutage,
    deployment: Option<String>,
}

impl PrefectWorker {
    /// Sends no request yet.
    pub fn new(client: PrefectClient, settings: WorkerSettings) -> Self {
        let settings = WorkerSettings { pool: slug(&settings.pool), ..settings };
        Self { client, settings, outage: PrefectOutage::new(), deployment: None }
    }

    /// Works until `stop`: registers the pool and the deployment, asks for runs, and calls `work` for each. Its result is
    /// a line for people, an error too. While the server is away it tries again; that is logged once.
    pub async fn run<F, Fut>(mut self, stop: CancellationToken, mut work: F)
    where
        F: FnMut(ScheduledWork) -> Fut,
        Fut: Future<Output = Result<String, String>>,
    {
        while !stop.is_cancelled() {
            let result = self.round(&stop, &mut work).await;
            let wait = self.note(result).max(self.settings.poll);
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// Says what is new about the connection; how long to wait for the next try.
    fn note(&mut self, result: Result<(), PrefectError>) -> Duration {
        let now = Instant::now();
        let line = match &result {
            Ok(()) => self.outage.succeeded(now),
            Err(error) => self.outage.failed(&error.to_string(), error.asked_wait(), now),
        };
        match line {
            Some(OutageLine::Began(cause)) => tracing::warn!("{cause}; its schedule starts nothing meanwhile"),
            Some(OutageLine::Over(_)) => tracing::info!("the Prefect server answers again; its schedule starts runs"),
            None => {}
        }
        self.outage.wait(now)
    }

    async fn round<F, Fut>(&mut self, stop: &CancellationToken, work: &mut F) -> Result<(), PrefectError>
    where
        F: FnMut(ScheduledWork) -> Fut,
        Fut: Future<Output = Result<String, String>>,
    {
        let deployment = match &self.deployment {
            Some(known) => known.clone(),
            None => {
                let id = self.register().await?;
                self.deployment.insert(id).clone()
            }
        };
        self.heartbeat().await?;
        for run in self.scheduled(&deployment).await? {
            if stop.is_cancelled() {
                return Ok(());
            }
            if self.claim(&run.id).await? {
                self.carry_out(run, stop, work).await?;
            }
        }
        Ok(())
    }

    /// Creates what is not there; the deployment's id. A schedule that a person changed or paused there stays, unless
    /// the settings say another.
    async fn register(&self) -> Result<String, PrefectError> {
        let settings = &self.settings;
        match self.client.get(&format!("/work_pools/{}", settings.pool)).await {
            Ok(_) => {}
            Err(PrefectError::Refused { status: 404, .. }) => {
                let body = json!({"name": settings.pool, "type": POOL_TYPE, "base_job_template": {},
                                  "description": "Processes of turnstile that work for deployments"});
                match self.client.post("/work_pools/", &body).await {
                    // Another worker created it in between.
                    Ok(_) | Err(PrefectError::Refused { status: 409, .. }) => {}
                    Err(error) => return Err(error),
                }
            }
            Err(error) => return Err(error),
        }
        let flow = self.client.post("/flows/", &json!({"name": settings.flow, "tags": ["turnstile"]})).await?;
        let flow = id_of(&flow, "flow")?;
        let filter =
            json!({"deployments": {"name": {"any_": [settings.deployment]}}, "flows": {"id": {"any_": [flow]}}});
        let found = self.client.post("/deployments/filter", &filter).await?;
        if let Some(known) = found.as_array().and_then(|found| found.first())
            && known["work_pool_name"] == json!(settings.pool)
            && settings.schedule.as_ref().is_none_or(|schedule| has_schedule(known, schedule))
        {
            return id_of(known, "deployment");
        }
        let schedules: Vec<_> = settings.schedule.iter().map(schedule_json).collect();
        let body = json!({
            "name": settings.deployment,
            "flow_id": flow,
            "work_pool_name": settings.pool,
            "tags": settings.tags,
            "parameters": settings.parameters,
            "schedules": schedules,
            "enforce_parameter_schema": false,
        });
        id_of(&self.client.post("/deployments/", &body).await?, "deployment")
    }

    async fn heartbeat(&self) -> Result<(), PrefectError> {
        let seconds = self.settings.poll.as_secs().max(1);
        let body = json!({"name": self.settings.name, "heartbeat_interval_seconds": seconds});
        self.client.post(&format!("/work_pools/{}/workers/heartbeat", self.settings.pool), &body).await.map(|_| ())
    }

    /// Runs of the deployment that are due, the oldest first.
    async fn scheduled(&self, deployment: &str) -> Result<Vec<ScheduledWork>, PrefectError> {
        let body = json!({"scheduled_before": human::instant(now_us()), "limit": POLL_LIMIT});
        let path = format!("/work_pools/{}/get_scheduled_flow_runs", self.settings.pool);
        let found = self.client.post(&path, &body).await?;
        let found = found.as_array().ok_or_else(|| PrefectError::Garbage("no list of scheduled runs".into()))?;
        let runs = found.iter().map(|found| &found["flow_run"]);
        let ours = runs.filter(|run| run["deployment_id"].as_str() == Some(deployment));
        ours.map(|run| {
            Ok(ScheduledWork {
                id: id_of(run, "flow run")?,
                name: run["name"].as_str().unwrap_or_default().to_owned(),
                parameters: run["parameters"].clone(),
                cancel: CancellationToken::new(),
            })
        })
        .collect()
    }

    /// Takes a run for this worker; whether no other took it before.
    async fn claim(&self, run: &str) -> Result<bool, PrefectError> {
        let details = json!({"transition_id": Uuid::new_v4().to_string()});
        let pending = json!({"type": "PENDING", "name": "Submitting", "state_details": details});
        // The list of scheduled runs may be old: another worker may have carried out this one since.
        let known = self.client.get(&format!("/flow_runs/{run}")).await?;
        if known["state_type"] != json!("SCHEDULED")
            || self.set_state(run, pending, false).await? != Transition::Accepted
        {
            return Ok(false);
        }
        if let Some(ended) = self.taken_before(run).await? {
            self.set_state(run, ended, true).await?;
            return Ok(false);
        }
        let running = || json!({"type": "RUNNING", "name": "Running"});
        match self.set_state(run, running(), false).await? {
            Transition::Accepted => Ok(true),
            Transition::Refused => Ok(false),
            Transition::Wait(wait) => {
                tokio::time::sleep(wait.min(self.settings.poll)).await;
                Ok(self.set_state(run, running(), false).await? == Transition::Accepted)
            }
        }
    }

    /// The state in which another worker left a run that this one has just claimed; `None`: no other took it.
    ///
    /// A server refuses PENDING for a run that is pending or running, but not for one that is completed.
    async fn taken_before(&self, run: &str) -> Result<Option<Value>, PrefectError> {
        let states = self.client.get(&format!("/flow_run_states/?flow_run_id={run}")).await?;
        let states = states.as_array().ok_or_else(|| PrefectError::Garbage("no list of states".into()))?;
        Ok(left_by_another(states))
    }

    async fn carry_out<F, Fut>(
        &mut self,
        run: ScheduledWork,
        stop: &CancellationToken,
        work: &mut F,
    ) -> Result<(), PrefectError>
    where
        F: FnMut(ScheduledWork) -> Fut,
        Fut: Future<Output = Result<String, String>>,
    {
        let (id, cancel) = (run.id.clone(), run.cancel.clone());
        let mut done = std::pin::pin!(work(run));
        let mut by_person = false;
        let result = loop {
            tokio::select! {
                result = &mut done => break result,
                () = stop.cancelled(), if !cancel.is_cancelled() => cancel.cancel(),
                () = tokio::time::sleep(self.settings.poll), if !by_person => {
                    let checked = self.check(&id).await;
                    by_person = matches!(checked, Ok(true));
                    if by_person {
                        cancel.cancel();
                    }
                    // What it cannot be asked now is asked again.
                    self.note(checked.map(|_| ()));
                }
            }
        };
        let state = match (&result, cancel.is_cancelled()) {
            (_, true) if by_person => RunState::Cancelled,
            (Err(_), true) => RunState::Cancelled,
            (Ok(_), _) => RunState::Completed,
            (Err(_), false) => RunState::Failed,
        };
        let message = human::one_line(&result.unwrap_or_else(|error| error));
        self.report_end(&id, state, &message, stop).await
    }

    /// Says that the worker is alive; whether a person cancelled the run.
    async fn check(&self, run: &str) -> Result<bool, PrefectError> {
        self.heartbeat().await?;
        let run = self.client.get(&format!("/flow_runs/{run}")).await?;
        let state = run["state_type"].as_str().and_then(RunState::parse);
        Ok(matches!(state, Some(RunState::Cancelling | RunState::Cancelled)))
    }

    /// Reports how a run ended, for as long as it takes, or for some seconds once the worker was asked to stop.
    async fn report_end(
        &mut self,
        run: &str,
        state: RunState,
        message: &str,
        stop: &CancellationToken,
    ) -> Result<(), PrefectError> {
        let mut stopping: Option<Instant> = None;
        loop {
            let body = json!({"type": state.code(), "name": state.name(), "message": message});
            // What happened here has happened: a refusal is answered by force.
            let result = match self.set_state(run, body.clone(), false).await {
                Ok(Transition::Accepted) => Ok(()),
                Ok(_) => self.set_state(run, body, true).await.map(|_| ()),
                Err(error) => Err(error),
            };
            let passing = result.as_ref().err().is_some_and(PrefectError::is_passing);
            if !passing {
                return result;
            }
            let wait = self.note(result);
            if stop.is_cancelled() && stopping.get_or_insert_with(Instant::now).elapsed() >= LAST_REPORT {
                return Ok(());
            }
            tokio::time::sleep(if stop.is_cancelled() { wait.min(LAST_REPORT / 5) } else { wait }).await;
        }
    }

    async fn set_state(&self, run: &str, state: Value, force: bool) -> Result<Transition, PrefectError> {
        let body = json!({"state": state, "force": force});
        let answer = self.client.post(&format!("/flow_runs/{run}/set_state"), &body).await?;
        match answer["status"].as_str() {
            Some("ACCEPT") => Ok(Transition::Accepted),
            Some("REJECT" | "ABORT") => Ok(Transition::Refused),
            Some("WAIT") => {
                Ok(Transition::Wait(Duration::from_secs(answer["details"]["delay_seconds"].as_u64().unwrap_or(1))))
            }
            _ => Err(PrefectError::Garbage("no state".into())),
        }
    }
}

/// The state before the claim, of a run's states in any order, if that is another worker's. Their times are RFC 3339 in UTC, all
/// of one length up to the second: they sort as text up to there, and fractions after it do too.
fn left_by_another(states: &[Value]) -> Option<Value> {
    let mut states: Vec<&Value> = states.iter().collect();
    states.sort_by_key(|state| state["timestamp"].as_str().unwrap_or_default().trim_end_matches('Z'));
    let scheduled = states.iter().rposition(|state| state["type"] == json!("SCHEDULED"))?;
    let [.., before, _claim] = &states[scheduled + 1..] else { return None };
    Some(json!({"type": before["type"], "name": before["name"], "message": before["message"]}))
}

/// What the server made of a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Transition {
    Accepted,
    Refused,
    Wait(Duration),
}

fn schedule_json(schedule: &DeploymentSchedule) -> Value {
    let schedule = match schedule {
        DeploymentSchedule::Interval(every) => json!({"interval": every.as_secs_f64(), "timezone": "UTC"}),
        DeploymentSchedule::Cron { expression, timezone } => json!({"cron": expression, "timezone": timezone}),
    };
    json!({"schedule": schedule, "active": true})
}

/// Whether a deployment has this schedule, active or not.
fn has_schedule(deployment: &Value, schedule: &DeploymentSchedule) -> bool {
    let known = deployment["schedules"].as_array().map(Vec::as_slice).unwrap_or_default();
    known.iter().any(|known| match schedule {
        DeploymentSchedule::Interval(every) => known["schedule"]["interval"].as_f64() == Some(every.as_secs_f64()),
        DeploymentSchedule::Cron { expression, timezone } => {
            known["schedule"]["cron"] == json!(expression) && known["schedule"]["timezone"] == json!(timezone)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn states(types: &[&str]) -> Vec<Value> {
        let state = |(at, kind): (usize, &&str)| json!({"type": kind, "name": kind, "timestamp": format!("2026-11-30T08:00:{at:02}Z")});
        let mut states: Vec<Value> = types.iter().enumerate().map(state).collect();
        states.reverse();
        states
    }

    #[test]
    fn a_run_that_another_worker_carried_out_is_left_as_it_was() {
        assert_eq!(left_by_another(&states(&["SCHEDULED", "PENDING"])), None);
        let left = left_by_another(&states(&["SCHEDULED", "PENDING", "RUNNING", "COMPLETED", "PENDING"])).unwrap();
        assert_eq!(left["type"], "COMPLETED");
        // A person who retries a run schedules it again.
        assert_eq!(left_by_another(&states(&["SCHEDULED", "PENDING", "COMPLETED", "SCHEDULED", "PENDING"])), None);
    }
}
