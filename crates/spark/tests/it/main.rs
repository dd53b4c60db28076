//! The client against Apache Spark's own Connect server.

mod decode;
mod failures;
mod proxy;
mod server;
mod sessions;
mod streams;
