//! Benchmarks: turnstile beside what a user would choose instead, in one run on one machine.
//!
//! Figures are printed, never asserted. One file per bench; the shared ground is in [`Ground`].

mod broker;
mod console;
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
mod scale;
mod spark;
mod table;
mod warehouse;

use anyhow::Result;
use clap::ValueEnum;

use crate::args::{BenchName, BenchOptions};
use crate::debian;
use ground::Ground;

/// Runs the selected benchmarks; whether all of them could be run.
pub(crate) fn run(args: &BenchOptions) -> Result<bool> {
    debian::install_missing(true)?;
    let mut ground = Ground::new(args)?;
    let mut good = true;
    for which in args.selected() {
        let name = which.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
        println!("\n== {name}");
        let done = match which {
            // The engine alone, messages in memory: nanoseconds per row and stage.
            BenchName::Engine => room::rates("engine", args.messages),
            BenchName::E2e => e2e::run(&mut ground),
            BenchName::Latency => latency::run(&mut ground),
            BenchName::Broker => broker::run(&mut ground),
            BenchName::Produce => produce::run(&mut ground),
            BenchName::Failover => failover::run(args.kills),
            BenchName::Warehouse => warehouse::run(&mut ground, args.days),
            BenchName::Ready => ready::run(&mut ground),
            BenchName::Console => console::run(&mut ground),
            BenchName::Spark => spark::run(&mut ground),
            BenchName::Scale => scale::run(&mut ground),
        };
        if let Err(error) = done {
            // The other benchmarks may still succeed.
            eprintln!("error: bench {name}: {error:#}");
            good = false;
        }
    }
    Ok(good)
}
