//! Chains in a hostile environment, for tests: crashes, sleeps, lost responses, late effects.
//!
//! In: a seed, which decides everything: which task runs next, when a request takes effect, which response is lost,
//! which task crashes. Out: whether all promises held, or which one was broken. Every [`Mutant`] of the protocol must
//! break one. Start at [`simulate_chain`], which any crate can run over its own records.

mod chain;
mod world;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use object_store::memory::InMemory;

pub use chain::{ChainOutcome, SimulatedRecord, assert_chain_keeps_its_promises, simulate_chain};
pub use world::SharedWorld;
use world::{SimClock, SimStore};

use crate::lake::Lake;

/// Ways to break the protocol that a simulation must notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutant {
    /// Leaves out the check that nothing higher exists.
    SkipHigher,
    /// Takes an entry that exists for its own.
    TrustExists,
    /// Acts, as by publishing files, before the entry is written.
    ActFirst,
}

impl Mutant {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::SkipHigher, Self::TrustExists, Self::ActFirst];
}

/// A task in the simulation. An error is a broken promise.
pub type SimTask = Pin<Box<dyn Future<Output = Result<(), String>>>>;

/// How much chaos a run has.
#[derive(Debug, Clone, Copy)]
pub struct Chaos {
    /// Turns, before the work is finished in peace.
    pub turns: u32,
    /// Tasks at the same time.
    pub at_once: usize,
    /// Tasks that are started in all.
    pub in_all: usize,
    /// A task is started in one of this many turns.
    pub start_one_in: u64,
    /// Of 400 turns of a task, this many crash it.
    pub crashes: u64,
    /// Percent of requests that fail, at most.
    pub faults: u32,
}

/// A lake in the simulated world.
pub fn lake(world: &SharedWorld, segment: u64, mutant: Option<Mutant>) -> Lake {
    let (store, clock) = (Arc::new(SimStore(world.clone())), Arc::new(SimClock(world.clone())));
    Lake::assemble("sim:", store, Arc::new(InMemory::new()), clock, segment).with_mutant(mutant)
}

/// Runs tasks through the chaos, then lets all that are left come to their end without faults. `start` makes the nth
/// task.
///
/// # Errors
/// A task found a broken promise, or does not come to an end.
pub fn run(world: &SharedWorld, chaos: Chaos, mut start: impl FnMut(usize) -> SimTask) -> Result<(), String> {
    let mut tasks: Vec<(SimTask, u32)> = Vec::new();
    let mut started = 0;
    let faults = world.roll(3) as u32 * chaos.faults / 2;
    for turn in 0..chaos.turns {
        world.set_fault_percent(faults);
        let awake: Vec<usize> = (0..tasks.len()).filter(|at| tasks[*at].1 <= turn).collect();
        let room = started < chaos.in_all && tasks.len() < chaos.at_once;
        if room && (awake.is_empty() || world.roll(chaos.start_one_in) == 0) {
            started += 1;
            tasks.push((start(started), 0));
            continue;
        }
        if !awake.is_empty() {
            let at = awake[world.roll(awake.len() as u64) as usize];
            match world.roll(400) {
                // A crash: the future is dropped wherever it stands; its requests are still under way.
                crash if crash < chaos.crashes => {
                    drop(tasks.swap_remove(at));
                    world.count_crash();
                }
                sleep if sleep < chaos.crashes + 6 => tasks[at].1 = turn + 30 + world.roll(350) as u32,
                _ => {
                    if let Some(done) = poll(&mut tasks[at].0) {
                        done?;
                        drop(tasks.swap_remove(at));
                    }
                }
            }
        }
        world.some_request_takes_effect();
    }
    // Peace: no more faults. One more task finishes the work; then all sleepers wake, and late requests land.
    world.set_fault_percent(0);
    finish(world, start(started + 1))?;
    for (task, _) in tasks {
        finish(world, task)?;
    }
    world.all_requests_take_effect();
    Ok(())
}

/// Runs one task to its end.
///
/// # Errors
/// It found a broken promise, or does not come to an end.
pub fn finish(world: &SharedWorld, mut task: SimTask) -> Result<(), String> {
    for _ in 0..100_000 {
        if let Some(done) = poll(&mut task) {
            return done;
        }
        world.all_requests_take_effect();
    }
    Err("a task does not come to an end".to_owned())
}

fn poll(task: &mut SimTask) -> Option<Result<(), String>> {
    match task.as_mut().poll(&mut Context::from_waker(futures::task::noop_waker_ref())) {
        Poll::Ready(done) => Some(done),
        Poll::Pending => None,
    }
}
