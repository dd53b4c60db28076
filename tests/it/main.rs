//! The binary as its users meet it: one file a story.
//!
//! Stories without their own server use the embedded broker inside the test process; those marked
//! `ignore` need the servers that `cargo xtask test` starts.

mod advertised;
mod bad_input;
mod browser;
mod browser_actions;
mod browser_failures;
mod browser_numbers;
mod canary;
mod chromium;
mod connect;
mod console;
mod console_process;
mod consume;
mod containers;
mod crash;
mod dead_letters;
mod debug_log;
mod demo;
mod disk;
mod end_to_end;
mod failed_groups;
mod failover;
mod folders;
mod interop;
mod json;
mod lag;
mod maintenance;
mod models;
mod odd_messages;
mod original;
mod prefect;
mod produce;
mod registry;
mod scene;
mod schedule;
mod security;
mod shown_console;
mod spark;
mod spark_avro;
mod spark_default;
mod spark_plan;
mod spark_run;
mod spark_scene;
mod spark_trouble;
mod spilling;
mod targets;
mod terminal;
mod topics;
mod tracking;
mod trouble;
mod two_writers;
mod warehouse;
mod weeks;
