//! Consumer groups (the classic protocol): members, generations, assignments, committed offsets.
//!
//! In: what requests ask of a group. Out: join results, assignments, committed offsets, error codes.
//! Refuses to know requests and topics. `classic` is the state machine over `members`: it reads no clock and waits
//! for nothing. Start at [`GroupCoordinator`]: it holds one for each group, lets requests wait for the others, and
//! keeps committed offsets, on disk if there is a folder.

mod classic;
mod members;
mod offsets;

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::settings::BrokerError;
use crate::shutdown::ShutdownSignal;
pub(crate) use classic::{ClassicGroup, ClassicGroupState, JoinResult};
pub(crate) use members::{JoinError, JoinRequest};
pub(crate) use offsets::{CommittedOffsets, OffsetAndMetadata};

#[derive(Debug)]
pub(crate) struct GroupCoordinator {
    dir: Option<PathBuf>,
    durable: bool,
    max_groups: usize,
    groups: Mutex<BTreeMap<Arc<str>, Arc<ConsumerGroup>>>,
    shutdown: Arc<ShutdownSignal>,
}

#[derive(Debug)]
pub(crate) struct ConsumerGroup {
    pub(crate) id: Arc<str>,
    path: Option<PathBuf>,
    state: Mutex<GroupData>,
    changed: Condvar,
}

#[derive(Debug, Default)]
pub(crate) struct GroupData {
    pub(crate) members: ClassicGroup,
    pub(crate) offsets: CommittedOffsets,
    /// Removed from the map while a request still held it.
    deleted: bool,
}

impl ConsumerGroup {
    fn new(id: Arc<str>, path: Option<PathBuf>, offsets: CommittedOffsets) -> Arc<Self> {
        let state = Mutex::new(GroupData { offsets, ..GroupData::default() });
        Arc::new(Self { id, path, state, changed: Condvar::new() })
    }

    /// The group's data, after members whose time is up were removed.
    pub(crate) fn lock(&self) -> MutexGuard<'_, GroupData> {
        let mut state = self.state.lock();
        if state.members.tick(Instant::now()) {
            self.changed.notify_all();
        }
        state
    }

    fn save(&self, offsets: &CommittedOffsets, durable: bool) -> Result<(), ResponseError> {
        let Some(path) = &self.path else { return Ok(()) };
        offsets.save(&self.id, path, durable).map_err(|error| self.storage_error(&error))
    }

    fn storage_error(&self, error: &io::Error) -> ResponseError {
        tracing::error!(group = &*self.id, %error, "cannot store committed offsets");
        ResponseError::KafkaStorageError
    }
}

impl GroupCoordinator {
    /// The groups whose offsets lie in `dir`. `durable`: commits survive power loss.
    pub(crate) fn open(
        dir: Option<&Path>,
        durable: bool,
        max_groups: usize,
        shutdown: Arc<ShutdownSignal>,
    ) -> Result<Self, BrokerError> {
        let mut groups = BTreeMap::new();
        if let Some(dir) = dir {
            for (id, path, offsets) in offsets::load_all(dir)? {
                let id: Arc<str> = id.into();
                groups.insert(id.clone(), ConsumerGroup::new(id, Some(path), offsets));
            }
        }
        let (dir, groups) = (dir.map(Path::to_owned), Mutex::new(groups));
        Ok(Self { dir, durable, max_groups, groups, shutdown })
    }

    pub(crate) fn get(&self, id: &str) -> Option<Arc<ConsumerGroup>> {
        self.groups.lock().get(id).cloned()
    }

    /// All groups, by name.
    pub(crate) fn all(&self) -> Vec<Arc<ConsumerGroup>> {
        self.groups.lock().values().cloned().collect()
    }

    /// The group `id`, created if it does not exist.
    fn get_or_create(&self, id: &str) -> Result<Arc<ConsumerGroup>, ResponseError> {
        if id.is_empty() {
            return Err(ResponseError::InvalidGroupId);
        }
        let mut groups = self.groups.lock();
        if let Some(group) = groups.get(id) {
            return Ok(group.clone());
        }
        if groups.len() >= self.max_groups {
            // Groups without members and offsets hold nothing.
            groups.retain(|_, group| {
                let mut state = group.lock();
                state.deleted = state.members.is_empty() && state.offsets.is_empty();
                !state.deleted
            });
        }
        if groups.len() >= self.max_groups {
            tracing::warn!(group = id, limit = self.max_groups, "too many groups");
            return Err(ResponseError::GroupMaxSizeReached);
        }
        let path = self.dir.as_ref().map(|dir| offsets::path(dir, id));
        let group = ConsumerGroup::new(id.into(), path, CommittedOffsets::default());
        groups.insert(group.id.clone(), group.clone());
        Ok(group)
    }

    /// Deletes a group that has no members, with its offsets.
    pub(crate) fn delete(&self, id: &str) -> Result<(), ResponseError> {
        let mut groups = self.groups.lock();
        let group = groups.get(id).cloned().ok_or(ResponseError::GroupIdNotFound)?;
        let mut state = group.lock();
        if !state.members.is_empty() {
            return Err(ResponseError::NonEmptyGroup);
        }
        if let Some(path) = group.path.as_ref().filter(|path| path.exists()) {
            std::fs::remove_file(path).map_err(|error| group.storage_error(&error))?;
        }
        state.deleted = true;
        groups.remove(id);
        Ok(())
    }

    /// Removes the offsets that groups committed for a deleted topic.
    pub(crate) fn remove_topic(&self, topic: &str) {
        for group in self.all() {
            let mut state = group.lock();
            if state.offsets.remove_topic(topic) {
                // A failure is logged; the stale offsets then come back at the next start, which does no harm.
                let _ = group.save(&state.offsets, self.durable);
            }
        }
    }

    /// Removes the offsets that a group without members committed for some partitions.
    pub(crate) fn remove_offsets(&self, id: &str, partitions: &[(&str, i32)]) -> Result<(), ResponseError> {
        let group = self.get(id).ok_or(ResponseError::GroupIdNotFound)?;
        let mut state = lock_existing(&group)?;
        if !state.members.is_empty() {
            return Err(ResponseError::NonEmptyGroup);
        }
        state.offsets.remove(partitions);
        group.save(&state.offsets, self.durable)
    }

    /// Wakes all waiting requests, so that they see the shutdown.
    pub(crate) fn wake_all(&self) {
        for group in self.all() {
            // Under the lock, or a request between its check and its wait would miss it.
            let _state = group.state.lock();
            group.changed.notify_all();
        }
    }

    /// Lets a member join, and waits until the others have joined or their time is up.
    pub(crate) fn join(&self, id: &str, join: JoinRequest) -> Result<JoinResult, JoinError> {
        let group = self.get_or_create(id)?;
        let mut state = lock_existing(&group)?;
        let member_id = state.members.join(join, Instant::now())?;
        group.changed.notify_all();
        loop {
            match state.members.join_result(&member_id) {
                Ok(Some(result)) => return Ok(result),
                Ok(None) => self.wait(&group, &mut state)?,
                Err(code) => return Err(code.into()),
            }
        }
    }

    /// Takes the leader's assignments, or waits for them; gives those of the member.
    pub(crate) fn sync(
        &self,
        id: &str,
        member_id: &str,
        generation: i32,
        assignments: HashMap<String, Bytes>,
    ) -> Result<Bytes, ResponseError> {
        let group = self.get(id).ok_or(ResponseError::UnknownMemberId)?;
        let mut state = lock_existing(&group)?;
        state.members.sync(member_id, generation, assignments, Instant::now())?;
        group.changed.notify_all();
        loop {
            if let Some(assignment) = state.members.assignment(member_id, generation)? {
                return Ok(assignment);
            }
            self.wait(&group, &mut state)?;
        }
    }

    /// Runs `act` on the members of a group that must exist, and wakes the requests that wait for a change.
    pub(crate) fn with_members<T>(
        &self,
        id: &str,
        act: impl FnOnce(&mut ClassicGroup, Instant) -> Result<T, ResponseError>,
    ) -> Result<T, ResponseError> {
        let group = self.get(id).ok_or(ResponseError::UnknownMemberId)?;
        let mut state = lock_existing(&group)?;
        let outcome = act(&mut state.members, Instant::now());
        group.changed.notify_all();
        outcome
    }

    /// Commits offsets if `check` allows it.
    pub(crate) fn commit(
        &self,
        id: &str,
        check: impl FnOnce(&mut ClassicGroup, Instant) -> Result<(), ResponseError>,
        commits: Vec<((Arc<str>, i32), OffsetAndMetadata)>,
    ) -> Result<(), ResponseError> {
        let group = self.get_or_create(id)?;
        let mut state = lock_existing(&group)?;
        check(&mut state.members, Instant::now())?;
        let before = state.offsets.clone();
        state.offsets.commit(commits);
        group.save(&state.offsets, self.durable).inspect_err(|_| state.offsets = before)
    }

    /// Waits until the group changes or the time of a member is up.
    fn wait(&self, group: &ConsumerGroup, state: &mut MutexGuard<'_, GroupData>) -> Result<(), ResponseError> {
        if !self.shutdown.is_requested() {
            match state.members.next_deadline() {
                Some(deadline) => drop(group.changed.wait_until(state, deadline)),
                None => group.changed.wait(state),
            }
        }
        if self.shutdown.is_requested() {
            return Err(ResponseError::CoordinatorNotAvailable);
        }
        if state.members.tick(Instant::now()) {
            group.changed.notify_all();
        }
        Ok(())
    }
}

/// The data of a group that was not deleted meanwhile; the error makes the client try again.
fn lock_existing(group: &ConsumerGroup) -> Result<MutexGuard<'_, GroupData>, ResponseError> {
    let state = group.lock();
    if state.deleted { Err(ResponseError::CoordinatorNotAvailable) } else { Ok(state) }
}
