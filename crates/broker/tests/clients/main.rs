//! What Kafka clients may rely on, asked through librdkafka.
//!
//! Every test but those of `embedded` runs against any broker: `TURNSTILE_TEST_KAFKA=host:port cargo test
//! -p turnstile-broker --test clients -- --skip embedded` asks Apache Kafka the same questions. Without
//! the variable each test starts an embedded broker of its own, on disk.

mod embedded;
mod groups;
mod messages;
mod offsets;
mod target;
mod topics;
