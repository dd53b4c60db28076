//! What became of every message, and whether the counters add up.

use maud::{Markup, html};
use turnstile_message::Counters;
use turnstile_values::human;

use super::chart::stacked_bar;
use super::pieces::{StateTone, card, empty, pill};
use crate::data::PipelineOverview;

/// What each term means, in order of [`Counters::terms`].
const TERMS: [(&str, &str); 6] = [
    ("aggregated", "part of at least one window"),
    ("filtered", "left out by WHERE"),
    ("duplicate", "seen before"),
    ("late", "came after their window was closed"),
    ("dead-lettered", "could not be processed"),
    ("tombstones", "without a value"),
];

pub(crate) fn conservation(data: &PipelineOverview) -> Markup {
    let counters = &data.counters;
    let terms: Vec<_> =
        TERMS.iter().zip(counters.terms()).map(|((name, what), (_, count))| (*name, *what, count)).collect();
    let badge = match data.imbalance {
        None => pill(StateTone::Good, "adds up"),
        Some(_) => pill(StateTone::Bad, "does not add up"),
    };
    card(
        "conservation",
        "Where every message went",
        &html! {
            @if counters.read == 0 {
                ({
                    empty(
                        "No message is committed yet.",
                        "Every message that is read will be counted here, under one of six fates.",
                    )
                })
            } @else {
                p {
                    (badge)
                    " Read "
                    strong { (human::count(counters.read)) }
                    " = the sum of:"
                }
                ({
                    stacked_bar(
                        "What became of the messages",
                        &terms
                            .iter()
                            .map(|(name, _, count)| (*name, *count))
                            .collect::<Vec<_>>(),
                    )
                })
                table.data.narrow {
                    thead {
                        tr {
                            th scope="col" { "Fate" }
                            th.num scope="col" { "Messages" }
                            th.num scope="col" { "Share" }
                            th.wide scope="col" { "Meaning" }
                        }
                    }
                    tbody {
                        @for (at, (name, what, count)) in terms.iter().enumerate() {
                            tr {
                                th scope="row" {
                                    span class={ "key s" (at) } aria-hidden="true" {}
                                    (name)
                                }
                                td.num { (human::count(*count)) }
                                td.num { (share(*count, counters.read)) }
                                td.wide.muted { (what) }
                            }
                        }
                    }
                }
                (others(counters))
            }
        },
    )
}

fn others(counters: &Counters) -> Markup {
    html! {
        @if counters.corrections > 0 {
            p.muted {
                (human::plural(counters.corrections, "late message"))
                " corrected a window that was published before."
            }
        }
        @if counters.ambiguous_times + counters.nonexistent_times > 0 {
            p.muted {
                "Local times at a clock change: "
                (human::count(counters.ambiguous_times))
                " that happened twice, "
                (human::count(counters.nonexistent_times))
                " that never happened."
            }
        }
    }
}

fn share(part: u64, whole: u64) -> String {
    if whole == 0 {
        return "–".to_owned();
    }
    let percent = part as f64 * 100.0 / whole as f64;
    match part {
        0 => "0 %".to_owned(),
        _ if percent < 0.01 => "< 0.01 %".to_owned(),
        _ if part < whole && percent > 99.99 => "> 99.99 %".to_owned(),
        _ => format!("{percent:.2} %"),
    }
}
