//! Benchmarks: turnstile beside what a user would pick instead, in one run on one machine.
//!
//! Figures are printed, never asserted. One file per bench; the shared ground is in [`Ground`].

mod broker;
mod e2e;
mod failover;
mod ground;
mod latency;
mod measure;
mod produce;
mod product;
mod ready;
mod reference;
mod room;
mod table;
mod warehouse;

use anyhow::Result;

use crate::args;
use crate::debian;
use ground::Ground;

/// Runs the benches asked for; whether all of them could be run.
pub(crate) fn run(options: &args::Bench) -> Result<bool> {
    debian::install_missing(true)?;
    let mut ground = Ground::new(options)?;
    let mut good = true;
    for which in &options.which {
        println!("\n== {which}");
        let done = match which.as_str() {
            // The engine alone, messages in memory: nanoseconds per row and stage.
            "engine" => room::rates("engine", options.messages),
            "e2e" => e2e::run(&mut ground),
            "latency" => latency::run(&mut ground),
            "broker" => broker::run(&mut ground),
            "produce" => produce::run(&mut ground),
            "failover" => failover::run(options.kills),
            "warehouse" => warehouse::run(&mut ground, options.days),
            _ => ready::run(&mut ground),
        };
        if let Err(fault) = done {
            // The other benches may still tell something.
            eprintln!("error: bench {which}: {fault:#}");
            good = false;
        }
    }
    Ok(good)
}
