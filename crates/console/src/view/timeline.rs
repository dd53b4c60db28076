//! Windows as bars over time: height is messages, the outline says open, the colour closed, corrected or retired.

use maud::{Markup, html};
use turnstile_values::human;

use super::chart::round;
use super::pieces::{PageContext, scrolling};
use super::words::{self, date, time_of_day};
use crate::address::{condition_word, window_href};
use crate::data::{WindowCondition, WindowListing, WindowPage};

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 150.0;
const BASE: f64 = 122.0;
const TOP: f64 = 10.0;

/// The windows of a page, oldest on the left.
pub(crate) fn timeline(context: &PageContext, page: &WindowPage) -> Markup {
    let windows: Vec<_> = page.windows.iter().rev().collect();
    let slot = WIDTH / windows.len().max(12) as f64;
    let max = windows.iter().filter_map(|window| window.messages).max().unwrap_or(0).max(1) as f64;
    let height = |window: &WindowListing| (window.messages.unwrap_or(0) as f64 / max * (BASE - TOP)).max(4.0);
    let every = windows.len().max(12).div_ceil(10);
    html! {
        ({
            scrolling(
                "Timeline of windows",
                &html! {
                    svg.timeline viewBox = { "0 0 "(WIDTH) " "(HEIGHT) } role = "group"
                    aria - label =
                    "Messages of each window, oldest on the left; the table below has the same numbers"
                    { line.grid x1 = "0" x2 = (WIDTH) y1 = (BASE) y2 = (BASE) {} @ for
                    (at, window) in windows.iter().enumerate() { @ let x = at as f64 *
                    slot; a href = (window_href(& context.pipeline, window.start_us))
                    aria - label = (label(window)) { title { (label(window)) } rect.hit x
                    = (round(x)) y = "0" width = (round(slot)) height = (BASE) {} rect
                    class = { "bar "(condition_word(window.condition)) } x = (round(x +
                    slot * 0.12)) y = (round(BASE - height(window))) width = (round(slot
                    * 0.76)) height = (round(height(window))) rx = "2" {} @ if window
                    .condition == WindowCondition::Corrected { circle.corrected - mark cx
                    = (round(x + slot / 2.0)) cy = (round(BASE - height(window) - 5.0)) r
                    = "3" {} } } @ if at % every == 0 { text.tick.start x = (round(x)) y
                    = (HEIGHT - 10.0) { (time_of_day(window.start_us)) } } } }
                },
            )
        })
        p.legend-line {
            @if let (Some(first), Some(last)) = (windows.first(), windows.last()) {
                (date(first.start_us))
                " "
                (time_of_day(first.start_us))
                " to "
                (date(last.end_us))
                " "
                (time_of_day(last.end_us))
                ". "
            }
            "Height: messages, up to "
            (words::number(max))
            "."
        }
        ul.legend {
            li {
                span.key.open aria-hidden="true" {}
                "open"
            }
            li {
                span.key.closed aria-hidden="true" {}
                "closed"
            }
            li {
                span.key.corrected aria-hidden="true" {}
                "corrected"
            }
            li {
                span.key.retired aria-hidden="true" {}
                "retired"
            }
        }
    }
}

fn label(window: &WindowListing) -> String {
    let messages =
        window.messages.map_or_else(|| "messages unknown".to_owned(), |count| human::plural(count, "message"));
    let span = format!("{} {}–{}", date(window.start_us), time_of_day(window.start_us), time_of_day(window.end_us));
    format!("{span}, {}, {messages}", condition_word(window.condition))
}
