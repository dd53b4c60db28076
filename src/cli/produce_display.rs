//! What `turnstile produce` shows while it runs.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressState, ProgressStyle};
use turnstile_kafka::{FeedProgress, ProducerRecord, ProducerStats};
use turnstile_values::human;

/// Time between two reports of progress: two updates of the bar.
pub(super) const REPORT_EVERY: Duration = Duration::from_millis(200);

/// Time between two lines of progress without a terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Most characters of a message that are shown.
const SHOWN_CHARS: usize = 400;

/// A progress bar on a terminal for bounded work, plain lines otherwise, and messages that come slowly; all on stderr.
pub(super) struct ProduceDisplay {
    bar: Option<ProgressBar>,
    shown_at: Instant,
}

impl ProduceDisplay {
    pub(super) fn new() -> Self {
        Self { bar: None, shown_at: Instant::now() }
    }

    pub(super) fn start(&mut self, total: Option<u64>) {
        self.bar = total.filter(|_| std::io::stderr().is_terminal()).map(|total| {
            let style =
                ProgressStyle::with_template("{bar:32} {human_pos} of {human_len} · {rate} · {eta} left · {msg}");
            let rate = |state: &ProgressState, out: &mut dyn std::fmt::Write| {
                let _ = out.write_str(&human::rate(state.per_sec()));
            };
            let style = style.map_or_else(|_| ProgressStyle::default_bar(), |style| style.with_key("rate", rate));
            ProgressBar::new(total).with_style(style)
        });
    }

    /// Shows a message of a producer that sends so few that a person can follow them.
    pub(super) fn show_sent(&self, record: &ProducerRecord) {
        let line = format!("sent {}", shown(&record.value));
        match &self.bar {
            Some(bar) => bar.println(line),
            None => eprintln!("{line}"),
        }
    }

    pub(super) fn show(&mut self, progress: &FeedProgress) {
        let every = if self.bar.is_some() { REPORT_EVERY } else { LINE_EVERY };
        if self.shown_at.elapsed() + REPORT_EVERY / 2 < every {
            return;
        }
        self.shown_at = Instant::now();
        let ProducerStats { sent, delivered, failed } = progress.stats;
        match &self.bar {
            Some(bar) => {
                bar.set_position(delivered + failed);
                bar.set_message(format!("{failed} failed"));
            }
            None => eprintln!(
                "{:.0} s: {sent} sent, {delivered} delivered, {failed} failed, {}",
                progress.elapsed.as_secs_f64(),
                average_rate(delivered, progress.elapsed)
            ),
        }
    }

    pub(super) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// A message as text, cut off where it is long.
fn shown(value: &[u8]) -> String {
    // A character has at most four bytes.
    let start = String::from_utf8_lossy(&value[..value.len().min((SHOWN_CHARS + 1) * 4)]);
    match start.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => format!("{}…", &start[..end]),
        None => start.into_owned(),
    }
}

/// How many in a second, or in the shortest longer unit in which there is one: `1,234/s`, `6/min`.
pub(super) fn average_rate(messages: u64, took: Duration) -> String {
    let seconds = took.as_secs_f64().max(0.001);
    let of_unit = |unit_secs: f64| messages as f64 * unit_secs / seconds;
    let units = [(1.0, "s"), (60.0, "min"), (3600.0, "h")];
    let (unit_secs, unit) =
        units.into_iter().find(|(secs, _)| messages == 0 || of_unit(*secs) >= 1.0).unwrap_or(units[2]);
    format!("{}/{unit}", human::count(of_unit(unit_secs).round() as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_rate_is_shown_in_a_longer_unit_and_never_as_nothing() {
        let rate = |messages, secs| average_rate(messages, Duration::from_secs(secs));
        assert_eq!([rate(24_680, 20), rate(20, 20), rate(0, 20)], ["1,234/s", "1/s", "0/s"]);
        assert_eq!([rate(2, 20), rate(7, 60), rate(1, 600)], ["6/min", "7/min", "6/h"]);
        assert_eq!(average_rate(3, Duration::ZERO), "3,000/s");
    }

    #[test]
    fn a_long_message_is_cut_off_and_a_short_one_is_whole() {
        assert_eq!(shown("é,1".as_bytes()), "é,1");
        let long = shown("é".repeat(401).as_bytes());
        assert_eq!((long.chars().count(), long.ends_with('…')), (401, true));
        assert_eq!(shown(b"\xff"), "\u{fffd}");
    }
}
