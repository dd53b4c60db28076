//! The pipeline: its plan as a picture, its schemas, its file.

use maud::{Markup, html};

use super::pieces::{card, empty, scrolling};
use super::plan_picture::plan_picture;
use crate::data::{PipelineDescription, SchemaColumn};
use crate::fragment::Fragment;

/// The fragments of the page.
pub(crate) fn pipeline(data: &PipelineDescription) -> Vec<Fragment> {
    let content = html! {
        div.headline {
            h1 { "Pipeline" }
            @if let Some(name) = &data.file_name {
                p {
                    code { (name) }
                }
            }
            @if let Some(hash) = &data.plan_hash {
                p.muted {
                    "Plan "
                    code { (hash) }
                    ": all that determines the results."
                }
            }
        }
        (card("plan", "Plan", &plan_picture(&data.plan)))
        div.pair {
            ({
                card(
                    "message",
                    "A message",
                    &schema("Columns of a message", &data.message),
                )
            })
            ({
                card(
                    "aggregate",
                    "An aggregate",
                    &schema("Columns of an aggregate", &data.aggregate),
                )
            })
        }
        ({
            card(
                "file",
                "File",
                &match &data.file_text {
                    Some(text) => file(text),
                    None => {
                        empty(
                            "The pipeline file is not at hand.",
                            "Only the ledger is known here; it records the plan's hash, not the file.",
                        )
                    }
                },
            )
        })
    };
    vec![Fragment::new("pipeline", content)]
}

fn schema(label: &str, columns: &[SchemaColumn]) -> Markup {
    if columns.is_empty() {
        return empty("The schema is not known here.", "It is read from the pipeline file.");
    }
    scrolling(
        label,
        &html! {
            table.data.narrow {
                thead {
                    tr {
                        th scope="col" { "Column" }
                        th scope="col" { "Type" }
                        th scope="col" { "Meaning" }
                    }
                }
                tbody {
                    @for column in columns {
                        tr {
                            th scope="row" {
                                code { (column.name) }
                            }
                            td { (column.type_name) }
                            td.muted { (column.note.as_deref().unwrap_or("")) }
                        }
                    }
                }
            }
        },
    )
}

/// The text with its comments and section names set apart.
fn file(text: &str) -> Markup {
    html! {
        div.scroll role="group" tabindex="0" aria-label="Pipeline file" {
            pre.file {
                @for line in text.lines() {
                    @if line.trim_start().starts_with('#') {
                        span.comment { (line) }
                    } @else if line.starts_with('[') {
                        span.section { (line) }
                    } @else { (line) }
                    "\n"
                }
            }
        }
    }
}
