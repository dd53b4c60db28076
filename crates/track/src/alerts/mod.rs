//! Alerts: rules over a flow's events, and where their changes go.
//!
//! In: [`TrackEvent`](crate::TrackEvent)s, the end of a run, and the clock. Out: [`AlertChange`]s, to the log, to listeners and
//! to a webhook. Reads no clock. Start at [`AlertEvaluator::observe`]; [`AlertDelivery`] does the I/O.

mod delivery;
mod evaluator;
mod rule;
mod signals;
#[cfg(test)]
mod tests;

pub use delivery::{AlertDelivery, WEBHOOK_CAPACITY};
pub use evaluator::AlertEvaluator;
pub use rule::{Alert, AlertChange, AlertCondition, AlertRule, AlertSeverity};
