//! Made-up runs, dead letters and a pipeline.

use turnstile_console::data::*;
use turnstile_message::TopicPartition;

use super::demo_values::{MINUTE_US, PIPELINE, WINDOW_US};

pub(crate) fn dead_letters(now_us: i64) -> DeadLetterSummary {
    let sample = |offset: i64, field: &str, value: &[u8]| DeadLetterSample {
        partition: TopicPartition::new(PIPELINE, 2),
        offset,
        timestamp_us: Some(now_us - 3 * MINUTE_US),
        field: Some(field.to_owned()),
        key: Some(b"A002-R051".to_vec()),
        value: value.to_vec(),
        value_bytes: value.len() as u64,
    };
    let reason = |reason: &str, explanation: &str, count, samples| DeadLetterReason {
        reason: reason.to_owned(),
        explanation: Some(explanation.to_owned()),
        count,
        first_at_us: Some(now_us - 40 * MINUTE_US),
        last_at_us: Some(now_us - 3 * MINUTE_US),
        samples,
        warning: None,
        can_requeue: true,
    };
    let mut late = reason(
        "late",
        "The row's window was closed when it arrived.",
        317,
        vec![sample(
            99,
            "TIMESTAMP",
            b"A002,R051,02-00-00,59 ST,NQR456W,BMT,08/01/2026,08:01:00,REGULAR,7,3,44,2026-08-01 08:01:00",
        )],
    );
    late.warning = Some("They would be late again: the watermark has passed their windows.".to_owned());
    DeadLetterSummary {
        reasons: vec![
            late,
            reason("type", "A field is not of its declared type.", 36, vec![
                sample(1_204_771, "ENTRIES", "A002,R051,02-00-00,<img src=x onerror=alert(1)>,NQR456W,BMT,08/01/2026,08:04:00,REGULAR,many,3".as_bytes()),
                sample(1_204_780, "EXITS", "A002\u{202e}gpj.exe".as_bytes()),
            ]),
            reason("malformed", "The message is no CSV row of the schema.", 9, vec![sample(1_204_990, "", &[0x00, 0xff, 0xd8, 0x41, 0x42, 0x0a, 0x90, 0x7f])]),
        ],
        files: 12,
        scope: "since the pipeline began".to_owned(),
    }
}

pub(crate) fn description() -> PipelineDescription {
    let node = |title: &str, details: &[&str], kind| PlanNode {
        title: title.to_owned(),
        details: details.iter().map(|line| (*line).to_owned()).collect(),
        kind,
    };
    let edge = |from, to, label: Option<&str>| PlanEdge { from, to, label: label.map(str::to_owned) };
    let plan = PlanPicture {
        nodes: vec![
            node("Kafka topic", &["mta-turnstile", "12 partitions"], PlanNodeKind::Source),
            node("Decode", &["csv, 13 fields"], PlanNodeKind::Transform),
            node("Dedup", &["ID, STATION, TIMESTAMP"], PlanNodeKind::Transform),
            node("Windows", &["5 minutes", "watermark 5 minutes", "idle 30 seconds"], PlanNodeKind::Transform),
            node("Lake", &["file:./lake/turnstile", "csv.gz", "14 days"], PlanNodeKind::Sink),
            node("Warehouse", &["ext_turnstile", "every minute"], PlanNodeKind::Sink),
            node("Dead letters", &["_dead_letters/"], PlanNodeKind::Rejected),
        ],
        edges: vec![
            edge(0, 1, None),
            edge(1, 2, None),
            edge(2, 3, None),
            edge(3, 4, None),
            edge(4, 5, None),
            edge(1, 6, Some("bad rows")),
            edge(2, 6, Some("late rows")),
        ],
    };
    let column = |name: &str, type_name: &str, note: Option<&str>| SchemaColumn {
        name: name.to_owned(),
        type_name: type_name.to_owned(),
        note: note.map(str::to_owned),
    };
    PipelineDescription {
        file_name: Some("pipelines/mta-turnstile.toml".to_owned()),
        file_text: Some("# Turnstile readings in five-minute windows.\nname = \"mta-turnstile\"\n\n[source]\ntopic  = \"mta-turnstile\"\nkafka  = { \"bootstrap.servers\" = \"localhost:9092\", \"sasl.password\" = \"***\" }\nformat = \"csv\"\n\n[stream]\nevent_time = \"TIMESTAMP\"\nwatermark  = \"5 minutes\"\n".to_owned()),
        plan_hash: Some("c0ffee5e".to_owned()),
        plan,
        message: vec![column("STATION", "string", None), column("ENTRIES", "int", None), column("EXITS", "int", None), column("TIMESTAMP", "timestamp", Some("yyyy-MM-dd HH:mm:ss, America/New_York; event time"))],
        aggregate: vec![column("STATION", "string", Some("group key")), column("START", "timestamp", Some("window.start")), column("END", "timestamp", Some("window.end")), column("ENTRIES", "bigint", Some("sum(ENTRIES)")), column("EXITS", "bigint", Some("sum(EXITS)"))],
    }
}

fn run_listing(at: i64, started_us: i64) -> RunListing {
    let conditions = [
        RunCondition::Running,
        RunCondition::Crashed,
        RunCondition::Completed,
        RunCondition::Failed,
        RunCondition::Cancelled,
    ];
    let began = started_us - at * 90 * MINUTE_US;
    let messages = [
        None,
        Some("the process ended without a word; seen by the next start"),
        None,
        Some("topic mta-turnstile was truncated: offsets 17..=99 of partition 3 are lost"),
        Some("cancelled by a person"),
    ];
    RunListing {
        id: format!("0198a1b2-0000-4000-8000-{at:012}"),
        name: ["calm-heron", "brave-otter", "swift-crane", "quiet-lynx", "bright-wren"][at as usize].to_owned(),
        flow: "MTA Spark Data Stream flow".to_owned(),
        condition: conditions[at as usize],
        message: messages[at as usize].map(str::to_owned),
        started_at_us: began,
        ended_at_us: (at > 0).then_some(began + 71 * MINUTE_US),
        process: "batch-2, process 4711".to_owned(),
    }
}

pub(crate) fn runs(started_us: i64) -> RunPage {
    RunPage { runs: (0..5).map(|at| run_listing(at, started_us)).collect(), total: 5 }
}

pub(crate) fn run(id: &str, started_us: i64, now_us: i64) -> Option<RunDetail> {
    let run = (0..5).map(|at| run_listing(at, started_us)).find(|run| run.id == id)?;
    let end = run.ended_at_us.unwrap_or(now_us);
    let task = |task: &str, number: u64, from: i64, to: Option<i64>, condition| TaskListing {
        task: task.to_owned(),
        number,
        condition,
        message: None,
        started_at_us: from,
        ended_at_us: to,
        retries: u32::from(number == 2),
        counts: vec![("messages".to_owned(), 31_000 + number), ("rows".to_owned(), 4_120)],
        files: Vec::new(),
    };
    let mut tasks = vec![task("Read data stream", 0, run.started_at_us, run.ended_at_us, run.condition)];
    for number in 0..8 {
        let from = run.started_at_us + number as i64 * WINDOW_US + 20_000_000;
        tasks.push(task(
            "Aggregate messages",
            number,
            from,
            Some(from + WINDOW_US - 9_000_000),
            RunCondition::Completed,
        ));
        tasks.push(task(
            "Write to Storage",
            number,
            from + WINDOW_US - 9_000_000,
            Some(from + WINDOW_US + 11_000_000),
            RunCondition::Completed,
        ));
        tasks.push(task(
            "Load warehouse",
            number,
            from + WINDOW_US + 20_000_000,
            Some(from + WINDOW_US + 45_000_000),
            if number == 5 { RunCondition::Failed } else { RunCondition::Completed },
        ));
    }
    tasks.retain(|task| task.started_at_us < end);
    let log = |back: i64, severity, text: &str| RunLogEntry {
        at_us: run.started_at_us + back * 1_000_000,
        severity,
        text: text.to_owned(),
    };
    let logs = vec![
        log(0, NoteSeverity::Info, "12 partitions of mta-turnstile assigned, resumed at commit 2817"),
        log(320, NoteSeverity::Info, "window 2026-08-01T08:00Z published: 4,120 rows, 61 kB"),
        log(951, NoteSeverity::Warning, "publishing was tried again: the store answered 503 <Slow Down>"),
        log(2_041, NoteSeverity::Error, "loading postgres failed: connection refused"),
    ];
    let can_cancel = run.ended_at_us.is_none();
    let (tasks_total, logs_total) = (tasks.len() as u64, logs.len() as u64);
    let parameters = vec![("topic".to_owned(), "mta-turnstile".to_owned()), ("workers".to_owned(), "2".to_owned())];
    Some(RunDetail { run, parameters, tasks, tasks_total, logs, logs_total, can_cancel })
}
