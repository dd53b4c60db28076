//! Shows the progress of a flow: one line per file on stdout, and on a terminal a live line on stderr.

use std::io::{IsTerminal, Write};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use console::Term;
use turnstile_values::human;

use crate::flow::{Event, EventSink, Loaded, Status};

/// Events that may wait to be printed; more than that are left out, and their number is printed.
const EVENTS: usize = 8192;

/// A thread that prints events as they come.
pub(crate) struct Printing {
    thread: Option<JoinHandle<ProgressPrinter>>,
    events: EventSink,
}

impl Printing {
    /// Prints what is emitted from now on.
    pub(crate) fn start(events: &EventSink, json: bool) -> std::io::Result<Self> {
        let mut stream = events.subscribe(EVENTS);
        let thread = std::thread::Builder::new().name("progress".to_owned()).spawn(move || {
            let mut progress = ProgressPrinter::new(json);
            while let Some(event) = stream.blocking_next() {
                progress.show(&event);
                let left_out = stream.take_left_out();
                if left_out > 0 {
                    progress.show(&Event::Note(format!(
                        "{left_out} events were not printed: the output is read too slowly"
                    )));
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
    fn new(json: bool) -> Self {
        let live = !json && std::io::stderr().is_terminal();
        Self { json, live, shown: false, quiet_statuses: 0, dead: 0, dead_at: None }
    }

    fn show(&mut self, event: &Event) {
        if self.json {
            return outln!("{}", &as_json(event).to_string());
        }
        match event {
            Event::Ready { topics, partitions, resumed_at, took } => {
                let from = match resumed_at {
                    Some(seq) => format!("resuming from commit {seq}"),
                    None => "from the beginning".to_owned(),
                };
                let took = took.as_secs_f64();
                self.note(&format!("ready: reading {partitions} partitions of {topics}, {from} ({took:.2} s)"));
            }
            Event::Published { name, rows, messages, version } => {
                let correction =
                    if *version > 1 { format!(", corrects version {}", version - 1) } else { String::new() };
                self.clear();
                outln!("{}", &format!("published {name}  {rows} rows from {messages} messages{correction}"));
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
            Event::Loaded(_) | Event::NotLoaded(_) | Event::Note(_) => self.note(&text_of(event)),
        }
    }

    /// One line that sums up a run.
    pub(crate) fn closing(&mut self, pipeline: &str, lake: &str, status: &Status) {
        if self.json {
            let mut closing = as_json(&Event::Status(status.clone()));
            closing["event"] = "stopped".into();
            if let Some(share) = &status.rejected {
                closing["rejected"] = share.rejected.into();
                closing["rejected_reason"] = share.reason.into();
            }
            return outln!("{}", &closing.to_string());
        }
        self.note(&format!(
            "{pipeline} stopped at commit {}: {} messages read so far, {} files published to {lake}, {} windows open",
            status.seq,
            human::count(status.read),
            status.files,
            status.open_windows
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
            eprint!("\r\x1b[2K{}", live_line(status, width));
            let _ = std::io::stderr().flush();
            self.shown = true;
        } else {
            eprintln!("{}", live_line(status, usize::MAX));
        }
    }

    fn clear(&mut self) {
        if self.shown {
            eprint!("\r\x1b[2K");
            self.shown = false;
        }
    }
}

/// The state of things in one line of less than `width` columns: where it is narrow, what matters least is left out.
fn live_line(status: &Status, width: usize) -> String {
    let watermark = status.watermark_us.map_or_else(|| "-".to_owned(), human::instant);
    // In the order of the line, each with its rank: the highest goes first.
    let mut parts = vec![
        (0, format!("in {} ({})", human::count(status.read), human::rate(status.rate))),
        (2, status.lag.map(|lag| format!("lag {}", human::count(lag))).unwrap_or_default()),
        (3, format!("watermark {watermark}")),
        (4, format!("open windows {}", status.open_windows)),
        (5, format!("files {}", human::count(status.files))),
    ];
    if status.late > 0 || status.dead_lettered > 0 {
        parts.push((6, format!("late {}", human::count(status.late))));
        parts.push((1, format!("dead letters {}", human::count(status.dead_lettered))));
    }
    parts.retain(|(_, text)| !text.is_empty());
    let line = |parts: &[(u8, String)]| {
        let texts: Vec<&str> = parts.iter().map(|(_, text)| text.as_str()).collect();
        texts.join("  ")
    };
    while parts.len() > 1 && line(&parts).len() >= width {
        let least = parts.iter().map(|(rank, _)| *rank).max();
        parts.retain(|(rank, _)| Some(*rank) != least);
    }
    let mut line = line(&parts);
    line.truncate(width.saturating_sub(1));
    line
}

fn as_json(event: &Event) -> serde_json::Value {
    use serde_json::json;
    match event {
        Event::Ready { topics, partitions, resumed_at, took } => json!({
            "event": "ready", "topics": topics, "partitions": partitions, "resumed_at": resumed_at,
            "took_ms": took.as_millis() as u64,
        }),
        Event::Published { name, rows, messages, version } => json!({
            "event": "published", "name": name, "rows": rows, "messages": messages, "version": version,
        }),
        Event::DeadLetters { name, count, first } => json!({
            "event": "dead_letters", "name": name, "count": count, "first": first,
        }),
        Event::Status(s) => json!({
            "event": "status", "read": s.read, "rate": s.rate as u64, "lag": s.lag,
            "watermark": s.watermark_us.map(human::instant), "open_windows": s.open_windows, "files": s.files,
            "late": s.late, "dead_lettered": s.dead_lettered, "seq": s.seq,
        }),
        Event::Loaded(_) | Event::NotLoaded(_) | Event::Note(_) => json!({ "event": "note", "text": text_of(event) }),
    }
}

/// What a note or a load says to a person.
fn text_of(event: &Event) -> String {
    match event {
        Event::Loaded(Loaded::Load(load)) => format!(
            "loaded {} windows, {} rows, up to commit {}, {} tests passed",
            load.run.windows, load.run.rows_out, load.run.to_seq, load.run.tests_passed
        ),
        Event::Loaded(Loaded::Delivery(run)) => {
            format!("delivered {} rows to {}, up to commit {}", run.rows_out, run.target, run.to_seq)
        }
        Event::NotLoaded(text) | Event::Note(text) => text.clone(),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_live_line_fits_the_terminal_and_keeps_what_matters_most() {
        let status = Status {
            read: 2_710_982,
            rate: 1_874.0,
            lag: Some(12),
            watermark_us: Some(1_793_463_167_000_000),
            open_windows: 2,
            files: 1_017,
            dead_lettered: 7,
            late: 3,
            ..Status::default()
        };
        let whole = live_line(&status, usize::MAX);
        for width in 1..=whole.len() + 1 {
            assert!(live_line(&status, width).len() < width.max(1), "{width}");
        }
        assert_eq!(live_line(&status, whole.len() + 1), whole);
        let narrow = live_line(&status, 60);
        assert!(narrow.starts_with("in 2,710,982 (1,874/s)  lag 12") && narrow.ends_with("dead letters 7"), "{narrow}");
    }
}
