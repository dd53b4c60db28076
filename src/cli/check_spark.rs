//! `turnstile check --engine spark`: what of a pipeline a Spark cluster cannot do, or the plan that it would be sent.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use turnstile_pipeline::Pipeline;
use turnstile_spark::{
    DataSource, ROWS_VIEW, RegistrySchemas, Relation, Session, SessionSettings, SparkAddress, SparkError, SparkPlan,
};
use turnstile_values::human;

use super::spark_address::spark_address;
use crate::exit::Exit;
use crate::flow::{refused_by_plan, spark_failed, subscription};
use crate::process::Process;

/// What a server says of a plan.
struct Accepted {
    server: String,
    version: String,
    /// The columns of the query, as Spark draws them.
    schema: String,
}

pub(super) fn run(process: &Process, pipeline: &Pipeline, remote: Option<&str>, json: bool) -> anyhow::Result<Exit> {
    let plan = match SparkPlan::of(pipeline, &RegistrySchemas::new()) {
        Ok(plan) => plan,
        Err(refused) if json => {
            outln!("{}", json!({ "ok": false, "engine": "spark", "refused": refused }));
            return Ok(Exit::Config);
        }
        Err(refused) => return Err(refused_by_plan(&pipeline.name, &refused).into()),
    };
    let accepted = match spark_address(remote)? {
        None => None,
        Some(address) => Some(process.runtime.block_on(ask(pipeline, &plan, address)).map_err(spark_failed)?),
    };
    match json {
        true => outln!("{}", as_json(pipeline, &plan, accepted.as_ref())),
        false => out!("{}", as_text(pipeline, &plan, accepted.as_ref())),
    }
    Ok(Exit::Done)
}

/// Has a server analyze the plan; nothing is executed.
async fn ask(pipeline: &Pipeline, plan: &SparkPlan, address: SparkAddress) -> Result<Accepted, SparkError> {
    let session = Session::open(address, SessionSettings::default()).await?;
    let analyzed = async {
        let query = session.prepare(plan, Relation::stream(messages(pipeline))).await?;
        session.schema(&query).await
    };
    let schema = analyzed.await;
    let (server, version) = (session.server(), session.version().to_owned());
    // What was asked is known; the session would end by itself.
    let _ = session.release().await;
    Ok(Accepted { server, version, schema: schema? })
}

/// The Kafka source without a client's settings: to analyze a plan, Spark asks no broker.
fn messages(pipeline: &Pipeline) -> DataSource {
    let (way, topics) = subscription(&pipeline.source.topics);
    let options = [("kafka.bootstrap.servers".to_owned(), "127.0.0.1:9092".to_owned()), (way.to_owned(), topics)];
    DataSource { format: "kafka".to_owned(), schema: None, options: BTreeMap::from(options) }
}

fn as_text(pipeline: &Pipeline, plan: &SparkPlan, accepted: Option<&Accepted>) -> String {
    let mut out = String::new();
    let mut line = |text: &str| {
        out.push_str(text);
        out.push('\n');
    };
    let indented = |sql: &str| sql.lines().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n");
    line(&format!("pipeline  {}", pipeline.name));
    line("engine    Spark");
    if let Some(accepted) = accepted {
        line(&format!("server    {}, Spark {}: the plan is accepted", accepted.server, accepted.version));
    }
    line("\nsettings of the session");
    for (key, value) in &plan.settings {
        line(&format!("  {key} = {value}"));
    }
    line(&format!("\nview {ROWS_VIEW}, over the messages\n{}", indented(&plan.rows)));
    let (event_time, delay) = &plan.watermark;
    let delay = human::duration(delay.as_micros() as i64);
    let dedup = match plan.dedup.is_empty() {
        true => String::new(),
        false => format!("; rows with the same {} count once within it", plan.dedup.join(", ")),
    };
    line(&format!(
        "\nview {}, watermark {delay} behind {event_time}{dedup}\n{}",
        plan.stream,
        indented(&plan.accepted)
    ));
    line(&format!("\nquery\n{}", indented(&plan.query)));
    line(&format!("\nrejected messages\n{}", indented(&plan.rejected)));
    if let Some(accepted) = accepted {
        line(&format!("\nresult, by Spark\n{}", accepted.schema.trim_end()));
    }
    line("\ndifferences from the embedded engine");
    for difference in &plan.differences {
        line(&format!("  - {difference}"));
    }
    out
}

fn as_json(pipeline: &Pipeline, plan: &SparkPlan, accepted: Option<&Accepted>) -> Value {
    let (event_time, delay) = &plan.watermark;
    let settings: BTreeMap<&str, &str> = plan.settings.iter().map(|(key, value)| (*key, value.as_str())).collect();
    let server = accepted
        .map(|accepted| json!({ "address": accepted.server, "version": accepted.version, "schema": accepted.schema }));
    json!({
        "ok": true,
        "engine": "spark",
        "name": pipeline.name,
        "server": server,
        "settings": settings,
        "rows": plan.rows,
        "accepted": plan.accepted,
        "watermark": { "event_time": event_time, "delay_us": delay.as_micros() as u64 },
        "dedup": plan.dedup,
        "stream": plan.stream,
        "query": plan.query,
        "rejected": plan.rejected,
        "differences": plan.differences,
    })
}
