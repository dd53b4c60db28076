//! Jobs under names that say what they do, so that a repeated request finds the job that the first one began.

use std::time::{Duration, Instant};

use bytes::Bytes;
use reqwest::Method;
use serde_json::{Value, json};

use super::{Api, CallError};
use crate::bigquery::fault::{Fault, Sort};

/// A name stays taken after its job failed, so that the next try takes the next number. More failures than this of
/// one and the same delivery are for a person to look at.
const TRIES: u32 = 200;
/// How soon and how rarely a job is asked whether it is done.
const FIRST_POLL: Duration = Duration::from_millis(50);
const LAST_POLL: Duration = Duration::from_secs(2);

/// Where a load job's bytes come from.
#[derive(Debug, Clone)]
pub(in crate::bigquery) enum Feed {
    /// None are sent: a query, or a load from Cloud Storage.
    Nothing,
    /// They are uploaded with the job.
    Upload(Bytes),
}

/// A job that is done and went well.
#[derive(Debug)]
pub(in crate::bigquery) struct Job {
    /// Its id.
    pub(in crate::bigquery) id: String,
    /// It had been begun by an earlier try.
    pub(in crate::bigquery) found: bool,
}

impl Api {
    /// Runs the job called `name`, or awaits the one that an earlier try began under that name.
    ///
    /// `name` must say all that the job does: a job found under it is taken to have done the same. A job that failed
    /// before is tried again under the name's next number; one that fails now is the caller's to judge.
    pub(in crate::bigquery) async fn run(&self, name: &str, job: &Value, feed: &Feed) -> Result<Job, CallError> {
        for number in 0..TRIES {
            let id = format!("{name}_{number}");
            match self.insert(&id, job, feed).await {
                Ok(begun) => {
                    let done = self.wait(begun).await?;
                    return finish(&done, false).map_err(CallError::from);
                }
                Err(error) if error.is(Sort::Exists) => {
                    let done = self.wait(self.job(&id).await?).await?;
                    match finish(&done, true) {
                        Ok(job) => return Ok(job),
                        Err(fault) => tracing::debug!(job = %id, %fault, "an earlier try of this job failed"),
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Err(Fault {
            sort: Sort::Refused,
            reason: "invalid".into(),
            message: format!("the job failed {TRIES} times; see the job history of the project"),
            what: name.into(),
        }
        .into())
    }

    /// Runs a query whose repetition changes nothing, under a name that BigQuery gives.
    pub(in crate::bigquery) async fn query(&self, what: &str, sql: &str) -> Result<(), CallError> {
        let mut job = query(sql);
        job["jobReference"] = json!({"projectId": self.settings.project, "location": self.settings.location});
        let begun = self.call(what, Method::POST, "jobs", Some(&job)).await?;
        finish(&self.wait(begun).await?, false)?;
        Ok(())
    }

    /// What a script's statements deleted and overwrote; 0 where the service does not tell.
    pub(in crate::bigquery) async fn changed(&self, script: &str) -> u64 {
        let path = format!("jobs?parentJobId={script}&projection=full&maxResults=1000");
        let Ok(list) = self.call("the script's statements", Method::GET, &path, None).await else { return 0 };
        let count = |stats: &Value, key: &str| stats[key].as_str().and_then(|n| n.parse::<u64>().ok()).unwrap_or(0);
        let jobs = list["jobs"].as_array().map(Vec::as_slice).unwrap_or_default();
        let stats = jobs.iter().map(|job| &job["statistics"]["query"]["dmlStats"]);
        stats.map(|stats| count(stats, "deletedRowCount") + count(stats, "updatedRowCount")).sum()
    }

    async fn insert(&self, id: &str, job: &Value, feed: &Feed) -> Result<Value, CallError> {
        let mut job = job.clone();
        job["jobReference"] =
            json!({"projectId": self.settings.project, "jobId": id, "location": self.settings.location});
        match feed {
            Feed::Nothing => self.call(id, Method::POST, "jobs", Some(&job)).await,
            Feed::Upload(bytes) => self.upload(id, &job, bytes).await,
        }
    }

    async fn job(&self, id: &str) -> Result<Value, CallError> {
        self.call(id, Method::GET, &format!("jobs/{id}?location={}", self.settings.location), None).await
    }

    /// Asks after a job until it is done, for `job_secs` at the most.
    async fn wait(&self, mut job: Value) -> Result<Value, CallError> {
        let until = Instant::now() + Duration::from_secs(self.settings.job_secs);
        let mut poll = FIRST_POLL;
        while job["status"]["state"] != "DONE" {
            let id = id(&job).to_owned();
            if Instant::now() > until {
                let message = format!("the job is not done after {} s; it goes on", self.settings.job_secs);
                return Err(Fault { sort: Sort::Passing, reason: "timeout".into(), message, what: id }.into());
            }
            tokio::time::sleep(poll).await;
            poll = (poll * 2).min(LAST_POLL);
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

fn finish(job: &Value, found: bool) -> Result<Job, Fault> {
    let id = id(job);
    Fault::job(id, &job["status"]).map_or_else(|| Ok(Job { id: id.into(), found }), Err)
}
