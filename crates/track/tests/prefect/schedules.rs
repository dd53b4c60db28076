use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::json;
use tokio_util::sync::CancellationToken;
use turnstile_track::{DeploymentSchedule, PrefectClient, PrefectWorker, ScheduledWork, WorkerSettings};

use crate::server::ServerView;
use crate::story::{unique, wait_for};

fn wanted(name: &str, schedule: Option<DeploymentSchedule>) -> WorkerSettings {
    WorkerSettings {
        pool: unique("pool"),
        flow: unique("a load"),
        deployment: name.into(),
        schedule,
        parameters: serde_json::Map::from_iter([("target".into(), json!("embedded"))]),
        tags: vec!["turnstile".into()],
        name: "here-7".into(),
        poll: Duration::from_millis(200),
    }
}

/// Works until dropped, on its own thread.
struct Working {
    stop: CancellationToken,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Working {
    fn start<F, Fut>(api: &str, settings: WorkerSettings, work: F) -> Self
    where
        F: FnMut(ScheduledWork) -> Fut + Send + 'static,
        Fut: Future<Output = Result<String, String>> + Send,
    {
        let client = PrefectClient::connect(api, None, Duration::from_secs(30)).unwrap();
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(PrefectWorker::new(client, settings).run(stopped, work));
        });
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        self.stop.cancel();
        self.thread.take().unwrap().join().unwrap();
    }
}

fn runs(server: &ServerView, flow: &str, state: &str) -> Vec<serde_json::Value> {
    let filter = json!({"flows": {"name": {"any_": [flow]}}, "flow_runs": {"state": {"type": {"any_": [state]}}}});
    server.post("/flow_runs/filter", &filter).as_array().unwrap().clone()
}

#[test]
#[ignore = "needs servers: cargo xtask test"]
fn a_schedule_in_prefect_starts_the_work_and_shows_how_it_ended() {
    let api = turnstile_testkit::prefect();
    let settings = wanted("every-second", Some(DeploymentSchedule::Interval(Duration::from_secs(1))));
    let flow = settings.flow.clone();
    let calls = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&calls);
    let working = Working::start(&api, settings, move |work| {
        let call = counted.fetch_add(1, Ordering::SeqCst);
        async move {
            assert_eq!(work.parameters, json!({"target": "embedded"}));
            if call == 0 { Ok("2 windows".into()) } else { Err("no\nspace".into()) }
        }
    });
    let server = ServerView::of(&api);
    let first = |state: &str| wait_for(state, || runs(&server, &flow, state).into_iter().next());
    assert_eq!(first("COMPLETED")["state"]["message"], "2 windows");
    assert_eq!(first("FAILED")["state"]["message"], "no space");
    drop(working);
    let filter = json!({"flows": {"name": {"any_": [flow]}}});
    let deployment = server.post("/deployments/filter", &filter)[0]["id"].as_str().unwrap().to_owned();
    server.patch(&format!("/deployments/{deployment}"), &json!({"paused": true}));
    // One may have begun when it was asked to stop.
    let ended: usize = ["COMPLETED", "FAILED", "CANCELLED"].iter().map(|state| runs(&server, &flow, state).len()).sum();
    assert_eq!(ended as u32, calls.load(Ordering::SeqCst), "each run once");
}

#[test]
#[ignore = "needs servers: cargo xtask test"]
fn two_workers_share_the_runs_of_a_person_and_a_cancelled_one_stops() {
    let api = turnstile_testkit::prefect();
    let (settings, server) = (wanted("by-hand", None), ServerView::of(&turnstile_testkit::prefect()));
    let flow = settings.flow.clone();
    let calls = Arc::new(AtomicU32::new(0));
    let work = |calls: &Arc<AtomicU32>| {
        let calls = Arc::clone(calls);
        move |work: ScheduledWork| {
            calls.fetch_add(1, Ordering::SeqCst);
            async move {
                if work.parameters["wait"] == json!(true) {
                    work.cancel.cancelled().await;
                    return Err("stopped".into());
                }
                Ok("done".into())
            }
        }
    };
    let workers = [work(&calls), work(&calls)].map(|work| Working::start(&api, settings.clone(), work));
    let filter = json!({"deployments": {"name": {"any_": ["by-hand"]}}, "flows": {"name": {"any_": [flow]}}});
    let deployment =
        wait_for("the deployment", || server.post("/deployments/filter", &filter)[0]["id"].as_str().map(str::to_owned));
    let start = |parameters: serde_json::Value| {
        let body = json!({"state": {"type": "SCHEDULED"}, "parameters": parameters});
        server.post(&format!("/deployments/{deployment}/create_flow_run"), &body)
    };
    for _ in 0..4 {
        start(json!({}));
    }
    wait_for("four runs", || (runs(&server, &flow, "COMPLETED").len() == 4).then_some(()));
    let waiting = start(json!({"wait": true}));
    wait_for("the start", || (calls.load(Ordering::SeqCst) == 5).then_some(()));
    wait_for("its state", || (!runs(&server, &flow, "RUNNING").is_empty()).then_some(()));
    server.set_state(&waiting, "CANCELLING");
    let cancelled = wait_for("the end", || runs(&server, &flow, "CANCELLED").into_iter().next());
    assert_eq!((&cancelled["id"], &cancelled["state"]["message"]), (&waiting["id"], &json!("stopped")));
    drop(workers);
    assert_eq!(calls.load(Ordering::SeqCst), 5, "no run twice");
}
