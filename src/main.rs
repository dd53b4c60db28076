//! The `turnstile` binary: parses the command line, runs one verb, reports the outcome.

#[macro_use]
mod stdout;

mod cli;
mod console;
mod exit;
mod flow;
mod process;
mod progress;
mod report;
mod style;
mod tracking;

use std::process::ExitCode;

use process::Process;

/// Threads of the runtime beyond the cores: a load that computes must not hold up a commit's I/O.
const SPARE_THREADS: usize = 2;

fn main() -> ExitCode {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = match runtime.worker_threads(cores + SPARE_THREADS).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return report::print(&error.into()),
    };
    let code = match cli::run(&Process::new(runtime.handle().clone())) {
        Ok(code) => code.into(),
        Err(error) => report::print(&error),
    };
    // What is still being read or computed for an answer that ended early is not waited for.
    runtime.shutdown_background();
    code
}
