//! How many of a run's messages were rejected, and why: a run that rejects most of what it reads has a wrong pipeline, or a
//! wrong topic.

use std::collections::BTreeMap;

use turnstile_engine::{DeadLetter, Reason};
use turnstile_message::Counters;
use turnstile_values::human;

/// What a run that goes on should say of the messages that earlier ones rejected.
pub(crate) fn note_of_earlier(counters: &Counters) -> Option<String> {
    (counters.dead_lettered > 0).then(|| {
        format!(
            "{} {} rejected by earlier runs; if the pipeline was corrected since, `turnstile deadletter requeue` sends them again",
            human::plural(counters.dead_lettered, "message"),
            if counters.dead_lettered == 1 { "was" } else { "were" }
        )
    })
}

/// The rejected messages of one run. Late ones are none: their rows were right.
#[derive(Debug, Default)]
pub(crate) struct Rejections {
    /// Messages that the pipeline had read before this run.
    read_before: u64,
    /// By reason: how many, and the first.
    reasons: BTreeMap<&'static str, (u64, String)>,
}

/// What became of the messages of a run that rejected some.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RejectedShare {
    /// Messages that the run committed.
    pub(crate) read: u64,
    /// Those of them that were rejected.
    pub(crate) rejected: u64,
    /// The commonest reason.
    pub(crate) reason: &'static str,
    /// How many were rejected for it.
    pub(crate) of_reason: u64,
    /// Where the first one of these stands and what is wrong with it.
    pub(crate) first: String,
}

impl RejectedShare {
    /// Whether more than half was rejected.
    pub(crate) fn is_most(&self) -> bool {
        self.rejected > self.read / 2
    }
}

impl Rejections {
    /// The pipeline has read `read_before` messages so far.
    pub(crate) fn new(read_before: u64) -> Self {
        Self { read_before, reasons: BTreeMap::new() }
    }

    /// Counts the dead letters of a commit.
    pub(crate) fn record(&mut self, letters: &[DeadLetter]) {
        for letter in letters.iter().filter(|letter| letter.rejection.reason != Reason::Late) {
            let (count, _) = self
                .reasons
                .entry(letter.rejection.reason.as_str())
                .or_insert_with(|| (0, describe_dead_letter(letter)));
            *count += 1;
        }
    }

    /// What became of the run's messages, when the pipeline has read `read` of them; `None`: nothing was rejected.
    pub(crate) fn share(&self, read: u64) -> Option<RejectedShare> {
        let (reason, (of_reason, first)) = self.reasons.iter().max_by_key(|(_, (count, _))| *count)?;
        Some(RejectedShare {
            read: read.saturating_sub(self.read_before),
            rejected: self.reasons.values().map(|(count, _)| count).sum(),
            reason,
            of_reason: *of_reason,
            first: first.clone(),
        })
    }
}

/// Where a dead letter stands and what is wrong with it.
pub(crate) fn describe_dead_letter(letter: &DeadLetter) -> String {
    let field = letter.rejection.field.as_ref().map(|f| format!("{f}: ")).unwrap_or_default();
    format!("{}: {} ({field}{})", letter.position, letter.rejection.reason, letter.rejection.detail)
}

#[cfg(test)]
mod tests {
    use turnstile_engine::Rejection;
    use turnstile_message::{SourcePosition, TopicPartition};

    use super::*;

    fn letter(offset: i64, reason: Reason) -> DeadLetter {
        DeadLetter {
            position: SourcePosition { partition: TopicPartition::new("t", 0), offset },
            timestamp_ms: 0,
            rejection: Rejection { reason, field: None, detail: "x".to_owned() },
            key: None,
            value: None,
        }
    }

    #[test]
    fn the_commonest_reason_is_named_with_its_first_message() {
        let mut rejections = Rejections::new(10);
        assert_eq!(rejections.share(20), None);
        rejections.record(&[letter(1, Reason::Late), letter(2, Reason::Json)]);
        rejections.record(&[letter(3, Reason::Type), letter(4, Reason::Type), letter(5, Reason::Late)]);
        let share = rejections.share(20).unwrap();
        assert_eq!((share.read, share.rejected, share.reason, share.of_reason), (10, 3, "type", 2));
        assert!(share.first.starts_with("t[0]@3: type"), "{}", share.first);
        assert!(!share.is_most());
        assert!(rejections.share(15).unwrap().is_most());
    }
}
