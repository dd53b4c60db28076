//! Shows the progress of a flow: one line per file on stdout, and on a terminal a live line on stderr.

use std::io::{IsTerminal, Write};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use console::Term;
use turnstile_values::human;

use crate::flow::{self, Event, EventSink, Loaded, RunCounts, Status};
use crate::style::{self, Tone};

/// Events that may wait to be printed; more than that are left out, and their number is printed.
const EVENTS: usize = 8192;

/// A thread that prints events as they come.
pub(crate) struct Printing {
    thread: Option<JoinHandle<ProgressPrinter>>,
    events: EventSink,
}

impl Printing {
    /// Prints what is emitted from now on; `schemas` once reading has begun.
    pub(crate) fn start(events: &EventSink, json: bool, schemas: String) -> std::io::Result<Self> {
        let mut stream = events.subscribe(EVENTS);
        let thread = std::thread::Builder::new().name("progress".to_owned()).spawn(move || {
            let mut progress = ProgressPrinter::new(json, schemas);
            while let Some((at_us, event)) = stream.blocking_next_with_time() {
                progress.show(at_us, &event);
                let left_out = stream.take_left_out();
                if left_out > 0 {
                    let text = format!("{left_out} events were not printed: the output is read too slowly");
                    progress.show(flow::now_us(), &Event::Note(text));
                }
            }
            progress
        })?;
        Ok(Self { thread: Some(thread), events: events.clone() })
    }

    /// Ends once everything is printed, and leaves the live line behind.
    pub(crate) fn end(mut self) -> Option<ProgressPrinter> {
        self.join().map(|joined| joined.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    }

    fn join(&mut self) -> Option<std::thread::Result<ProgressPrinter>> {
        self.events.close();
        let mut joined = self.thread.take()?.join();
        if let Ok(progress) = &mut joined {
            progress.clear();
        }
        Some(joined)
    }
}

impl Drop for Printing {
    /// What was emitted before a failure is printed before the failure is.
    fn drop(&mut self) {
        self.join();
    }
}

/// Prints events for a person, or as JSON lines.
pub(crate) struct ProgressPrinter {
    json: bool,
    live: bool,
    colours: bool,
    /// The schemas of the message and of the aggregate, until they are printed.
    schemas: String,
    shown: bool,
    /// Status events since the last one that was printed without a terminal.
    quiet_statuses: u32,
    /// Dead letters since the last line about them, and when it was printed.
    dead: u64,
    dead_at: Option<Instant>,
}

/// Dead letters are reported at most this often; every dead-letter file is in the lake.
const DEAD_EVERY: Duration = Duration::from_secs(30);

/// Seconds between two status lines without a terminal.
const PLAIN_EVERY: u32 = 10;

impl ProgressPrinter {
    fn new(json: bool, schemas: String) -> Self {
        let live = !json && std::io::stderr().is_terminal();
        Self {
            json,
            live,
            schemas,
            colours: style::on_stderr(),
            shown: false,
            quiet_statuses: 0,
            dead: 0,
            dead_at: None,
        }
    }

    fn show(&mut self, at_us: i64, event: &Event) {
        if matches!(event, Event::Ready { .. }) {
            eprint!("{}", std::mem::take(&mut self.schemas));
        }
        if self.json {
            return as_json(at_us, event).into_iter().for_each(|object| outln!("{object}"));
        }
        match event {
            Event::Ready { topics, partitions, resumed_at, took, .. } => {
                let from = match resumed_at {
                    Some(seq) => format!("resuming from commit {seq}"),
                    None => "from the beginning".to_owned(),
                };
                let took = took.as_secs_f64();
                let partitions = human::plural(*partitions as u64, "partition");
                self.note(&format!("ready: reading {partitions} of {topics}, {from} ({took:.2} s)"));
            }
            Event::Published { name, rows, messages, version } => {
                let correction =
                    if *version > 1 { format!(", corrects version {}", version - 1) } else { String::new() };
                self.clear();
                let (rows, messages) = (human::plural(*rows, "row"), human::plural(*messages, "message"));
                outln!("published {name}  {rows} from {messages}{correction}");
            }
            Event::DeadLetters { name, count, first } => {
                self.dead += count;
                if self.dead_at.is_none_or(|at| at.elapsed() >= DEAD_EVERY) {
                    let count = std::mem::take(&mut self.dead);
                    self.dead_at = Some(Instant::now());
                    self.note(&format!(
                        "dead letters: {}; latest file {name}, its first message {first}",
                        human::plural(count, "message")
                    ));
                }
            }
            Event::Status(status) => self.status(status),
            Event::Committed(_) => {}
            Event::Retried { .. }
            | Event::Loaded(_)
            | Event::NotLoaded { .. }
            | Event::Maintained(_)
            | Event::Note(_) => {
                self.note(&text_of(event));
            }
        }
    }

    /// One line that sums up a run.
    pub(crate) fn closing(&mut self, pipeline: &str, lake: &str, status: &Status) {
        if self.json {
            let mut closing = as_json(flow::now_us(), &Event::Status(status.clone())).unwrap_or_default();
            closing["event"] = "stopped".into();
            if let Some(share) = &status.rejected {
                closing["rejected"] = share.rejected.into();
                closing["rejected_reason"] = share.reason.into();
            }
            return outln!("{closing}");
        }
        let RunCounts { read, files, .. } = status.run;
        let before = match status.read - read {
            0 => String::new(),
            _ => format!(" ({} in all)", human::count(status.read)),
        };
        self.note(&format!(
            "{pipeline} stopped at commit {}: {} read{before}, {} published to {lake}, {} open",
            status.seq,
            human::plural(read, "message"),
            human::plural(files, "file"),
            human::plural(status.open_windows as u64, "window")
        ));
    }

    fn note(&mut self, text: &str) {
        self.clear();
        eprintln!("{text}");
    }

    fn status(&mut self, status: &Status) {
        self.quiet_statuses += 1;
        if !self.live && !self.quiet_statuses.is_multiple_of(PLAIN_EVERY) {
            return;
        }
        if self.live {
            let width = Term::stderr().size_checked().map_or(80, |(_, columns)| usize::from(columns));
            eprint!("\r\x1b[2K{}", live_line(status, width, self.colours));
            let _ = std::io::stderr().flush();
            self.shown = true;
        } else {
            eprintln!("{}", live_line(status, usize::MAX, false));
        }
    }

    fn clear(&mut self) {
        if self.shown {
            eprint!("\r\x1b[2K");
            self.shown = false;
        }
    }
}

/// The state of things in one line of less than `width` columns: where it is narrow, what matters least is left out. All
/// counts are since the run's start.
fn live_line(status: &Status, width: usize, colours: bool) -> String {
    let RunCounts { read, files, dead_lettered, late } = status.run;
    let count = |label, number| (label, human::count(number));
    // In the order of the line, each with its rank: the highest goes first.
    let mut parts = vec![(0, ("in", format!("{} ({})", human::count(read), human::rate(status.rate))))];
    parts.extend(status.lag.map(|lag| (2, count("lag", lag))));
    let watermark = status.watermark_us.map_or_else(|| "-".to_owned(), human::instant);
    parts.push((3, ("watermark", watermark)));
    parts.push((4, count("open windows", status.open_windows as u64)));
    parts.push((5, count("files", files)));
    if late > 0 || dead_lettered > 0 {
        parts.push((6, count("late", late)));
        parts.push((1, count("dead letters", dead_lettered)));
    }
    let columns = |parts: &[(u8, (&str, String))]| {
        parts.iter().map(|(_, (label, value))| label.len() + 1 + value.len() + 2).sum::<usize>() - 2
    };
    while parts.len() > 1 && columns(&parts) >= width {
        let least = parts.iter().map(|(rank, _)| *rank).max();
        parts.retain(|(rank, _)| Some(*rank) != least);
    }
    if columns(&parts) >= width {
        let mut line = parts.iter().map(|(_, (label, value))| format!("{label} {value}")).collect::<String>();
        line.truncate(width.saturating_sub(1));
        return line;
    }
    let tone = |label: &str| if label == "dead letters" { Tone::Warning } else { Tone::Label };
    let texts =
        parts.iter().map(|(_, (label, value))| format!("{} {value}", style::paint(tone(label), label, colours)));
    texts.collect::<Vec<_>>().join("  ")
}

/// An event for a program: docs/command-line.md. A commit is none: its files and the status tell of it.
fn as_json(at_us: i64, event: &Event) -> Option<serde_json::Value> {
    use serde_json::json;
    let mut object = match event {
        Event::Ready { topics, partitions, resumed_at, took, .. } => json!({
            "event": "ready", "topics": topics, "partitions": partitions, "resumed_at": resumed_at,
            "took_ms": took.as_millis() as u64,
        }),
        Event::Published { name, rows, messages, version } => json!({
            "event": "published", "name": name, "rows": rows, "messages": messages, "version": version,
        }),
        Event::DeadLetters { name, count, first } => json!({
            "event": "dead_letters", "name": name, "count": count, "first": first,
        }),
        Event::Status(s) => {
            let RunCounts { read, files, dead_lettered, late } = s.run;
            json!({
                "event": "status", "read": s.read, "rate": s.rate as u64, "lag": s.lag,
                "watermark": s.watermark_us.map(human::instant), "open_windows": s.open_windows,
                "late": s.late, "dead_lettered": s.dead_lettered, "seq": s.seq,
                "run": { "read": read, "files": files, "late": late, "dead_lettered": dead_lettered },
            })
        }
        Event::Committed(_) => return None,
        Event::Retried { .. } | Event::Loaded(_) | Event::NotLoaded { .. } | Event::Maintained(_) | Event::Note(_) => {
            json!({ "event": "note", "text": text_of(event) })
        }
    };
    object["at"] = human::instant(at_us).into();
    Some(object)
}

/// What a note or a load says to a person.
fn text_of(event: &Event) -> String {
    match event {
        Event::Loaded(Loaded::Load(load)) => format!(
            "loaded {}, {}, up to commit {}, {} passed",
            human::plural(load.run.windows, "window"),
            human::plural(load.run.rows_out, "row"),
            load.run.to_seq,
            human::plural(load.run.tests_passed, "test")
        ),
        Event::Loaded(Loaded::Delivery(run)) => {
            format!("delivered {} to {}, up to commit {}", human::plural(run.rows_out, "row"), run.target, run.to_seq)
        }
        Event::Retried { cause, wait } => format!("{cause}; trying again in {} s", wait.as_secs_f32()),
        Event::NotLoaded { error, .. } => flow::not_loaded_text(error),
        Event::Maintained(round) => round.summary.clone(),
        Event::Note(text) => text.clone(),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status() -> Status {
        Status {
            read: 2_710_982,
            rate: 1_874.0,
            lag: Some(12),
            watermark_us: Some(1_793_463_167_000_000),
            open_windows: 2,
            run: RunCounts { read: 1_710_982, files: 1_017, dead_lettered: 7, late: 3 },
            ..Status::default()
        }
    }

    #[test]
    fn the_live_line_fits_the_terminal_and_keeps_what_matters_most() {
        let status = status();
        let whole = live_line(&status, usize::MAX, false);
        for width in 1..=whole.len() + 1 {
            assert!(live_line(&status, width, false).len() < width.max(1), "{width}");
        }
        assert_eq!(live_line(&status, whole.len() + 1, false), whole);
        let narrow = live_line(&status, 60, false);
        assert!(narrow.starts_with("in 1,710,982 (1,874/s)  lag 12") && narrow.ends_with("dead letters 7"), "{narrow}");
        let coloured = live_line(&status, 60, true);
        let plain = coloured.replace("\x1b[2m", "").replace("\x1b[33m", "").replace("\x1b[0m", "");
        assert_eq!(plain, narrow, "colours take no columns");
    }

    #[test]
    fn a_status_tells_programs_the_pipeline_s_counts_and_the_run_s_apart() {
        let event = as_json(1_785_571_200_000_000, &Event::Status(status())).unwrap();
        assert_eq!((&event["read"], &event["run"]["read"]), (&2_710_982.into(), &1_710_982.into()));
        assert_eq!((&event["at"], event["event"].as_str()), (&"2026-08-01T08:00:00Z".into(), Some("status")));
    }
}
