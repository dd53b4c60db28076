//! One window: why it is open, its rows, and where its numbers come from.

use maud::{Markup, html};
use turnstile_message::{FailedWindow, OffsetRange};
use turnstile_values::human;

use super::figures::holder_sentence;
use super::pieces::{PageContext, StateTone, card, empty, file_name, pill, result_table, scrolling, window_pill};
use super::words::{self, count_or_dash, instant, instant_or_dash};
use crate::address::window_href;
use crate::data::{OpenReason, WindowDetail, WindowFile};
use crate::fragment::Fragment;

/// Digits of a hash that are shown; all of them are in the element's title and in what is copied.
const HASH_DIGITS: usize = 12;

/// The window's fragments.
pub(crate) fn window(context: &PageContext, data: &WindowDetail) -> Vec<Fragment> {
    vec![
        Fragment::new("window", headline(context, data)),
        Fragment::new("rows", card("rows", "Rows", &rows(data))),
        Fragment::new("origin", card("origin", "Where these numbers come from", &origin(data))),
        Fragment::new("failed", failed(&data.failed)),
    ]
}

fn headline(context: &PageContext, data: &WindowDetail) -> Markup {
    let window = &data.window;
    html! {
        nav.pager aria-label="Neighbouring windows" {
            a href=(context.href("windows")) { "All windows" }
            @if let Some(before) = data.neighbours.0 {
                a rel="prev" href=(window_href(&context.pipeline, before)) { "← Window before" }
            }
            @if let Some(after) = data.neighbours.1 {
                a rel="next" href=(window_href(&context.pipeline, after)) { "Window after →" }
            }
        }
        div.headline {
            h1 { "Window " (words::window_span(window.start_us, window.end_us)) }
            (window_pill(window.condition))
        }
        @if let Some(open) = &data.open { (why_open(context, data, open)) }
        dl.facts {
            div {
                dt { "Messages" }
                dd { (count_or_dash(window.messages)) }
            }
            div {
                dt { "Rows" }
                dd { (count_or_dash(window.rows)) }
            }
            div {
                dt { "Late" }
                dd { (count_or_dash(window.late)) }
            }
            div {
                dt { "Duplicates" }
                dd { (count_or_dash(window.duplicates)) }
            }
            div {
                dt { "Corrections" }
                dd { (count_or_dash(data.corrections)) }
            }
            div {
                dt { "Version" }
                dd {
                    @if window.version > 0 { (window.version) } @else { "none yet" }
                }
            }
            div {
                dt { "Published" }
                dd { (instant_or_dash(window.published_at_us)) }
            }
        }
    }
}

fn why_open(context: &PageContext, data: &WindowDetail, open: &OpenReason) -> Markup {
    let end_us = data.window.end_us;
    html! {
        section.why aria-labelledby="h-why" {
            h2 #h-why { "Why it is not closed" }
            p {
                "It closes when the watermark passes "
                (instant(end_us))
                ". "
                @match open.watermark_us {
                    Some(at_us) if at_us >= end_us => { "The watermark has passed it; the next commit publishes it." }
                    Some(at_us) => {
                        "The watermark is at "
                        (instant(at_us))
                        ": "
                        strong { (words::short_duration(end_us - at_us)) " of event time to go" }
                        "."
                    }
                    None => "There is no watermark yet.",
                }
            }
            @if let Some(holder) = &open.holder {
                p { (holder_sentence(context, holder)) }
            }
            @if let Some(note) = &open.note {
                p { (note) }
            }
        }
    }
}

fn rows(data: &WindowDetail) -> Markup {
    match &data.preview {
        Some(table) if table.rows.is_empty() => empty("The window has no rows.", "HAVING left out every group."),
        Some(table) => html! {
            (result_table("Rows of the window", table))
            @if table.truncated {
                p.muted {
                    "The first "
                    (human::count(table.rows.len() as u64))
                    " rows, of "
                    (count_or_dash(data.window.rows))
                    "."
                }
            }
        },
        None if data.open.is_some() => {
            empty("Rows are written when the window closes.", "Until then it collects messages.")
        }
        None => empty("The rows are not here to be shown.", "Their file is retired, or cannot be read."),
    }
}

fn origin(data: &WindowDetail) -> Markup {
    if data.files.is_empty() {
        return empty("There is no file yet.", "It will list here the offsets of every message that it is made of.");
    }
    html! {
        ({
            scrolling(
                "Files of all versions",
                &html! {
                    table.data { thead { tr { th.num scope = "col" { "Version" } th scope
                    = "col" { "File" } th.num scope = "col" { "Rows" } th.num scope =
                    "col" { "Size" } th scope = "col" { "SHA-256" } th.num scope = "col"
                    { "Commit" } th scope = "col" { "Published" } } } tbody { @ for file
                    in & data.files { tr { th.num scope = "row" { (file.version) @ if
                    file.retired { " "(pill(StateTone::Calm, "retired")) } } td {
                    (file_name(& file.name, file.url.as_deref())) } td.num {
                    (human::count(file.rows)) } td.num { (words::rough_size(file.bytes))
                    } td { code.hash title = (file.sha256) { (file.sha256.chars()
                    .take(HASH_DIGITS).collect::< String > ()) "…" } } td.num {
                    (count_or_dash(file.seq)) } td { (instant_or_dash(file
                    .published_at_us)) } } } } }
                },
            )
        })
        @if let Some(file) = data.files.last() { (offsets(file)) }
        p.muted {
            code { "turnstile replay" }
            " makes the file again from these messages, byte for byte."
        }
    }
}

fn offsets(file: &WindowFile) -> Markup {
    html! {
        h3 { "Offsets of version " (file.version) }
        @if file.sources.is_empty() {
            p.muted { "Not recorded." }
        } @else { (ranges("Offset ranges", &file.sources)) }
    }
}

fn ranges(label: &str, sources: &[OffsetRange]) -> Markup {
    scrolling(
        label,
        &html! {
            table.data.narrow {
                thead {
                    tr {
                        th scope="col" { "Partition" }
                        th.num scope="col" { "First" }
                        th.num scope="col" { "Last" }
                        th.num scope="col" { "Messages of this window" }
                    }
                }
                tbody {
                    @for range in sources {
                        tr {
                            th scope="row" { (range.partition) }
                            td.num { (range.first) }
                            td.num { (range.last) }
                            td.num {
                                @if range.messages > 0 { (human::count(range.messages)) } @else { "not counted" }
                            }
                        }
                    }
                }
            }
            // A cluster tells which blocks of offsets a window's messages stand in.
            @if sources.iter().any(|range| range.messages == 0) {
                p.muted { "These ranges hold the window's messages among others." }
            }
        },
    )
}

fn failed(failed: &[FailedWindow]) -> Markup {
    html! {
        @if !failed.is_empty() {
            ({
                card(
                    "failed",
                    "Groups that could not be computed",
                    &html! {
                        @ for version in failed { p { (human::plural(version.groups,
                        "group")) " of version "(version.version) " "(if version.groups
                        == 1 { "is" } else { "are" })
                        " left out. No message is lost: replay the window with a corrected query."
                        } (scrolling("Failed groups", & html! { table.data { thead { tr {
                        th scope = "col" { "Group" } th scope = "col" { "Why" } } } tbody
                        { @ for group in & version.shown { tr { th scope = "row" { (group
                        .key) } td { (group.reason) } } } } } })) }
                    },
                )
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use turnstile_message::TopicPartition;

    #[test]
    fn offset_ranges_name_their_partition() {
        let range = OffsetRange { partition: TopicPartition::new("t<i>", 3), first: 7, last: 1_000_000, messages: 5 };
        let html = ranges("Offsets", std::slice::from_ref(&range)).into_string();
        assert!(html.contains("t&lt;i&gt;[3]") && html.contains(">1000000<"), "{html}");
        assert!(html.contains(">5<") && !html.contains("among others"), "{html}");
        let coarse = OffsetRange { messages: 0, ..range };
        let html = ranges("Offsets", &[coarse]).into_string();
        assert!(html.contains("not counted") && html.contains("among others"), "{html}");
    }
}
