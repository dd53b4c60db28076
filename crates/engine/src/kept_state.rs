//! What a pipeline keeps between cuts: open windows, the messages seen, the last readings of registers.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::dedup::{Dedup, SeenMessage};
use crate::error::EngineError;
use crate::open_window::OpenWindow;
use crate::registers::Carry;
use crate::seen_run::SeenRun;
use crate::spill::{SpillFile, SpillSpace};
use crate::state::{self, StateSnapshot, WindowMeta};
use crate::stored_layer::StoredLayer;
use crate::stream_plan::StreamPlan;

/// Hashes below which moving a bucket to a file is not worth it.
const MIN_RUN: usize = 256;

/// What a restart would need to continue.
pub(crate) struct KeptState {
    plan: Arc<StreamPlan>,
    pub(crate) windows: BTreeMap<i64, OpenWindow>,
    /// What the workers' shared set held at the last cut, by bucket: they continue while a cut is written.
    pub(crate) seen: BTreeMap<i64, Vec<u128>>,
    /// Parts of it that were moved to files.
    seen_runs: BTreeMap<i64, Vec<Arc<SeenRun>>>,
    pub(crate) carry: Option<Carry>,
}

impl KeptState {
    pub(crate) fn new(plan: &Arc<StreamPlan>) -> Result<Self, EngineError> {
        Ok(Self {
            windows: BTreeMap::new(),
            seen: BTreeMap::new(),
            seen_runs: BTreeMap::new(),
            carry: if plan.registers.is_empty() { None } else { Some(Carry::new(plan)?) },
            plan: Arc::clone(plan),
        })
    }

    /// Adds what a blob holds of windows that end after `closed_until_us`. The order in which blobs are added has no effect.
    pub(crate) fn restore(&mut self, snapshot: StateSnapshot, closed_until_us: i64) -> Result<(), EngineError> {
        let plan = Arc::clone(&self.plan);
        let is_open = |start: i64| plan.end(start) > closed_until_us;
        for (start, layer) in snapshot.layers.into_iter().filter(|(start, _)| is_open(*start)) {
            // What was decoded are slices of larger buffers; merging copies only what is needed.
            let window = self.windows.entry(start).or_default();
            window.push(Arc::new(layer.copied(&plan)?));
            window.bound_layers(&plan)?;
        }
        for meta in snapshot.windows.into_iter().filter(|meta| is_open(meta.start_us)) {
            let window = self.windows.entry(meta.start_us).or_default();
            window.messages += meta.messages;
            // A version is clean when it was published and dirty when more came after that.
            (window.version, window.dirty) = (window.version, window.dirty).max((meta.version, meta.dirty));
        }
        for (start, range) in snapshot.sources.into_iter().filter(|(start, _)| is_open(*start)) {
            range.merge_into(&mut self.windows.entry(start).or_default().sources);
        }
        for seen in snapshot.seen {
            self.seen.entry(seen.bucket_us).or_default().push(seen.hash);
        }
        if let (Some(carry), Some((keys, readings))) = (&mut self.carry, snapshot.carry) {
            carry.restore(&keys, self.plan.keys.len(), readings)?;
        }
        Ok(())
    }

    /// All of it as one blob; none of it may be spilled.
    pub(crate) fn encode(&mut self) -> Result<Vec<u8>, EngineError> {
        let carry = match &mut self.carry {
            Some(carry) => Some(carry.take_changed(true)?),
            None => None,
        };
        let layers = self.windows.iter().flat_map(|(start, w)| w.layers.iter().map(|layer| (*start, layer)));
        let layers = layers
            .map(|(start, layer)| Ok((start, layer.load(&self.plan)?)))
            .collect::<Result<Vec<_>, EngineError>>()?;
        let meta = |(start, w): (&i64, &OpenWindow)| WindowMeta {
            start_us: *start,
            messages: w.messages,
            version: w.version,
            dirty: w.dirty,
        };
        let message = |bucket_us: i64| move |hash: &u128| SeenMessage { bucket_us, hash: *hash };
        state::encode(
            &self.plan,
            layers.iter().map(|(start, layer)| (*start, layer.as_ref())),
            self.windows.iter().map(meta),
            self.windows.iter().flat_map(|(start, w)| w.sources.iter().map(|s| (*start, s))),
            self.seen.iter().flat_map(|(bucket, hashes)| hashes.iter().map(message(*bucket))),
            carry,
        )
    }

    /// Whether some of it is in files.
    pub(crate) fn is_spilled(&self) -> bool {
        !self.seen_runs.is_empty()
            || self.windows.values().flat_map(|window| &window.layers).any(|layer| layer.is_spilled())
    }

    /// Drops buckets of messages seen that `is_needed` refuses.
    pub(crate) fn forget_seen(&mut self, is_needed: impl Fn(i64) -> bool) {
        self.seen.retain(|bucket, _| is_needed(*bucket));
        self.seen_runs.retain(|bucket, _| is_needed(*bucket));
    }

    /// Forgets all messages seen.
    pub(crate) fn clear_seen(&mut self) {
        self.forget_seen(|_| false);
    }

    /// Bytes of memory, about; those of the shared set are not among them.
    pub(crate) fn bytes(&self) -> usize {
        let layers: usize = self.windows.values().flat_map(|w| &w.layers).map(|l| l.bytes()).sum();
        let seen: usize = self.seen.values().map(|v| v.capacity() * size_of::<u128>()).sum();
        let runs: usize = self.seen_runs.values().flatten().map(|run| run.bytes()).sum();
        layers + seen + runs + self.carry.as_ref().map_or(0, Carry::bytes)
    }

    /// Of these bytes those that can be moved to files.
    pub(crate) fn movable_bytes(&self) -> usize {
        let layers = self.windows.values().flat_map(|window| &window.layers).filter(|layer| !layer.is_spilled());
        let seen: usize = self.seen.values().map(|v| v.capacity() * size_of::<u128>()).sum();
        layers.map(StoredLayer::bytes).sum::<usize>() + seen
    }

    /// Moves messages seen, oldest buckets first, then layers, largest first, to a file of `space` until `self` and `dedup`
    /// hold at most `target` bytes of memory.
    pub(crate) fn spill(
        &mut self,
        space: &dyn SpillSpace,
        dedup: Option<&Dedup>,
        target: usize,
    ) -> Result<(), EngineError> {
        let file = space.create().map_err(EngineError::Spill)?;
        let shared = || dedup.map_or(0, Dedup::bytes);
        if let Some(dedup) = dedup {
            let buckets: Vec<i64> = self.seen.keys().copied().collect();
            for bucket in buckets {
                if self.bytes() + shared() <= target {
                    return Ok(());
                }
                self.spill_seen(&file, dedup, bucket)?;
            }
        }
        let mut excess = (self.bytes() + shared()).saturating_sub(target);
        let layers = self.windows.values_mut().flat_map(|window| &mut window.layers);
        let mut layers: Vec<_> = layers.filter(|layer| !layer.is_spilled()).collect();
        layers.sort_by_key(|layer| std::cmp::Reverse(layer.bytes()));
        for layer in layers {
            if excess == 0 {
                break;
            }
            let held = layer.bytes();
            layer.spill(&self.plan, &file)?;
            excess = excess.saturating_sub(held);
        }
        Ok(())
    }

    fn spill_seen(&mut self, file: &Arc<dyn SpillFile>, dedup: &Dedup, bucket: i64) -> Result<(), EngineError> {
        if self.seen.get(&bucket).is_none_or(|hashes| hashes.len() < MIN_RUN) {
            return Ok(());
        }
        let Some(mut hashes) = self.seen.remove(&bucket) else { return Ok(()) };
        hashes.sort_unstable();
        let run = Arc::new(SeenRun::write(file, &hashes)?);
        dedup.move_to_run(bucket, &hashes, &run);
        self.seen_runs.entry(bucket).or_default().push(run);
        Ok(())
    }
}
