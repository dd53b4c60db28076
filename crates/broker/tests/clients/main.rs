//! What Kafka clients may rely on, asked through librdkafka.
//!
//! Each test starts an embedded broker of its own, on disk; `apache` then asks Apache Kafka the same
//! questions, all but those of `embedded`, by running this binary again.

mod apache;
mod embedded;
mod groups;
mod messages;
mod offsets;
mod others;
mod target;
mod topics;
