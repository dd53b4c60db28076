//! Metrics as a scrape sees them, as the documents describe them, and as dashboard and rules use them.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::*;
use crate::event::{CommitReport, StatusReport};
use crate::test_events::{EIGHT_US, SECOND_US, all, commit, partition, status};

fn metrics(events: &[(i64, TrackEvent)]) -> Metrics {
    let metrics = Metrics::new("mta-turnstile", "0.1.0", EIGHT_US - SECOND_US);
    for (at_us, event) in events {
        metrics.observe(*at_us, event);
    }
    metrics.set_dropped("console", 2);
    metrics
}

fn text_of_all() -> String {
    metrics(&all()).encode(EIGHT_US + 10 * SECOND_US).unwrap()
}

fn sample<'a>(text: &'a str, start: &str) -> Vec<&'a str> {
    text.lines().filter(|line| line.starts_with(start)).collect()
}

/// The names of all samples in a text.
fn served_names(text: &str) -> BTreeSet<String> {
    let samples = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    samples.map(|line| line.split(['{', ' ']).next().unwrap().to_owned()).collect()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

#[test]
fn every_metric_of_the_catalogue_is_served_by_a_run_in_which_everything_happens_and_no_other() {
    let catalogue: BTreeSet<String> = METRICS.iter().flat_map(|info| info.sample_names()).collect();
    assert_eq!(served_names(&text_of_all()), catalogue);
}

#[test]
fn values_are_those_of_the_events() {
    let text = text_of_all();
    for line in [
        "turnstile_read_messages_total{pipeline=\"mta-turnstile\"} 1000",
        "turnstile_messages_total{pipeline=\"mta-turnstile\",fate=\"aggregated\"} 990",
        "turnstile_lag_records{pipeline=\"mta-turnstile\",topic=\"mta-turnstile\",partition=\"0\"} 7",
        "turnstile_watermark_delay_seconds{pipeline=\"mta-turnstile\"} 10.0",
        "turnstile_state_bytes{pipeline=\"mta-turnstile\",place=\"committed\"} 2048",
        "turnstile_published_files_total{pipeline=\"mta-turnstile\",kind=\"window\"} 1",
        "turnstile_published_rows_total{pipeline=\"mta-turnstile\",kind=\"dead_letters\"} 5",
        "turnstile_dead_letters_total{pipeline=\"mta-turnstile\",reason=\"csv\"} 3",
        "turnstile_window_close_to_file_seconds_sum{pipeline=\"mta-turnstile\"} 0.08",
        "turnstile_window_end_to_file_seconds_bucket{le=\"600.0\",pipeline=\"mta-turnstile\"} 1",
        "turnstile_load_age_seconds{pipeline=\"mta-turnstile\",target=\"embedded\"} 7.0",
        "turnstile_load_failures_total{pipeline=\"mta-turnstile\",target=\"postgres\"} 1",
        "turnstile_conservation_difference{pipeline=\"mta-turnstile\"} 0.0",
        "turnstile_listener_dropped_events_total{pipeline=\"mta-turnstile\",listener=\"console\"} 2",
        "turnstile_build_info{version=\"0.1.0\"} 1",
    ] {
        assert!(text.lines().any(|served| served == line), "{line} is not in\n{text}");
    }
    assert!(text.ends_with("# EOF\n"));
}

#[test]
fn counts_of_the_ledger_are_absent_until_the_first_commit_rather_than_0() {
    let text = metrics(&[(EIGHT_US, TrackEvent::Status(status()))]).encode(EIGHT_US).unwrap();
    assert!(sample(&text, "turnstile_messages_total").is_empty(), "{text}");
    assert!(sample(&text, "turnstile_read_messages_total").len() == 1, "{text}");
}

#[test]
fn a_restart_serves_the_counts_of_the_last_commit_before_its_own_first() {
    let metrics = metrics(&[]);
    metrics.resume(&commit(3).counters, EIGHT_US);
    let text = metrics.encode(EIGHT_US + 60 * SECOND_US).unwrap();
    assert!(text.contains("turnstile_committed_messages_total{pipeline=\"mta-turnstile\"} 3000"), "{text}");
    assert!(sample(&text, "turnstile_state_bytes").is_empty(), "{text}");
    metrics.observe(0, &TrackEvent::Committed(commit(4)));
    metrics.resume(&commit(3).counters, EIGHT_US);
    let text = metrics.encode(EIGHT_US + 60 * SECOND_US).unwrap();
    assert!(text.contains("turnstile_committed_messages_total{pipeline=\"mta-turnstile\"} 4000"), "{text}");
}

#[test]
fn a_counter_never_goes_down_when_a_second_run_begins_in_the_process() {
    let run = |run_read| TrackEvent::Status(StatusReport { run_read, ..StatusReport::default() });
    let text = metrics(&[(0, run(900)), (1, run(10)), (2, run(15))]).encode(3).unwrap();
    assert_eq!(
        sample(&text, "turnstile_read_messages"),
        ["turnstile_read_messages_total{pipeline=\"mta-turnstile\"} 915"]
    );

    let metrics = metrics(&[(0, TrackEvent::Committed(commit(3)))]);
    metrics.observe(1, &TrackEvent::Committed(commit(2)));
    let text = metrics.encode(2).unwrap();
    assert!(text.contains("turnstile_committed_messages_total{pipeline=\"mta-turnstile\"} 3000"), "{text}");
}

#[test]
fn a_lost_message_and_one_counted_twice_show_as_a_difference() {
    for (aggregated, expected) in [(989, "1.0"), (991, "-1.0")] {
        let mut report: CommitReport = commit(1);
        report.counters.aggregated = aggregated;
        let text = metrics(&[(0, TrackEvent::Committed(report))]).encode(0).unwrap();
        let line = format!("turnstile_conservation_difference{{pipeline=\"mta-turnstile\"}} {expected}");
        assert!(text.contains(&line), "{text}");
    }
}

#[test]
fn partitions_and_reasons_beyond_their_limits_share_a_series_and_none_is_lost() {
    let partitions = MAX_PARTITION_SERIES as i32 + 10;
    let lag = (0..partitions).map(|number| (partition(number), 1)).collect();
    let lag_seconds = (0..partitions).map(|number| (partition(number), f64::from(number))).collect();
    let mut report = commit(1);
    let reasons = (0..100).map(|number| (format!("reason-{number}"), 1)).collect();
    report.files[2].content = crate::event::FileContent::DeadLetters(reasons);
    let events = [
        (0, TrackEvent::Status(StatusReport { lag, lag_seconds, ..StatusReport::default() })),
        (1, TrackEvent::Committed(report)),
    ];
    let text = metrics(&events).encode(0).unwrap();
    let lag = sample(&text, "turnstile_lag_records{");
    assert_eq!(lag.len(), MAX_PARTITION_SERIES + 1);
    assert!(lag.last().unwrap().ends_with("topic=\"other\",partition=\"other\"} 10"), "{:?}", lag.last());
    assert!(sample(&text, "turnstile_lag_seconds{").last().unwrap().ends_with("} 1009.0"));
    let letters = sample(&text, "turnstile_dead_letters_total{");
    assert_eq!(letters.len(), MAX_LABEL_VALUES + 1);
    let sum: u64 = letters.iter().map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum();
    assert_eq!(sum, 100);
}

#[test]
fn the_document_describes_what_is_served() {
    let row = |info: &&MetricInfo| {
        let (name, kind) = match info.kind {
            MetricKind::Counter => (format!("{}_total", info.name), "counter"),
            MetricKind::Gauge => (info.name.to_owned(), "gauge"),
            MetricKind::Histogram => (info.name.to_owned(), "histogram"),
            MetricKind::Info => (format!("{}_info", info.name), "info"),
        };
        let (unit, labels) = (info.unit, info.labels.join(", "));
        let or_dash = |text: &str| if text.is_empty() { "–".to_owned() } else { text.to_owned() };
        format!("| `{name}` | {kind} | {} | {} | {} |", or_dash(unit), or_dash(&labels), info.help)
    };
    let rows: Vec<String> = METRICS.iter().map(row).collect();
    let document = std::fs::read_to_string(root().join("docs/metrics.md")).unwrap();
    let documented: Vec<&str> =
        document.lines().filter(|line| line.starts_with("| `turnstile_") || line.starts_with("| `process_")).collect();
    assert_eq!(documented, rows, "docs/metrics.md is to have these rows:\n{}", rows.join("\n"));
}

/// Words of a text that look like names of our metrics.
fn used_names(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("turnstile_") || word.starts_with("process_")).map(str::to_owned).collect()
}

#[test]
fn the_dashboard_and_the_rules_use_only_names_that_are_served_and_the_dashboard_uses_most() {
    let served = served_names(&text_of_all());
    let dashboard = std::fs::read_to_string(root().join("deploy/grafana/turnstile.json")).unwrap();
    let panels: serde_json::Value = serde_json::from_str(&dashboard).unwrap();
    assert!(panels["panels"].as_array().unwrap().len() >= 10);
    let rules = std::fs::read_to_string(root().join("deploy/prometheus/alerts.yml")).unwrap();
    let (shown, watched) = (used_names(&dashboard), used_names(&rules));
    assert!(shown.len() > served.len() / 3 && watched.len() >= 6, "{shown:?} {watched:?}");
    let unknown: Vec<_> = shown.union(&watched).filter(|name| !served.contains(*name)).collect();
    assert!(unknown.is_empty(), "not served: {unknown:?}");
}

/// Reads OpenMetrics from standard input; prints each family's name, type and unit.
const PARSER: &str = "
import sys
from prometheus_client.openmetrics.parser import text_string_to_metric_families
for family in text_string_to_metric_families(sys.stdin.read()):
    assert family.documentation and family.samples, family
    print(family.name, family.type, family.unit or '-', len(family.samples))
";

fn parsed(text: &str) -> String {
    let mut python = Command::new(turnstile_testkit::telemetry());
    let mut python = python
        .args(["-c", PARSER])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    python.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success(), "{}\n{text}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
#[ignore = "needs servers: cargo xtask test"]
fn the_parser_of_prometheus_client_reads_what_is_served_with_types_and_units() {
    let families: Vec<String> =
        parsed(&text_of_all()).lines().map(|l| l.rsplit_once(' ').unwrap().0.to_owned()).collect();
    let expected: Vec<String> = METRICS
        .iter()
        .map(|info| {
            let kind = format!("{:?}", info.kind).to_lowercase();
            format!("{} {kind} {}", info.name, if info.unit.is_empty() { "-" } else { info.unit })
        })
        .collect();
    assert_eq!(families, expected);
}

#[test]
#[ignore = "needs servers: cargo xtask test"]
fn names_with_quotes_and_line_breaks_do_not_break_the_text() {
    let metrics = Metrics::new("a \"b\"\\\n{c}", "0.1.0", 0);
    metrics.observe(0, &TrackEvent::Committed(commit(1)));
    let text = metrics.encode(0).unwrap();
    assert!(parsed(&text).contains("turnstile_messages counter - 6"), "{text}");
}

fn check_rules(file: &Path) {
    let output = Command::new(turnstile_testkit::promtool()).args(["check", "rules"]).arg(file).output().unwrap();
    let printed = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && printed.contains("SUCCESS"), "{printed}");
}

#[test]
#[ignore = "needs servers: cargo xtask test"]
fn promtool_accepts_the_alert_rules() {
    check_rules(&root().join("deploy/prometheus/alerts.yml"));
}

#[test]
#[ignore = "needs servers: cargo xtask test"]
fn the_alert_rules_fire_for_the_faults_that_they_name_and_not_without_them() {
    let mut promtool = Command::new(turnstile_testkit::promtool());
    let output =
        promtool.args(["test", "rules", "testdata/alert_rules.yml"]).current_dir(env!("CARGO_MANIFEST_DIR")).output();
    let output = output.unwrap();
    let printed = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && printed.contains("SUCCESS"), "{printed}");
}

#[test]
#[ignore = "needs servers: cargo xtask test"]
fn promtool_accepts_the_queries_of_the_dashboard() {
    let dashboard = std::fs::read_to_string(root().join("deploy/grafana/turnstile.json")).unwrap();
    let dashboard: serde_json::Value = serde_json::from_str(&dashboard).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let queries: Vec<&str> = panels
        .iter()
        .flat_map(|panel| panel["targets"].as_array().unwrap())
        .map(|target| target["expr"].as_str().unwrap())
        .collect();
    let rule = |(at, query): (usize, &&str)| {
        let query = query.replace("$__rate_interval", "1m").replace("$pipeline", ".*");
        serde_json::json!({"record": format!("query:{at}"), "expr": query})
    };
    let rules: Vec<_> = queries.iter().enumerate().map(rule).collect();
    let file = tempfile::NamedTempFile::new().unwrap();
    // JSON is YAML.
    let groups = serde_json::json!({"groups": [{"name": "dashboard", "rules": rules}]});
    std::fs::write(file.path(), groups.to_string()).unwrap();
    check_rules(file.path());
}
