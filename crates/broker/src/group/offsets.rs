//! What one group committed: the next offset to read of each partition, with the client's metadata.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::settings::BrokerError;
use crate::state_file::{self, escape, unescape};

/// Longer group names are cut in the file name and made unique by a checksum; the file holds them whole.
const FILE_NAME_BYTES: usize = 180;
const EXTENSION: &str = "offsets";

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OffsetAndMetadata {
    pub(crate) offset: i64,
    pub(crate) leader_epoch: i32,
    pub(crate) metadata: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct CommittedOffsets(BTreeMap<(Arc<str>, i32), OffsetAndMetadata>);

impl CommittedOffsets {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn get(&self, topic: &str, partition: i32) -> Option<&OffsetAndMetadata> {
        self.0.get(&(topic.into(), partition))
    }

    /// All of them, by topic and partition.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Arc<str>, i32, &OffsetAndMetadata)> {
        self.0.iter().map(|((topic, partition), committed)| (topic, *partition, committed))
    }

    pub(crate) fn commit(&mut self, commits: Vec<((Arc<str>, i32), OffsetAndMetadata)>) {
        self.0.extend(commits);
    }

    pub(crate) fn remove(&mut self, partitions: &[(&str, i32)]) {
        self.0.retain(|(topic, partition), _| !partitions.contains(&(&**topic, *partition)));
    }

    /// True when there was something to remove.
    pub(crate) fn remove_topic(&mut self, topic: &str) -> bool {
        let before = self.0.len();
        self.0.retain(|(name, _), _| **name != *topic);
        self.0.len() < before
    }

    pub(crate) fn save(&self, group: &str, path: &Path, durable: bool) -> io::Result<()> {
        let lines = self.iter().map(|(topic, partition, c)| {
            let (topic, metadata) = (escape(topic), escape(&c.metadata));
            format!("offset\t{topic}\t{partition}\t{}\t{}\t{metadata}", c.offset, c.leader_epoch)
        });
        state_file::write(path, std::iter::once(format!("group\t{}", escape(group))).chain(lines), durable)
    }
}

/// The file of `group` in `dir`.
pub(crate) fn path(dir: &Path, group: &str) -> PathBuf {
    // A leading letter, so that no name is hidden or leaves the folder.
    let mut name = format!("g-{}", escape(group));
    if name.len() > FILE_NAME_BYTES {
        name.truncate(FILE_NAME_BYTES);
        name = format!("{name}-{:08x}", crc32c::crc32c(group.as_bytes()));
    }
    dir.join(format!("{name}.{EXTENSION}"))
}

/// Group, file and offsets of every file in `dir`, which is created if missing.
pub(crate) fn load_all(dir: &Path) -> Result<Vec<(String, PathBuf, CommittedOffsets)>, BrokerError> {
    fs::create_dir_all(dir).map_err(BrokerError::storage(dir))?;
    let mut out = Vec::new();
    for entry in fs::read_dir(dir).map_err(BrokerError::storage(dir))? {
        let path = entry.map_err(BrokerError::storage(dir))?.path();
        if path.extension().is_none_or(|extension| extension != EXTENSION) {
            continue;
        }
        let lines = state_file::read(&path).map_err(BrokerError::storage(&path))?.unwrap_or_default();
        let damaged = || io::Error::new(io::ErrorKind::InvalidData, "it holds no committed offsets");
        let (group, offsets) = parse(&lines).ok_or_else(damaged).map_err(BrokerError::storage(&path))?;
        out.push((group, path, offsets));
    }
    Ok(out)
}

fn parse(lines: &[String]) -> Option<(String, CommittedOffsets)> {
    let (first, rest) = lines.split_first()?;
    let group = unescape(first.strip_prefix("group\t")?)?;
    let mut offsets = CommittedOffsets::default();
    for line in rest {
        let ["offset", topic, partition, offset, epoch, metadata] = line.split('\t').collect::<Vec<_>>()[..] else {
            return None;
        };
        let metadata = unescape(metadata)?;
        let committed = OffsetAndMetadata { offset: offset.parse().ok()?, leader_epoch: epoch.parse().ok()?, metadata };
        offsets.0.insert((unescape(topic)?.into(), partition.parse().ok()?), committed);
    }
    Some((group, offsets))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn committed_offsets_come_back_with_their_metadata_under_any_group_name() {
        let dir = tempfile::tempdir().unwrap();
        let mut offsets = CommittedOffsets::default();
        let note = |text: &str| OffsetAndMetadata { offset: 42, leader_epoch: -1, metadata: text.into() };
        offsets.commit(vec![(("t".into(), 0), note("a\tb\n%")), (("t".into(), 1), note(""))]);
        let mut names = vec!["g".to_owned(), "../evil".into(), "größe 1".into(), "x".repeat(400), "x".repeat(401)];
        for name in &names {
            offsets.save(name, &path(dir.path(), name), false).unwrap();
        }
        let mut loaded = load_all(dir.path()).unwrap();
        loaded.sort_by(|a, b| a.0.cmp(&b.0));
        names.sort();
        assert_eq!(loaded.iter().map(|(group, ..)| group).collect::<Vec<_>>(), names.iter().collect::<Vec<_>>());
        assert!(loaded.iter().all(|(_, _, loaded)| *loaded == offsets));
    }
}
