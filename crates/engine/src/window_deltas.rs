//! The partial aggregates that a worker has collected since the last cut, by window.
//!
//! In: evaluated rows. Out: a [`WindowPart`] per window at a cut. Start at [`WindowDeltas::add_rows`].

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use arrow::array::UInt32Array;
use turnstile_message::{MessageBatch, OffsetRange};

use crate::aggregates::AggregateInputs;
use crate::error::EngineError;
use crate::frontier::Frontier;
use crate::groups::WindowGroups;
use crate::part::WindowPart;
use crate::stream_plan::StreamPlan;

/// Offsets take 48 bits of a reading's source order, the partition the rest.
const OFFSET_BITS: u32 = 48;

/// The windows that had rows since the last cut, by their start.
pub(crate) struct WindowDeltas {
    plan: Arc<StreamPlan>,
    windows: BTreeMap<i64, WindowDelta>,
}

struct WindowDelta {
    groups: WindowGroups,
    sources: Vec<OffsetRange>,
    messages: u64,
}

impl WindowDeltas {
    pub(crate) fn new(plan: Arc<StreamPlan>) -> Self {
        Self { plan, windows: BTreeMap::new() }
    }

    /// Approximate bytes held.
    pub(crate) fn bytes(&self) -> usize {
        self.windows.values().map(|w| w.groups.bytes()).sum()
    }

    /// The windows with their starts; none are left.
    pub(crate) fn take(&mut self) -> Result<Vec<(i64, WindowPart)>, EngineError> {
        let parts = std::mem::take(&mut self.windows).into_iter().map(|(start, delta)| {
            let layer = delta.groups.into_layer()?;
            Ok((start, WindowPart { layer, sources: delta.sources, messages: delta.messages }))
        });
        parts.collect()
    }

    /// Adds rows to those of their windows that `frontier` leaves open. Gives the number of rows that correct a published
    /// window.
    pub(crate) fn add_rows(
        &mut self,
        batch: &MessageBatch,
        inputs: &AggregateInputs,
        rows: &[u32],
        event_us: &[i64],
        frontier: Frontier,
    ) -> Result<u64, EngineError> {
        if rows.is_empty() {
            return Ok(0);
        }
        let starts: Vec<i64> = event_us.iter().map(|event| self.plan.last_start(*event)).collect();
        let corrects = |start: &&i64| self.plan.end(**start) <= frontier.published_until_us;
        let corrections = starts.iter().filter(corrects).count() as u64;
        if self.plan.is_tumbling() && starts.iter().all(|s| *s == starts[0]) {
            self.add(batch, starts[0], inputs, rows, event_us)?;
            return Ok(corrections);
        }
        let mut by_window: BTreeMap<i64, Vec<u32>> = BTreeMap::new();
        for (at, last) in starts.iter().enumerate() {
            let mut start = *last;
            // A row whose later windows are open may also lie in ones that have closed.
            while self.plan.end(start) > event_us[at] && self.plan.end(start) > frontier.closed_until_us {
                by_window.entry(start).or_default().push(at as u32);
                start -= self.plan.window.slide_us;
            }
        }
        for (start, picked) in by_window {
            if picked.len() == rows.len() {
                self.add(batch, start, inputs, rows, event_us)?;
                continue;
            }
            let picked_rows: Vec<u32> = picked.iter().map(|at| rows[*at as usize]).collect();
            let picked_events: Vec<i64> = picked.iter().map(|at| event_us[*at as usize]).collect();
            let inputs = inputs.take(&UInt32Array::from(picked))?;
            self.add(batch, start, &inputs, &picked_rows, &picked_events)?;
        }
        Ok(corrections)
    }

    /// Adds rows to one window.
    fn add(
        &mut self,
        batch: &MessageBatch,
        start_us: i64,
        inputs: &AggregateInputs,
        rows: &[u32],
        event_us: &[i64],
    ) -> Result<(), EngineError> {
        let plan = Arc::clone(&self.plan);
        let delta = match self.windows.entry(start_us) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => {
                new.insert(WindowDelta { groups: WindowGroups::new(&plan)?, sources: Vec::new(), messages: 0 })
            }
        };
        delta.messages += rows.len() as u64;
        let mut at = 0;
        let mut partition_of = Vec::new();
        for run in &batch.runs {
            let until = at + rows[at..].partition_point(|row| (*row as usize) < run.rows.end);
            if until == at {
                continue;
            }
            let range = OffsetRange {
                partition: run.partition.clone(),
                first: batch.offsets[rows[at] as usize],
                last: batch.offsets[rows[until - 1] as usize],
                messages: (until - at) as u64,
            };
            range.merge_into(&mut delta.sources);
            if !plan.registers.is_empty() {
                partition_of.resize(until, i64::from(run.partition.partition) << OFFSET_BITS);
            }
            at = until;
        }
        delta.groups.update(inputs, event_us, |at| partition_of[at] | batch.offsets[rows[at] as usize])
    }
}
