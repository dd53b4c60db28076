//! Dead letters: why messages were rejected, what they are, and the way to send them again.

use maud::{Markup, html};
use turnstile_values::human;

use super::chart::stacked_bar;
use super::pieces::{PageContext, action_button, empty};
use super::words::{self, age, instant, message_bytes};
use crate::data::{DeadLetterReason, DeadLetterSample, DeadLetterSummary};
use crate::fragment::Fragment;

/// Samples that are shown of each reason.
const MAX_SAMPLES: usize = 5;

/// Bytes that are shown of a value.
const MAX_VALUE_BYTES: usize = 512;

/// Bytes that are shown of a key.
const MAX_KEY_BYTES: usize = 64;

/// Reasons that are shown.
const MAX_REASONS: usize = 50;

/// The fragments of the page.
pub(crate) fn dead_letters(context: &PageContext, data: &DeadLetterSummary) -> Vec<Fragment> {
    let total = data.reasons.iter().map(|reason| reason.count).sum::<u64>();
    let headline = html! {
        div.headline {
            h1 { "Dead letters" }
            p {
                @if total > 0 {
                    (human::plural(total, "message"))
                    " in "
                    (human::plural(data.files, "file"))
                    @if !data.scope.is_empty() { ", " (data.scope) }
                    ". Their bytes and positions are kept in the lake."
                }
            }
        }
        @if total > 0 {
            ({
                stacked_bar(
                    "Dead letters by reason",
                    &data
                        .reasons
                        .iter()
                        .map(|reason| (reason.reason.as_str(), reason.count))
                        .take(6)
                        .collect::<Vec<_>>(),
                )
            })
        }
    };
    let content = match total {
        0 => empty(
            "No message was rejected.",
            "Messages that cannot be processed are kept here with the reason, so that none is lost.",
        ),
        _ => {
            html! {
                @for (at, group) in data.reasons.iter().take(MAX_REASONS).enumerate() { (reason(context, at, group)) }
            }
        }
    };
    vec![Fragment::new("summary", headline), Fragment::new("reasons", content)]
}

fn reason(context: &PageContext, at: usize, group: &DeadLetterReason) -> Markup {
    let word = id_part(&group.reason);
    html! {
        section.card.reason id={ "reason-" (word) } aria-labelledby={ "r-" (word) } {
            h2 id={ "r-" (word) } {
                span class={ "key s" (at % 6) } aria-hidden="true" {}
                (group.reason)
                " "
                span.count { (human::count(group.count)) }
            }
            @if let Some(explanation) = &group.explanation {
                p { (explanation) }
            }
            p.muted {
                @if let Some(first_us) = group.first_at_us { "First " (age(first_us, context.now_us)) }
                @if let Some(last_us) = group.last_at_us { ", last " (age(last_us, context.now_us)) }
            }
            @if group.samples.is_empty() {
                p.muted { "No sample can be read." }
            } @else { (samples(group)) }
            (requeue(context, group))
        }
    }
}

fn samples(group: &DeadLetterReason) -> Markup {
    html! {
        ul.samples aria-label={ "Samples of " (group.reason) } {
            @for one in group.samples.iter().take(MAX_SAMPLES) {
                li { (sample(one)) }
            }
        }
    }
}

fn sample(sample: &DeadLetterSample) -> Markup {
    let (value, form) = message_bytes(&sample.value, MAX_VALUE_BYTES);
    let shown = sample.value.len().min(MAX_VALUE_BYTES) as u64;
    html! {
        p.where {
            strong { (sample.partition) " @ " (sample.offset) }
            @if let Some(at_us) = sample.timestamp_us { " · " (instant(at_us)) }
            @if let Some(field) = sample.field.as_deref().filter(|field| !field.is_empty()) {
                " · field "
                code { (field) }
            }
            " · key "
            @match &sample.key {
                Some(key) => code { (message_bytes(key, MAX_KEY_BYTES).0) },
                None => span.null { "null" },
            }
        }
        @if sample.value_bytes == 0 {
            p {
                span.null { "empty" }
            }
        } @else {
            pre.bytes { (value) }
        }
        p.muted {
            small {
                (form)
                ", "
                (words::rough_size(sample.value_bytes))
                @if shown < sample.value_bytes { ", the first " (human::count(shown)) " shown" }
            }
        }
    }
}

fn requeue(context: &PageContext, group: &DeadLetterReason) -> Markup {
    html! {
        @if let Some(warning) = &group.warning {
            p.warning { (warning) }
        }
        @if group.can_requeue && context.read_only.is_none() {
            details.confirm id={ "requeue-" (id_part(&group.reason)) } {
                summary { "Send again…" }
                p {
                    "Each of these "
                    (human::plural(group.count, "message"))
                    " is sent to the topic that it came from, with its key, value and timestamp. What is still wrong with it will bring it back here. Correct the pipeline first."
                }
                ({
                    action_button(
                        &context.href("dead-letters/requeue"),
                        "reason",
                        &group.reason,
                        &format!("Send {} again", human::plural(group.count, "message")),
                    )
                })
            }
        }
    }
}

/// The reason as a part of ids. They name the reason, not its place: a live page must not turn a button that a person is
/// about to click into another reason's.
fn id_part(reason: &str) -> String {
    reason.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect()
}
