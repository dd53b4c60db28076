//! Task runs over time: a lane per task, a bar per run of it.

use maud::{Markup, html};
use turnstile_values::SECOND_US;

use super::chart::round;
use super::pieces::{run_words, scrolling};
use super::words::{short_duration, time_of_day};
use crate::data::TaskListing;

const WIDTH: f64 = 960.0;
const LEFT: f64 = 170.0;
const LANE: f64 = 30.0;

/// The task runs; those without an end reach to `now_us`.
pub(crate) fn gantt(tasks: &[TaskListing], now_us: i64) -> Markup {
    let mut lanes: Vec<&str> = Vec::new();
    for task in tasks {
        if !lanes.contains(&task.task.as_str()) {
            lanes.push(&task.task);
        }
    }
    let end = |task: &TaskListing| task.ended_at_us.unwrap_or(now_us).max(task.started_at_us);
    let first = tasks.iter().map(|task| task.started_at_us).min().unwrap_or(now_us);
    let last = tasks.iter().map(end).max().unwrap_or(now_us).max(first + 1);
    let x = |at_us: i64| LEFT + (at_us - first) as f64 / (last - first) as f64 * (WIDTH - LEFT - 10.0);
    let height = lanes.len() as f64 * LANE + 30.0;
    scrolling(
        "Tasks over time",
        &html! {
            svg.gantt viewBox={ "0 0 " (WIDTH) " " (height) } role="img" aria-labelledby="gantt-t gantt-d" {
                title #gantt-t { "Task runs over time" }
                desc #gantt-d {
                    (tasks.len())
                    " task runs of "
                    (lanes.len())
                    " tasks in "
                    (short_duration(last - first))
                    ". The table of tasks has the same."
                }
                @for (at, lane) in lanes.iter().enumerate() {
                    @let y = at as f64 * LANE;
                    line.grid x1="0" x2=(WIDTH) y1=(y + LANE) y2=(y + LANE) {}
                    text.lane x="0" y=(y + 20.0) { (shortened(lane)) }
                }
                @for task in tasks {
                    @let lane = lanes.iter().position(|lane| *lane == task.task).unwrap_or(0)
                        as f64 * LANE;
                    @let (tone, word) = run_words(task.condition);
                    rect
                        class={ "bar " (tone.class()) }
                        x=(round(x(task.started_at_us)))
                        y=(lane + 7.0)
                        width=(round((x(end(task)) - x(task.started_at_us)).max(2.0)))
                        height="16"
                        rx="2"
                    {
                        title {
                            (task.task)
                            " "
                            (task.number)
                            ": "
                            (word)
                            ", "
                            (short_duration(end(task) - task.started_at_us))
                        }
                    }
                }
                @for step in 0..=4 {
                    @let at_us = first + (last - first) / 4 * step;
                    @let anchor = match step { 0 => "start", 4 => "end", _ => "middle" };
                    text class={ "tick " (anchor) } x=(round(x(at_us))) y=(height - 8.0) {
                        (time_of_day(at_us / SECOND_US * SECOND_US))
                    }
                }
            }
        },
    )
}

/// As much of a name as fits beside the bars.
fn shortened(name: &str) -> String {
    const CHARS: usize = 24;
    match name.char_indices().nth(CHARS) {
        Some((end, _)) => format!("{}…", &name[..end]),
        None => name.to_owned(),
    }
}
