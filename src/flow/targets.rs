//! The databases beside the embedded warehouse that a pipeline's tables go to.

use tokio::sync::Mutex;
use turnstile_delivery::bigquery::{BigQueryCredentials, BigQuerySettings, BigQueryTarget};
use turnstile_delivery::postgres::{PostgresOptions, PostgresSettings, PostgresTarget, URL_VARIABLE};
use turnstile_delivery::{Target, TargetError, TargetSettingsError};
use turnstile_pipeline::{BigQueryTargetSettings, CredentialsSource, Pipeline, PostgresTargetSettings, SettingPlaces};
use turnstile_values::duration;

use crate::exit::Exit;
use crate::report::Failure;

/// The targets that a pipeline names, open. A target serves one caller at a time.
pub(crate) struct Targets {
    postgres: Option<Mutex<PostgresTarget>>,
    pub(super) bigquery: Option<Mutex<BigQueryTarget>>,
}

impl Targets {
    /// Opens the targets of `pipeline`. Nothing is asked of them yet.
    pub(crate) fn open(pipeline: &Pipeline) -> anyhow::Result<Self> {
        let settings = pipeline.warehouse.as_ref();
        let postgres = settings.and_then(|settings| settings.postgres.as_ref()).map(open_postgres).transpose()?;
        let bigquery = settings.and_then(|settings| settings.bigquery.as_ref()).map(open_bigquery).transpose()?;
        Ok(Self { postgres: postgres.map(Mutex::new), bigquery: bigquery.map(Mutex::new) })
    }

    /// All of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Mutex<dyn Target>> {
        let postgres = self.postgres.as_ref().map(|target| target as &Mutex<dyn Target>);
        postgres.into_iter().chain(self.bigquery.as_ref().map(|target| target as &Mutex<dyn Target>))
    }
}

fn open_postgres(given: &PostgresTargetSettings) -> anyhow::Result<PostgresTarget> {
    let misplaced = |error| setting_failed(error, &given.places);
    let us = |us: Option<i64>| us.map(duration::from_us);
    let options = PostgresOptions {
        url: given.url.clone(),
        host: given.host.clone(),
        port: given.port,
        database: given.database.clone(),
        user: given.user.clone(),
        password_file: given.password_file.as_ref().map(Into::into),
        schema: given.schema.clone(),
        sslmode: given.sslmode.map(str::parse).transpose().map_err(misplaced)?,
        root_certificate: given.root_certificate.as_ref().map(Into::into),
        connect_timeout: us(given.connect_timeout_us),
        statement_timeout: us(given.statement_timeout_us),
        lock_timeout: us(given.lock_timeout_us),
        application_name: given.application_name.clone(),
        adopt: given.adopt.clone(),
    };
    let settings = PostgresSettings::new(options, |name| std::env::var(name).ok());
    Ok(PostgresTarget::new(settings.map_err(misplaced)?))
}

fn open_bigquery(given: &BigQueryTargetSettings) -> anyhow::Result<BigQueryTarget> {
    BigQueryTarget::new(bigquery_settings(given)).map_err(|error| setting_failed(error, &given.places))
}

fn bigquery_settings(given: &BigQueryTargetSettings) -> BigQuerySettings {
    let defaults = BigQuerySettings::new(&given.project, &given.dataset);
    let bytes = |given: Option<u64>, default| given.map_or(default, |n| usize::try_from(n).unwrap_or(usize::MAX));
    BigQuerySettings {
        location: given.location.clone().unwrap_or(defaults.location),
        endpoint: given.endpoint.clone().unwrap_or(defaults.endpoint),
        credentials: match &given.credentials {
            CredentialsSource::Default => BigQueryCredentials::Default,
            CredentialsSource::None => BigQueryCredentials::None,
            CredentialsSource::File(path) => BigQueryCredentials::File(path.into()),
            CredentialsSource::Json(text) => BigQueryCredentials::Json(text.clone()),
            CredentialsSource::PrefectBlock(block) => BigQueryCredentials::PrefectBlock(block.clone()),
        },
        stage: given.stage.clone(),
        storage_root: given.storage_root.as_ref().map(Into::into),
        adopt: given.adopt.clone(),
        part_bytes: bytes(given.part_bytes, defaults.part_bytes),
        multipart_bytes: bytes(given.multipart_bytes, defaults.multipart_bytes),
        upload_bytes: bytes(given.upload_bytes, defaults.upload_bytes),
        stage_hours: given.stage_hours.map_or(defaults.stage_hours, |n| u32::try_from(n).unwrap_or(u32::MAX)),
        request_secs: given.request_secs.unwrap_or(defaults.request_secs),
        retry_secs: given.retry_secs.unwrap_or(defaults.retry_secs),
        retry_wait_ms: given.retry_wait_ms.unwrap_or(defaults.retry_wait_ms),
        job_secs: given.job_secs.unwrap_or(defaults.job_secs),
        ..defaults
    }
}

/// A setting that only the target could judge, with the place of its key; one from the environment has none.
fn setting_failed(error: TargetSettingsError, places: &SettingPlaces) -> anyhow::Error {
    let (fact, hint) = match error.key {
        URL_VARIABLE => (error.to_string(), error.hint),
        key => {
            let problem = places.problem(key, &error.reason);
            (problem.to_string(), error.hint)
        }
    };
    let failure = Failure::new(Exit::Config, fact).hint(hint);
    match error.source {
        Some(source) => failure.cause(anyhow::Error::from_boxed(source)).into(),
        None => failure.into(),
    }
}

/// A target did not take a delivery.
pub(crate) fn target_failed(error: TargetError) -> anyhow::Error {
    let (exit, hint) = match &error {
        TargetError::Unreachable { .. } => {
            (Exit::Failed, "the next load retries; the stream and the other tables continue".to_owned())
        }
        TargetError::Refused { hint, .. } => (Exit::Config, hint.clone()),
        TargetError::Moved { .. } => (Exit::Fenced, "load again".to_owned()),
        TargetError::Rows { .. } => (Exit::Lake, "nothing was changed there; load again".to_owned()),
    };
    Failure::of(exit, error).hint(hint).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pipeline(sections: &str) -> Pipeline {
        let text = include_str!("../../pipelines/mta-turnstile.toml");
        let (before, _) = text.split_once("[warehouse]").unwrap_or((text, ""));
        let warehouse = "[warehouse]\ntable = \"t\"\nschedule = \"hourly\"\n";
        Pipeline::from_str(&format!("{before}{warehouse}{sections}"), "p.toml").unwrap()
    }

    fn refusal(sections: &str) -> String {
        match Targets::open(&pipeline(sections)) {
            Ok(_) => panic!("{sections} was accepted"),
            Err(error) => format!("{error:?}"),
        }
    }

    #[test]
    fn a_setting_that_only_the_target_can_judge_has_its_place() {
        let url = refusal("[warehouse.postgres]\nurl = \"postgres://loader:hush@127.0.0.1/mta\"\n");
        assert!(url.contains(":7: [warehouse.postgres] url: it holds a password") && !url.contains("hush"), "{url}");
        let missing = refusal("[warehouse.postgres]\nurl = \"postgres://127.0.0.1/mta\"\n");
        assert!(missing.contains(":1: [warehouse.postgres] user: missing"), "{missing}");
        let file =
            "[warehouse.bigquery]\nproject = \"p\"\ndataset = \"d\"\ncredentials = { file = \"no/such.json\" }\n";
        let file = refusal(file);
        assert!(file.contains(":15: [warehouse.bigquery] credentials: the credentials in no/such.json"), "{file}");
    }

    #[test]
    fn digits_may_be_a_name_and_what_is_not_given_has_a_default() {
        let section = "[warehouse.bigquery]\nproject = 123456\ndataset = \"2026\"\njob_secs = 5\n";
        let warehouse = pipeline(section).warehouse.unwrap();
        let settings = bigquery_settings(&warehouse.bigquery.unwrap());
        assert_eq!((&*settings.project, &*settings.dataset, settings.job_secs), ("123456", "2026", 5));
        assert_eq!((&*settings.location, settings.retry_secs), ("US", 30));
    }
}
