//! The kafka room against a real broker; one file a story.

mod broker;
mod consuming;
mod handshake;
mod outage;
mod producing;
mod reading;
mod refusal;
mod security;
mod times;
mod topics;
mod unreachable;
