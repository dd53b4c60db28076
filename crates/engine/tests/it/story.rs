//! A story: rows and cuts in the order they happen, and what must come out.

use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, Int32Type, Int64Type, TimestampMicrosecondType};
use arrow::util::display::array_value_to_string;
use turnstile_engine::{
    ClosePolicy, ClosedWindow, Cut, Engine, RestoredState, SpillSpace, StateChange, StreamPlan, Worker, merge_state,
};
use turnstile_message::{BatchBuilder, Counters, ExcludedMessages, FailedWindow, TopicPartition};
use turnstile_pipeline::Pipeline;

/// The pipeline of most stories: rows are `STATION,ENTRIES,ID,TIMESTAMP`, times are UTC.
pub(crate) fn pipeline(stream: &str, sql: &str) -> Pipeline {
    pipeline_in("UTC", stream, sql)
}

/// The same with times of another zone.
pub(crate) fn pipeline_in(zone: &str, stream: &str, sql: &str) -> Pipeline {
    let text = format!(
        r#"
name = "story"
[source]
topic = "t"
format = "csv"
[source.schema]
STATION = "string"
ENTRIES = "long"
ID = "string"
TIMESTAMP = {{ type = "timestamp", format = "yyyy-MM-dd HH:mm:ss", zone = "{zone}" }}
[stream]
event_time = "TIMESTAMP"
{stream}
[query]
sql = """{sql}"""
[lake]
url = "file:./lake"
"#
    );
    Pipeline::from_str(&text, "story.toml").unwrap_or_else(|e| panic!("{e}"))
}

/// Sum, count, least and greatest a station and window.
pub(crate) fn sums(window: &str) -> String {
    format!(
        "SELECT STATION, sum(ENTRIES) AS ENTRIES, count(*) AS N, min(ENTRIES) AS LO, max(ENTRIES) AS HI \
         FROM turnstile GROUP BY window(TIMESTAMP, {window}), STATION"
    )
}

/// An engine with one worker a partition, driven by hand.
pub(crate) struct Story {
    plan: Arc<StreamPlan>,
    spill: Option<Arc<dyn SpillSpace>>,
    engine: Engine,
    workers: Vec<Worker>,
    offsets: Vec<i64>,
    state: Vec<(Vec<u8>, i64)>,
    last: Option<(Vec<turnstile_message::PartitionPosition>, i64, Counters)>,
    pub(crate) closed: Vec<ClosedWindow>,
    pub(crate) failed: Vec<FailedWindow>,
    /// Late rows and duplicates, of all commits.
    pub(crate) excluded: Vec<ExcludedMessages>,
    /// In how many windows a row lies, at least and at most.
    windows_per_row: (u64, u64),
    pub(crate) dead_letters: Vec<turnstile_engine::DeadLetter>,
    pub(crate) counters: Counters,
    idle: Vec<(TopicPartition, i64)>,
    pub(crate) now_us: Option<i64>,
    /// Kafka's timestamp of the messages that follow.
    pub(crate) timestamp_ms: i64,
    closed_as: ClosePolicy,
    /// Bytes of state that cuts wrote on top of what was there, and bytes that replaced it.
    pub(crate) written: (Vec<usize>, Vec<usize>),
}

fn windows_per_row(pipeline: &Pipeline) -> (u64, u64) {
    let (size, slide) = (pipeline.query.window.size_us as u64, pipeline.query.window.slide_us as u64);
    (size / slide, size.div_ceil(slide))
}

impl Story {
    pub(crate) fn new(pipeline: &Pipeline, partitions: usize) -> Self {
        Self::spilling(pipeline, partitions, None)
    }

    /// The same with room outside memory.
    pub(crate) fn spilling(pipeline: &Pipeline, partitions: usize, spill: Option<Arc<dyn SpillSpace>>) -> Self {
        let plan = Arc::new(StreamPlan::new(pipeline).unwrap_or_else(|e| panic!("{e}")));
        let mut story = Self {
            engine: Engine::new(Arc::clone(&plan), RestoredState::default(), partitions, spill.clone()).unwrap(),
            plan,
            spill,
            workers: Vec::new(),
            offsets: vec![0; partitions],
            state: Vec::new(),
            last: None,
            closed: Vec::new(),
            failed: Vec::new(),
            excluded: Vec::new(),
            windows_per_row: windows_per_row(pipeline),
            dead_letters: Vec::new(),
            counters: Counters::default(),
            idle: Vec::new(),
            now_us: None,
            timestamp_ms: 0,
            closed_as: ClosePolicy::Passed,
            written: Default::default(),
        };
        story.start();
        story
    }

    fn start(&mut self) {
        for (partition, offset) in self.offsets.iter().enumerate() {
            self.engine.add_partition(TopicPartition::new("t", partition as i32), *offset);
        }
        self.workers = self.offsets.iter().map(|_| self.engine.worker()).collect();
    }

    pub(crate) fn row(&mut self, partition: usize, station: &str, entries: i64, id: &str, time: &str) -> &mut Self {
        self.value(partition, Some(format!("{station},{entries},{id},{time}").as_bytes()))
    }

    pub(crate) fn value(&mut self, partition: usize, value: Option<&[u8]>) -> &mut Self {
        let mut batch = BatchBuilder::default();
        self.append(&mut batch, partition, value);
        self.workers[partition].push(&batch.finish(), self.now_us).unwrap();
        self
    }

    /// Several values in one batch.
    pub(crate) fn values(&mut self, partition: usize, values: impl IntoIterator<Item = String>) -> &mut Self {
        let mut batch = BatchBuilder::default();
        for value in values {
            self.append(&mut batch, partition, Some(value.as_bytes()));
        }
        self.workers[partition].push(&batch.finish(), self.now_us).unwrap();
        self
    }

    fn append(&mut self, batch: &mut BatchBuilder, partition: usize, value: Option<&[u8]>) {
        let at = TopicPartition::new("t", partition as i32);
        batch.push(&at, self.offsets[partition], self.timestamp_ms, None, value);
        self.offsets[partition] += 1;
    }

    pub(crate) fn next_offset(&self, partition: usize) -> i64 {
        self.offsets[partition]
    }

    /// The partition is quiet now.
    pub(crate) fn idle(&mut self, partition: usize) -> &mut Self {
        self.idle_since(partition, self.offsets[partition])
    }

    /// The partition was quiet when it was read up to `next_offset`.
    pub(crate) fn idle_since(&mut self, partition: usize, next_offset: i64) -> &mut Self {
        self.idle.push((TopicPartition::new("t", partition as i32), next_offset));
        self
    }

    pub(crate) fn cut(&mut self) -> &mut Self {
        self.cut_with(ClosePolicy::Passed)
    }

    pub(crate) fn drain(&mut self) -> &mut Self {
        self.cut_with(ClosePolicy::All)
    }

    /// Drains, which fails.
    pub(crate) fn drain_error(&mut self) -> turnstile_engine::EngineError {
        self.error(ClosePolicy::All)
    }

    /// Cuts, which fails.
    pub(crate) fn cut_error(&mut self) -> turnstile_engine::EngineError {
        self.error(ClosePolicy::Passed)
    }

    fn error(&mut self, close: ClosePolicy) -> turnstile_engine::EngineError {
        let parts = self.workers.iter_mut().map(|w| w.take().unwrap()).collect();
        self.engine.absorb(parts, &[], close);
        self.engine.finish().unwrap_err()
    }

    /// Cuts a stream that was quiet, as the flow saw it; what the cut did.
    pub(crate) fn quiet(&mut self) -> ClosePolicy {
        self.cut_with(ClosePolicy::Quiet).closed_as
    }

    fn cut_with(&mut self, close: ClosePolicy) -> &mut Self {
        let parts = self.workers.iter_mut().map(|w| w.take().unwrap()).collect();
        let frontier = self.engine.absorb(parts, &std::mem::take(&mut self.idle), close);
        self.workers.iter_mut().for_each(|w| w.advance(frontier));
        let cut = self.engine.finish().unwrap();
        self.closed_as = cut.close;
        self.commit(cut);
        self
    }

    fn commit(&mut self, cut: Cut) {
        assert!(
            cut.counters.imbalance(&Counters::default()).is_none(),
            "read is not the sum of its terms: {:?}",
            cut.counters
        );
        let excluded = |count: fn(&ExcludedMessages) -> u64| cut.excluded.iter().map(count).sum::<u64>();
        // Where the size is no multiple of the slide, some rows lie in one window more than others.
        let expected = |count: fn(&Counters) -> u64| {
            let new = count(&cut.counters) - count(&self.counters);
            new * self.windows_per_row.0..=new * self.windows_per_row.1
        };
        let (late, duplicates) = (excluded(|window| window.late), excluded(|window| window.duplicates));
        assert!(expected(|counters| counters.late).contains(&late), "{late} late rows, {:?}", cut.counters);
        assert!(expected(|counters| counters.duplicate).contains(&duplicates), "{duplicates}, {:?}", cut.counters);
        match &cut.state {
            StateChange::Add { bytes, .. } => self.written.0.push(bytes.len()),
            StateChange::Replace { bytes } => self.written.1.push(bytes.len()),
            StateChange::None | StateChange::Clear => {}
        }
        match cut.state {
            StateChange::None => {}
            StateChange::Clear => self.state.clear(),
            StateChange::Add { bytes, live_until_us } => self.state.push((bytes, live_until_us)),
            StateChange::Replace { bytes } => self.state = vec![(bytes, i64::MAX)],
        }
        self.state.retain(|(_, live_until)| *live_until > cut.closed_until_us);
        self.last = Some((cut.partitions, cut.published_until_us, cut.counters.clone()));
        self.counters = cut.counters;
        self.closed.extend(cut.closed);
        self.failed.extend(cut.failed);
        self.excluded.extend(cut.excluded);
        self.dead_letters.extend(cut.dead_letters);
    }

    /// Everything that was not committed is gone; a new engine goes on from the last cut.
    /// Gives the offset that each partition is read from again.
    pub(crate) fn crash(&mut self) -> Vec<i64> {
        let (partitions, published, counters) =
            self.last.clone().unwrap_or((Vec::new(), i64::MIN, Counters::default()));
        for (partition, offset) in self.offsets.iter_mut().enumerate() {
            let at = TopicPartition::new("t", partition as i32);
            *offset = partitions.iter().find(|p| p.partition == at).map_or(0, |p| p.next_offset);
        }
        let mut partitions = partitions;
        // As the flow does: whether a partition is still quiet is not known yet.
        partitions.iter_mut().for_each(|p| p.idle = false);
        let restore = RestoredState {
            partitions,
            published_until_us: (published != i64::MIN).then_some(published),
            counters,
            state: self.state.clone(),
        };
        self.engine = Engine::new(Arc::clone(&self.plan), restore, self.offsets.len(), self.spill.clone()).unwrap();
        self.idle.clear();
        self.start();
        self.offsets.clone()
    }

    /// Takes the committed blobs of state into the order of `order`, and merges the last `merged` of that into one.
    pub(crate) fn rearrange_state(&mut self, order: impl Fn(usize) -> u64, merged: usize) {
        let mut state: Vec<_> = std::mem::take(&mut self.state).into_iter().enumerate().collect();
        state.sort_by_key(|(at, _)| order(*at));
        let mut state: Vec<_> = state.into_iter().map(|(_, blob)| blob).collect();
        let last = state.split_off(state.len().saturating_sub(merged));
        if let Some(live_until_us) = last.iter().map(|(_, live_until_us)| *live_until_us).max() {
            let blobs: Vec<Vec<u8>> = last.into_iter().map(|(bytes, _)| bytes).collect();
            let closed_until_us = self.last.as_ref().map_or(i64::MIN, |(_, published, _)| *published);
            state.insert(0, (merge_state(&self.plan, &blobs, closed_until_us).unwrap(), live_until_us));
        }
        self.state = state;
    }

    /// The newest version of every window, as text: `start v1: a|b|…; …`.
    pub(crate) fn text(&self) -> Vec<String> {
        let mut newest = std::collections::BTreeMap::new();
        for window in &self.closed {
            newest.insert(window.start_us, window);
        }
        newest.values().map(|w| window_text(w)).collect()
    }

    #[track_caller]
    pub(crate) fn expect(&self, expected: &[&str]) {
        assert_eq!(self.text(), expected);
    }
}

fn window_text(window: &ClosedWindow) -> String {
    let rows: Vec<String> = (0..window.rows.num_rows())
        .map(|row| {
            let cells = window.rows.columns().iter().map(|c| array_value_to_string(c, row).unwrap());
            cells.collect::<Vec<_>>().join("|")
        })
        .collect();
    let version = if window.version == 1 { String::new() } else { format!(" v{}", window.version) };
    format!("{}{version}: {}", clock(window.start_us), rows.join("; "))
}

fn clock(us: i64) -> String {
    let (days, secs) = (us.div_euclid(86_400_000_000), us.rem_euclid(86_400_000_000) / 1_000_000);
    let day = if days == 19_700 { String::new() } else { format!("day {} ", days - 19_700) };
    format!("{day}{:02}:{:02}", secs / 3600, secs / 60 % 60)
}

/// A numeric cell of a result.
pub(crate) fn number(window: &ClosedWindow, column: usize, row: usize) -> i64 {
    let column = window.rows.column(column);
    assert!(column.is_valid(row));
    match column.data_type() {
        DataType::Int32 => i64::from(column.as_primitive::<Int32Type>().value(row)),
        DataType::Timestamp(..) => column.as_primitive::<TimestampMicrosecondType>().value(row),
        _ => column.as_primitive::<Int64Type>().value(row),
    }
}
