//! Charts as SVG, made on the server: shapes only, their colours are the style sheet's.
//!
//! Every chart has a title and a description for those who do not see it; the page that draws one puts a table beside it.

use maud::{Markup, html};
use turnstile_values::human;

use super::series::{ChartLines, XKind, XScale};
use super::words::number;
use crate::data::HistoryPoint;

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 220.0;
const LEFT: f64 = 58.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 28.0;

/// A small line without axes; `label` says what it is.
pub(crate) fn sparkline(label: &str, history: &[HistoryPoint]) -> Markup {
    let (Some(first), Some(last)) = (history.first(), history.last()) else { return html! {} };
    let values = || history.iter().map(|point| point.value);
    let max = values().fold(0.0, f64::max);
    let span = (last.at_us - first.at_us).max(1) as f64;
    let x = |at_us: i64| (at_us - first.at_us) as f64 / span * 200.0;
    let y = |value: f64| 38.0 - if max > 0.0 { value / max * 34.0 } else { 0.0 };
    let line: Vec<_> = history.iter().map(|point| format!("{:.1},{:.1}", x(point.at_us), y(point.value))).collect();
    let min = values().fold(f64::INFINITY, f64::min);
    html! {
        svg .spark
            viewBox="0 0 200 40"
            preserveAspectRatio="none"
            role="img"
            aria-label={ (label) ": from " (number(min)) " to " (number(max)) ", now " (number(last.value)) }
        {
            polygon.area points={ "0,40 " (line.join(" ")) " " (format!("{:.1}", x(last.at_us))) ",40" } {}
            polyline.line points=(line.join(" ")) {}
        }
    }
}

/// Parts of a whole in one bar. A part that is not zero is at least visible.
pub(crate) fn stacked_bar(label: &str, parts: &[(&str, u64)]) -> Markup {
    let whole: f64 = parts.iter().map(|(_, count)| *count as f64).sum();
    let width = |count: u64| if count == 0 { 0.0 } else { (count as f64 / whole * 600.0).max(3.0) };
    let total: f64 = parts.iter().map(|(_, count)| width(*count)).sum();
    let mut at = 0.0;
    let boxes: Vec<_> = parts
        .iter()
        .enumerate()
        .map(|(index, (name, count))| {
            let start = at;
            at += width(*count) / total.max(1.0) * 600.0;
            (index, name, count, start, at - start)
        })
        .filter(|(.., wide)| *wide > 0.0)
        .collect();
    html! {
        svg.stack viewBox="0 0 600 14" preserveAspectRatio="none" role="img" aria-label=(label) {
            @for (index, name, count, start, wide) in boxes {
                rect class={ "s" (index) } x=(format!("{start:.2}")) y="0" width=(format!("{wide:.2}")) height="14" {
                    title { (name) ": " (human::count(*count)) }
                }
            }
        }
    }
}

/// Lines over a common horizontal axis. `id` is unique in the page.
pub(crate) fn line_chart(id: &str, title: &str, lines: &ChartLines) -> Markup {
    let (low, high) = (lines.y_min.min(0.0), nice_ceiling(lines.y_max.max(0.0)));
    let y = |value: f64| TOP + (high - value) / (high - low).max(f64::MIN_POSITIVE) * (HEIGHT - TOP - BOTTOM);
    let x = |value: f64| LEFT + lines.x.part(value) * (WIDTH - LEFT - RIGHT);
    html! {
        svg.chart viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } role="img" aria-labelledby={ (id) "-t " (id) "-d" } {
            title id={ (id) "-t" } { (title) }
            desc id={ (id) "-d" } { (description(lines)) }
            @for step in 0..=4 {
                @let value = low + (high - low) * f64::from(step) / 4.0;
                line.grid x1=(LEFT) x2=(WIDTH - RIGHT) y1=(round(y(value))) y2=(round(y(value))) {}
                text.tick.end x=(LEFT - 8.0) y=(round(y(value) + 4.0)) { (number(value)) }
            }
            @for (at, label) in lines.x.ticks() {
                text.tick.middle x=(round(x(at).clamp(LEFT + 16.0, WIDTH - 24.0))) y=(HEIGHT - 8.0) { (label) }
            }
            @for (index, line) in lines.lines.iter().enumerate() {
                @let points: Vec<_> = line
                    .points
                    .iter()
                    .map(|(at, value)| format!("{:.1},{:.1}", x(*at), y(*value)))
                    .collect();
                polyline class={ "line s" (index % 6) } points=(points.join(" ")) {}
                @if line.points.len() <= 60 {
                    @for (at, value) in &line.points {
                        circle class={ "dot s" (index % 6) } cx=(round(x(*at))) cy=(round(y(*value))) r="2.5" {
                            title { (line.name) ", " (lines.x.label(*at)) ": " (number(*value)) }
                        }
                    }
                }
            }
        }
    }
}

/// The names of the lines with their colours.
pub(crate) fn legend(names: &[String]) -> Markup {
    html! {
        ul.legend {
            @for (index, name) in names.iter().enumerate() {
                li {
                    span class={ "key s" (index % 6) } aria-hidden="true" {}
                    (name)
                }
            }
        }
    }
}

fn description(lines: &ChartLines) -> String {
    let each = lines.lines.iter().map(|line| {
        let values = || line.points.iter().map(|(_, value)| *value);
        let (min, max) = (values().fold(f64::INFINITY, f64::min), values().fold(f64::NEG_INFINITY, f64::max));
        match line.points.last() {
            Some((_, last)) => {
                format!("{}: from {} to {}, last {}", line.name, number(min), number(max), number(*last))
            }
            None => format!("{}: no values", line.name),
        }
    });
    format!("{}. {}.", each.collect::<Vec<_>>().join("; "), lines.x.describe())
}

/// The next number that a quarter of reads well too: 1, 2, 4, 6 or 8 times a power of ten.
fn nice_ceiling(value: f64) -> f64 {
    if value <= 0.0 || !value.is_finite() {
        return 1.0;
    }
    let power = 10f64.powf(value.log10().floor());
    let step = [1.0, 2.0, 4.0, 6.0, 8.0, 10.0].into_iter().find(|step| step * power >= value);
    step.unwrap_or(10.0) * power
}

/// One decimal: more would only make pages heavier.
pub(crate) fn round(value: f64) -> String {
    format!("{value:.1}")
}

/// Steps between the labels of an axis of time, in seconds.
const TIME_STEPS_SECS: [i64; 16] =
    [1, 5, 15, 60, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400, 172_800, 604_800];

impl XScale {
    /// At most six positions at round times or numbers, with their labels.
    fn ticks(&self) -> Vec<(f64, String)> {
        let span = self.max - self.min;
        if span <= 0.0 {
            return vec![(self.min, self.label(self.min))];
        }
        let step = match self.kind {
            XKind::Instant => {
                let fits = |secs: &&i64| span / (**secs as f64 * 1e6) <= 5.0;
                TIME_STEPS_SECS.iter().find(fits).map_or(span / 4.0, |secs| *secs as f64 * 1e6)
            }
            XKind::Number | XKind::Row => nice_ceiling(span / 5.0),
        };
        let first = (self.min / step).ceil() as i64;
        let at = |index: i64| (first + index) as f64 * step;
        (0..=6).map(at).take_while(|at| *at <= self.max).map(|at| (at, self.label(at))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_ends_at_a_round_number_not_below_the_highest_value() {
        let ends = [0.0, 0.3, 1.0, 19.0, 23.0, 330.0, 9_001.0].map(nice_ceiling);
        assert_eq!(ends, [1.0, 0.4, 1.0, 20.0, 40.0, 400.0, 10_000.0]);
    }

    #[test]
    fn an_axis_of_time_is_labelled_at_round_times() {
        let min = 1_785_542_400_000_000.0 + 110.0 * 60e6;
        let scale = XScale { min, max: min + 235.0 * 60e6, kind: XKind::Instant };
        let labels: Vec<_> = scale.ticks().into_iter().map(|(_, label)| label).collect();
        assert_eq!(labels, ["02:00", "03:00", "04:00", "05:00"]);
    }

    #[test]
    fn a_part_that_is_tiny_is_still_visible_and_a_part_of_zero_is_not() {
        let bar = stacked_bar("Fates", &[("read", 1_000_000), ("late", 1), ("absent", 0)]).into_string();
        assert!(bar.contains("late: 1") && !bar.contains("absent"), "{bar}");
    }

    #[test]
    fn a_history_of_zeros_is_a_line_at_the_bottom() {
        let history: Vec<_> = (0..3).map(|at_us| HistoryPoint { at_us, value: 0.0 }).collect();
        let line = sparkline("Lag", &history).into_string();
        assert!(line.contains("0.0,38.0 100.0,38.0 200.0,38.0"), "{line}");
        assert_eq!(sparkline("Lag", &[]).into_string(), "");
    }
}
