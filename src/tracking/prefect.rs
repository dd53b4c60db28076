//! Reports a run to Prefect, and lets Prefect's schedules start loads.

use std::path::PathBuf;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use turnstile_pipeline::PrefectSection;
use turnstile_track::{PrefectClient, PrefectReporter, PrefectSettings, PrefectWorker, TrackerBuilder, WorkerSettings};
use turnstile_values::human;
use turnstile_warehouse::LoadOptions;

use super::run_store::data_folder;
use crate::flow::{self, Context, prefect_key};
use crate::report::warn;

/// How often Prefect is asked for scheduled runs.
const POLL: Duration = Duration::from_secs(15);

/// Reports the run of `builder`, if the pipeline names a server.
pub(super) fn attach(context: &Context, builder: &mut TrackerBuilder) -> Option<PrefectReporter> {
    let section = context.pipeline().track.prefect.as_ref()?;
    let reported = settings(context, section).and_then(|settings| Ok(PrefectReporter::attach(builder, settings)?));
    reported.map_err(|error| warn(&format!("Prefect learns nothing: {}", human::error(error.as_ref())))).ok()
}

/// Carries out the runs of the pipeline's deployment, if it names one, until `stop`.
pub(super) fn serve_deployment(context: &Context, stop: CancellationToken) {
    let Some(section) = &context.pipeline().track.prefect else { return };
    let Some(deployment) = &section.deployment else { return };
    let client = settings(context, section).and_then(|settings| Ok(PrefectClient::new(&settings)?));
    let client = match client {
        Ok(client) => client,
        Err(error) => return warn(&format!("Prefect's schedule starts nothing: {}", human::error(error.as_ref()))),
    };
    let this = flow::this_process();
    let settings = WorkerSettings {
        pool: section.work_pool.clone(),
        flow: format!("{}: load", context.pipeline().name),
        deployment: deployment.clone(),
        schedule: None,
        parameters: Default::default(),
        tags: section.tags.clone(),
        name: format!("turnstile {} {}", this.host, this.pid),
        poll: POLL,
    };
    let loads = context.clone();
    let work = move |_| {
        let context = loads.clone();
        async move {
            let loaded = flow::load_once(&context, &LoadOptions::default()).await;
            loaded.map(|()| "loaded".to_owned()).map_err(|error| human::error(error.as_ref()))
        }
    };
    context.runtime().spawn(PrefectWorker::new(client, settings).run(stop, work));
}

fn settings(context: &Context, section: &PrefectSection) -> anyhow::Result<PrefectSettings> {
    let spool: PathBuf = data_folder(context).join("prefect").join(&context.pipeline().name);
    Ok(PrefectSettings {
        key: prefect_key(section.key.as_ref())?,
        requests_per_minute: u32::try_from(section.requests_per_minute).unwrap_or(u32::MAX),
        tags: section.tags.clone(),
        spool_bytes: section.spool_bytes,
        ..PrefectSettings::new(&section.api, spool)
    })
}
