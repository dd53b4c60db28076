//! The topics: their names and ids, settings, partitions and folders.
//!
//! In: names, numbers, settings. Out: topics and their partitions. Refuses to know requests and clients.
//! Each topic has a folder named after it and its id, so that a recreated topic never sees the files of the
//! deleted one. Start at [`TopicStore::create`].

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kafka_protocol::ResponseError;
use parking_lot::RwLock;
use turnstile_values::human;
use uuid::Uuid;

use crate::log::{Budget, Log, LogLimits};
use crate::partition::Partition;
use crate::request_error::RequestError;
use crate::settings::{BrokerError, BrokerSettings};
use crate::state_file;
use crate::topic_config::TopicConfig;

/// Kafka's own limit on the length of a topic's name.
const NAME_BYTES: usize = 249;
/// How much of the name the folder's name holds; the id makes it unique.
const FOLDER_NAME_BYTES: usize = 100;
const TOPIC_FILE: &str = "topic";

#[derive(Debug)]
pub(crate) struct Topic {
    pub(crate) name: Arc<str>,
    pub(crate) id: Uuid,
    dir: Option<PathBuf>,
    config: RwLock<TopicConfig>,
    partitions: RwLock<Vec<Arc<Partition>>>,
}

impl Topic {
    pub(crate) fn partitions(&self) -> Vec<Arc<Partition>> {
        self.partitions.read().clone()
    }

    pub(crate) fn partition(&self, index: i32) -> Option<Arc<Partition>> {
        self.partitions.read().get(usize::try_from(index).ok()?).cloned()
    }

    pub(crate) fn config(&self) -> TopicConfig {
        self.config.read().clone()
    }

    fn save(&self, partitions: usize, config: &TopicConfig) -> io::Result<()> {
        let Some(dir) = &self.dir else { return Ok(()) };
        let head = format!("topic\t{}\t{}\t{partitions}", state_file::escape(&self.name), self.id.simple());
        let config = config.entries().map(|(key, value)| format!("config\t{key}\t{value}"));
        state_file::write(&dir.join(TOPIC_FILE), std::iter::once(head).chain(config), true)
    }
}

#[derive(Debug)]
pub(crate) struct TopicStore {
    dir: Option<PathBuf>,
    budget: Budget,
    max_partitions: usize,
    defaults: LogLimits,
    index: RwLock<TopicIndex>,
}

#[derive(Debug, Default)]
struct TopicIndex {
    by_name: BTreeMap<Arc<str>, Arc<Topic>>,
    by_id: HashMap<Uuid, Arc<Topic>>,
}

impl TopicIndex {
    fn insert(&mut self, topic: Topic) -> Arc<Topic> {
        let topic = Arc::new(topic);
        self.by_name.insert(topic.name.clone(), topic.clone());
        self.by_id.insert(topic.id, topic.clone());
        topic
    }

    fn partitions(&self) -> usize {
        self.by_name.values().map(|topic| topic.partitions.read().len()).sum()
    }
}

impl TopicStore {
    /// The topics below `dir`, or none and in memory. `now`: wall clock, milliseconds.
    pub(crate) fn open(dir: Option<&Path>, settings: &BrokerSettings, now: i64) -> Result<Self, BrokerError> {
        let defaults = LogLimits {
            max_message_bytes: settings.max_message_bytes,
            segment_bytes: settings.segment_bytes,
            segment_ms: None,
            retention_ms: settings.retention_ms,
            retention_bytes: settings.retention_bytes,
        };
        let mut index = TopicIndex::default();
        if let Some(dir) = dir {
            fs::create_dir_all(dir).map_err(BrokerError::storage(dir))?;
            for entry in fs::read_dir(dir).map_err(BrokerError::storage(dir))? {
                let path = entry.map_err(BrokerError::storage(dir))?.path();
                match load(&path, now)? {
                    Some(topic) => drop(index.insert(topic)),
                    // Killed while it was created or deleted: no client learned that it exists.
                    None if path.is_dir() => fs::remove_dir_all(&path).map_err(BrokerError::storage(&path))?,
                    None => {}
                }
            }
        }
        let (dir, budget) = (dir.map(Path::to_owned), Budget::new(settings.memory_bytes));
        Ok(Self { dir, budget, max_partitions: settings.max_partitions, defaults, index: RwLock::new(index) })
    }

    pub(crate) fn get(&self, name: &str) -> Option<Arc<Topic>> {
        self.index.read().by_name.get(name).cloned()
    }

    pub(crate) fn get_by_id(&self, id: &Uuid) -> Option<Arc<Topic>> {
        self.index.read().by_id.get(id).cloned()
    }

    /// All topics, by name.
    pub(crate) fn all(&self) -> Vec<Arc<Topic>> {
        self.index.read().by_name.values().cloned().collect()
    }

    /// What `topic` allows and keeps: its own settings over the broker's.
    pub(crate) fn limits(&self, topic: &Topic) -> LogLimits {
        topic.config.read().over(&self.defaults)
    }

    pub(crate) fn defaults(&self) -> LogLimits {
        self.defaults
    }

    /// Creates a topic, or with `validate_only` only says whether it could be created.
    pub(crate) fn create(
        &self,
        name: &str,
        partitions: i32,
        config: TopicConfig,
        validate_only: bool,
    ) -> Result<(), RequestError> {
        check_name(name)?;
        let mut index = self.index.write();
        if index.by_name.contains_key(name) {
            return Err(RequestError::new(ResponseError::TopicAlreadyExists, format!("topic '{name}' already exists")));
        }
        let count = self.check_count(&index, partitions, 0)?;
        if validate_only {
            return Ok(());
        }
        let id = Uuid::new_v4();
        let folder = format!("{}.{}", &name[..name.len().min(FOLDER_NAME_BYTES)], id.simple());
        let dir = self.dir.as_ref().map(|dir| dir.join(folder));
        let partitions =
            (0..count).map(|index| self.create_partition(dir.as_deref(), index)).collect::<Result<_, _>>()?;
        let config = RwLock::new(config);
        let topic = Topic { name: name.into(), id, dir, config, partitions: RwLock::new(partitions) };
        // Written last: a folder without it is a topic that no client knows.
        topic.save(count, &topic.config()).map_err(|error| storage_error(name, &error))?;
        index.insert(topic);
        Ok(())
    }

    /// Adds partitions until there are `count`.
    pub(crate) fn add_partitions(&self, name: &str, count: i32, validate_only: bool) -> Result<(), RequestError> {
        let index = self.index.write();
        let topic = index.by_name.get(name).cloned().ok_or_else(|| RequestError::unknown_topic(name))?;
        let have = topic.partitions.read().len();
        if usize::try_from(count).is_ok_and(|count| count <= have) {
            let message = format!("topic '{name}' has {have} partitions; the number can only increase");
            return Err(RequestError::new(ResponseError::InvalidPartitions, message));
        }
        let count = self.check_count(&index, count, have)?;
        if validate_only {
            return Ok(());
        }
        let added: Vec<_> =
            (have..count).map(|index| self.create_partition(topic.dir.as_deref(), index)).collect::<Result<_, _>>()?;
        topic.save(count, &topic.config()).map_err(|error| storage_error(name, &error))?;
        topic.partitions.write().extend(added);
        Ok(())
    }

    /// Deletes a topic and its messages.
    pub(crate) fn delete(&self, topic: &Topic) -> Result<(), RequestError> {
        let mut index = self.index.write();
        if index.by_id.remove(&topic.id).is_none() {
            return Err(RequestError::unknown_topic(&topic.name));
        }
        index.by_name.remove(&topic.name);
        topic.partitions.read().iter().for_each(|partition| partition.delete());
        let Some(dir) = &topic.dir else { return Ok(()) };
        // Without this file the rest is not a topic, should the process be killed in between.
        let deleted = fs::remove_file(dir.join(TOPIC_FILE)).and_then(|()| fs::remove_dir_all(dir));
        deleted.map_err(|error| storage_error(&topic.name, &error))
    }

    /// Changes a topic's settings by `change`, or with `validate_only` only says whether that could be done.
    pub(crate) fn configure(
        &self,
        name: &str,
        validate_only: bool,
        change: impl FnOnce(&mut TopicConfig) -> Result<(), RequestError>,
    ) -> Result<(), RequestError> {
        let topic = self.get(name).ok_or_else(|| RequestError::unknown_topic(name))?;
        let mut config = topic.config.write();
        let mut changed = config.clone();
        change(&mut changed)?;
        if !validate_only {
            topic.save(topic.partitions.read().len(), &changed).map_err(|error| storage_error(name, &error))?;
            *config = changed;
        }
        Ok(())
    }

    fn check_count(&self, index: &TopicIndex, requested: i32, have: usize) -> Result<usize, RequestError> {
        let count = usize::try_from(requested).unwrap_or(0);
        if count == 0 {
            return Err(RequestError::new(ResponseError::InvalidPartitions, format!("{requested} partitions")));
        }
        let (all, limit) = (index.partitions() + count - have, self.max_partitions);
        if all > limit {
            let message = format!("{all} partitions would be more than the broker's limit of {limit}");
            return Err(RequestError::new(ResponseError::PolicyViolation, message));
        }
        Ok(count)
    }

    fn create_partition(&self, topic_dir: Option<&Path>, index: usize) -> Result<Arc<Partition>, RequestError> {
        let log = match topic_dir {
            None => Log::in_memory(self.budget.clone()),
            Some(dir) => Log::open(&dir.join(index.to_string()), 0).map_err(|error| {
                RequestError::new(ResponseError::KafkaStorageError, human::error(&BrokerError::from(error)))
            })?,
        };
        Ok(Arc::new(Partition::new(index as i32, log)))
    }
}

/// The topic in the folder `dir`; `None` if it does not hold one.
fn load(dir: &Path, now: i64) -> Result<Option<Topic>, BrokerError> {
    let path = dir.join(TOPIC_FILE);
    let Some(lines) = state_file::read(&path).map_err(BrokerError::storage(&path))? else { return Ok(None) };
    let damaged =
        || BrokerError::storage(&path)(io::Error::new(io::ErrorKind::InvalidData, "it does not describe a topic"));
    let fields: Vec<&str> = lines.first().ok_or_else(damaged)?.split('\t').collect();
    let ["topic", name, id, count] = fields[..] else { return Err(damaged()) };
    let name = state_file::unescape(name).ok_or_else(damaged)?;
    let id = Uuid::parse_str(id).map_err(|_| damaged())?;
    let count: usize = count.parse().map_err(|_| damaged())?;
    let mut config = TopicConfig::default();
    for line in &lines[1..] {
        let ["config", key, value] = line.split('\t').collect::<Vec<_>>()[..] else { return Err(damaged()) };
        config.set(key, value).map_err(|_| damaged())?;
    }
    let mut partitions = Vec::with_capacity(count);
    for index in 0..count {
        let log = Log::open(&dir.join(index.to_string()), now)?;
        partitions.push(Arc::new(Partition::new(index as i32, log)));
    }
    let (config, partitions) = (RwLock::new(config), RwLock::new(partitions));
    Ok(Some(Topic { name: name.into(), id, dir: Some(dir.to_owned()), config, partitions }))
}

/// Whether `name` may be a topic's: letters, digits, dot, underscore, hyphen.
fn check_name(name: &str) -> Result<(), RequestError> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if name.is_empty() || name == "." || name == ".." || name.len() > NAME_BYTES || !name.bytes().all(legal) {
        let message = format!("a topic's name has 1 to {NAME_BYTES} letters, digits, '.', '_' or '-': {name:?}");
        return Err(RequestError::new(ResponseError::InvalidTopicException, message));
    }
    Ok(())
}

fn storage_error(name: &str, error: &io::Error) -> RequestError {
    tracing::error!(topic = name, %error, "cannot write the topic's folder");
    RequestError::new(ResponseError::KafkaStorageError, human::error(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topics(dir: Option<&Path>) -> TopicStore {
        TopicStore::open(dir, &BrokerSettings { max_partitions: 10, ..BrokerSettings::default() }, 0).unwrap()
    }

    #[test]
    fn topics_with_their_ids_settings_and_partitions_come_back_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let before = topics(Some(dir.path()));
        let mut config = TopicConfig::default();
        config.set("retention.ms", "-1").unwrap();
        before.create("a.b_c-1", 2, config.clone(), false).unwrap();
        before.add_partitions("a.b_c-1", 3, false).unwrap();
        let id = before.get("a.b_c-1").unwrap().id;
        drop(before);
        let again = topics(Some(dir.path())).get_by_id(&id).unwrap();
        assert_eq!((&*again.name, again.partitions().len(), again.config()), ("a.b_c-1", 3, config));
    }

    #[test]
    fn a_deleted_topic_is_gone_and_one_of_the_same_name_has_another_id() {
        let dir = tempfile::tempdir().unwrap();
        let topics = topics(Some(dir.path()));
        topics.create("t", 1, TopicConfig::default(), false).unwrap();
        let old = topics.get("t").unwrap();
        topics.delete(&old).unwrap();
        assert!(old.partition(0).unwrap().log().is_err());
        assert_eq!(topics.delete(&old).unwrap_err().code, ResponseError::UnknownTopicOrPartition);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        topics.create("t", 1, TopicConfig::default(), false).unwrap();
        assert_ne!(topics.get("t").unwrap().id, old.id);
    }

    #[test]
    fn what_cannot_be_created_is_refused_with_the_protocols_code() {
        let topics = topics(None);
        let code =
            |name: &str, count| topics.create(name, count, TopicConfig::default(), false).map_err(|error| error.code);
        for name in ["", ".", "..", "a b", "ä", "a/b", &"x".repeat(250)] {
            assert_eq!(code(name, 1), Err(ResponseError::InvalidTopicException), "{name}");
        }
        assert_eq!(code("t", 0), Err(ResponseError::InvalidPartitions));
        assert_eq!(code("t", 11), Err(ResponseError::PolicyViolation));
        assert_eq!(code("t", 6), Ok(()));
        assert_eq!(code("t", 1), Err(ResponseError::TopicAlreadyExists));
        assert_eq!(topics.add_partitions("t", 6, false).unwrap_err().code, ResponseError::InvalidPartitions);
        assert_eq!(topics.add_partitions("t", 11, false).unwrap_err().code, ResponseError::PolicyViolation);
        assert_eq!(topics.add_partitions("none", 11, false).unwrap_err().code, ResponseError::UnknownTopicOrPartition);
    }

    #[test]
    fn a_topic_whose_creation_was_interrupted_does_not_exist() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("half.0123/0")).unwrap();
        assert!(topics(Some(dir.path())).all().is_empty());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
