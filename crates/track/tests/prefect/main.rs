//! What a Prefect server gets of a run, and what it asks for: against a real one, and against a double for what a real
//! one does not do on demand.

mod blocks;
mod cancelling;
mod double;
mod keys;
mod log_lines;
mod outages;
mod refusals;
mod restart;
mod runs;
mod schedules;
mod server;
mod story;
