//! What the engine costs a message, stage by stage, on one core and in memory.
//!
//! `cargo run --release -p turnstile-engine --example engine_rates [messages]`
//!
//! Messages are those of the `city`: 130 bytes, 5,026 turnstiles, 13 fields, one reading each per 10 s.

use std::sync::Arc;
use std::time::Instant;

use turnstile_engine::{ClosePolicy, Cut, Engine, RestoredState, StateChange, StreamPlan};
use turnstile_message::{BatchBuilder, MessageBatch, TopicPartition};
use turnstile_pipeline::Pipeline;

const TURNSTILES: u64 = 5_026;
const BATCH_ROWS: usize = 4_096;
/// Messages between two cuts: what a second brings at full speed.
const CUT_ROWS: usize = 1 << 20;
const RUNS: usize = 5;

const KEYS: &str = "CA, UNIT, SCP, STATION, LINENAME, DIVISION, DATE, DESC";

fn main() {
    let messages = std::env::args().nth(1).and_then(|n| n.parse().ok()).unwrap_or(1_000_000);
    let batches = batches(messages);
    let sums = format!(
        "SELECT {KEYS}, sum(ENTRIES) AS ENTRIES, sum(EXITS) AS EXITS FROM turnstile GROUP BY window(TIMESTAMP, '5 minutes'), {KEYS}"
    );
    let nothing = sums.replace("FROM turnstile", "FROM turnstile WHERE ENTRIES < 0");
    let (decode, _) = measure(&batches, messages, &pipeline(&nothing, ""));
    let (windows, windows_bytes) = measure(&batches, messages, &pipeline(&sums, ""));
    let (dedup, dedup_bytes) =
        measure(&batches, messages, &pipeline(&sums, "dedup = [\"ID\", \"STATION\", \"TIMESTAMP\"]"));
    println!("{messages} messages, one core, median of {RUNS}");
    println!("stage                     ns/message   messages/s");
    row("decode (and a filter)", decode, decode);
    row("+ windows and groups", windows - decode, windows);
    row("decode to windows", windows, windows);
    row("+ dedup", dedup - windows, dedup);
    row("with dedup", dedup, dedup);
    for (name, bytes) in [("decode to windows", windows_bytes), ("with dedup", dedup_bytes)] {
        let (all, most) = (bytes.iter().sum::<usize>(), bytes.iter().max().copied().unwrap_or(0));
        println!("state of {name}: {} commits of {} bytes, the largest {most}", bytes.len(), all / bytes.len().max(1));
    }
}

fn state_bytes(cut: &Cut) -> usize {
    match &cut.state {
        StateChange::Add { bytes, .. } | StateChange::Replace { bytes } => bytes.len(),
        StateChange::None | StateChange::Clear => 0,
    }
}

fn row(stage: &str, own_ns: f64, total_ns: f64) {
    println!("{stage:<25} {own_ns:>9.0}   {:>10.0}", 1e9 / total_ns);
}

/// Nanoseconds a message, the median of all runs, closing and encoding of windows included; and the bytes of state that
/// each commit has.
#[expect(clippy::disallowed_methods, reason = "a benchmark measures time; the engine itself reads no clock")]
fn measure(batches: &[MessageBatch], messages: usize, pipeline: &Pipeline) -> (f64, Vec<usize>) {
    let mut bytes = Vec::new();
    let mut runs: Vec<f64> = (0..RUNS)
        .map(|_| {
            let plan = Arc::new(StreamPlan::new(pipeline).expect("the plan compiles"));
            let mut engine = Engine::new(plan, RestoredState::default(), 1, None).expect("an engine");
            let mut worker = engine.worker();
            let began = Instant::now();
            let mut since = 0;
            bytes.clear();
            for batch in batches {
                worker.push(batch, None).expect("a batch");
                since += batch.len();
                if since >= CUT_ROWS {
                    since = 0;
                    let part = worker.take().expect("a part");
                    worker.advance(engine.absorb(vec![part], &[], ClosePolicy::Passed));
                    bytes.push(state_bytes(&engine.finish().expect("a cut")));
                }
            }
            let part = worker.take().expect("a part");
            engine.absorb(vec![part], &[], ClosePolicy::All);
            bytes.push(state_bytes(&engine.finish().expect("the last cut")));
            began.elapsed().as_nanos() as f64 / messages as f64
        })
        .collect();
    runs.sort_by(f64::total_cmp);
    (runs[RUNS / 2], bytes)
}

fn pipeline(sql: &str, stream: &str) -> Pipeline {
    let text = ["CA", "UNIT", "SCP", "STATION", "LINENAME", "DIVISION", "DATE", "TIME", "DESC"];
    let schema: String = text.iter().map(|name| format!("{name} = \"string\"\n")).collect();
    let file = format!(
        "name = \"rates\"\n[source]\ntopic = \"city\"\nformat = \"csv\"\n[source.schema]\n{schema}ENTRIES = \"int\"\n\
         EXITS = \"int\"\nID = \"string\"\n\
         TIMESTAMP = {{ type = \"timestamp\", format = \"yyyy-MM-dd HH:mm:ss\", zone = \"UTC\" }}\n\
         [stream]\nevent_time = \"TIMESTAMP\"\nwatermark = \"5 minutes\"\n{stream}\n\
         [query]\nsql = \"{sql}\"\n[lake]\nurl = \"file:./lake\"\n"
    );
    Pipeline::from_str(&file, "rates.toml").unwrap_or_else(|e| panic!("{e}"))
}

fn batches(messages: usize) -> Vec<MessageBatch> {
    let partition = TopicPartition::new("city", 0);
    let mut state = 0x9E37_79B9_7F4A_7C15u64;
    let mut batches = Vec::new();
    let mut builder = BatchBuilder::with_capacity(BATCH_ROWS, BATCH_ROWS * 132);
    for i in 0..messages as u64 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let (id, secs) = (i % TURNSTILES, i / TURNSTILES * 10 + i % TURNSTILES % 10);
        let at = chrono::DateTime::from_timestamp(1_785_542_400 + secs as i64, 0).expect("a time");
        let station = id / 13;
        let value = format!(
            "\"A{station:03},R{:03},{:02}-00-{:02},STATION {station:03},456NQR,BMT,{},{},REGULAR,{},{},{i:08x}-{:04x}-4000-8000-{:012x},{}\"",
            station % 470,
            id % 13 / 4,
            id % 13,
            at.format("%m-%d-%y"),
            at.format("%H:%M:%S"),
            5 + state / 7 % 6,
            5 + state / 77 % 6,
            state >> 48,
            state & 0xffff_ffff_ffff,
            at.format("%Y-%m-%d %H:%M:%S")
        );
        builder.push(&partition, i as i64, 0, None, Some(value.as_bytes()));
        if builder.len() == BATCH_ROWS {
            batches.push(builder.finish());
            builder = BatchBuilder::with_capacity(BATCH_ROWS, BATCH_ROWS * 132);
        }
    }
    if !builder.is_empty() {
        batches.push(builder.finish());
    }
    batches
}
