//! The protocol under a hostile world: several writers, crashes, sleeps, lost answers, late effects.
//!
//! A seed decides everything: whose turn it is, when a request takes effect, whose answer is lost,
//! who crashes. After the chaos one writer finishes the work, every sleeper wakes up, and the lake is
//! compared with the chain of slots that was really committed. Start at [`run`].

mod claims;
pub(crate) mod world;
mod writer;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use object_store::memory::InMemory;

use crate::Lake;
use world::{SharedWorld, SimClock, SimStore};

/// Ways to break the protocol that the simulation must notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mutant {
    /// Leaves out step 4.
    SkipList,
    /// Takes a slot that exists for its own.
    TrustExists,
    /// Publishes before the slot is written.
    PublishFirst,
}

/// Slots in a file of history: few, so that slots are collected all the time.
const SEGMENT: u64 = 2;

/// Turns of the chaos, before the work is finished in peace.
const TURNS: u32 = 500;

/// Writers that a run may start in its chaos.
const WRITERS: usize = 6;

type Task = Pin<Box<dyn Future<Output = Result<(), String>>>>;

struct Running {
    task: Task,
    asleep_until: u32,
}

/// Runs one seed; an error says which promise was broken.
fn run(seed: u64, mutant: Option<Mutant>) -> Result<Outcome, String> {
    let world = SharedWorld::new(seed);
    let mut writers: Vec<Running> = Vec::new();
    let mut started = 0;
    let faults = world.roll(3) as u32 * 6;
    for turn in 0..TURNS {
        world.set_fault_percent(faults);
        let awake: Vec<usize> = (0..writers.len()).filter(|at| writers[*at].asleep_until <= turn).collect();
        if started < WRITERS && (awake.is_empty() || world.roll(150) == 0) {
            started += 1;
            writers.push(Running { task: start(&world, started, mutant), asleep_until: 0 });
            continue;
        }
        if !awake.is_empty() {
            let at = awake[world.roll(awake.len() as u64) as usize];
            match world.roll(400) {
                // A crash: the future is dropped wherever it stands; its requests are still under way.
                0..=1 => drop(writers.swap_remove(at)),
                2..=7 => writers[at].asleep_until = turn + 30 + world.roll(350) as u32,
                _ => {
                    if let Some(done) = poll(&mut writers[at].task) {
                        done?;
                        drop(writers.swap_remove(at));
                    }
                }
            }
        }
        world.some_request_takes_effect();
    }

    // Peace: no more faults. One writer finishes the work; then all sleepers wake, and late requests land.
    world.set_fault_percent(0);
    finish(&world, start(&world, WRITERS + 1, mutant))?;
    for writer in writers {
        finish(&world, writer.task)?;
    }
    world.all_requests_take_effect();
    finish(&world, start(&world, WRITERS + 2, mutant))?;
    claims::check(&world, lake(&world))
}

/// What a run went through, so that a test can say that the chaos was chaotic.
#[derive(Debug, Default, Clone, Copy)]
struct Outcome {
    slots: u64,
    epochs: u64,
    fenced: u64,
    faults: u64,
}

impl Outcome {
    fn plus(self, other: Self) -> Self {
        Self {
            slots: self.slots + other.slots,
            epochs: self.epochs + other.epochs,
            fenced: self.fenced + other.fenced,
            faults: self.faults + other.faults,
        }
    }
}

fn lake(world: &SharedWorld) -> Lake {
    let (store, clock) = (Arc::new(SimStore(world.clone())), Arc::new(SimClock(world.clone())));
    Lake::assemble("sim:", store, Arc::new(InMemory::new()), clock, SEGMENT)
}

fn start(world: &SharedWorld, number: usize, mutant: Option<Mutant>) -> Task {
    Box::pin(writer::run(lake(world), world.clone(), number, mutant))
}

fn poll(task: &mut Task) -> Option<Result<(), String>> {
    match task.as_mut().poll(&mut Context::from_waker(futures::task::noop_waker_ref())) {
        Poll::Ready(done) => Some(done),
        Poll::Pending => None,
    }
}

fn finish(world: &SharedWorld, mut task: Task) -> Result<(), String> {
    for _ in 0..100_000 {
        if let Some(done) = poll(&mut task) {
            return done;
        }
        world.all_requests_take_effect();
    }
    Err("a writer does not come to an end".to_owned())
}

/// Seeds that the real protocol must survive.
const SEEDS: u64 = 2_000;

/// Seeds within which each mutant must be caught.
const MUTANT_SEEDS: u64 = 300;

#[test]
fn the_protocol_keeps_its_promises_whatever_happens() {
    let threads = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
    let sums = std::thread::scope(|scope| {
        let running: Vec<_> =
            (0..threads).map(|first| scope.spawn(move || run_all((first..SEEDS).step_by(threads as usize)))).collect();
        running.into_iter().map(|thread| thread.join().expect("a promise was broken, see above")).collect::<Vec<_>>()
    });
    let sum = sums.into_iter().fold(Outcome::default(), Outcome::plus);
    println!("{SEEDS} seeds: {sum:?}");
    // Without takeovers, fencing and faults the run would prove nothing.
    assert!(sum.epochs > 4 * SEEDS && sum.fenced > SEEDS / 2 && sum.faults > SEEDS, "{sum:?}");
}

fn run_all(seeds: impl Iterator<Item = u64>) -> Outcome {
    seeds
        .map(|seed| run(seed, None).unwrap_or_else(|broken| panic!("seed {seed}: {broken}")))
        .fold(Outcome::default(), Outcome::plus)
}

fn first_catch(mutant: Mutant) -> (u64, String) {
    (0..MUTANT_SEEDS)
        .find_map(|seed| run(seed, Some(mutant)).err().map(|broken| (seed, broken)))
        .unwrap_or_else(|| panic!("{mutant:?} goes unnoticed in {MUTANT_SEEDS} seeds"))
}

#[test]
fn leaving_out_the_list_after_the_create_is_caught() {
    println!("{:?}", first_catch(Mutant::SkipList));
}

#[test]
fn taking_a_slot_that_exists_for_ones_own_is_caught() {
    println!("{:?}", first_catch(Mutant::TrustExists));
}

#[test]
fn publishing_before_the_slot_is_written_is_caught() {
    println!("{:?}", first_catch(Mutant::PublishFirst));
}
