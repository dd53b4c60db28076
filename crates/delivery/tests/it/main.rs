//! Targets against real servers; one folder a target, one file a story.

#[cfg(feature = "postgres")]
mod postgres;
