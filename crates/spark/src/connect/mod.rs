//! A client of Spark Connect, as small as the product needs.
//!
//! `messages` holds what goes over the wire, `connection` one HTTP/2 connection that is opened again when it ended, `calls` the
//! service's calls with their deadlines, `session` what they are for.

mod calls;
mod connection;
mod failure;
mod messages;
mod session;
mod streams;
mod tables;

pub use session::{Explanation, Session, SessionSettings};
pub use streams::{QueryHandle, QueryState, RunningQuery, StreamSink, StreamTrigger};
pub use tables::{DataSource, Relation};
