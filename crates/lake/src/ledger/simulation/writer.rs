//! A miniature pipeline: reads messages in its own order, and closes windows of what it read.
//!
//! What a window contains depends on how the partitions interleave, so two writers produce different files with one
//! name, as in the real engine; the protocol must survive this.

use std::collections::BTreeMap;

use turnstile_message::{OffsetRange, TopicPartition};

use crate::error::LedgerError;
use crate::lake::Lake;
use crate::ledger::{Commit, Ledger, NewFile, NewState, Recovered};
use crate::simulation::SharedWorld;
use crate::slot::{FileKind, WriterId};
use turnstile_message::{Counters, PartitionPosition};

pub(super) const PARTITIONS: usize = 2;
pub(super) const MESSAGES: i64 = 5;
pub(super) const PIPELINE: &str = "sim";

/// State between commits: open rows as `partition:offset` words, and the number of the next window.
#[derive(Default)]
struct Engine {
    next: [i64; PARTITIONS],
    open: Vec<String>,
    window: i64,
}

/// Opens the ledger, works until all is published, and returns. An error is a broken promise; to be
/// fenced or to give up on the store is none.
pub(super) async fn run(lake: Lake, world: SharedWorld, number: usize) -> Result<(), String> {
    let writer = WriterId { host: format!("writer-{number}"), ..WriterId::default() };
    let opened = match Ledger::open(&lake, PIPELINE, "plan", writer).await {
        Ok(opened) => opened,
        Err(error) => return stopped(&world, error),
    };
    let mut ledger = opened.ledger;
    let mut engine = Engine::default();
    if let Some(recovered) = opened.recovered
        && let Err(error) = engine.restore(&ledger, &recovered).await
    {
        return stopped(&world, error);
    }
    while engine.has_work() {
        let cut = engine.step(&world);
        let mut committed = ledger.commit(cut).await;
        for _ in 0..3 {
            match &committed {
                Err(LedgerError::Store(_)) if ledger.is_unfinished() => committed = ledger.retry().await,
                _ => break,
            }
        }
        if let Err(error) = committed {
            return stopped(&world, error);
        }
    }
    Ok(())
}

fn stopped(world: &SharedWorld, error: LedgerError) -> Result<(), String> {
    match error {
        LedgerError::Fenced { .. } => {
            world.get().fenced += 1;
            Ok(())
        }
        LedgerError::Store(_) => Ok(()),
        broken => Err(format!("a writer met: {broken}")),
    }
}

impl Engine {
    async fn restore(&mut self, ledger: &Ledger, recovered: &Recovered) -> Result<(), LedgerError> {
        for position in &recovered.slot.positions {
            self.next[position.partition.partition as usize] = position.next_offset;
        }
        if let Some(state) = recovered.slot.state.first() {
            let text = String::from_utf8(ledger.read_state(state).await?.to_vec()).expect("state is text");
            let mut words = text.split(' ').map(str::to_owned);
            self.window = words.next().and_then(|word| word.parse().ok()).expect("state begins with a number");
            self.open = words.collect();
        }
        Ok(())
    }

    fn has_work(&self) -> bool {
        !self.open.is_empty() || self.next.iter().any(|next| *next < MESSAGES)
    }

    /// Reads some messages and, by chance or at the end, closes the window.
    fn step(&mut self, world: &SharedWorld) -> Commit {
        for _ in 0..world.roll(4) {
            let partition = world.roll(PARTITIONS as u64) as usize;
            if self.next[partition] < MESSAGES {
                self.open.push(format!("{partition}:{}", self.next[partition]));
                self.next[partition] += 1;
            }
        }
        let at_end = self.next.iter().all(|next| *next == MESSAGES);
        let closes = !self.open.is_empty() && (at_end || world.roll(2) == 0);
        let publish = if closes { vec![self.close()] } else { vec![] };
        let read = self.next.iter().sum::<i64>() as u64;
        let state =
            [self.window.to_string()].iter().chain(&self.open).map(String::as_str).collect::<Vec<_>>().join(" ");
        Commit {
            positions: (0..PARTITIONS).map(|partition| self.position(partition)).collect(),
            state: vec![NewState { kind: "engine".into(), live_until_us: None, bytes: state.into_bytes().into() }],
            publish,
            counters: Counters { read, aggregated: read, ..Counters::default() },
            ..Commit::default()
        }
    }

    fn close(&mut self) -> NewFile {
        let rows = std::mem::take(&mut self.open);
        let window = self.window;
        self.window += 1;
        NewFile {
            name: format!("data/w{window}"),
            rows: rows.len() as u64,
            bytes: rows.join(" ").into_bytes().into(),
            kind: FileKind::Window { start_us: window, end_us: window + 1, version: 1 },
            sources: vec![OffsetRange { partition: partition(0), first: 0, last: self.next[0], messages: 1 }],
            counts: BTreeMap::new(),
        }
    }

    fn position(&self, number: usize) -> PartitionPosition {
        PartitionPosition {
            partition: partition(number),
            next_offset: self.next[number],
            leader_epoch: None,
            max_event_us: None,
            idle: false,
            fingerprint: None,
        }
    }
}

fn partition(number: usize) -> TopicPartition {
    TopicPartition::new("t", number as i32)
}
