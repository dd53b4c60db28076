//! The engine's central state: all open windows, the watermark, the counters.
//!
//! In: the [`WorkerPart`]s of all workers at a cut. Out: a [`Cut`]. Start at [`Engine::absorb`].

use std::collections::BTreeMap;
use std::sync::Arc;

use turnstile_message::{Counters, FailedWindow, OffsetRange, TopicPartition};
use turnstile_pipeline::FailedGroupPolicy;
use turnstile_values::human;

use crate::cut::{ClosePolicy, ClosedWindow, Cut, RestoredState, StateChange};
use crate::dead_letter::DeadLetter;
use crate::dedup::{Dedup, SeenMessage};
use crate::error::EngineError;
use crate::excluded_rows::ExcludedRows;
use crate::failed_groups::without_failed_groups;
use crate::frontier::Frontier;
use crate::groups::Layer;
use crate::kept_state::KeptState;
use crate::live_changes::LiveChanges;
use crate::open_window::{OpenWindow, OpenWindowSummary};
use crate::part::WorkerPart;
use crate::registers::Carry;
use crate::spill::SpillSpace;
use crate::state::{self, WindowMeta};
use crate::stream_plan::StreamPlan;
use crate::watermark::Watermark;
use crate::worker::Worker;

/// Most windows that one cut closes: bounds the files of a commit and the time that it takes.
const MAX_CLOSES: usize = 4096;

/// The share of `[stream] memory` that one move to the spill space is for at least, as a divisor: bounds the number of files.
const LEAST_SPILLED: usize = 16;

/// Owns the open windows of a pipeline.
pub struct Engine {
    plan: Arc<StreamPlan>,
    dedup: Option<Arc<Dedup>>,
    kept: KeptState,
    spill: Option<Arc<dyn SpillSpace>>,
    watermark: Watermark,
    frontier: Frontier,
    counters: Counters,
    changes: LiveChanges,
    new: PendingCut,
    close: ClosePolicy,
    more: bool,
}

/// What the last cut brought and [`Engine::finish`] has not processed yet.
#[derive(Default)]
struct PendingCut {
    layers: Vec<(i64, Arc<Layer>, Vec<OffsetRange>, u64)>,
    seen: Vec<SeenMessage>,
    dead_letters: Vec<DeadLetter>,
    excluded: ExcludedRows,
}

impl Engine {
    /// An engine that resumes from `restore` (or starts, from the default), for up to `workers` workers. State that exceeds the
    /// pipeline's memory is moved to `spill`; without it, that is an error.
    ///
    /// # Errors
    /// [`EngineError::State`] when the saved state cannot be read.
    pub fn new(
        plan: Arc<StreamPlan>,
        restore: RestoredState,
        workers: usize,
        spill: Option<Arc<dyn SpillSpace>>,
    ) -> Result<Self, EngineError> {
        let mut engine = Self {
            dedup: plan.dedup.as_ref().map(|_| Arc::new(Dedup::new(&plan, workers * 4))),
            kept: KeptState::new(&plan)?,
            spill,
            plan,
            watermark: Watermark::default(),
            frontier: Frontier::OPEN,
            counters: restore.counters,
            changes: LiveChanges::default(),
            new: PendingCut::default(),
            close: ClosePolicy::Passed,
            more: false,
        };
        engine.publish_until(restore.published_until_us.unwrap_or(i64::MIN));
        for partition in restore.partitions {
            engine.watermark.restore(partition);
        }
        for (bytes, live_until_us) in restore.state {
            engine.restore_state(&bytes, live_until_us)?;
        }
        Ok(engine)
    }

    /// Adds a blob of state that the last commit kept, and until when it is needed. All of them are to be added, in any order,
    /// before the first worker is created.
    ///
    /// # Errors
    /// [`EngineError::State`] when it cannot be read; [`EngineError::Spill`].
    pub fn restore_state(&mut self, bytes: &[u8], live_until_us: i64) -> Result<(), EngineError> {
        let snapshot = state::decode(&self.plan, bytes)?;
        if let Some(dedup) = &self.dedup {
            snapshot.seen.iter().for_each(|seen| dedup.restore(*seen));
        }
        self.kept.restore(snapshot, self.frontier.closed_until_us)?;
        self.changes.push(live_until_us, bytes.len());
        self.spill_if_needed()
    }

    /// A worker for some of the partitions.
    pub fn worker(&self) -> Worker {
        Worker::new(Arc::clone(&self.plan), self.dedup.clone(), self.frontier)
    }

    /// Adds a partition that will be read from `next_offset`. Until it has a message or is idle, it holds the watermark
    /// back.
    pub fn add_partition(&mut self, partition: TopicPartition, next_offset: i64) {
        self.watermark.add(partition, next_offset);
    }

    /// Whether a cut would close windows, now that partitions have reached the event times of `updates`.
    pub fn would_close(&self, updates: &[(TopicPartition, i64)]) -> bool {
        let published = self.frontier.published_until_us;
        let Some(now) = self.watermark.with(updates, self.plan.watermark_us) else { return false };
        if published == i64::MIN {
            return self.kept.windows.keys().next().is_some_and(|start| self.plan.end(*start) <= now);
        }
        now > published && self.plan.ends_by(now) > self.plan.ends_by(published)
    }

    /// Takes the workers' parts and decides which windows close. Fast, because workers wait for the answer.
    /// `idle` names partitions that were read to their end and quiet, each with its next offset then: messages of these
    /// parts may have come before or after.
    pub fn absorb(&mut self, parts: Vec<WorkerPart>, idle: &[(TopicPartition, i64)], close: ClosePolicy) -> Frontier {
        let close = match close {
            ClosePolicy::Quiet if parts.iter().any(|part| part.counters.read > 0) => ClosePolicy::Passed,
            other => other,
        };
        self.close = close;
        for part in parts {
            self.counters += part.counters;
            part.partitions.into_iter().for_each(|p| self.watermark.update(p));
            for (start, window) in part.windows {
                self.new.layers.push((start, Arc::new(window.layer), window.sources, window.messages));
            }
            self.new.seen.extend(part.seen);
            self.new.dead_letters.extend(part.dead_letters);
            self.new.excluded.add(part.excluded);
        }
        for (partition, next_offset) in idle {
            self.watermark.mark_idle(partition, *next_offset);
        }
        for (start, layer, sources, messages) in &self.new.layers {
            let window = self.kept.windows.entry(*start).or_default();
            window.push(Arc::clone(layer));
            sources.iter().for_each(|range| range.clone().merge_into(&mut window.sources));
            window.messages += messages;
            window.dirty = true;
        }
        let passed = self.watermark.now(self.plan.watermark_us).unwrap_or(i64::MIN);
        let all = self.kept.windows.keys().next_back().map_or(i64::MIN, |start| self.plan.end(*start));
        let published = match close {
            ClosePolicy::Passed => passed,
            ClosePolicy::Quiet | ClosePolicy::All => passed.max(all),
        };
        // Windows beyond the bound close with the next cut; time advances only as far as those of this one.
        let mut due =
            self.kept.windows.iter().filter(|(_, window)| window.dirty).map(|(start, _)| self.plan.end(*start));
        let bound = due.by_ref().take_while(|end| *end <= published).nth(MAX_CLOSES - 1);
        self.more = bound.is_some() && due.next().is_some_and(|end| end <= published);
        self.publish_until(if self.more { bound.unwrap_or(published) } else { published });
        self.frontier
    }

    /// Advances time to `published_until_us`; it never goes back. `correct_for` is 0 unless late rows correct.
    fn publish_until(&mut self, published_until_us: i64) {
        let published = self.frontier.published_until_us.max(published_until_us);
        self.frontier.published_until_us = published;
        self.frontier.closed_until_us = published.saturating_sub(self.plan.correct_for_us);
    }

    /// Completes the cut: closes windows, encodes the state change. To be called once after each [`Engine::absorb`];
    /// workers may continue meanwhile.
    ///
    /// # Errors
    /// [`EngineError`] when the query fails or the memory limit is reached; nothing is to be committed then.
    pub fn finish(&mut self) -> Result<Cut, EngineError> {
        let (mut closed, mut failed) = (Vec::new(), Vec::new());
        let due: Vec<i64> = self
            .kept
            .windows
            .iter()
            .filter(|(start, w)| w.dirty && self.plan.end(**start) <= self.frontier.published_until_us)
            .map(|(start, _)| *start)
            .collect();
        for start in due {
            let (window, left_out) = self.close(start)?;
            closed.push(window);
            failed.extend(left_out);
        }
        let until = self.frontier.closed_until_us;
        let plan = Arc::clone(&self.plan);
        self.kept.windows.retain(|start, _| plan.end(*start) > until);
        // A row that is not late lies within one window's size of what is closed for good.
        let forget = until.saturating_sub(plan.window.size_us);
        if let Some(dedup) = &self.dedup {
            dedup.expire(forget);
            self.kept.forget_seen(|bucket| dedup.bucket_end(bucket) > forget);
        }
        for window in self.kept.windows.values_mut() {
            window.bound_layers(&plan)?;
        }
        let state = self.state_change(&closed)?;
        self.spill_if_needed()?;
        let state_bytes = self.memory_bytes();
        // Workers continue, and what they add to the shared set meanwhile is theirs; it can be spilled with the next cut.
        let held = if self.spill.is_some() { self.kept.bytes() } else { state_bytes };
        if held > plan.memory_bytes {
            return Err(EngineError::Memory { held, limit: plan.memory_bytes });
        }
        Ok(Cut {
            closed,
            failed,
            dead_letters: std::mem::take(&mut self.new.dead_letters),
            excluded: self.new.excluded.take(),
            partitions: self.watermark.partitions().cloned().collect(),
            watermark_us: self.watermark.now(plan.watermark_us),
            closed_until_us: until,
            published_until_us: self.frontier.published_until_us,
            counters: self.counters.clone(),
            state,
            close: self.close,
            more: self.more,
            open_windows: self.kept.windows.values().filter(|window| window.is_open()).count(),
            state_bytes,
        })
    }

    /// Drops the state when no later message could depend on it: no window is kept, no register's last
    /// reading, and any duplicate of a message seen so far would be late. A drained pipeline may then continue with
    /// another query.
    pub fn clear_if_unneeded(&mut self) -> bool {
        let unneeded = self.kept.windows.is_empty() && self.plan.retained_after_drain().is_none();
        if unneeded {
            self.changes.clear();
            self.kept.clear_seen();
        }
        unneeded
    }

    fn close(&mut self, start_us: i64) -> Result<(ClosedWindow, Option<FailedWindow>), EngineError> {
        let plan = Arc::clone(&self.plan);
        let window = self.kept.windows.get_mut(&start_us).expect("the window is open");
        let end_us = plan.end(start_us);
        let groups = window.merge(&plan)?;
        let groups = if end_us > self.frontier.closed_until_us {
            // Late rows may still correct it, so its partial states are kept.
            window.replace(groups.into_layer()?);
            window.merge(&plan)?
        } else {
            groups
        };
        let mut none = None;
        let carry = match &mut self.kept.carry {
            Some(carry) => carry,
            None => none.insert(Carry::new(&plan)?),
        };
        let named = |source| EngineError::Window { start: human::instant(start_us), source: Box::new(source) };
        let (result, left_out) = match groups.finish(start_us, carry) {
            Ok(result) => (result, None),
            Err(error) if plan.failed_groups == FailedGroupPolicy::Stop => return Err(named(error)),
            Err(_) => {
                let layer = window.merge(&plan)?.into_layer()?;
                let partial = without_failed_groups(&plan, &layer, start_us, carry).map_err(named)?;
                (partial.result, Some((partial.groups, partial.shown)))
            }
        };
        carry.put(result.last_readings);
        window.version += 1;
        window.dirty = false;
        window.sources.sort();
        let (version, messages, sources) = (window.version, window.messages, window.sources.clone());
        let failed = left_out.map(|(groups, shown)| FailedWindow {
            start_us,
            end_us,
            version,
            groups,
            shown,
            messages,
            sources: sources.clone(),
        });
        Ok((ClosedWindow { start_us, end_us, version, rows: result.rows, messages, sources }, failed))
    }

    /// Moves state to the spill space when there is nearly too much of it, so much that it is not done with every cut: where
    /// most of it has to stay in memory, what can be moved is let grow first.
    fn spill_if_needed(&mut self) -> Result<(), EngineError> {
        let Some(space) = &self.spill else { return Ok(()) };
        let movable = self.kept.movable_bytes() + self.dedup.as_ref().map_or(0, |dedup| dedup.bytes());
        if self.memory_bytes() > self.plan.memory_bytes / 4 * 3 && movable > self.plan.memory_bytes / LEAST_SPILLED {
            self.kept.spill(&**space, self.dedup.as_deref(), self.plan.memory_bytes / 2)?;
        }
        Ok(())
    }

    /// The windows that wait to be published, in order, `limit` of them at most: start, end, messages so far, and the version
    /// that was published before.
    pub fn open_windows(&self, limit: usize) -> Vec<OpenWindowSummary> {
        let open = self.kept.windows.iter().filter(|(_, window)| window.is_open());
        let summary = |(start, window): (&i64, &OpenWindow)| OpenWindowSummary {
            start_us: *start,
            end_us: self.plan.end(*start),
            messages: window.messages,
            published_version: window.version,
        };
        open.take(limit).map(summary).collect()
    }

    /// Where the messages of the windows that wait to be published stand: one range per partition.
    pub fn open_sources(&self) -> Vec<OffsetRange> {
        let mut ranges = Vec::new();
        for window in self.kept.windows.values().filter(|window| window.is_open()) {
            window.sources.iter().for_each(|range| range.clone().merge_into(&mut ranges));
        }
        ranges
    }

    /// Bytes of memory that windows, messages seen and last readings take, about.
    pub fn memory_bytes(&self) -> usize {
        self.kept.bytes() + self.dedup.as_ref().map_or(0, |dedup| dedup.bytes())
    }

    fn state_change(&mut self, closed: &[ClosedWindow]) -> Result<StateChange, EngineError> {
        let until = self.frontier.closed_until_us;
        let mut new = std::mem::take(&mut self.new.layers);
        let seen = std::mem::take(&mut self.new.seen);
        for run in seen.chunk_by(|a, b| a.bucket_us == b.bucket_us) {
            self.kept.seen.entry(run[0].bucket_us).or_default().extend(run.iter().map(|seen| seen.hash));
        }
        new.retain(|(start, ..)| self.plan.end(*start) > until);
        self.changes.expire(until);
        let registers = self.kept.carry.is_some() && closed.iter().any(|w| w.messages > 0);
        if new.is_empty() && seen.is_empty() && closed.is_empty() && !registers {
            return Ok(StateChange::None);
        }
        // What is in files is written once, as increments; `merge_state` keeps them few.
        if !self.kept.is_spilled() && self.changes.need_snapshot() {
            let bytes = self.kept.encode()?;
            self.changes.replace(bytes.len());
            return Ok(StateChange::Replace { bytes });
        }
        let carry = match &mut self.kept.carry {
            Some(carry) => Some(carry.take_changed(false)?),
            None => None,
        };
        // A retained window that was just published: its version must survive.
        let published = closed.iter().filter(|w| w.end_us > until).map(|w| (w.start_us, w.version));
        let mut windows: BTreeMap<i64, WindowMeta> = BTreeMap::new();
        for (start, _, _, messages) in &new {
            let version = self.kept.windows.get(start).map_or(0, |w| w.version);
            let meta =
                windows.entry(*start).or_insert(WindowMeta { start_us: *start, messages: 0, version, dirty: true });
            meta.messages += messages;
        }
        for (start, version) in published {
            let meta =
                windows.entry(start).or_insert(WindowMeta { start_us: start, messages: 0, version, dirty: false });
            (meta.version, meta.dirty) = (version, false);
        }
        let live_until_us = if carry.as_ref().is_some_and(|(_, readings)| !readings.is_empty()) {
            i64::MAX
        } else {
            let windows = windows.keys().map(|start| self.plan.end(*start));
            let forget = self.plan.window.size_us;
            let buckets = seen.iter().map(|s| match &self.dedup {
                Some(dedup) => dedup.bucket_end(s.bucket_us).saturating_add(forget),
                None => i64::MIN,
            });
            windows.chain(buckets).max().unwrap_or(i64::MIN)
        };
        if live_until_us <= until {
            return Ok(StateChange::None);
        }
        let bytes = state::encode(
            &self.plan,
            new.iter().map(|(start, layer, ..)| (*start, layer.as_ref())),
            windows.into_values(),
            new.iter().flat_map(|(start, _, sources, _)| sources.iter().map(|s| (*start, s))),
            seen.iter().copied(),
            carry,
        )?;
        self.changes.push(live_until_us, bytes.len());
        Ok(StateChange::Add { bytes, live_until_us })
    }
}
