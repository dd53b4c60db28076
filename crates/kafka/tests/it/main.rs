//! The kafka room against a real broker; one file a story.

mod broker;
mod outage;
mod producing;
mod reading;
mod refusal;
mod topics;
mod unreachable;
