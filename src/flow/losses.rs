//! What follows when a topic, or some of its messages, are lost.
//!
//! In: what the observer saw of the topics, and how far they were read. Out: whether what was read may still be committed,
//! and the failure that names the lost range.

use turnstile_kafka::LostTopic;
use turnstile_message::TopicPartition;

use super::worker_shared::WorkerProgress;
use crate::exit::Exit;
use crate::report::Failure;

/// How far everything was read before the last two rounds in which the topics were seen to be the same ones: what the older
/// round holds was surely read of these topics, and not of others under their names.
#[derive(Debug, Default)]
pub(crate) struct SoundPositions {
    older: Vec<WorkerProgress>,
    newer: Vec<WorkerProgress>,
}

impl SoundPositions {
    /// The topics were seen unharmed after `progress` was made.
    pub(crate) fn record(&mut self, progress: Vec<WorkerProgress>) {
        self.older = std::mem::replace(&mut self.newer, progress);
    }

    /// Whether all of `progress` was read of the topic that is lost now, and may be committed: nothing of a topic that was
    /// recreated under the same name is among it.
    pub(crate) fn cover(&self, lost: Option<&LostTopic>, progress: &[WorkerProgress]) -> bool {
        let Some(LostTopic::Recreated { topic, .. }) = lost else { return true };
        positions_of(topic, progress) == positions_of(topic, &self.older)
    }
}

fn positions_of(topic: &str, all: &[WorkerProgress]) -> Vec<(i32, i64)> {
    let of_topic = all.iter().filter(|p| *p.partition.topic == *topic);
    let mut positions: Vec<_> = of_topic.map(|p| (p.partition.partition, p.next_offset)).collect();
    positions.sort_unstable();
    positions
}

/// The failure of a topic that cannot be read further, of which `progress` was read.
pub(crate) fn topic_lost(lost: &LostTopic, progress: &[WorkerProgress]) -> Failure {
    let next = progress.iter().map(|p| (&p.partition, p.next_offset));
    match lost {
        LostTopic::Recreated { topic, was, is } => topic_recreated(topic, was, is, next),
        LostTopic::Deleted { topic } => {
            let unread = unread(topic, next);
            Failure::new(Exit::SourceData, format!("topic {topic:?} was deleted while it was read"))
                .cause(anyhow::anyhow!("its unread messages are lost: {unread}"))
                .hint(
                    "what was read is committed; to continue without it, or with a recreated one, start with --accept-loss",
                )
        }
    }
}

/// A topic under the name of one that was read before, of which `next` were the next offsets to read.
pub(crate) fn topic_recreated<'a>(
    topic: &str,
    was: &str,
    is: &str,
    next: impl IntoIterator<Item = (&'a TopicPartition, i64)>,
) -> Failure {
    let unread = unread(topic, next);
    Failure::new(Exit::SourceData, format!("topic {topic:?} was deleted and recreated"))
        .cause(anyhow::anyhow!("its id was {was} and is now {is}; the unread messages of the old one are lost: {unread}"))
        .hint(
            "start with --accept-loss to read the new topic from its beginning, or give the pipeline a new name to read \
             all topics from their beginning",
        )
}

/// Messages that were deleted before they were read: from `next`, up to the first one that `partition` holds.
pub(crate) fn range_lost(partition: &TopicPartition, next: i64, earliest: i64) -> Failure {
    let cause = format!("the partition now begins at {earliest}, but the next message to read is {next}");
    Failure::new(Exit::SourceData, format!("{partition} cannot be read further: offsets {next}..{earliest} are lost"))
        .cause(anyhow::anyhow!(cause))
}

/// What was not read of a topic: each partition with its next offset.
fn unread<'a>(topic: &str, next: impl IntoIterator<Item = (&'a TopicPartition, i64)>) -> String {
    let next = next.into_iter().filter(|(partition, _)| &*partition.topic == topic);
    next.map(|(partition, next)| format!("{partition} from {next}")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(topic: &str, next_offset: i64) -> Vec<WorkerProgress> {
        let partition = TopicPartition::new(topic, 0);
        vec![WorkerProgress { partition, next_offset, event_us: None, active_until: None, timestamp_ms: None }]
    }

    fn recreated(topic: &str) -> LostTopic {
        LostTopic::Recreated { topic: topic.to_owned(), was: "A".to_owned(), is: "B".to_owned() }
    }

    #[test]
    fn what_may_be_of_the_new_topic_is_not_committed() {
        let mut sound = SoundPositions::default();
        sound.record(at("t", 5));
        sound.record(at("t", 7));
        let lost = recreated("t");
        assert!(!sound.cover(Some(&lost), &at("t", 7)), "the topic may have been recreated between the two rounds");
        sound.record(at("t", 7));
        assert!(sound.cover(Some(&lost), &at("t", 7)));
        assert!(!sound.cover(Some(&lost), &at("t", 8)));
        assert!(sound.cover(Some(&recreated("other")), &at("t", 8)), "this topic is another's loss");
        assert!(sound.cover(Some(&LostTopic::Deleted { topic: "t".to_owned() }), &at("t", 8)));
    }

    #[test]
    fn a_lost_topic_is_named_with_what_was_not_read_of_it() {
        let failure = topic_lost(&recreated("t"), &[at("t", 5), at("u", 9)].concat());
        let cause = std::error::Error::source(&failure).unwrap().to_string();
        assert!(cause.contains("its id was A and is now B") && cause.ends_with("t[0] from 5"), "{cause}");
        assert_eq!(failure.exit, Exit::SourceData);
    }
}
