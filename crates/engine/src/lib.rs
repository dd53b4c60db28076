//! Decode, dedup, event-time windows, watermarks: bytes in, closed windows out.
//!
//! In: [`MessageBatch`](turnstile_message::MessageBatch)es, in offset order per partition. Out: at every cut, the windows
//! that closed, the messages that are in none, the state to resume from, and a count for every message.
//! Reads no clock and does no I/O: everything it does is a function of what it is given, in the order it is
//! given, so a seeded simulation can drive it.
//!
//! Start at [`Engine`]: it hands out [`Worker`]s, which own partitions and keep partial aggregates; a cut
//! collects what they have ([`Engine::absorb`]) and closes windows ([`Engine::finish`]).

mod aggregates;
mod bloom_filter;
mod cut;
mod dead_letter;
mod decode;
mod dedup;
mod engine;
mod error;
mod excluded_rows;
mod failed_groups;
mod fingerprint;
mod frontier;
mod groups;
mod inspect;
mod kept_state;
mod live_changes;
mod merge_state;
mod message_order;
mod open_window;
mod part;
mod partition_parts;
mod projection;
mod registers;
mod row_mask;
mod seen_run;
mod spill;
mod state;
mod stored_layer;
mod stream_plan;
mod watermark;
mod window_deltas;
mod worker;

pub use cut::{ClosePolicy, ClosedWindow, Cut, RestoredState, StateChange};
pub use dead_letter::DeadLetter;
pub use decode::{Reason, Rejection};
pub use engine::Engine;
pub use error::EngineError;
pub use fingerprint::fingerprint;
pub use frontier::Frontier;
pub use inspect::{Inspected, Inspector};
pub use merge_state::merge_state;
pub use open_window::OpenWindowSummary;
pub use part::{PartitionPart, WorkerPart};
pub use spill::{SpillFile, SpillSpace};
pub use stream_plan::StreamPlan;
pub use worker::{Worker, half_hours_ahead};
