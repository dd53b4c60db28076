//! The topics: which there are, their settings, their folders.
//!
//! In: names, numbers, settings. Out: topics and their partitions. Refuses to know requests and clients.
//! Each topic has a folder named after it and its id, so that a topic deleted and made again never meets
//! its old files. Start at [`Topics::create`].

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kafka_protocol::ResponseError;
use parking_lot::RwLock;
use uuid::Uuid;

use crate::log::{Budget, Limits, Log, Unopened};
use crate::partition::Partition;
use crate::settings::{BrokerError, Settings};
use crate::state_file;
use crate::topic_config::TopicConfig;

/// Kafka's own limit on the length of a topic's name.
const NAME_BYTES: usize = 249;
/// Of the name, so much stands in the folder's name; the id makes it unique.
const FOLDER_NAME_BYTES: usize = 100;
const TOPIC_FILE: &str = "topic";

/// Why something was not done: the protocol's code and a sentence for a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) code: ResponseError,
    pub(crate) why: String,
}

impl Refusal {
    pub(crate) fn new(code: ResponseError, why: impl Into<String>) -> Self {
        Self { code, why: why.into() }
    }
}

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
pub(crate) struct Topics {
    dir: Option<PathBuf>,
    budget: Budget,
    max_partitions: usize,
    defaults: Limits,
    known: RwLock<Known>,
}

#[derive(Debug, Default)]
struct Known {
    by_name: BTreeMap<Arc<str>, Arc<Topic>>,
    by_id: HashMap<Uuid, Arc<Topic>>,
}

impl Known {
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

impl Topics {
    /// The topics below `dir`, or none and in memory. `now`: wall clock, milliseconds.
    pub(crate) fn open(dir: Option<&Path>, settings: &Settings, now: i64) -> Result<Self, BrokerError> {
        let defaults = Limits {
            max_message_bytes: settings.max_message_bytes,
            segment_bytes: settings.segment_bytes,
            segment_ms: None,
            retention_ms: settings.retention_ms,
            retention_bytes: settings.retention_bytes,
        };
        let mut known = Known::default();
        if let Some(dir) = dir {
            fs::create_dir_all(dir).map_err(BrokerError::storage(dir))?;
            for entry in fs::read_dir(dir).map_err(BrokerError::storage(dir))? {
                let path = entry.map_err(BrokerError::storage(dir))?.path();
                match load(&path, now)? {
                    Some(topic) => drop(known.insert(topic)),
                    // Killed while making or deleting it: nobody was told that it exists.
                    None if path.is_dir() => fs::remove_dir_all(&path).map_err(BrokerError::storage(&path))?,
                    None => {}
                }
            }
        }
        let (dir, budget) = (dir.map(Path::to_owned), Budget::new(settings.memory_bytes));
        Ok(Self { dir, budget, max_partitions: settings.max_partitions, defaults, known: RwLock::new(known) })
    }

    pub(crate) fn get(&self, name: &str) -> Option<Arc<Topic>> {
        self.known.read().by_name.get(name).cloned()
    }

    pub(crate) fn get_by_id(&self, id: &Uuid) -> Option<Arc<Topic>> {
        self.known.read().by_id.get(id).cloned()
    }

    /// All topics, by name.
    pub(crate) fn all(&self) -> Vec<Arc<Topic>> {
        self.known.read().by_name.values().cloned().collect()
    }

    /// What `topic` allows and keeps: its own settings over the broker's.
    pub(crate) fn limits(&self, topic: &Topic) -> Limits {
        topic.config.read().over(&self.defaults)
    }

    pub(crate) fn defaults(&self) -> Limits {
        self.defaults
    }

    /// Makes a topic, or with `dry` only says whether it could be made.
    pub(crate) fn create(&self, name: &str, partitions: i32, config: TopicConfig, dry: bool) -> Result<(), Refusal> {
        check_name(name)?;
        let mut known = self.known.write();
        if known.by_name.contains_key(name) {
            return Err(Refusal::new(ResponseError::TopicAlreadyExists, format!("topic '{name}' exists already")));
        }
        let count = self.check_count(&known, partitions, 0)?;
        if dry {
            return Ok(());
        }
        let id = Uuid::new_v4();
        let folder = format!("{}.{}", &name[..name.len().min(FOLDER_NAME_BYTES)], id.simple());
        let dir = self.dir.as_ref().map(|dir| dir.join(folder));
        let made = (0..count).map(|index| self.make_partition(dir.as_deref(), index)).collect::<Result<_, _>>()?;
        let config = RwLock::new(config);
        let topic = Topic { name: name.into(), id, dir, config, partitions: RwLock::new(made) };
        // Written last: a folder without it is a topic that nobody was told of.
        topic.save(count, &topic.config()).map_err(|error| storage(name, &error))?;
        known.insert(topic);
        Ok(())
    }

    /// Adds partitions until there are `count`.
    pub(crate) fn grow(&self, name: &str, count: i32, dry: bool) -> Result<(), Refusal> {
        let known = self.known.write();
        let topic = known.by_name.get(name).cloned().ok_or_else(|| unknown(name))?;
        let have = topic.partitions.read().len();
        if usize::try_from(count).is_ok_and(|count| count <= have) {
            let why = format!("topic '{name}' has {have} partitions; a topic can only get more");
            return Err(Refusal::new(ResponseError::InvalidPartitions, why));
        }
        let count = self.check_count(&known, count, have)?;
        if dry {
            return Ok(());
        }
        let made: Vec<_> =
            (have..count).map(|index| self.make_partition(topic.dir.as_deref(), index)).collect::<Result<_, _>>()?;
        topic.save(count, &topic.config()).map_err(|error| storage(name, &error))?;
        topic.partitions.write().extend(made);
        Ok(())
    }

    /// Deletes a topic and its messages.
    pub(crate) fn delete(&self, topic: &Topic) -> Result<(), Refusal> {
        let mut known = self.known.write();
        if known.by_id.remove(&topic.id).is_none() {
            return Err(unknown(&topic.name));
        }
        known.by_name.remove(&topic.name);
        topic.partitions.read().iter().for_each(|partition| partition.delete());
        let Some(dir) = &topic.dir else { return Ok(()) };
        // Without this file the rest is no topic, should the process be killed in between.
        let deleted = fs::remove_file(dir.join(TOPIC_FILE)).and_then(|()| fs::remove_dir_all(dir));
        deleted.map_err(|error| storage(&topic.name, &error))
    }

    /// Changes a topic's settings by `change`, or with `dry` only says whether that could be done.
    pub(crate) fn configure(
        &self,
        name: &str,
        dry: bool,
        change: impl FnOnce(&mut TopicConfig) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        let topic = self.get(name).ok_or_else(|| unknown(name))?;
        let mut config = topic.config.write();
        let mut changed = config.clone();
        change(&mut changed)?;
        if !dry {
            topic.save(topic.partitions.read().len(), &changed).map_err(|error| storage(name, &error))?;
            *config = changed;
        }
        Ok(())
    }

    fn check_count(&self, known: &Known, wanted: i32, have: usize) -> Result<usize, Refusal> {
        let count = usize::try_from(wanted).unwrap_or(0);
        if count == 0 {
            return Err(Refusal::new(ResponseError::InvalidPartitions, format!("{wanted} partitions")));
        }
        let (all, limit) = (known.partitions() + count - have, self.max_partitions);
        if all > limit {
            let why = format!("{all} partitions would be more than the broker's limit of {limit}");
            return Err(Refusal::new(ResponseError::PolicyViolation, why));
        }
        Ok(count)
    }

    fn make_partition(&self, topic_dir: Option<&Path>, index: usize) -> Result<Arc<Partition>, Refusal> {
        let log = match topic_dir {
            None => Log::in_memory(self.budget.clone()),
            Some(dir) => Log::open(&dir.join(index.to_string()), 0)
                .map_err(|error| Refusal::new(ResponseError::KafkaStorageError, format!("{error:?}")))?,
        };
        Ok(Arc::new(Partition::new(index as i32, log)))
    }
}

/// The topic in the folder `dir`; `None` when it holds none.
fn load(dir: &Path, now: i64) -> Result<Option<Topic>, BrokerError> {
    let path = dir.join(TOPIC_FILE);
    let Some(lines) = state_file::read(&path).map_err(BrokerError::storage(&path))? else { return Ok(None) };
    let damaged = || BrokerError::storage(&path)(io::Error::new(io::ErrorKind::InvalidData, "it describes no topic"));
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
        let log = Log::open(&dir.join(index.to_string()), now).map_err(|error| match error {
            Unopened::Io(path, source) => BrokerError::Storage { path, source },
            Unopened::Corrupt(corrupt) => BrokerError::Corrupt(corrupt),
        })?;
        partitions.push(Arc::new(Partition::new(index as i32, log)));
    }
    let (config, partitions) = (RwLock::new(config), RwLock::new(partitions));
    Ok(Some(Topic { name: name.into(), id, dir: Some(dir.to_owned()), config, partitions }))
}

/// Whether `name` may be a topic's: letters, digits, dot, underscore, hyphen.
fn check_name(name: &str) -> Result<(), Refusal> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if name.is_empty() || name == "." || name == ".." || name.len() > NAME_BYTES || !name.bytes().all(legal) {
        let why = format!("a topic's name has 1 to {NAME_BYTES} letters, digits, '.', '_' or '-': {name:?}");
        return Err(Refusal::new(ResponseError::InvalidTopicException, why));
    }
    Ok(())
}

pub(crate) fn unknown(name: &str) -> Refusal {
    Refusal::new(ResponseError::UnknownTopicOrPartition, format!("there is no topic '{name}'"))
}

fn storage(name: &str, error: &io::Error) -> Refusal {
    tracing::error!(topic = name, %error, "cannot write the topic's folder");
    Refusal::new(ResponseError::KafkaStorageError, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topics(dir: Option<&Path>) -> Topics {
        Topics::open(dir, &Settings { max_partitions: 10, ..Settings::default() }, 0).unwrap()
    }

    #[test]
    fn topics_with_their_ids_settings_and_partitions_come_back_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let made = topics(Some(dir.path()));
        let mut config = TopicConfig::default();
        config.set("retention.ms", "-1").unwrap();
        made.create("a.b_c-1", 2, config.clone(), false).unwrap();
        made.grow("a.b_c-1", 3, false).unwrap();
        let id = made.get("a.b_c-1").unwrap().id;
        drop(made);
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
    fn what_cannot_be_made_is_refused_with_the_protocols_code() {
        let topics = topics(None);
        let code = |name: &str, count| {
            topics.create(name, count, TopicConfig::default(), false).map_err(|refusal| refusal.code)
        };
        for name in ["", ".", "..", "a b", "ä", "a/b", &"x".repeat(250)] {
            assert_eq!(code(name, 1), Err(ResponseError::InvalidTopicException), "{name}");
        }
        assert_eq!(code("t", 0), Err(ResponseError::InvalidPartitions));
        assert_eq!(code("t", 11), Err(ResponseError::PolicyViolation));
        assert_eq!(code("t", 6), Ok(()));
        assert_eq!(code("t", 1), Err(ResponseError::TopicAlreadyExists));
        assert_eq!(topics.grow("t", 6, false).unwrap_err().code, ResponseError::InvalidPartitions);
        assert_eq!(topics.grow("t", 11, false).unwrap_err().code, ResponseError::PolicyViolation);
        assert_eq!(topics.grow("none", 11, false).unwrap_err().code, ResponseError::UnknownTopicOrPartition);
    }

    #[test]
    fn a_topic_whose_making_was_cut_short_does_not_exist() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("half.0123/0")).unwrap();
        assert!(topics(Some(dir.path())).all().is_empty());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
