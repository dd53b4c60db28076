//! Whether the topics that are read still exist and are still the same ones.
//!
//! librdkafka does not report that an assigned topic was deleted, and keeps reading one that was recreated under the
//! same name. In: topic ids, as the cluster reports them over time. Out: the first [`LostTopic`]. Does no I/O and
//! reads no clock. Start at [`TopicIdentityWatch::observe`].

use std::collections::BTreeMap;

use crate::error::ClientError;

/// What became of a topic that was being read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LostTopic {
    /// It no longer exists.
    Deleted {
        /// Its name.
        topic: String,
    },
    /// It was deleted and recreated under the same name.
    Recreated {
        /// Its name.
        topic: String,
        /// The id that was being read.
        was: String,
        /// The id that it has now.
        is: String,
    },
}

/// The ids of the topics that are read, and how often in a row each was missing.
#[derive(Debug, Clone)]
pub struct TopicIdentityWatch {
    ids: BTreeMap<String, String>,
    missing: BTreeMap<String, u32>,
    misses: u32,
}

impl TopicIdentityWatch {
    /// Watches topics whose ids were `ids` when reading began; a cluster that assigns no ids gives none. A topic counts as
    /// deleted once it was missing `misses` times in a row: a broker that has just started may not know it yet.
    pub fn new(ids: BTreeMap<String, String>, misses: u32) -> Self {
        Self { ids, missing: BTreeMap::new(), misses }
    }

    /// The ids that are expected, by topic.
    pub fn ids(&self) -> &BTreeMap<String, String> {
        &self.ids
    }

    /// Watches these topics too.
    pub fn extend(&mut self, ids: BTreeMap<String, String>) {
        self.ids.extend(ids);
    }

    /// Takes an answer of [`crate::KafkaConnection::topic_ids`] and returns the topic that cannot be read any further. An
    /// error other than a missing topic is no news of the topics.
    pub fn observe(&mut self, answer: &Result<BTreeMap<String, String>, ClientError>) -> Option<LostTopic> {
        match answer {
            Ok(ids) => {
                self.missing.clear();
                ids.iter().find_map(|(topic, is)| {
                    let was = self.ids.get(topic).filter(|was| *was != is)?;
                    Some(LostTopic::Recreated { topic: topic.clone(), was: was.clone(), is: is.clone() })
                })
            }
            Err(ClientError::TopicMissing { topic }) => {
                let times = self.missing.entry(topic.clone()).or_default();
                *times += 1;
                (*times >= self.misses).then(|| LostTopic::Deleted { topic: topic.clone() })
            }
            Err(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(all: &[(&str, &str)]) -> BTreeMap<String, String> {
        all.iter().map(|(topic, id)| ((*topic).to_owned(), (*id).to_owned())).collect()
    }

    fn missing(topic: &str) -> Result<BTreeMap<String, String>, ClientError> {
        Err(ClientError::TopicMissing { topic: topic.to_owned() })
    }

    #[test]
    fn a_topic_with_another_id_was_recreated() {
        let mut watch = TopicIdentityWatch::new(ids(&[("a", "1"), ("b", "2")]), 2);
        assert_eq!(watch.observe(&Ok(ids(&[("a", "1"), ("b", "2")]))), None);
        let recreated = LostTopic::Recreated { topic: "b".into(), was: "2".into(), is: "3".into() };
        assert_eq!(watch.observe(&Ok(ids(&[("a", "1"), ("b", "3")]))), Some(recreated));
    }

    #[test]
    fn a_topic_is_deleted_once_it_was_missing_often_enough_in_a_row() {
        let mut watch = TopicIdentityWatch::new(ids(&[("a", "1")]), 2);
        assert_eq!(watch.observe(&missing("a")), None);
        assert_eq!(watch.observe(&Ok(ids(&[("a", "1")]))), None, "an answer ends the row");
        assert_eq!(watch.observe(&missing("a")), None);
        assert_eq!(watch.observe(&Err(ClientError::Stopped)), None, "no answer says nothing about the topic");
        assert_eq!(watch.observe(&missing("a")), Some(LostTopic::Deleted { topic: "a".into() }));
    }

    #[test]
    fn without_ids_a_recreated_topic_is_not_noticed_and_a_deleted_one_is() {
        let mut watch = TopicIdentityWatch::new(BTreeMap::new(), 1);
        assert_eq!(watch.observe(&Ok(ids(&[("a", "2")]))), None);
        assert_eq!(watch.observe(&missing("a")), Some(LostTopic::Deleted { topic: "a".into() }));
        watch.extend(ids(&[("c", "1")]));
        assert_eq!(watch.ids(), &ids(&[("c", "1")]));
    }
}
