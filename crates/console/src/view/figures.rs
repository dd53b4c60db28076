//! The figures of the overview: throughput, lag, watermark, open windows, memory, last commit.

use maud::{Markup, html};
use turnstile_values::human;

use super::chart::sparkline;
use super::pieces::PageContext;
use super::words::{self, age, elapsed, instant, short_seconds};
use crate::address::window_href;
use crate::data::{CommitSummary, LagSummary, MemoryUse, PipelineOverview, ThroughputSummary, WatermarkHolder};

/// Six figures beside each other.
pub(crate) fn numbers(context: &PageContext, data: &PipelineOverview) -> Markup {
    html! {
        div.numbers {
            (figure("rate", "Throughput", &throughput(data.throughput.as_ref())))
            (figure("lag", "Lag", &lag(data.lag.as_ref())))
            (figure("watermark", "Watermark", &watermark(context, data)))
            (figure("windows", "Open windows", &open_windows(context, data)))
            (figure("memory", "Memory", &memory(data.memory.as_ref())))
            (figure("commit", "Last commit", &last_commit(context, data.last_commit.as_ref())))
        }
    }
}

fn figure(id: &str, heading: &str, content: &Markup) -> Markup {
    html! {
        section.number aria-labelledby={ "n-" (id) } {
            h2 id={ "n-" (id) } { (heading) }
            (content)
        }
    }
}

fn throughput(throughput: Option<&ThroughputSummary>) -> Markup {
    let Some(throughput) = throughput else {
        return html! {
            p.big { "0 " span.unit { "messages/s" } }
            p { "Nothing runs." }
        };
    };
    html! {
        p.big { (human::count(throughput.messages_per_second.max(0.0).round() as u64)) " " span.unit { "messages/s" } }
        p {
            @match throughput.bytes_per_second {
                Some(bytes) => { (words::rough_size(bytes.max(0.0) as u64)) "/s" }
                None => "\u{a0}",
            }
        }
        (sparkline("Messages a second, last minutes", &throughput.history))
    }
}

fn last_commit(context: &PageContext, commit: Option<&CommitSummary>) -> Markup {
    let Some(commit) = commit else {
        return html! {
            p.big { (words::unknown()) }
            p { "Nothing is committed yet." }
        };
    };
    html! {
        p.big { (age(commit.at_us, context.now_us)) }
        p {
            "number " (human::count(commit.seq))
            @if let Some(took) = commit.took { ", took " (short_seconds(took.as_secs_f64())) }
        }
    }
}

fn lag(lag: Option<&LagSummary>) -> Markup {
    let Some(lag) = lag else {
        return html! {
            p.big { (words::unknown()) }
            p { "The broker is not asked while nothing runs." }
        };
    };
    html! {
        p.big {
            @match lag.records {
                Some(records) => {
                    (human::count(records))
                    " "
                    span.unit { (if records == 1 { "message" } else { "messages" }) }
                }
                None => (words::unknown()),
            }
        }
        p {
            @match (lag.records, lag.seconds) {
                (Some(0), _) => "Caught up.",
                (_, Some(seconds)) => { "Oldest unread: " (short_seconds(seconds)) " old" }
                (_, None) => "The broker does not tell how old.",
            }
            @if let Some(seconds) = lag.catch_up_seconds.filter(|_| lag.records != Some(0)) {
                ". Caught up in "
                (short_seconds(seconds))
            }
        }
        (sparkline("Messages behind, last minutes", &lag.history))
    }
}

fn watermark(context: &PageContext, data: &PipelineOverview) -> Markup {
    let Some(at_us) = data.watermark_us else {
        return html! {
            p.big { (words::unknown()) }
            p { "There is none before every partition has delivered a message or is idle." }
        };
    };
    html! {
        p.big {
            time datetime=(human::instant(at_us)) title=(words::date_time(at_us)) { (words::time_of_day(at_us)) }
        }
        p { (words::date(at_us)) " · " (elapsed(at_us, context.now_us)) " behind the clock" }
        @if let Some(holder) = &data.holder {
            p { (holder_sentence(context, holder)) }
        }
    }
}

/// Which partition holds the watermark back, since when, and when that ends.
pub(crate) fn holder_sentence(context: &PageContext, holder: &WatermarkHolder) -> Markup {
    html! {
        a href=(context.href("partitions")) { "Partition " (holder.partition) }
        " holds it back"
        @if let Some(since_us) = holder.since_us { ", for " (elapsed(since_us, context.now_us)) " now" }
        @match holder.max_event_us {
            Some(at_us) => { "; its latest event is of " (instant(at_us)) }
            None => "; it has delivered no message yet",
        }
        @if let Some(idle_at_us) = holder.idle_at_us {
            "; without a message it counts as idle "
            (age(idle_at_us, context.now_us))
        }
        "."
    }
}

fn open_windows(context: &PageContext, data: &PipelineOverview) -> Markup {
    html! {
        p.big { (words::count_or_dash(data.open_windows)) }
        @match data.next_close {
            Some(next) => p {
                a href=(window_href(&context.pipeline, next.start_us)) {
                    (words::window_span(next.start_us, next.end_us))
                }
                " closes when the watermark passes "
                (words::time_of_day(next.end_us))
                @if let Some(left_us) = {
                    data.watermark_us
                        .map(|at_us| next.end_us - at_us)
                        .filter(|left_us| *left_us > 0)
                } { ": " (words::short_duration(left_us)) " of event time to go" }
                "."
            },
            None => p { "No window is open." },
        }
    }
}

fn memory(memory: Option<&MemoryUse>) -> Markup {
    let Some(memory) = memory else {
        return html! {
            p.big { (words::unknown()) }
            p { "Nothing runs." }
        };
    };
    html! {
        p.big { (words::rough_size(memory.state_bytes)) }
        p {
            "windows and dedup"
            @if let Some(limit) = memory.limit_bytes { ", of " (words::rough_size(limit)) }
            @if let Some(spilled) = memory.spilled_bytes.filter(|bytes| *bytes > 0) {
                "; "
                (words::rough_size(spilled))
                " on disk"
            }
            @if let Some(process) = memory.process_bytes { ". Process: " (words::rough_size(process)) }
        }
        @if let Some(limit) = memory.limit_bytes.filter(|limit| *limit > 0) {
            meter
                min="0"
                max=(limit)
                high=(limit / 10 * 8)
                value=(memory.state_bytes.min(limit))
                aria-label="State in memory, of its limit" {}
        }
    }
}
