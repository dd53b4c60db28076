//! The list of windows: a picture of when they were, and a table beside it.

use maud::{Markup, html};
use turnstile_values::human;

use super::pieces::{PageContext, card, empty, pager, scrolling, window_pill};
use super::timeline::timeline;
use super::words::{self, count_or_dash, instant, instant_or_dash, unknown};
use crate::address::{condition_word, window_href};
use crate::data::{WindowCondition, WindowPage};
use crate::fragment::Fragment;

/// Windows on one page.
pub(crate) const PAGE_WINDOWS: usize = 50;

/// The fragments of a page of windows.
pub(crate) fn windows(
    context: &PageContext,
    page: &WindowPage,
    condition: Option<WindowCondition>,
    offset: u64,
) -> Vec<Fragment> {
    let content = match page.windows.is_empty() {
        true => card("timeline", "Timeline", &nothing(page, condition)),
        false => html! {
            (card("timeline", "Timeline", &timeline(context, page)))
            ({
                card(
                    "table",
                    "Windows, newest first",
                    &html! {
                        (table(context, page)) (pager(| after | href(context, condition,
                        after), offset, page.windows.len(), total(page, condition),
                        PAGE_WINDOWS, "windows"))
                    },
                )
            })
        },
    };
    vec![Fragment::new("filter", filter(context, page, condition)), Fragment::new("windows", content)]
}

fn filter(context: &PageContext, page: &WindowPage, selected: Option<WindowCondition>) -> Markup {
    use WindowCondition::{Closed, Corrected, Open, Retired};
    let choices = [None, Some(Open), Some(Closed), Some(Corrected), Some(Retired)];
    html! {
        div.headline {
            h1 { "Windows" }
            p { (watermark_sentence(page)) }
        }
        nav.filter aria-label="Which windows" {
            ul {
                @for choice in choices {
                    li {
                        a href=(href(context, choice, 0)) aria-current=[(choice == selected).then_some("true")] {
                            (choice.map_or("all", condition_word))
                            " "
                            span.count { (human::count(total(page, choice))) }
                        }
                    }
                }
            }
        }
    }
}

fn watermark_sentence(page: &WindowPage) -> Markup {
    html! {
        @match page.watermark_us {
            Some(at_us) => { "The watermark is at " (instant(at_us)) ": every window that ends by then is closed." }
            None => "There is no watermark yet: no window can close.",
        }
        @if let Some(end_us) = page.next_close_us { " The next closes when it passes " (words::time_of_day(end_us)) "." }
    }
}

fn nothing(page: &WindowPage, condition: Option<WindowCondition>) -> Markup {
    match (condition, page.next_close_us) {
        (None | Some(WindowCondition::Closed), Some(end_us)) => empty(
            "No window has closed yet.",
            &format!("The first closes when the watermark passes {} UTC.", words::date_time(end_us)),
        ),
        (None | Some(WindowCondition::Open), None) => {
            empty("No window is open.", "One opens when the first message with an event time is read.")
        }
        (Some(WindowCondition::Corrected), _) => {
            empty("No window was corrected.", "With late = \"correct\", late rows publish their window again.")
        }
        (Some(WindowCondition::Retired), _) => {
            empty("No window is retired.", "[lake] retain says how long windows are kept.")
        }
        _ => empty("There is no such window.", ""),
    }
}

fn total(page: &WindowPage, condition: Option<WindowCondition>) -> u64 {
    let counts = page.counts;
    match condition {
        None => counts.open + counts.closed + counts.corrected + counts.retired,
        Some(WindowCondition::Open) => counts.open,
        Some(WindowCondition::Closed) => counts.closed,
        Some(WindowCondition::Corrected) => counts.corrected,
        Some(WindowCondition::Retired) => counts.retired,
    }
}

fn href(context: &PageContext, condition: Option<WindowCondition>, after: u64) -> String {
    let show = condition.map(|condition| format!("show={}", condition_word(condition)));
    let after = (after > 0).then(|| format!("after={after}"));
    let query: Vec<_> = show.into_iter().chain(after).collect();
    let mark = if query.is_empty() { "" } else { "?" };
    format!("{}{mark}{}", context.href("windows"), query.join("&"))
}

fn table(context: &PageContext, page: &WindowPage) -> Markup {
    scrolling(
        "Windows",
        &html! {
            table.data {
                thead {
                    tr {
                        th scope="col" { "Window" }
                        th scope="col" { "State" }
                        th.num scope="col" { "Messages" }
                        th.num scope="col" { "Rows" }
                        th.num scope="col" { "Late" }
                        th.num scope="col" { "Duplicates" }
                        th.num scope="col" { "Version" }
                        th.num scope="col" { "Size" }
                        th scope="col" { "Published" }
                    }
                }
                tbody {
                    @for window in &page.windows {
                        tr {
                            th scope="row" {
                                a href=(window_href(&context.pipeline, window.start_us)) {
                                    (words::window_span(window.start_us, window.end_us))
                                }
                            }
                            td { (window_pill(window.condition)) }
                            td.num { (count_or_dash(window.messages)) }
                            td.num { (count_or_dash(window.rows)) }
                            td.num { (count_or_dash(window.late)) }
                            td.num { (count_or_dash(window.duplicates)) }
                            td.num {
                                @if window.version > 0 { (window.version) } @else { (unknown()) }
                            }
                            td.num {
                                @match window.bytes {
                                    Some(bytes) => (words::rough_size(bytes)),
                                    None => (unknown()),
                                }
                            }
                            td { (instant_or_dash(window.published_at_us)) }
                        }
                    }
                }
            }
        },
    )
}
