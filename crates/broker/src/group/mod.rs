//! Consumer groups (the classic protocol): who is a member, which generation, who reads what.
//!
//! [`membership`] is the state machine: it reads no clock and waits for nothing. [`Groups`] holds one for
//! each group, lets requests wait for the others, and keeps committed offsets, on disk if there is one.

pub(crate) mod membership;
mod offsets;

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use kafka_protocol::ResponseError;
use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::settings::BrokerError;
use membership::{Join, JoinRefused, Joined, Membership};
pub(crate) use offsets::{Committed, Offsets};

/// A waiting request looks at least this often whether somebody's time is up or the broker stops.
const LOOK_EVERY: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(crate) struct Groups {
    dir: Option<PathBuf>,
    durable: bool,
    max_groups: usize,
    groups: Mutex<BTreeMap<Arc<str>, Arc<Group>>>,
    stopping: AtomicBool,
}

#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) id: Arc<str>,
    path: Option<PathBuf>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) members: Membership,
    pub(crate) offsets: Offsets,
    /// Taken out of the list while somebody still held it.
    deleted: bool,
}

impl Group {
    fn new(id: Arc<str>, path: Option<PathBuf>, offsets: Offsets) -> Arc<Self> {
        let state = Mutex::new(State { offsets, ..State::default() });
        Arc::new(Self { id, path, state, changed: Condvar::new() })
    }

    /// The group's state, brought up to the present.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        let mut state = self.state.lock();
        if state.members.tick(Instant::now()) {
            self.changed.notify_all();
        }
        state
    }

    fn save(&self, offsets: &Offsets, durable: bool) -> Result<(), ResponseError> {
        let Some(path) = &self.path else { return Ok(()) };
        offsets.save(&self.id, path, durable).map_err(|error| self.failed(&error))
    }

    fn failed(&self, error: &io::Error) -> ResponseError {
        tracing::error!(group = &*self.id, %error, "cannot keep committed offsets");
        ResponseError::KafkaStorageError
    }
}

impl Groups {
    /// The groups whose offsets lie in `dir`. `durable`: commits survive power loss.
    pub(crate) fn open(dir: Option<&Path>, durable: bool, max_groups: usize) -> Result<Self, BrokerError> {
        let mut groups = BTreeMap::new();
        if let Some(dir) = dir {
            for (id, path, offsets) in offsets::load_all(dir)? {
                let id: Arc<str> = id.into();
                groups.insert(id.clone(), Group::new(id, Some(path), offsets));
            }
        }
        let (dir, groups) = (dir.map(Path::to_owned), Mutex::new(groups));
        Ok(Self { dir, durable, max_groups, groups, stopping: AtomicBool::new(false) })
    }

    pub(crate) fn get(&self, id: &str) -> Option<Arc<Group>> {
        self.groups.lock().get(id).cloned()
    }

    /// All groups, by name.
    pub(crate) fn all(&self) -> Vec<Arc<Group>> {
        self.groups.lock().values().cloned().collect()
    }

    /// The group `id`, made when there is none.
    fn get_or_make(&self, id: &str) -> Result<Arc<Group>, ResponseError> {
        if id.is_empty() {
            return Err(ResponseError::InvalidGroupId);
        }
        let mut groups = self.groups.lock();
        if let Some(group) = groups.get(id) {
            return Ok(group.clone());
        }
        if groups.len() >= self.max_groups {
            // A group without members and offsets is nothing that anybody would miss.
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
        let group = Group::new(id.into(), path, Offsets::default());
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
            std::fs::remove_file(path).map_err(|error| group.failed(&error))?;
        }
        state.deleted = true;
        groups.remove(id);
        Ok(())
    }

    /// Drops what groups committed for a topic that was deleted.
    pub(crate) fn forget_topic(&self, topic: &str) {
        for group in self.all() {
            let mut state = group.lock();
            if state.offsets.forget_topic(topic) {
                // A failure is logged; the stale offsets then come back at the next start, no worse.
                let _ = group.save(&state.offsets, self.durable);
            }
        }
    }

    /// Drops what a group without members committed for some partitions.
    pub(crate) fn forget_offsets(&self, id: &str, partitions: &[(&str, i32)]) -> Result<(), ResponseError> {
        let group = self.get(id).ok_or(ResponseError::GroupIdNotFound)?;
        let mut state = existing(&group)?;
        if !state.members.is_empty() {
            return Err(ResponseError::NonEmptyGroup);
        }
        state.offsets.forget(partitions);
        group.save(&state.offsets, self.durable)
    }

    /// Sends all waiting requests home.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
        for group in self.all() {
            group.changed.notify_all();
        }
    }

    /// Lets a member join and waits until the others have, or their time is up.
    pub(crate) fn join(&self, id: &str, join: Join) -> Result<Joined, JoinRefused> {
        let group = self.get_or_make(id)?;
        let mut state = existing(&group)?;
        let member = state.members.join(join, Instant::now())?;
        group.changed.notify_all();
        loop {
            match state.members.joined(&member) {
                Ok(Some(joined)) => return Ok(joined),
                Ok(None) => self.wait(&group, &mut state)?,
                Err(code) => return Err(code.into()),
            }
        }
    }

    /// Takes the leader's assignments, or waits for them; gives the member's own.
    pub(crate) fn sync(
        &self,
        id: &str,
        member: &str,
        generation: i32,
        assignments: HashMap<String, Bytes>,
    ) -> Result<Bytes, ResponseError> {
        let group = self.get(id).ok_or(ResponseError::UnknownMemberId)?;
        let mut state = existing(&group)?;
        state.members.sync(member, generation, assignments, Instant::now())?;
        group.changed.notify_all();
        loop {
            if let Some(assignment) = state.members.assignment(member, generation)? {
                return Ok(assignment);
            }
            self.wait(&group, &mut state)?;
        }
    }

    /// Runs `act` on the members of a group that must exist, and wakes whoever waits for a change.
    pub(crate) fn with_members<T>(
        &self,
        id: &str,
        act: impl FnOnce(&mut Membership, Instant) -> Result<T, ResponseError>,
    ) -> Result<T, ResponseError> {
        let group = self.get(id).ok_or(ResponseError::UnknownMemberId)?;
        let mut state = existing(&group)?;
        let outcome = act(&mut state.members, Instant::now());
        group.changed.notify_all();
        outcome
    }

    /// Commits offsets after `check` agreed to it.
    pub(crate) fn commit(
        &self,
        id: &str,
        check: impl FnOnce(&mut Membership, Instant) -> Result<(), ResponseError>,
        commits: Vec<((Arc<str>, i32), Committed)>,
    ) -> Result<(), ResponseError> {
        let group = self.get_or_make(id)?;
        let mut state = existing(&group)?;
        check(&mut state.members, Instant::now())?;
        let before = state.offsets.clone();
        state.offsets.commit(commits);
        group.save(&state.offsets, self.durable).inspect_err(|_| state.offsets = before)
    }

    fn wait(&self, group: &Group, state: &mut MutexGuard<'_, State>) -> Result<(), ResponseError> {
        group.changed.wait_for(state, LOOK_EVERY);
        if self.stopping.load(Ordering::Relaxed) {
            return Err(ResponseError::CoordinatorNotAvailable);
        }
        if state.members.tick(Instant::now()) {
            group.changed.notify_all();
        }
        Ok(())
    }
}

/// The state of a group that was not deleted in between; the error makes the client ask again.
fn existing(group: &Group) -> Result<MutexGuard<'_, State>, ResponseError> {
    let state = group.lock();
    if state.deleted { Err(ResponseError::CoordinatorNotAvailable) } else { Ok(state) }
}
