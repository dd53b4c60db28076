//! What actions did, until the page that follows has shown it.
//!
//! An action answers with a redirect, so that a reload does not repeat it; the page after it finds the outcome here.

use std::collections::VecDeque;

use parking_lot::Mutex;

/// Outcomes that are kept; older ones are dropped.
const MAX_OUTCOMES: usize = 64;

/// What an action did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ActionOutcome {
    /// It did what it was asked to.
    pub(crate) done: bool,
    /// In a few sentences.
    pub(crate) text: String,
}

/// The outcomes of the last actions, each by a random id.
#[derive(Debug, Default)]
pub(crate) struct ActionOutcomes(Mutex<VecDeque<(String, ActionOutcome)>>);

impl ActionOutcomes {
    pub(crate) fn put(&self, id: String, outcome: ActionOutcome) {
        let mut outcomes = self.0.lock();
        outcomes.push_front((id, outcome));
        outcomes.truncate(MAX_OUTCOMES);
    }

    /// The outcome with this id, once.
    pub(crate) fn take(&self, id: &str) -> Option<ActionOutcome> {
        let mut outcomes = self.0.lock();
        let at = outcomes.iter().position(|(other, _)| other == id)?;
        outcomes.remove(at).map(|(_, outcome)| outcome)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outcome_is_shown_once_and_only_the_newest_are_kept() {
        let outcomes = ActionOutcomes::default();
        for at in 0..=MAX_OUTCOMES {
            outcomes.put(at.to_string(), ActionOutcome { done: true, text: at.to_string() });
        }
        assert_eq!(outcomes.take("0"), None);
        assert_eq!(outcomes.take("64").map(|outcome| outcome.text), Some("64".to_owned()));
        assert_eq!(outcomes.take("64"), None);
    }
}
