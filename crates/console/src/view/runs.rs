//! Flow runs: the list, and one with its tasks and log.

use maud::{Markup, html};
use turnstile_values::human;

use super::gantt::gantt;
use super::pieces::{
    PageContext, action_button, card, empty, file_name, pager, run_pill, scrolling, sentence, severity_pill,
};
use super::words::{self, age, elapsed, instant, short_duration};
use crate::data::{RunCondition, RunDetail, RunListing, RunPage, TaskListing};
use crate::fragment::Fragment;

/// Runs on one page.
pub(crate) const PAGE_RUNS: usize = 50;

/// Task runs that are shown of a run.
pub(crate) const MAX_TASKS: usize = 200;

/// Lines of a run's log that are shown.
pub(crate) const MAX_LOGS: usize = 500;

/// The fragments of the list.
pub(crate) fn runs(context: &PageContext, page: &RunPage, offset: u64) -> Vec<Fragment> {
    let content = match page.runs.is_empty() {
        true => empty(
            "No run is recorded yet.",
            "Every start of the pipeline becomes a flow run here, with its tasks and its log.",
        ),
        false => html! {
            (list(context, page))
            ({
                pager(
                    |after| format!("{}?after={after}", context.href("runs")),
                    offset,
                    page.runs.len(),
                    page.total,
                    PAGE_RUNS,
                    "runs",
                )
            })
        },
    };
    let content = html! {
        div.headline {
            h1 { "Runs" }
            p { "Flow runs of this pipeline, newest first." }
        }
        (card("runs", "Flow runs", &content))
    };
    vec![Fragment::new("runs", content)]
}

fn list(context: &PageContext, page: &RunPage) -> Markup {
    scrolling(
        "Flow runs",
        &html! {
            table.data {
                thead {
                    tr {
                        th scope="col" { "Run" }
                        th scope="col" { "State" }
                        th scope="col" { "Flow" }
                        th scope="col" { "Began" }
                        th.num scope="col" { "Took" }
                        th scope="col" { "Where" }
                        th scope="col" { "Why" }
                    }
                }
                tbody {
                    @for run in &page.runs {
                        tr {
                            th scope="row" {
                                a href={ (context.href("runs")) "/" (run.id) } { (run.name) }
                            }
                            td { (run_pill(run.condition)) }
                            td { (run.flow) }
                            td { (age(run.started_at_us, context.now_us)) }
                            td.num { ({
                                took(
                                    context,
                                    run.started_at_us,
                                    run.ended_at_us,
                                    run.condition,
                                )
                            }) }
                            td { (run.process) }
                            td { (run.message.as_deref().unwrap_or("")) }
                        }
                    }
                }
            }
        },
    )
}

/// The fragments of one run.
pub(crate) fn run(context: &PageContext, data: &RunDetail) -> Vec<Fragment> {
    vec![
        Fragment::new("run", headline(context, data)),
        Fragment::new("tasks", card("tasks", "Tasks", &tasks(context, data))),
        Fragment::new("logs", card("logs", "Log", &logs(data))),
    ]
}

fn headline(context: &PageContext, data: &RunDetail) -> Markup {
    let run: &RunListing = &data.run;
    html! {
        nav.pager aria-label="Runs" {
            a href=(context.href("runs")) { "All runs" }
        }
        div.headline {
            h1 { "Run " (run.name) }
            (run_pill(run.condition))
            p {
                (run.flow)
                @if !run.process.is_empty() { " on " (run.process) }
            }
        }
        @if let Some(message) = &run.message {
            p .problem[matches!(run.condition, RunCondition::Failed | RunCondition::Crashed)] { (sentence(message)) }
        }
        (facts(context, run))
        @if !data.parameters.is_empty() {
            details id="parameters" {
                summary { "Parameters" }
                dl.keys {
                    @for (name, value) in &data.parameters {
                        dt { (name) }
                        dd {
                            code { (value) }
                        }
                    }
                }
            }
        }
        @if data.can_cancel && context.read_only.is_none() { (cancel(context, run)) }
    }
}

fn facts(context: &PageContext, run: &RunListing) -> Markup {
    html! {
        dl.facts {
            div { dt { "Began" } dd { (instant(run.started_at_us)) } }
            div {
                dt { "Ended" }
                dd { @match run.ended_at_us { Some(at_us) => (instant(at_us)), None => "not yet" } }
            }
            div { dt { "Took" } dd { (took(context, run.started_at_us, run.ended_at_us, run.condition)) } }
            div { dt { "Id" } dd { code { (run.id) } } }
        }
    }
}

fn cancel(context: &PageContext, run: &RunListing) -> Markup {
    let action = format!("{}/{}/cancel", context.href("runs"), run.id);
    html! {
        details.confirm id="cancel" {
            summary { "Cancel…" }
            p {
                "The run stops reading, commits what it has read and ends. Nothing is lost; the next start continues "
                "from there."
            }
            (action_button(&action, "run", &run.id, "Cancel this run"))
        }
    }
}

fn took(context: &PageContext, started_at_us: i64, ended_at_us: Option<i64>, condition: RunCondition) -> Markup {
    html! {
        @match ended_at_us {
            Some(at_us) => (short_duration(at_us - started_at_us)),
            None if matches!(condition, RunCondition::Running | RunCondition::Late | RunCondition::Cancelling) => (elapsed(started_at_us, context.now_us)),
            None => (words::unknown()),
        }
    }
}

fn tasks(context: &PageContext, data: &RunDetail) -> Markup {
    if data.tasks.is_empty() {
        return empty("No task has run yet.", "Each published window and each load becomes a task run.");
    }
    html! {
        @if data.tasks_total > data.tasks.len() as u64 {
            p.muted { "The newest " (human::count(data.tasks.len() as u64)) " of " (human::count(data.tasks_total)) "." }
        }
        (gantt(&data.tasks, context.now_us))
        details id="task-table" {
            summary { "Table of tasks" }
            ({
                scrolling(
                    "Task runs",
                    &html! {
                        table.data { thead { tr { th scope = "col" { "Task" } th scope =
                        "col" { "State" } th scope = "col" { "Began" } th.num scope =
                        "col" { "Took" } th.num scope = "col" { "Retries" } th scope =
                        "col" { "Counts" } th scope = "col" { "Files" } } } tbody { @ for
                        task in data.tasks.iter().rev() { (task_row(context, task)) } } }
                    },
                )
            })
        }
    }
}

fn task_row(context: &PageContext, task: &TaskListing) -> Markup {
    html! {
        tr {
            th scope="row" {
                (task.task)
                " "
                span.count { (task.number) }
            }
            td {
                (run_pill(task.condition))
                @if let Some(message) = &task.message { " " (message) }
            }
            td { (instant(task.started_at_us)) }
            td.num { (took(context, task.started_at_us, task.ended_at_us, task.condition)) }
            td.num { (task.retries) }
            td {
                @for (at, (name, count)) in task.counts.iter().enumerate() {
                    @if at > 0 { ", " }
                    (name)
                    " "
                    (human::count(*count))
                }
            }
            td {
                @for (name, url) in &task.files {
                    div { (file_name(name, url.as_deref())) }
                }
            }
        }
    }
}

fn logs(data: &RunDetail) -> Markup {
    if data.logs.is_empty() {
        return empty("The log is empty.", "");
    }
    html! {
        @if data.logs_total > data.logs.len() as u64 {
            p.muted {
                "The newest "
                (human::count(data.logs.len() as u64))
                " of "
                (human::count(data.logs_total))
                " lines; "
                code { "turnstile runs logs" }
                " prints all."
            }
        }
        ol.log tabindex="0" aria-label="Lines of the log" {
            @for entry in &data.logs {
                li {
                    (instant(entry.at_us))
                    " "
                    (severity_pill(entry.severity))
                    " "
                    span.text { (entry.text) }
                }
            }
        }
    }
}
