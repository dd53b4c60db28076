//! The JSON of requests. Pure.
//!
//! Source: requests of Prefect 3.8.8's own client, recorded. Ids of events and transitions are made of the run's id and
//! its state: a request that is sent twice has the same ones, and the server takes the second as the first.

use serde_json::{Map, Value, json};
use turnstile_values::human;
use uuid::Uuid;

use super::settings::PrefectSettings;
use crate::change::WindowArtifact;
use crate::run::{FlowRun, RunLogLine, RunState, TaskRun};

/// The name of the logger that lines are shown under.
const LOGGER: &str = "turnstile";
/// Longest line of a log that is sent; the server takes somewhat more.
const MAX_MESSAGE_CHARS: usize = 10_000;
/// A state that is sent this long after it began says when that was: the server would show when it heard of it.
const LATE_US: i64 = 60_000_000;

/// Body of `POST /flow_runs/`. Its key makes a second request find the first one's run.
pub(super) fn flow_run(run: &FlowRun, flow_id: &str, settings: &PrefectSettings) -> Value {
    let labels: Map<String, Value> = settings
        .labels
        .iter()
        .map(|(name, value)| (name.clone(), json!(value)))
        .chain([("host".into(), json!(run.host)), ("pid".into(), json!(run.pid))])
        .collect();
    json!({
        "flow_id": flow_id,
        "name": run.name,
        "flow_version": env!("CARGO_PKG_VERSION"),
        "parameters": run.parameters,
        "tags": tags(&run.pipeline, settings),
        "labels": labels,
        "idempotency_key": run.id.to_string(),
        "state": {"type": "PENDING", "name": "Pending"},
    })
}

/// The tags of every run: ours, the pipeline's name, the settings'.
pub(super) fn tags(pipeline: &str, settings: &PrefectSettings) -> Vec<String> {
    let own = ["turnstile".to_owned(), pipeline.to_owned()];
    own.into_iter().chain(settings.tags.iter().cloned()).collect()
}

/// Body of `POST /flow_runs/{id}/set_state`, sent at `now_us`.
pub(super) fn set_state(run: &FlowRun, force: bool, now_us: i64) -> Value {
    let since_us = if run.state_since_us == 0 { run.started_at_us } else { run.state_since_us };
    let at_us = run.ended_at_us.unwrap_or(since_us);
    let mut message = run.message.clone().unwrap_or_default();
    if now_us.saturating_sub(at_us) > LATE_US
        && (run.state.is_final() || matches!(run.state, RunState::Running | RunState::Late))
    {
        let said = if message.is_empty() { String::new() } else { format!("{message} ") };
        message = format!("{said}(at {})", human::instant(at_us / 1_000_000 * 1_000_000));
    }
    let transition = derived(run.id, (run.state_since_us.unsigned_abs() as u128) << 8 | (run.state as u128 + 1));
    json!({
        "state": {
            "type": run.state.prefect_type(),
            "name": run.state.name(),
            "message": message,
            "state_details": {"transition_id": transition.to_string()},
        },
        "force": force,
    })
}

/// The events of a task run: that it began, and, once it has ended, how. No two states of a task have one time: the
/// server keeps only the first, and fails on the other.
pub(super) fn task_events(task: &TaskRun, server_run: &str) -> Vec<Value> {
    let begun_at_us = task.started_at_us + i64::from(task.retries);
    let running = task_event(task, server_run, RunState::Running, begun_at_us);
    let ended = task.ended_at_us.filter(|_| task.state.is_final());
    let ended = ended.map(|at_us| task_event(task, server_run, task.state, at_us.max(begun_at_us + 1)));
    [Some(running), ended].into_iter().flatten().collect()
}

fn task_event(task: &TaskRun, server_run: &str, state: RunState, at_us: i64) -> Value {
    let is_final = state.is_final();
    let name = if !is_final && task.retries > 0 { "Retrying" } else { state.name() };
    let message = if is_final || task.retries > 0 { task.message.clone().unwrap_or_default() } else { String::new() };
    let id = derived(task.id, if is_final { 0x100 + state as u128 } else { 0x1_000 + u128::from(task.retries) });
    let run_count = task.retries + 1;
    let run_name = format!("{}-{}", task.task, task.number);
    json!({
        "id": id.to_string(),
        "occurred": instant(at_us),
        "event": format!("prefect.task-run.{}", name),
        "resource": {
            "prefect.resource.id": format!("prefect.task-run.{}", task.id),
            "prefect.resource.name": run_name,
            "prefect.run-count": run_count.to_string(),
            "prefect.state-message": message,
            "prefect.state-name": name,
            "prefect.state-timestamp": instant(at_us),
            "prefect.state-type": state.code(),
            "prefect.orchestration": "client",
        },
        "related": [{
            "prefect.resource.id": format!("prefect.flow-run.{server_run}"),
            "prefect.resource.role": "flow-run",
        }],
        "payload": {
            "intended": {"from": if is_final { "RUNNING" } else { "PENDING" }, "to": state.code()},
            "initial_state": null,
            "validated_state": {"type": state.code(), "name": name, "message": message, "state_details": {}, "data": null},
            "task_run": task_run(task, &run_name, run_count, is_final),
        },
    })
}

fn task_run(task: &TaskRun, run_name: &str, run_count: u32, is_final: bool) -> Value {
    let upstream: Vec<_> = task.upstream.iter().map(|id| json!({"input_type": "task_run", "id": id})).collect();
    let inputs = if upstream.is_empty() { json!({}) } else { json!({"upstream": upstream}) };
    let labels: Map<String, Value> = task.counts.iter().map(|(name, count)| (name.clone(), json!(count))).collect();
    let mut body = json!({
        "name": run_name,
        "task_key": format!("turnstile.{}", slug(&task.task)),
        "dynamic_key": task.number.to_string(),
        "empirical_policy": {"max_retries": 0, "retry_delay_seconds": 0.0, "retries": 0, "retry_delay": 0},
        "tags": ["turnstile"],
        "labels": labels,
        "task_inputs": inputs,
        "run_count": run_count,
        "flow_run_run_count": 1,
        "expected_start_time": instant(task.started_at_us),
        "start_time": instant(task.started_at_us),
        "total_run_time": 0.0,
    });
    if let Some(ended_at_us) = task.ended_at_us.filter(|_| is_final) {
        body["end_time"] = json!(instant(ended_at_us));
        body["total_run_time"] = json!((ended_at_us - task.started_at_us).max(0) as f64 / 1e6);
    }
    body
}

/// The event that says that a flow run is alive.
pub(super) fn heartbeat(server_run: &str, name: &str, now_us: i64) -> Value {
    json!({
        "id": Uuid::new_v4().to_string(),
        "occurred": instant(now_us),
        "event": "prefect.flow-run.heartbeat",
        "resource": {
            "prefect.resource.id": format!("prefect.flow-run.{server_run}"),
            "prefect.resource.name": name,
        },
        "related": [],
        "payload": {},
    })
}

/// One item of `POST /logs/`.
pub(super) fn log(line: &RunLogLine, server_run: &str) -> Value {
    let message: String = line.text.chars().take(MAX_MESSAGE_CHARS).collect();
    json!({
        "name": LOGGER,
        "level": line.level.number(),
        "message": message,
        "timestamp": instant(line.at_us),
        "flow_run_id": server_run,
        "task_run_id": null,
    })
}

/// Body of `POST /artifacts/`: a table with a row for each window.
pub(super) fn window_table(windows: &[WindowArtifact], server_run: &str) -> Value {
    let row = |window: &WindowArtifact| {
        json!({
            "window_start": human::short_instant(window.start_us),
            "window_end": human::short_instant(window.end_us),
            "version": window.version,
            "messages": window.messages,
            "rows": window.rows,
            "bytes": window.bytes,
            "file": window.file,
            "offsets": window.sources,
        })
    };
    let rows: Vec<_> = windows.iter().map(row).collect();
    let data = Value::Array(rows).to_string();
    artifact(windows, server_run, "window", "table", "Window", &data)
}

/// Body of `POST /artifacts/`: links to the files that have addresses; `None`: none has.
pub(super) fn file_links(windows: &[WindowArtifact], server_run: &str) -> Option<Value> {
    let link = |window: &WindowArtifact| window.url.as_ref().map(|url| format!("[{}]({url})", window.file));
    let links: Vec<_> = windows.iter().filter_map(link).collect();
    if links.is_empty() {
        return None;
    }
    let data = if links.len() == 1 { links[0].clone() } else { format!("- {}", links.join("\n- ")) };
    Some(artifact(windows, server_run, "file", "markdown", "File of window", &data))
}

fn artifact(windows: &[WindowArtifact], run: &str, key: &str, kind: &str, what: &str, data: &str) -> Value {
    let (Some(first), Some(last)) = (windows.first(), windows.last()) else { return Value::Null };
    let version = if windows.len() == 1 { format!(", version {}", first.version) } else { String::new() };
    let (from, to) = (human::short_instant(first.start_us), human::short_instant(last.end_us));
    json!({
        "key": format!("{}-{key}", slug(&first.pipeline)),
        "type": kind,
        "description": format!("{what} {from} to {to}{version}"),
        "data": data,
        "flow_run_id": run,
        "task_run_id": last.task_run,
    })
}

/// Lower-case letters, digits and dashes: what a key of an artifact may hold.
pub(super) fn slug(text: &str) -> String {
    let plain =
        text.to_lowercase().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect::<String>();
    let parts: Vec<_> = plain.split('-').filter(|part| !part.is_empty()).collect();
    if parts.is_empty() { "pipeline".to_owned() } else { parts.join("-") }
}

fn instant(us: i64) -> String {
    human::instant(us)
}

/// An id that depends on nothing but `id` and `salt`, and differs from those of other salts below 65,536.
pub(super) fn derived(id: Uuid, salt: u128) -> Uuid {
    Uuid::from_u128(id.as_u128() ^ salt)
}
