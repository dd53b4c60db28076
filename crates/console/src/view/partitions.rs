//! Partitions: positions, lag, event time, and which one holds the watermark back.

use maud::{Markup, html};
use turnstile_values::human;

use super::chart::round;
use super::pieces::{PageContext, StateTone, card, empty, pill, scrolling, sentence};
use super::words::{self, count_or_dash, elapsed, instant, instant_or_dash, short_seconds, unknown};
use crate::data::{PartitionOverview, PartitionRow};
use crate::fragment::Fragment;

/// Partitions that are listed; the rest is counted.
const MAX_ROWS: usize = 1_000;

/// The fragments of the page.
pub(crate) fn partitions(context: &PageContext, data: &PartitionOverview) -> Vec<Fragment> {
    let content = match data.partitions.is_empty() {
        true => empty("No partition is assigned yet.", "They appear when a run has found the topic."),
        false => table(context, data),
    };
    vec![
        Fragment::new("summary", headline(context, data)),
        Fragment::new("partitions", card("partitions", "Partitions", &content)),
    ]
}

fn headline(context: &PageContext, data: &PartitionOverview) -> Markup {
    let holder = data.partitions.iter().find(|row| row.holds_watermark);
    html! {
        div.headline {
            h1 { "Partitions" }
        }
        @if let Some(error) = &data.broker_error {
            div.warning {
                p.fact {
                    (pill(StateTone::Warn, "broker"))
                    " "
                    (sentence(error))
                    " End offsets and lag are unknown until it answers."
                }
            }
        }
        p {
            @match data.watermark_us {
                Some(at_us) => {
                    "The watermark is at "
                    (instant(at_us))
                    @if let Some(delay) = data.watermark_delay_us {
                        ": the lowest event time of a partition that is not idle, less "
                        (human::duration(delay))
                    }
                    "."
                }
                None => "There is no watermark until every partition has delivered a message or is idle.",
            }
        }
        @if let Some(holder) = holder {
            p {
                "Partition "
                strong { (holder.partition) }
                " holds the watermark back"
                @if let Some(since_us) = holder.holds_since_us {
                    " since "
                    (instant(since_us))
                    ", for "
                    (elapsed(since_us, context.now_us))
                    " now"
                }
                "."
                @if let Some(idle) = data.idle_after_us {
                    " It counts as idle after "
                    (human::duration(idle))
                    " without a message."
                }
            }
        }
    }
}

fn table(context: &PageContext, data: &PartitionOverview) -> Markup {
    let max_lag = data.partitions.iter().filter_map(|row| row.lag_records).max().unwrap_or(0);
    html! {
        ({
            scrolling(
                "Partitions",
                &html! {
                    table.data { thead { tr { th scope = "col" { "Partition" } th.num
                    .wrap scope = "col" { "Lag, messages" } th scope = "col" { "State" }
                    th.num.wrap scope = "col" { "Oldest unread" } th.num scope = "col" {
                    "Next offset" } th.num scope = "col" { "End offset" } th scope =
                    "col" { "Latest event" } th.num.wrap scope = "col" {
                    "Ahead of watermark" } } } tbody { @ for row in data.partitions
                    .iter().take(MAX_ROWS) { (partition_row(context, data, row, max_lag))
                    } } }
                },
            )
        })
        @if data.partitions.len() > MAX_ROWS {
            p.muted { (human::count((data.partitions.len() - MAX_ROWS) as u64)) " more are not listed." }
        }
    }
}

fn partition_row(context: &PageContext, data: &PartitionOverview, row: &PartitionRow, max_lag: u64) -> Markup {
    let ahead = row.max_event_us.zip(data.watermark_us).map(|(event_us, watermark_us)| event_us - watermark_us);
    html! {
        tr class=[row.holds_watermark.then_some("marked")] {
            th.partition scope="row" { (row.partition) }
            td.num { (count_or_dash(row.lag_records)) (lag_bar(row.lag_records, max_lag)) }
            td {
                @if row.holds_watermark {
                    (pill(StateTone::Warn, "holds the watermark back"))
                    @if let Some(since_us) = row.holds_since_us { " for " (elapsed(since_us, context.now_us)) }
                } @else if row.idle { (pill(StateTone::Calm, "idle")) } @else if row.lag_records == Some(0) {
                    (pill(StateTone::Good, "caught up"))
                } @else { (pill(StateTone::Busy, "reading")) }
            }
            td.num {
                @match (row.lag_records, row.lag_seconds) {
                    (Some(0), _) => "–",
                    (_, Some(seconds)) => (short_seconds(seconds)),
                    (_, None) => (unknown()),
                }
            }
            td.num { (row.next_offset) }
            td.num {
                @match row.end_offset {
                    Some(end) => (end),
                    None => (unknown()),
                }
            }
            td { (instant_or_dash(row.max_event_us)) }
            td.num {
                @match ahead {
                    Some(us) if us >= 0 => (words::short_duration(us)),
                    Some(_) => "behind it",
                    None => (unknown()),
                }
            }
        }
    }
}

fn lag_bar(lag: Option<u64>, max: u64) -> Markup {
    let width = lag.filter(|lag| *lag > 0).map_or(0.0, |lag| (lag as f64 / max.max(1) as f64 * 80.0).max(1.0));
    html! {
        svg.lag viewBox="0 0 80 8" preserveAspectRatio="none" aria-hidden="true" {
            rect.track width="80" height="8" rx="2" {}
            rect.fill width=(round(width)) height="8" rx="2" {}
        }
    }
}
