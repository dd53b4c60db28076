//! The tables of the overview: targets, files, notes.

use maud::{Markup, html};
use turnstile_values::{MINUTE_US, human};

use super::pieces::{PageContext, StateTone, empty, file_name, pill, scrolling, severity_pill};
use super::words::{self, age, short_seconds};
use crate::address::window_href;
use crate::data::{ConsoleNote, NoteSeverity, RecentFile, TargetOverview};

/// Files that are shown.
const MAX_FILES: usize = 10;

/// Notes that are shown.
const MAX_NOTES: usize = 20;

pub(crate) fn targets(context: &PageContext, targets: Option<&[TargetOverview]>) -> Markup {
    let Some(targets) = targets else {
        return empty(
            "What this pipeline loads is not known here.",
            "Its pipeline file says so, and this console was started without it.",
        );
    };
    if targets.is_empty() {
        return empty(
            "This pipeline loads no warehouse.",
            "Add [warehouse] to its file to query its windows with SQL.",
        );
    }
    scrolling(
        "Warehouse and targets",
        &html! {
            table.data {
                thead {
                    tr {
                        th scope="col" { "Target" }
                        th scope="col" { "State" }
                        th scope="col" { "Loaded" }
                        th.num scope="col" { "Up to commit" }
                        th.num scope="col" { "Behind" }
                    }
                }
                tbody {
                    @for target in targets {
                        tr {
                            th scope="row" { (target.name) }
                            td { (target_state(target)) }
                            td {
                                @match target.loaded_at_us {
                                    Some(at_us) => (age(at_us, context.now_us)),
                                    None => "not yet",
                                }
                                @if let Some(took) = target.took { ", took " (short_seconds(took.as_secs_f64())) }
                                @if let Some(next_us) = {
                                    target
                                        .next_at_us
                                        .filter(|next_us| *next_us > context.now_us - MINUTE_US)
                                } { "; next " (age(next_us, context.now_us)) }
                            }
                            td.num { (words::count_or_dash(target.seq)) }
                            td.num {
                                @match target.commits_behind {
                                    Some(0) => "up to date",
                                    Some(behind) => (human::plural(behind, "commit")),
                                    None => (words::unknown()),
                                }
                            }
                        }
                    }
                }
            }
        },
    )
}

fn target_state(target: &TargetOverview) -> Markup {
    html! {
        @match (&target.failing, target.tests_failed) {
            (Some(why), _) => { (pill(StateTone::Bad, "failing")) " " (why) }
            (None, 0) if target.loaded_at_us.is_none() => (pill(StateTone::Calm, "not loaded yet")),
            (None, 0) => (pill(StateTone::Good, "loaded")),
            (None, failed) => { (pill(StateTone::Warn, "tests failed")) " " (human::plural(failed, "test")) }
        }
    }
}

pub(crate) fn files(context: &PageContext, files: &[RecentFile]) -> Markup {
    if files.is_empty() {
        return empty("No file is published yet.", "The first appears when the first window closes.");
    }
    scrolling(
        "Last files",
        &html! {
            table.data {
                thead {
                    tr {
                        th scope="col" { "Window" }
                        th.num scope="col" { "Rows" }
                        th.num scope="col" { "Size" }
                        th scope="col" { "Published" }
                        th scope="col" { "File" }
                    }
                }
                tbody {
                    @for file in files.iter().take(MAX_FILES) {
                        tr {
                            th scope="row" {
                                @match file.window_start_us {
                                    Some(start_us) => a href=(window_href(&context.pipeline, start_us)) {
                                        (words::date(start_us))
                                        " "
                                        (words::time_of_day(start_us))
                                    },
                                    None => a href=(context.href("dead-letters")) { "dead letters" },
                                }
                            }
                            td.num { (human::count(file.rows)) }
                            td.num { (words::rough_size(file.bytes)) }
                            td { (age(file.at_us, context.now_us)) }
                            td { (file_name(&file.name, file.url.as_deref())) }
                        }
                    }
                }
            }
        },
    )
}

pub(crate) fn notes(context: &PageContext, notes: &[ConsoleNote]) -> Markup {
    if notes.is_empty() {
        return empty("Nothing to note.", "Errors, alerts and retries appear here.");
    }
    html! {
        ul.notes {
            @for note in notes.iter().take(MAX_NOTES) {
                li {
                    (severity_pill(note.severity))
                    " "
                    (age(note.at_us, context.now_us))
                    " "
                    span.text { (note.text) }
                    @if let Some(at_us) = note.resolved_at_us {
                        " "
                        span.muted { "resolved " (age(at_us, context.now_us)) }
                    }
                    @if let Some(hint) = &note.hint {
                        p.muted { (hint) }
                    }
                }
            }
        }
    }
}

pub(crate) fn note_panel(note: &ConsoleNote, now_us: i64) -> Markup {
    html! {
        div class=(if note.severity == NoteSeverity::Error { "problem" } else { "warning" }) {
            p.fact {
                (severity_pill(note.severity))
                " "
                (note.text)
                " "
                span.muted { (age(note.at_us, now_us)) }
            }
            @if let Some(hint) = &note.hint {
                p {
                    span.label { "What to do: " }
                    (hint)
                }
            }
        }
    }
}
