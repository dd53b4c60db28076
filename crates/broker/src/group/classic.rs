//! The state machine of one consumer group under the classic protocol: generations, rebalances, assignments.
//!
//! In: what members ask, and the time. Out: generations, assignments, error codes.
//! Reads no clock and waits for nothing: [`ClassicGroup::tick`] is given the time. Who is a member is in `members`.
//! Source: <https://cwiki.apache.org/confluence/display/KAFKA/Kafka+Client-side+Assignment+Proposal>.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use kafka_protocol::ResponseError;

use super::members::{GroupMember, JoinError, JoinRequest, Members};

/// As Apache Kafka's `group.max.session.timeout.ms`.
const MAX_SESSION_TIMEOUT: Duration = Duration::from_secs(1800);

#[derive(Debug, Default)]
pub(crate) struct ClassicGroup {
    state: ClassicGroupState,
    generation: i32,
    protocol_type: String,
    /// The assignment protocol that all members support; empty before the first generation.
    protocol: String,
    leader: String,
    members: Members,
    /// While a rebalance is prepared: when members that have not joined are removed.
    rebalance_deadline: Option<Instant>,
}

/// The states of a group, under the names that Kafka gives them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum ClassicGroupState {
    #[default]
    Empty,
    /// Waiting for all members to join.
    PreparingRebalance,
    /// Waiting for the leader's assignments.
    CompletingRebalance,
    Stable,
    /// There is no such group. Only ever reported.
    Dead,
}

impl ClassicGroupState {
    /// The name that clients know it by.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::PreparingRebalance => "PreparingRebalance",
            Self::CompletingRebalance => "CompletingRebalance",
            Self::Stable => "Stable",
            Self::Dead => "Dead",
        }
    }
}

/// What a member learns when all have joined.
#[derive(Debug)]
pub(crate) struct JoinResult {
    pub(crate) generation: i32,
    pub(crate) protocol_type: String,
    pub(crate) protocol: String,
    pub(crate) leader: String,
    pub(crate) member_id: String,
    /// Member id, instance id and metadata of all; only for the leader, empty for others.
    pub(crate) members: Vec<(String, Option<String>, Bytes)>,
}

impl ClassicGroup {
    pub(crate) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    pub(crate) fn state(&self) -> ClassicGroupState {
        self.state
    }

    pub(crate) fn protocol_type(&self) -> &str {
        &self.protocol_type
    }

    pub(crate) fn protocol(&self) -> &str {
        &self.protocol
    }

    pub(crate) fn members(&self) -> impl Iterator<Item = (&String, &GroupMember)> {
        self.members.iter()
    }

    /// Removes members whose time is up. True when that changed something.
    pub(crate) fn tick(&mut self, now: Instant) -> bool {
        let rebalance_expired = self.state == ClassicGroupState::PreparingRebalance
            && self.rebalance_deadline.is_some_and(|deadline| deadline <= now);
        let expired = self.members.expire(rebalance_expired, now);
        let changed = rebalance_expired || expired.members + expired.pending > 0;
        if changed {
            self.after_removal(expired.members > 0, now);
        }
        changed
    }

    /// When [`ClassicGroup::tick`] next has something to do, unless members join, leave or send heartbeats.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let rebalance = self.rebalance_deadline.filter(|_| self.state == ClassicGroupState::PreparingRebalance);
        self.members.next_expiry().into_iter().chain(rebalance).min()
    }

    /// Adds a member, or renews one, and gives its id. Ask [`ClassicGroup::join_result`] for the outcome.
    pub(crate) fn join(&mut self, join: JoinRequest, now: Instant) -> Result<String, JoinError> {
        self.tick(now);
        if join.session_timeout.is_zero() || join.session_timeout > MAX_SESSION_TIMEOUT {
            return Err(ResponseError::InvalidSessionTimeout.into());
        }
        if !self.members.supports_protocols(&join, &self.protocol_type) {
            return Err(ResponseError::InconsistentGroupProtocol.into());
        }
        let (member_id, predecessor) = self.members.member_id_for(&join, now)?;
        if predecessor.is_some_and(|predecessor| predecessor == self.leader) {
            self.leader.clone_from(&member_id);
        }
        let is_leader = member_id == self.leader;
        let changes = self.members.get(&member_id).map_or(true, |known| known.protocols != join.protocols);
        let rejoins_unchanged = match self.state {
            // A leader that joins again wants a new assignment; for others the response was lost.
            ClassicGroupState::Stable => !changes && !is_leader,
            ClassicGroupState::CompletingRebalance => !changes,
            ClassicGroupState::Empty | ClassicGroupState::PreparingRebalance | ClassicGroupState::Dead => false,
        };
        if self.members.is_empty() {
            self.protocol_type.clone_from(&join.protocol_type);
        }
        let assignment = self.members.remove(&member_id).map(|known| known.assignment).unwrap_or_default();
        self.members.insert(member_id.clone(), GroupMember::new(join, assignment, now));
        if !rejoins_unchanged {
            self.prepare_rebalance(now);
            self.members.get_mut(&member_id)?.waiting = true;
            self.complete_join_if_possible(now);
        }
        Ok(member_id)
    }

    /// What `member_id` learns once all have joined; `None` while it has to wait.
    pub(crate) fn join_result(&self, member_id: &str) -> Result<Option<JoinResult>, ResponseError> {
        let member = self.members.get(member_id)?;
        match self.state {
            ClassicGroupState::PreparingRebalance if member.waiting => return Ok(None),
            ClassicGroupState::CompletingRebalance | ClassicGroupState::Stable => {}
            // This generation is over before the member learned of it.
            _ => return Err(ResponseError::RebalanceInProgress),
        }
        let all = self.members.iter().filter(|_| member_id == self.leader);
        Ok(Some(JoinResult {
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            member_id: member_id.to_owned(),
            members: all.map(|(id, m)| (id.clone(), m.instance_id.clone(), m.metadata(&self.protocol))).collect(),
        }))
    }

    /// Takes the assignments when `member_id` leads; otherwise notes that it waits for its own.
    pub(crate) fn sync(
        &mut self,
        member_id: &str,
        generation: i32,
        mut assignments: HashMap<String, Bytes>,
        now: Instant,
    ) -> Result<(), ResponseError> {
        self.check_member(member_id, generation, now)?;
        match self.state {
            ClassicGroupState::Empty | ClassicGroupState::Dead => return Err(ResponseError::UnknownMemberId),
            ClassicGroupState::PreparingRebalance => return Err(ResponseError::RebalanceInProgress),
            ClassicGroupState::Stable => {}
            ClassicGroupState::CompletingRebalance if member_id != self.leader => {
                self.members.get_mut(member_id)?.waiting = true;
            }
            ClassicGroupState::CompletingRebalance => {
                for (id, member) in self.members.iter_mut() {
                    member.assignment = assignments.remove(id).unwrap_or_default();
                    member.waiting = false;
                    member.heartbeat(now);
                }
                self.state = ClassicGroupState::Stable;
            }
        }
        Ok(())
    }

    /// What `member_id` is to read; `None` until the leader has sent the assignments.
    pub(crate) fn assignment(&self, member_id: &str, generation: i32) -> Result<Option<Bytes>, ResponseError> {
        let member = self.members.get(member_id)?;
        match self.state {
            ClassicGroupState::CompletingRebalance if generation == self.generation => Ok(None),
            ClassicGroupState::Stable if generation == self.generation => Ok(Some(member.assignment.clone())),
            _ => Err(ResponseError::RebalanceInProgress),
        }
    }

    /// Extends a member's session. The error tells it to join again.
    pub(crate) fn heartbeat(&mut self, member_id: &str, generation: i32, now: Instant) -> Result<(), ResponseError> {
        self.check_member(member_id, generation, now)?;
        let rebalancing = self.state == ClassicGroupState::PreparingRebalance;
        if rebalancing { Err(ResponseError::RebalanceInProgress) } else { Ok(()) }
    }

    /// Whether `member_id` may commit. A client without a member id and with generation -1 may while the group
    /// has no members.
    pub(crate) fn check_offset_commit(
        &mut self,
        member_id: &str,
        generation: i32,
        now: Instant,
    ) -> Result<(), ResponseError> {
        if generation < 0 && self.members.is_empty() {
            return Ok(());
        }
        self.check_member(member_id, generation, now)?;
        let rebalancing = self.state == ClassicGroupState::CompletingRebalance;
        if rebalancing { Err(ResponseError::RebalanceInProgress) } else { Ok(()) }
    }

    /// Whether `member_id` is still the member known as `instance_id`.
    pub(crate) fn check_instance(&self, member_id: &str, instance_id: Option<&str>) -> Result<(), ResponseError> {
        self.members.check_instance(member_id, instance_id)
    }

    /// Removes a member, known by its member id or its instance id. Gives its member id.
    pub(crate) fn leave(
        &mut self,
        member_id: &str,
        instance_id: Option<&str>,
        now: Instant,
    ) -> Result<String, ResponseError> {
        self.tick(now);
        if !member_id.is_empty() {
            self.check_instance(member_id, instance_id)?;
        }
        let current = instance_id.and_then(|instance_id| self.members.static_member_id(instance_id));
        let member_id = current.unwrap_or(member_id.to_owned());
        let was_member = self.members.remove(&member_id).is_some();
        if !was_member && !self.members.remove_pending(&member_id) {
            return Err(ResponseError::UnknownMemberId);
        }
        self.after_removal(was_member, now);
        Ok(member_id)
    }

    fn check_member(&mut self, member_id: &str, generation: i32, now: Instant) -> Result<(), ResponseError> {
        self.tick(now);
        self.members.get_mut(member_id)?.heartbeat(now);
        if generation == self.generation { Ok(()) } else { Err(ResponseError::IllegalGeneration) }
    }

    /// All members have to join again; those that wait for an assignment get an error.
    fn prepare_rebalance(&mut self, now: Instant) {
        if self.state == ClassicGroupState::PreparingRebalance {
            return;
        }
        self.state = ClassicGroupState::PreparingRebalance;
        for (_, member) in self.members.iter_mut() {
            if std::mem::take(&mut member.waiting) {
                member.heartbeat(now);
            }
        }
        self.rebalance_deadline = Some(now + self.members.rebalance_timeout());
    }

    fn complete_join_if_possible(&mut self, now: Instant) {
        if !self.members.all_joined() {
            return;
        }
        self.next_generation();
        self.state = ClassicGroupState::CompletingRebalance;
        self.rebalance_deadline = None;
        if !self.members.contains(&self.leader) {
            self.leader = self.members.iter().next().map(|(id, _)| id.clone()).unwrap_or_default();
        }
        self.protocol = self.members.select_protocol();
        for (_, member) in self.members.iter_mut() {
            member.waiting = false;
            member.assignment = Bytes::new();
            member.heartbeat(now);
        }
    }

    fn after_removal(&mut self, was_member: bool, now: Instant) {
        if self.members.is_empty() {
            if self.state != ClassicGroupState::Empty {
                self.next_generation();
            }
            (self.state, self.rebalance_deadline) = (ClassicGroupState::Empty, None);
            self.leader.clear();
            self.protocol.clear();
        } else if was_member || self.state == ClassicGroupState::PreparingRebalance {
            self.prepare_rebalance(now);
            self.complete_join_if_possible(now);
        }
    }

    fn next_generation(&mut self) {
        self.generation = self.generation.wrapping_add(1).max(1);
    }
}

#[cfg(test)]
mod tests;
