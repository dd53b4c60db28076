//! The overview: is it running, how far behind, what is open, what went wrong, does it add up.

use maud::{Markup, html};
use turnstile_values::human;

use super::conservation::conservation;
use super::figures::numbers;
use super::overview_tables::{files, note_panel, notes, targets};
use super::pieces::{PageContext, StateTone, card, pill, sentence};
use super::words::{age, elapsed};
use crate::data::{NoteSeverity, PipelineActivity, PipelineOverview};
use crate::fragment::Fragment;

/// The overview's fragments.
pub(crate) fn overview(context: &PageContext, data: &PipelineOverview) -> Vec<Fragment> {
    vec![
        Fragment::new("state", headline(context, data)),
        Fragment::new("numbers", numbers(context, data)),
        Fragment::new("conservation", conservation(data)),
        Fragment::new("targets", card("targets", "Warehouse and targets", &targets(context, data.targets.as_deref()))),
        Fragment::new("files", card("files", "Last files", &files(context, &data.files))),
        Fragment::new("notes", card("notes", "Notes and alerts", &notes(context, &data.notes))),
    ]
}

/// The few words in the header of every page.
pub(crate) fn pulse(data: &PipelineOverview) -> Markup {
    let (tone, word) = activity_words(&data.activity);
    html! {
        (pill(tone, word))
        @if let Some(throughput) = &data.throughput {
            span.fact { (human::rate(throughput.messages_per_second)) }
        }
        @if let Some(records) = data.lag.as_ref().and_then(|lag| lag.records) {
            span.fact.wide { (human::count(records)) " behind" }
        }
    }
}

/// StateTone and word of what a pipeline does.
pub(crate) fn activity_words(activity: &PipelineActivity) -> (StateTone, &'static str) {
    match activity {
        PipelineActivity::NeverRun => (StateTone::Calm, "never run"),
        PipelineActivity::Starting { .. } => (StateTone::Busy, "starting"),
        PipelineActivity::Running { .. } => (StateTone::Good, "running"),
        PipelineActivity::Quiet { .. } => (StateTone::Good, "running, quiet"),
        PipelineActivity::Waiting { .. } => (StateTone::Warn, "waiting"),
        PipelineActivity::Stopped { .. } => (StateTone::Calm, "not running"),
        PipelineActivity::Failed { .. } => (StateTone::Bad, "failed"),
        PipelineActivity::Crashed { .. } => (StateTone::Bad, "crashed"),
    }
}

fn headline(context: &PageContext, data: &PipelineOverview) -> Markup {
    let (tone, word) = activity_words(&data.activity);
    let urgent = data.notes.iter().filter(|note| note.severity > NoteSeverity::Info && note.resolved_at_us.is_none());
    html! {
        div.headline {
            h1 { "Overview" }
            (pill(tone, word))
            p { (activity_sentence(context, &data.activity)) }
            @if let Some(why) = &context.read_only {
                p.muted { (sentence(why)) }
            }
        }
        @for note in urgent.take(3) { (note_panel(note, context.now_us)) }
        @if let Some(imbalance) = &data.imbalance {
            div.problem role="alert" {
                p.fact { (pill(StateTone::Bad, "error")) " The counters do not add up: " (imbalance) "." }
                p {
                    span.label { "What to do: " }
                    "Run "
                    code { "turnstile audit" }
                    ": it reads every file and names what is missing."
                }
            }
        }
    }
}

fn activity_sentence(context: &PageContext, activity: &PipelineActivity) -> Markup {
    let now_us = context.now_us;
    html! {
        @match activity {
            PipelineActivity::NeverRun => {
                "Nothing was read yet. Start it with "
                code { "turnstile run" }
                "."
            }
            PipelineActivity::Starting { since_us } => {
                "Assigning partitions and reading state for "
                (elapsed(*since_us, now_us))
                "."
            }
            PipelineActivity::Running { since_us, process } => {
                "For "
                (elapsed(*since_us, now_us))
                @if !process.is_empty() { " on " (process) }
                "."
            }
            PipelineActivity::Quiet { since_us } => {
                "Everything is read; no message has arrived for "
                (elapsed(*since_us, now_us))
                "."
            }
            PipelineActivity::Waiting { since_us, why } => {
                (sentence(why))
                " It has waited for "
                (elapsed(*since_us, now_us))
                "."
            }
            PipelineActivity::Stopped { at_us } => {
                "It ended as it should, "
                (age(*at_us, now_us))
                ". What is shown is its last state."
            }
            PipelineActivity::Failed { at_us, why } => {
                "It ended with an error "
                (age(*at_us, now_us))
                ": "
                (sentence(why))
            }
            PipelineActivity::Crashed { seen_at_us } => {
                "Its process has not been seen since "
                (age(*seen_at_us, now_us))
                ". The next start continues from the last commit; nothing is lost."
            }
        }
    }
}
