//! What Kafka clients may rely on, tested through librdkafka.
//!
//! Each test starts its own embedded broker, on disk; `apache` then runs the same tests, all but those of
//! `embedded`, against Apache Kafka by running this binary again.

mod apache;
mod embedded;
mod groups;
mod messages;
mod offsets;
mod others;
mod target;
mod topics;
