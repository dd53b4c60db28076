//! The protocol in a hostile environment: several writers, crashes, sleeps, lost responses, late effects.
//!
//! At the end one writer finishes the work, every sleeping writer wakes up, and the lake is compared with the
//! committed chain of slots. Start at [`run`].

mod claims;
mod writer;

use crate::simulation::{Chaos, Mutant, SharedWorld, SimTask, finish, lake, run as run_chaos};

/// Slots in a file of history: few, so that slots are collected all the time.
const SEGMENT: u64 = 2;

/// Up to six writers, any of which may be asleep while others go on.
const CHAOS: Chaos = Chaos { turns: 500, at_once: 6, in_all: 6, start_one_in: 150, crashes: 2, faults: 12 };

/// Runs one seed; an error says which promise was broken.
fn run(seed: u64, mutant: Option<Mutant>) -> Result<Outcome, String> {
    let world = SharedWorld::new(seed);
    run_chaos(&world, CHAOS, |number| start(&world, number, mutant))?;
    finish(&world, start(&world, CHAOS.in_all + 2, mutant))?;
    claims::check(&world, lake(&world, SEGMENT, None))
}

fn start(world: &SharedWorld, number: usize, mutant: Option<Mutant>) -> SimTask {
    Box::pin(writer::run(lake(world, SEGMENT, mutant), world.clone(), number))
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
fn every_mutant_of_the_protocol_is_caught() {
    for mutant in Mutant::ALL {
        println!("{mutant:?}: {:?}", first_catch(mutant));
    }
}
