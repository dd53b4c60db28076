//! The reports of a run that are made of its events: alerts, lineage, traces and metrics.
//!
//! In: tracked events, on the tracker's own thread. Out: alerts to the log, the console and a webhook; OpenLineage events;
//! OpenTelemetry's traces and metrics.
//! A setting that cannot be used is a warning: no report ends a run, or holds it up.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::mpsc;
use turnstile_pipeline::{AlertSettings, LineageDestination, LineageSettings, OtlpSection, Pipeline};
use turnstile_track::{
    AlertChange, AlertCondition, AlertDelivery, AlertEvaluator, AlertRule, LineageDataset, LineageEnd, LineageJob,
    LineageRun, LineageSink, Metrics, OtlpExporter, OtlpResource, OtlpSettings, TrackEvent,
};
use turnstile_values::{Secret, duration, human};
use uuid::Uuid;

use super::run_store::PreviousFailure;
use crate::flow::{self, Context, read_secret};
use crate::report::warn;

/// Changes of alerts that wait for the console at most.
const ALERTS: usize = 256;

/// How often a run that goes on is reported to lineage.
const LINEAGE_EVERY: Duration = Duration::from_secs(60);

/// How long the end of a run waits for reports to be delivered.
const CLOSE: Duration = Duration::from_secs(3);

/// What reports of a run.
pub(super) struct Reporters {
    rules: AlertEvaluator,
    alerts: AlertDelivery,
    lineage: Option<(LineageRun, LineageSink)>,
    telemetry: Option<Telemetry>,
}

/// OpenTelemetry, and when metrics were sent last.
struct Telemetry {
    exporter: OtlpExporter,
    metrics: Arc<Metrics>,
    every_us: i64,
    sent_at_us: i64,
}

impl Reporters {
    /// The reports that the pipeline asks for, of flow run `run`; and the changes of alerts.
    /// `previous`: how the run before it failed.
    pub(super) fn start(
        context: &Context,
        run: Uuid,
        metrics: &Arc<Metrics>,
        previous: Option<PreviousFailure>,
    ) -> (Self, mpsc::Receiver<AlertChange>) {
        let pipeline = context.pipeline();
        let mut rules = AlertEvaluator::new(&pipeline.name, rules(&pipeline.alerts));
        let alerts = alerts(context);
        let changes = alerts.subscribe(ALERTS);
        if let Some(PreviousFailure { at_us, error, reported }) = previous {
            let changes = rules.previous_run_failed(flow::now_us(), at_us, &error, reported);
            changes.iter().for_each(|change| alerts.deliver(change));
        }
        let mut lineage = pipeline.track.lineage.as_ref().and_then(|settings| lineage(context, settings, run));
        if let Some((run, sink)) = &mut lineage {
            sink.send(&run.start(flow::now_us()));
        }
        let telemetry = pipeline.track.otlp.as_ref().and_then(|settings| telemetry(context, settings, run, metrics));
        (Self { rules, alerts, lineage, telemetry }, changes)
    }

    /// Takes an event into account.
    pub(super) fn observe(&mut self, at_us: i64, event: &TrackEvent) {
        let mut changes = self.rules.observe(at_us, event);
        // A status comes about once a second, and with it the time.
        if matches!(event, TrackEvent::Status(_)) {
            changes.extend(self.rules.tick(at_us));
        }
        changes.iter().for_each(|change| self.alerts.deliver(change));
        if let Some((run, sink)) = &mut self.lineage {
            run.observe(at_us, event).iter().for_each(|event| sink.send(event));
        }
        if let Some(telemetry) = &mut self.telemetry {
            telemetry.observe(at_us, event);
        }
    }

    /// The run has ended; delivers what waits, for a few seconds.
    pub(super) fn end(mut self, context: &Context, end: LineageEnd) {
        let now_us = flow::now_us();
        let error = match &end {
            LineageEnd::Failed(error) => Some(error.as_str()),
            LineageEnd::Complete | LineageEnd::Aborted => None,
        };
        // The run's own error is printed, once.
        self.rules.run_ended(now_us, error).iter().for_each(|change| self.alerts.deliver_without_log(change));
        context.block_on(async {
            self.alerts.close(CLOSE).await;
            if let Some((mut run, sink)) = self.lineage {
                sink.send(&run.end(now_us, end));
                sink.close(CLOSE).await;
            }
            if let Some(telemetry) = self.telemetry {
                telemetry.exporter.send_metrics(now_us, &telemetry.metrics);
                telemetry.exporter.close(CLOSE).await;
            }
        });
    }
}

impl Telemetry {
    fn observe(&mut self, at_us: i64, event: &TrackEvent) {
        self.exporter.observe(at_us, event);
        if at_us - self.sent_at_us >= self.every_us {
            self.sent_at_us = at_us;
            self.exporter.send_metrics(at_us, &self.metrics);
        }
    }
}

fn telemetry(context: &Context, settings: &OtlpSection, run: Uuid, metrics: &Arc<Metrics>) -> Option<Telemetry> {
    let exporter = || {
        let headers = match &settings.header {
            None => Vec::new(),
            Some(source) => {
                let header = read_secret(source, "a header for the OpenTelemetry receiver")?;
                let split = header
                    .expose()
                    .split_once(':')
                    .map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()));
                let (name, value) = split.context("the header is not written as `name: value`")?;
                vec![(name, Secret::new(value))]
            }
        };
        let settings = OtlpSettings { endpoint: Secret::new(settings.endpoint.clone()), headers };
        let (pipeline, host) = (context.pipeline().name.clone(), flow::this_process().host);
        let resource = OtlpResource { pipeline, version: env!("CARGO_PKG_VERSION").to_owned(), run, host: Some(host) };
        anyhow::Ok(OtlpExporter::start(&settings, resource, context.runtime())?)
    };
    let exporter = exporter()
        .map_err(|error| warn(&format!("no traces or metrics are sent: {}", human::error(error.as_ref()))))
        .ok()?;
    Some(Telemetry { exporter, metrics: Arc::clone(metrics), every_us: settings.interval_us, sent_at_us: 0 })
}

fn alerts(context: &Context) -> AlertDelivery {
    let Some(source) = &context.pipeline().alerts.webhook else { return AlertDelivery::new() };
    let url = match read_secret(source, "an address for the alerts' webhook") {
        Ok(url) => url,
        Err(error) => {
            warn(&format!("alerts go to no webhook: {}", human::error(error.as_ref())));
            return AlertDelivery::new();
        }
    };
    AlertDelivery::new().with_webhook(url, Vec::new(), context.runtime()).unwrap_or_else(|error| {
        warn(&format!("alerts go to no webhook: {}", human::error(&error)));
        AlertDelivery::new()
    })
}

/// The rules of a pipeline's settings.
fn rules(settings: &AlertSettings) -> Vec<AlertRule> {
    let hold = duration::from_us(settings.for_us);
    let lasting = |name: &str, condition| AlertRule { name: name.to_owned(), condition, hold };
    let at_once = |name: &str, condition| AlertRule { name: name.to_owned(), condition, hold: Duration::ZERO };
    let mut rules = Vec::new();
    if let Some(over) = settings.lag_messages {
        rules.push(lasting("lag_messages", AlertCondition::LagRecords { over }));
    }
    if let Some(us) = settings.lag_us {
        rules.push(lasting("lag", AlertCondition::LagSeconds { over: duration::from_us(us) }));
    }
    if let Some(us) = settings.watermark_stalled_us {
        let longer_than = duration::from_us(us);
        rules.push(at_once("watermark_stalled", AlertCondition::WatermarkStalled { longer_than }));
    }
    if let Some(over) = settings.dead_letters_per_minute {
        rules.push(at_once("dead_letters_per_minute", AlertCondition::DeadLettersPerMinute { over }));
    }
    let switches = [
        (settings.conservation, "conservation", AlertCondition::ConservationBroken),
        (settings.load_failed, "load_failed", AlertCondition::LoadFailed),
        (settings.run_failed, "run_failed", AlertCondition::RunFailed),
    ];
    rules.extend(switches.into_iter().filter(|(on, ..)| *on).map(|(_, name, condition)| at_once(name, condition)));
    rules
}

fn lineage(context: &Context, settings: &LineageSettings, run: Uuid) -> Option<(LineageRun, LineageSink)> {
    let sink = match &settings.to {
        LineageDestination::File(path) => Ok(LineageSink::file(context.folder().join(path))),
        LineageDestination::Http { url, key } => {
            let key = key.as_ref().map(|key| read_secret(key, "a key for the lineage endpoint")).transpose();
            let bearer = |key: Secret| ("authorization".to_owned(), Secret::new(format!("Bearer {}", key.expose())));
            key.and_then(|key| {
                let headers = key.map(bearer).into_iter().collect();
                Ok(LineageSink::http(Secret::new(url.clone()), headers, context.runtime())?)
            })
        }
    };
    let sink = sink.map_err(|error| warn(&format!("lineage is not reported: {}", human::error(error.as_ref()))));
    let job = lineage_job(context.pipeline(), &settings.namespace);
    Some((LineageRun::new(job, run, flow::now_us(), LINEAGE_EVERY), sink.ok()?))
}

fn lineage_job(pipeline: &Pipeline, namespace: &str) -> LineageJob {
    let servers = pipeline.source.kafka.get("bootstrap.servers").map(String::as_str).unwrap_or_default();
    let columns = |columns: Vec<(&str, String, bool)>| {
        columns.into_iter().map(|(name, kind, _)| (name.to_owned(), kind)).collect::<Vec<_>>()
    };
    let topic = LineageDataset::topic(servers, &pipeline.source.topics.to_string());
    let url = &pipeline.lake.url;
    let local = url.strip_prefix("file:").and_then(|path| std::path::absolute(path).ok());
    let url = local.map_or_else(|| url.clone(), |path| format!("file:{}", path.display()));
    let lake = LineageDataset::folder(&url, None).with_schema(columns(pipeline.output_columns()));
    let tables = pipeline.warehouse.as_ref().map(|warehouse| {
        let table = LineageDataset::embedded_table(&lake, &warehouse.table);
        (turnstile_warehouse::EMBEDDED.to_owned(), vec![table])
    });
    LineageJob {
        namespace: namespace.to_owned(),
        pipeline: pipeline.name.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        sql: Some(pipeline.query.sql.clone()),
        topics: vec![topic.with_schema(columns(pipeline.message_columns()))],
        lake,
        tables: tables.into_iter().collect::<BTreeMap<_, _>>(),
    }
}
