//! Spans of a flow: one trace for each commit that published something, and the loads of it.
//!
//! ```text
//! checkpoint ─┬─ read      messages of the interval
//!             ├─ cut       workers hand over, windows are merged, files encoded
//!             ├─ commit    state and slot are written
//!             ├─ publish   files get their final names
//!             ├─ load      into the embedded warehouse, later
//!             └─ deliver   to another database, later
//! ```

use turnstile_message::OffsetRange;
use uuid::Uuid;

use crate::event::{CommitReport, FileContent, LoadReport, TrackEvent};

use super::messages::{ResourceSpans, ScopeSpans, Span, SpanAttribute, SpanEvent, SpanKind, TraceRequest};
use super::values::{OtlpResource, nanos, number, text, texts};

/// Partitions whose offsets are attributes of a span.
const MAX_SPAN_PARTITIONS: usize = 100;
/// Retries that are events of the commit that came after them; earlier ones are left out.
const MAX_SPAN_RETRIES: usize = 16;
const EMBEDDED: &str = "embedded";

/// Spans of one run. A function of its calls, but for the ids of loads' spans, which are drawn.
#[derive(Debug)]
pub(super) struct FlowSpans {
    resource: OtlpResource,
    /// The last commit that has a trace.
    last_traced: Option<u64>,
    retries: Vec<SpanEvent>,
}

impl FlowSpans {
    pub(super) fn new(resource: OtlpResource) -> Self {
        Self { resource, last_traced: None, retries: Vec::new() }
    }

    /// The request for `/v1/traces` that an event at `at_us` (microseconds since the epoch, UTC) gives rise to.
    pub(super) fn observe(&mut self, at_us: i64, event: &TrackEvent) -> Option<TraceRequest> {
        match event {
            TrackEvent::Committed(commit) => {
                let retries = std::mem::take(&mut self.retries);
                if commit.files.is_empty() {
                    return None;
                }
                self.last_traced = Some(commit.seq);
                Some(self.request(self.commit(at_us, commit, retries)))
            }
            TrackEvent::Loaded(load) => {
                // What was loaded was published by the newest commit with a trace, or before it.
                let seq = self.last_traced?.min(load.to_seq);
                Some(self.request(vec![self.load(seq, load)]))
            }
            TrackEvent::Retried { action, cause } => {
                if self.retries.len() == MAX_SPAN_RETRIES {
                    self.retries.remove(0);
                }
                let attributes = vec![text("turnstile.action", action), text("turnstile.cause", cause)];
                let name = "retry".to_owned();
                self.retries.push(SpanEvent { time_unix_nano: nanos(at_us), name, attributes });
                None
            }
            _ => None,
        }
    }

    fn request(&self, spans: Vec<Span>) -> TraceRequest {
        let scope = ScopeSpans { scope: Some(self.resource.scope()), spans };
        let resource = Some(self.resource.message());
        let resource = ResourceSpans { resource, scope_spans: vec![scope] };
        TraceRequest { resource_spans: vec![resource] }
    }

    fn commit(&self, at_us: i64, commit: &CommitReport, retries: Vec<SpanEvent>) -> Vec<Span> {
        let times = StepTimes::of(at_us, commit);
        let span = |step: SpanStep, from_us, to_us, attributes| self.span(commit.seq, step, from_us, to_us, attributes);
        let counts = FileTotals::of(commit);
        let mut checkpoint = self.common(commit.seq);
        checkpoint.extend([
            number("turnstile.windows", counts.windows),
            number("turnstile.corrections", counts.corrections),
            number("turnstile.rows", counts.rows),
            number("turnstile.dead_letters", counts.dead_letters),
            texts("turnstile.offsets", counts.offsets.iter().take(MAX_SPAN_PARTITIONS).map(ToString::to_string)),
        ]);
        let publish = vec![number("turnstile.files", counts.files), number("turnstile.bytes", counts.bytes)];
        let open = vec![number("turnstile.open_windows", commit.open_windows as u64)];
        let state = vec![number("turnstile.state_bytes", commit.state_bytes)];
        let mut spans = vec![span(SpanStep::Checkpoint, times.read_from_us, times.published_at_us, checkpoint)];
        if commit.phases.is_some() {
            spans.push(span(SpanStep::Read, times.read_from_us, times.cut_at_us, Vec::new()));
            spans.push(span(SpanStep::Cut, times.cut_at_us, times.commit_began_at_us, open));
        }
        let written = span(SpanStep::Commit, times.commit_began_at_us, times.committed_at_us, state);
        spans.push(Span { events: retries, ..written });
        spans.push(span(SpanStep::Publish, times.committed_at_us, times.published_at_us, publish));
        spans
    }

    fn load(&self, seq: u64, load: &LoadReport) -> Span {
        let step = if load.target == EMBEDDED { SpanStep::Load } else { SpanStep::Deliver };
        let mut attributes = self.common(load.to_seq);
        attributes.extend([
            text("turnstile.target", &load.target),
            number("turnstile.load", load.load),
            number("turnstile.windows", load.windows),
            number("turnstile.rows", load.rows),
            number("turnstile.tests_failed", load.tests_failed),
        ]);
        let span = self.span(seq, step, load.started_at_us, load.ended_at_us, attributes);
        // Several loads may belong to one commit.
        Span { span_id: Uuid::new_v4().as_bytes()[8..].to_vec(), ..span }
    }

    fn common(&self, seq: u64) -> Vec<SpanAttribute> {
        vec![text("turnstile.pipeline", &self.resource.pipeline), number("turnstile.seq", seq)]
    }

    fn span(&self, seq: u64, step: SpanStep, from_us: i64, to_us: i64, attributes: Vec<SpanAttribute>) -> Span {
        let parent = if step == SpanStep::Checkpoint { Vec::new() } else { self.span_id(seq, SpanStep::Checkpoint) };
        Span {
            trace_id: self.trace_id(seq),
            span_id: self.span_id(seq, step),
            parent_span_id: parent,
            name: step.name().to_owned(),
            kind: step.kind() as i32,
            start_time_unix_nano: nanos(from_us),
            end_time_unix_nano: nanos(to_us.max(from_us)),
            attributes,
            events: Vec::new(),
        }
    }

    /// A function of run and commit, so that a load finds the trace of a commit without keeping it.
    fn trace_id(&self, seq: u64) -> Vec<u8> {
        let spread = (u128::from(mix(seq)) << 64) | u128::from(mix(!seq));
        (self.resource.run.as_u128() ^ spread).to_be_bytes().to_vec()
    }

    fn span_id(&self, seq: u64, step: SpanStep) -> Vec<u8> {
        let (_, run) = self.resource.run.as_u64_pair();
        // Zero is not an id.
        mix(run ^ mix(seq.wrapping_mul(8).wrapping_add(step as u64))).max(1).to_be_bytes().to_vec()
    }
}

/// The steps of a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SpanStep {
    Checkpoint,
    Read,
    Cut,
    Commit,
    Publish,
    Load,
    Deliver,
}

impl SpanStep {
    fn name(self) -> &'static str {
        match self {
            Self::Checkpoint => "checkpoint",
            Self::Read => "read",
            Self::Cut => "cut",
            Self::Commit => "commit",
            Self::Publish => "publish",
            Self::Load => "load",
            Self::Deliver => "deliver",
        }
    }

    fn kind(self) -> SpanKind {
        match self {
            Self::Read => SpanKind::Consumer,
            Self::Commit | Self::Publish | Self::Deliver => SpanKind::Client,
            Self::Checkpoint | Self::Cut | Self::Load => SpanKind::Internal,
        }
    }
}

/// When a commit's steps began, microseconds since the epoch, UTC.
struct StepTimes {
    read_from_us: i64,
    cut_at_us: i64,
    commit_began_at_us: i64,
    committed_at_us: i64,
    published_at_us: i64,
}

impl StepTimes {
    fn of(at_us: i64, commit: &CommitReport) -> Self {
        let committed_at_us = commit.committed_at_us;
        match commit.phases {
            Some(phases) => Self {
                read_from_us: phases.read_from_us,
                cut_at_us: phases.cut_at_us,
                commit_began_at_us: phases.commit_began_at_us,
                committed_at_us,
                published_at_us: phases.published_at_us,
            },
            None => {
                let took_us = i64::try_from(commit.took.as_micros()).unwrap_or(i64::MAX);
                let cut_at_us = at_us.saturating_sub(took_us);
                let (read_from_us, commit_began_at_us) = (cut_at_us, cut_at_us);
                Self { read_from_us, cut_at_us, commit_began_at_us, committed_at_us, published_at_us: at_us }
            }
        }
    }
}

/// What a commit published.
#[derive(Default)]
struct FileTotals {
    windows: u64,
    corrections: u64,
    rows: u64,
    dead_letters: u64,
    files: u64,
    bytes: u64,
    offsets: Vec<OffsetRange>,
}

impl FileTotals {
    fn of(commit: &CommitReport) -> Self {
        let mut totals = Self::default();
        for file in &commit.files {
            totals.files += 1;
            totals.bytes += file.bytes;
            match &file.content {
                FileContent::Window { version, .. } => {
                    *(if *version > 1 { &mut totals.corrections } else { &mut totals.windows }) += 1;
                    totals.rows += file.rows;
                }
                FileContent::DeadLetters(_) => totals.dead_letters += file.rows,
            }
            for range in &file.sources {
                range.clone().merge_into(&mut totals.offsets);
            }
        }
        totals
    }
}

/// Spreads a number over 64 bits, one to one.
///
/// Source: the finalizer of SplitMix64 (Steele, Lea, Flood 2014).
fn mix(number: u64) -> u64 {
    let z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
