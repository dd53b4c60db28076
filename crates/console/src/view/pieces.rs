//! What several pages are made of: states with their words, panels for errors and for nothing, links, tables of rows.

use maud::{Markup, html};
use turnstile_values::human;

use crate::data::{CellKind, ConsoleError, NoteSeverity, RunCondition, SqlTable, WindowCondition};

/// What a page is rendered with, besides the data.
#[derive(Debug, Clone)]
pub(crate) struct PageContext {
    /// The pipeline.
    pub(crate) pipeline: String,
    /// The wall clock.
    pub(crate) now_us: i64,
    /// Why no action is offered.
    pub(crate) read_only: Option<String>,
}

impl PageContext {
    /// The address of a page of this pipeline.
    pub(crate) fn href(&self, path: &str) -> String {
        format!("/p/{}/{path}", self.pipeline)
    }
}

/// How a state is coloured. The word beside it says the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StateTone {
    Good,
    Busy,
    Warn,
    Bad,
    Calm,
}

impl StateTone {
    pub(crate) fn class(self) -> &'static str {
        match self {
            StateTone::Good => "good",
            StateTone::Busy => "busy",
            StateTone::Warn => "warn",
            StateTone::Bad => "bad",
            StateTone::Calm => "calm",
        }
    }
}

/// A state: a coloured mark and its word.
pub(crate) fn pill(tone: StateTone, word: &str) -> Markup {
    html! {
        span class={ "pill " (tone.class()) } {
            span.mark aria-hidden="true" {}
            (word)
        }
    }
}

/// The state of a window.
pub(crate) fn window_pill(condition: WindowCondition) -> Markup {
    let tone = match condition {
        WindowCondition::Open => StateTone::Busy,
        WindowCondition::Closed => StateTone::Good,
        WindowCondition::Corrected => StateTone::Warn,
        WindowCondition::Retired => StateTone::Calm,
    };
    pill(tone, crate::address::condition_word(condition))
}

/// The state of a run, in Prefect's words.
pub(crate) fn run_pill(condition: RunCondition) -> Markup {
    let (tone, word) = run_words(condition);
    pill(tone, word)
}

/// StateTone and word of a run's state.
pub(crate) fn run_words(condition: RunCondition) -> (StateTone, &'static str) {
    match condition {
        RunCondition::Scheduled => (StateTone::Calm, "Scheduled"),
        RunCondition::Pending => (StateTone::Calm, "Pending"),
        RunCondition::Running => (StateTone::Busy, "Running"),
        RunCondition::Late => (StateTone::Warn, "Late"),
        RunCondition::Completed => (StateTone::Good, "Completed"),
        RunCondition::Failed => (StateTone::Bad, "Failed"),
        RunCondition::Crashed => (StateTone::Bad, "Crashed"),
        RunCondition::Cancelling => (StateTone::Warn, "Cancelling"),
        RunCondition::Cancelled => (StateTone::Warn, "Cancelled"),
        RunCondition::Paused => (StateTone::Warn, "Paused"),
    }
}

/// StateTone and word of a note.
pub(crate) fn severity_pill(severity: NoteSeverity) -> Markup {
    match severity {
        NoteSeverity::Info => pill(StateTone::Calm, "note"),
        NoteSeverity::Warning => pill(StateTone::Warn, "warning"),
        NoteSeverity::Error => pill(StateTone::Bad, "error"),
    }
}

/// A section of a page under its heading.
pub(crate) fn card(id: &str, heading: &str, content: &Markup) -> Markup {
    html! {
        section.card aria-labelledby={ "h-" (id) } {
            h2 id={ "h-" (id) } { (heading) }
            (content)
        }
    }
}

/// What stands where there is nothing to show yet: what is missing, and when it comes.
pub(crate) fn empty(fact: &str, next: &str) -> Markup {
    html! {
        div.empty {
            p.fact { (fact) }
            @if !next.is_empty() {
                p { (next) }
            }
        }
    }
}

/// What stands where something could not be read: fact, cause, next step.
pub(crate) fn problem(error: &ConsoleError) -> Markup {
    html! {
        div.problem role="alert" {
            p.fact { (pill(StateTone::Bad, "error")) " " (sentence(&error.to_string())) }
            @if let Some(cause) = error.cause() {
                p {
                    span.label { "Cause: " }
                    (sentence(&cause))
                }
            }
            @if let Some(hint) = error.hint() {
                p {
                    span.label { "What to do: " }
                    (hint)
                }
            }
        }
    }
}

/// The text with a capital and a period.
pub(crate) fn sentence(text: &str) -> String {
    let mut chars = text.trim().chars();
    let first = chars.next().map(|c| c.to_uppercase().to_string()).unwrap_or_default();
    let end = if text.trim_end().ends_with(['.', '!', '?']) { "" } else { "." };
    format!("{first}{}{end}", chars.as_str())
}

/// A name, as a link where it has an address that a browser may open.
pub(crate) fn file_name(name: &str, url: Option<&str>) -> Markup {
    let url = url.filter(|url| url.starts_with("https://") || url.starts_with("http://"));
    html! {
        @match url {
            Some(url) => a.file href=(url) rel="noreferrer noopener" { (name) },
            None => span.file { (name) },
        }
    }
}

/// A table that scrolls sideways where it is wider than the page, and can be scrolled with the keyboard.
pub(crate) fn scrolling(label: &str, table: &Markup) -> Markup {
    html! {
        div.scroll role="group" tabindex="0" aria-label=(label) { (table) }
    }
}

/// The rows of a result.
pub(crate) fn result_table(label: &str, table: &SqlTable) -> Markup {
    let class = |at: usize| match table.columns.get(at).map(|column| column.kind) {
        Some(CellKind::Number) => "num",
        _ => "",
    };
    scrolling(
        label,
        &html! {
            table.data {
                caption.hidden { (label) }
                thead {
                    tr {
                        @for (at, column) in table.columns.iter().enumerate() {
                            th scope="col" class=(class(at)) {
                                (column.name)
                                " "
                                small.type { (column.type_name) }
                            }
                        }
                    }
                }
                tbody {
                    @for row in &table.rows {
                        tr {
                            @for (at, cell) in row.iter().enumerate() {
                                td class=(class(at)) {
                                    @match cell {
                                        Some(text) => (text),
                                        None => span.null { "null" },
                                    }
                                }
                            }
                        }
                    }
                }
            }
        },
    )
}

/// Links to the pages before and after this one.
pub(crate) fn pager(
    href: impl Fn(u64) -> String,
    offset: u64,
    shown: usize,
    total: u64,
    limit: usize,
    noun: &str,
) -> Markup {
    let (limit, shown) = (limit as u64, shown as u64);
    html! {
        nav.pager aria-label={ "Pages of " (noun) } {
            @if offset > 0 {
                a rel="prev" href=(href(offset.saturating_sub(limit))) { "← Newer" }
            }
            span {
                (human::count((offset + 1).min(total)))
                "–"
                (human::count(offset + shown))
                " of "
                (human::count(total))
                " "
                (noun)
            }
            @if offset + shown < total {
                a rel="next" href=(href(offset + limit)) { "Older →" }
            }
        }
    }
}

/// A button of the page's one form, which has the secret that proves that the form is ours.
pub(crate) fn action_button(action: &str, name: &str, value: &str, text: &str) -> Markup {
    html! {
        button.action type="submit" form="actions" formaction=(action) name=(name) value=(value) { (text) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_web_addresses_become_links() {
        assert!(file_name("a", Some("https://store/a")).into_string().contains("href"));
        for url in ["javascript:alert(1)", "file:///etc/passwd", "gs://bucket/a", "data:text/html,x"] {
            assert!(!file_name("a", Some(url)).into_string().contains("href"), "{url}");
        }
    }

    #[test]
    fn a_message_becomes_a_sentence() {
        assert_eq!(sentence("the broker is away"), "The broker is away.");
        assert_eq!(sentence("Try again."), "Try again.");
        assert_eq!(sentence(""), ".");
    }
}
