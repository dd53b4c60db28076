//! How tests get servers.
//!
//! In: environment variables that `cargo xtask test` sets once its servers answer.
//! Out: addresses of shared servers ([`kafka`], [`registry`], [`s3`], [`gcs`], [`azure`], [`postgres`], [`bigquery`],
//! [`prefect`])
//! and, for tests that kill their broker, their own servers ([`servers`]).
//! Refuses to know: how servers are fetched (that is xtask's), and what the tests send to them.
//! Start reading at [`kafka`]; for a separate broker at [`servers::KafkaServer`].
//!
//! A test that needs a server is marked, so that plain `cargo test` shows that it did not run:
//!
//! ```text
//! #[test]
//! #[ignore = "needs servers: cargo xtask test"]
//! fn a_topic_is_created() {
//!     let bootstrap = turnstile_testkit::kafka();
//!     …
//! }
//! ```
//!
//! The shared servers outlive a test and are used by many tests at once: every test names its own
//! topic, key prefix or folder, and none deletes what it did not create.

mod address;
pub mod servers;

pub use address::{
    Azure, BigQuery, Gcs, Postgres, S3, azure, bigquery, browser, browser_modules, checkers, gcs, jdbc, kafka,
    postgres, prefect, prefect_home, promtool, python, registry, s3, spark, spark_jars, telemetry, var,
};
pub use servers::kafka_home;
