//! Jobs with deterministic names, so that a repeated request finds the job that the first one started.

use std::time::{Duration, Instant};

use bytes::Bytes;
use reqwest::Method;
use serde_json::{Value, json};
use turnstile_values::RetryPolicy;

use super::{Api, CallError};
use crate::bigquery::error::{ApiError, ErrorClass};

/// The name of a failed job stays taken, so the next attempt takes the next number. If one delivery fails more often
/// than this, a person has to look at it.
const MAX_ATTEMPTS: u32 = 200;
/// The first and the longest interval at which a job's state is polled.
const FIRST_POLL: Duration = Duration::from_millis(50);
const LAST_POLL: Duration = Duration::from_secs(2);

/// The bytes that are uploaded with a job.
#[derive(Debug, Clone)]
pub(in crate::bigquery) enum JobMedia {
    /// None: a query, or a load from Cloud Storage.
    None,
    /// A file to load.
    Upload(Bytes),
}

/// A job that succeeded.
#[derive(Debug)]
pub(in crate::bigquery) struct Job {
    /// Its id.
    pub(in crate::bigquery) id: String,
    /// An earlier attempt had started it.
    pub(in crate::bigquery) found: bool,
}

impl Api {
    /// Runs the job called `name`, or awaits the one that an earlier attempt started under that name.
    ///
    /// `name` must determine everything that the job does: a job found under it counts as the same. A job that failed
    /// earlier is retried under the next number; a failure now is returned to the caller.
    pub(in crate::bigquery) async fn run(&self, name: &str, job: &Value, media: &JobMedia) -> Result<Job, CallError> {
        for number in 0..MAX_ATTEMPTS {
            let id = format!("{name}_{number}");
            match self.insert(&id, job, media).await {
                Ok(started) => {
                    let done = self.wait(started).await?;
                    return finish(&done, false).map_err(CallError::from);
                }
                Err(error) if error.is(ErrorClass::Exists) => {
                    let done = self.wait(self.job(&id).await?).await?;
                    match finish(&done, true) {
                        Ok(job) => return Ok(job),
                        Err(error) => tracing::debug!(job = %id, %error, "an earlier attempt of this job failed"),
                    }
                }
                Err(error) => return Err(error),
            }
        }
        let message = format!("the job failed {MAX_ATTEMPTS} times; see the job history of the project");
        Err(ApiError::new(ErrorClass::Refused, "invalid", message, name).into())
    }

    /// Runs an idempotent query, under a name that BigQuery assigns.
    pub(in crate::bigquery) async fn query(&self, what: &str, sql: &str) -> Result<(), CallError> {
        let mut job = query(sql);
        job["jobReference"] = json!({"projectId": self.settings.project, "location": self.settings.location});
        let started = self.call(what, Method::POST, "jobs", Some(&job)).await?;
        finish(&self.wait(started).await?, false)?;
        Ok(())
    }

    /// Rows that a script's statements deleted and overwrote; 0 where the service does not report it.
    pub(in crate::bigquery) async fn replaced_rows(&self, script: &str) -> u64 {
        let path = format!("jobs?parentJobId={script}&projection=full&maxResults=1000");
        let Ok(list) = self.call("the script's statements", Method::GET, &path, None).await else { return 0 };
        let count = |stats: &Value, key: &str| stats[key].as_str().and_then(|n| n.parse::<u64>().ok()).unwrap_or(0);
        let jobs = list["jobs"].as_array().map(Vec::as_slice).unwrap_or_default();
        let stats = jobs.iter().map(|job| &job["statistics"]["query"]["dmlStats"]);
        stats.map(|stats| count(stats, "deletedRowCount") + count(stats, "updatedRowCount")).sum()
    }

    async fn insert(&self, id: &str, job: &Value, media: &JobMedia) -> Result<Value, CallError> {
        let mut job = job.clone();
        job["jobReference"] =
            json!({"projectId": self.settings.project, "jobId": id, "location": self.settings.location});
        match media {
            JobMedia::None => self.call(id, Method::POST, "jobs", Some(&job)).await,
            JobMedia::Upload(bytes) => self.upload(id, &job, bytes).await,
        }
    }

    async fn job(&self, id: &str) -> Result<Value, CallError> {
        self.call(id, Method::GET, &format!("jobs/{id}?location={}", self.settings.location), None).await
    }

    /// Polls a job until it is done, for at most `job_secs`.
    async fn wait(&self, mut job: Value) -> Result<Value, CallError> {
        let until = Instant::now() + Duration::from_secs(self.settings.job_secs);
        let mut polls = RetryPolicy::new(FIRST_POLL, LAST_POLL).waits();
        while job["status"]["state"] != "DONE" {
            let id = id(&job).to_owned();
            if Instant::now() > until {
                let message = format!("the job has not finished after {} s and keeps running", self.settings.job_secs);
                return Err(ApiError::new(ErrorClass::Transient, "timeout", message, id).into());
            }
            tokio::time::sleep(polls.next().unwrap_or(LAST_POLL)).await;
            job = self.job(&id).await?;
        }
        Ok(job)
    }
}

/// The resource of a query job, without its name.
pub(in crate::bigquery) fn query(sql: &str) -> Value {
    json!({"configuration": {"query": {"query": sql, "useLegacySql": false}}})
}

fn id(job: &Value) -> &str {
    job["jobReference"]["jobId"].as_str().unwrap_or_default()
}

fn finish(job: &Value, found: bool) -> Result<Job, ApiError> {
    let id = id(job);
    ApiError::from_job(id, &job["status"]).map_or_else(|| Ok(Job { id: id.into(), found }), Err)
}
