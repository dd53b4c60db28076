//! The binary as its users meet it: one file a story.
//!
//! Stories without a server of their own use the embedded broker inside the test process; those marked
//! `ignore` need the servers that `cargo xtask test` starts.

mod bad_input;
mod crash;
mod demo;
mod end_to_end;
mod scene;
mod two_writers;
mod weeks;
