//! Who is in one group: joining, sharing out, heartbeats, leaving.
//!
//! In: what members ask, and the time. Out: generations, assignments, refusals.
//! Reads no clock and waits for nothing: [`Membership::tick`] is told the time.
//! Source: <https://cwiki.apache.org/confluence/display/KAFKA/Kafka+Client-side+Assignment+Proposal>.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use bytes::Bytes;
use kafka_protocol::ResponseError;
use uuid::Uuid;

/// Members of one group.
const MAX_MEMBERS: usize = 500;
/// As Apache Kafka's `group.max.session.timeout.ms`.
const MAX_SESSION: Duration = Duration::from_secs(1800);

#[derive(Debug, Default)]
pub(crate) struct Membership {
    phase: Phase,
    generation: i32,
    protocol_type: String,
    /// The assignment protocol that all members know; empty before the first generation.
    protocol: String,
    leader: String,
    members: BTreeMap<String, Member>,
    /// Names given to new members that have not come back with them, and until when they may.
    expected: HashMap<String, Instant>,
    /// While members are joining: when those who did not are given up.
    deadline: Option<Instant>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Phase {
    #[default]
    Empty,
    /// Waiting for all members to join.
    Joining,
    /// Waiting for the leader's assignments.
    Sharing,
    Stable,
}

impl Phase {
    /// The name that clients know it by.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::Joining => "PreparingRebalance",
            Self::Sharing => "CompletingRebalance",
            Self::Stable => "Stable",
        }
    }
}

#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) instance: Option<String>,
    pub(crate) client_id: String,
    pub(crate) client_host: String,
    session: Duration,
    patience: Duration,
    protocols: Vec<(String, Bytes)>,
    pub(crate) assignment: Bytes,
    /// When it is given up, unless it is heard of.
    alive_until: Instant,
    /// A request of its own waits here, so it is alive.
    waiting: bool,
}

impl Member {
    /// What it said of itself under `protocol`.
    pub(crate) fn metadata(&self, protocol: &str) -> Bytes {
        self.protocols.iter().find(|(name, _)| name == protocol).map(|(_, bytes)| bytes.clone()).unwrap_or_default()
    }

    fn hear(&mut self, now: Instant) {
        self.alive_until = now + self.session;
    }
}

/// What a client says when it joins.
#[derive(Debug, Clone)]
pub(crate) struct Join {
    /// Empty for a new member.
    pub(crate) member: String,
    pub(crate) instance: Option<String>,
    pub(crate) client_id: String,
    pub(crate) client_host: String,
    pub(crate) session: Duration,
    pub(crate) patience: Duration,
    pub(crate) protocol_type: String,
    pub(crate) protocols: Vec<(String, Bytes)>,
    /// A new member is given a name first and joins with it, so that a lost answer leaves no ghost.
    pub(crate) name_first: bool,
}

/// What a member learns when all have joined.
#[derive(Debug)]
pub(crate) struct Joined {
    pub(crate) generation: i32,
    pub(crate) protocol_type: String,
    pub(crate) protocol: String,
    pub(crate) leader: String,
    pub(crate) member: String,
    /// Name, instance and metadata of all; only for the leader, empty for others.
    pub(crate) members: Vec<(String, Option<String>, Bytes)>,
}

/// Why somebody could not join.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct JoinRefused {
    pub(crate) code: ResponseError,
    /// The name to come back with, when that is the reason.
    pub(crate) member: String,
}

impl From<ResponseError> for JoinRefused {
    fn from(code: ResponseError) -> Self {
        Self { code, member: String::new() }
    }
}

impl Membership {
    pub(crate) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    pub(crate) fn phase(&self) -> Phase {
        self.phase
    }

    pub(crate) fn protocol_type(&self) -> &str {
        &self.protocol_type
    }

    pub(crate) fn protocol(&self) -> &str {
        &self.protocol
    }

    pub(crate) fn members(&self) -> impl Iterator<Item = (&String, &Member)> {
        self.members.iter()
    }

    /// Gives up whoever was not heard of in time. True when that changed something.
    pub(crate) fn tick(&mut self, now: Instant) -> bool {
        let before = (self.members.len(), self.expected.len());
        self.expected.retain(|_, until| *until > now);
        let overdue = self.phase == Phase::Joining && self.deadline.is_some_and(|deadline| deadline <= now);
        if overdue {
            self.expected.clear();
        }
        self.members.retain(|name, member| {
            let stays = member.waiting || (member.alive_until > now && !overdue);
            if !stays {
                tracing::info!(member = name, overdue, "a group member is given up");
            }
            stays
        });
        let changed = overdue || (self.members.len(), self.expected.len()) != before;
        if changed {
            self.after_loss(self.members.len() < before.0, now);
        }
        changed
    }

    /// Takes a member in; gives its name. Ask [`Membership::joined`] for the outcome.
    pub(crate) fn join(&mut self, join: Join, now: Instant) -> Result<String, JoinRefused> {
        self.tick(now);
        if join.session.is_zero() || join.session > MAX_SESSION {
            return Err(ResponseError::InvalidSessionTimeout.into());
        }
        if !self.speaks_with_the_others(&join) {
            return Err(ResponseError::InconsistentGroupProtocol.into());
        }
        let name = self.name_of(&join, now)?;
        let is_leader = name == self.leader;
        let changes = self.members.get(&name).is_none_or(|known| known.protocols != join.protocols);
        let rejoins_unchanged = match self.phase {
            // A leader that joins again wants to share out anew; for others the answer was lost.
            Phase::Stable => !changes && !is_leader,
            Phase::Sharing => !changes,
            Phase::Empty | Phase::Joining => false,
        };
        if self.members.is_empty() {
            self.protocol_type = join.protocol_type;
        }
        let assignment = self.members.remove(&name).map(|known| known.assignment).unwrap_or_default();
        let member = Member {
            instance: join.instance,
            client_id: join.client_id,
            client_host: join.client_host,
            session: join.session,
            patience: join.patience,
            protocols: join.protocols,
            assignment,
            alive_until: now + join.session,
            waiting: false,
        };
        self.members.insert(name.clone(), member);
        if !rejoins_unchanged {
            self.start_joining(now);
            self.member(&name)?.waiting = true;
            self.complete_if_all_joined(now);
        }
        Ok(name)
    }

    /// What `name` learns once all have joined; `None` while it has to wait.
    pub(crate) fn joined(&self, name: &str) -> Result<Option<Joined>, ResponseError> {
        let member = self.members.get(name).ok_or(ResponseError::UnknownMemberId)?;
        match self.phase {
            Phase::Joining if member.waiting => return Ok(None),
            // This generation is over before the member learned of it.
            Phase::Joining | Phase::Empty => return Err(ResponseError::RebalanceInProgress),
            Phase::Sharing | Phase::Stable => {}
        }
        let all = self.members.iter().filter(|_| name == self.leader);
        Ok(Some(Joined {
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            member: name.to_owned(),
            members: all.map(|(name, m)| (name.clone(), m.instance.clone(), m.metadata(&self.protocol))).collect(),
        }))
    }

    /// Takes the assignments when `name` leads, and notes that it waits for its own otherwise.
    pub(crate) fn sync(
        &mut self,
        name: &str,
        generation: i32,
        mut assignments: HashMap<String, Bytes>,
        now: Instant,
    ) -> Result<(), ResponseError> {
        self.check(name, generation, now)?;
        match self.phase {
            Phase::Empty => return Err(ResponseError::UnknownMemberId),
            Phase::Joining => return Err(ResponseError::RebalanceInProgress),
            Phase::Stable => {}
            Phase::Sharing if name != self.leader => self.member(name)?.waiting = true,
            Phase::Sharing => {
                for (name, member) in &mut self.members {
                    member.assignment = assignments.remove(name).unwrap_or_default();
                    member.waiting = false;
                    member.hear(now);
                }
                self.phase = Phase::Stable;
            }
        }
        Ok(())
    }

    /// What `name` is to read; `None` while the leader has not said.
    pub(crate) fn assignment(&self, name: &str, generation: i32) -> Result<Option<Bytes>, ResponseError> {
        let member = self.members.get(name).ok_or(ResponseError::UnknownMemberId)?;
        match self.phase {
            Phase::Sharing if generation == self.generation => Ok(None),
            Phase::Stable if generation == self.generation => Ok(Some(member.assignment.clone())),
            _ => Err(ResponseError::RebalanceInProgress),
        }
    }

    /// A sign of life. The error tells a member to join again.
    pub(crate) fn heartbeat(&mut self, name: &str, generation: i32, now: Instant) -> Result<(), ResponseError> {
        self.check(name, generation, now)?;
        if self.phase == Phase::Joining { Err(ResponseError::RebalanceInProgress) } else { Ok(()) }
    }

    /// Whether `name` may commit. Nobody's name and generation -1 may while the group has no members.
    pub(crate) fn may_commit(&mut self, name: &str, generation: i32, now: Instant) -> Result<(), ResponseError> {
        if generation < 0 && self.members.is_empty() {
            return Ok(());
        }
        self.check(name, generation, now)?;
        if self.phase == Phase::Sharing { Err(ResponseError::RebalanceInProgress) } else { Ok(()) }
    }

    /// Whether the member called `name` is still the one known as `instance`.
    pub(crate) fn check_instance(&self, name: &str, instance: Option<&str>) -> Result<(), ResponseError> {
        match instance.and_then(|instance| self.named(instance)) {
            Some(current) if current != name => Err(ResponseError::FencedInstanceId),
            _ => Ok(()),
        }
    }

    /// A member goes, known by its name or its instance. Gives its name.
    pub(crate) fn leave(&mut self, name: &str, instance: Option<&str>, now: Instant) -> Result<String, ResponseError> {
        self.tick(now);
        if !name.is_empty() {
            self.check_instance(name, instance)?;
        }
        let name = instance.and_then(|instance| self.named(instance)).unwrap_or(name.to_owned());
        let was_member = self.members.remove(&name).is_some();
        if !was_member && self.expected.remove(&name).is_none() {
            return Err(ResponseError::UnknownMemberId);
        }
        self.after_loss(was_member, now);
        Ok(name)
    }

    fn member(&mut self, name: &str) -> Result<&mut Member, ResponseError> {
        self.members.get_mut(name).ok_or(ResponseError::UnknownMemberId)
    }

    fn named(&self, instance: &str) -> Option<String> {
        self.members.iter().find(|(_, m)| m.instance.as_deref() == Some(instance)).map(|(name, _)| name.clone())
    }

    fn check(&mut self, name: &str, generation: i32, now: Instant) -> Result<(), ResponseError> {
        self.tick(now);
        self.member(name)?.hear(now);
        if generation == self.generation { Ok(()) } else { Err(ResponseError::IllegalGeneration) }
    }

    /// The name of whoever joins: its own, or a new one.
    fn name_of(&mut self, join: &Join, now: Instant) -> Result<String, JoinRefused> {
        let before = join.instance.as_deref().and_then(|instance| self.named(instance));
        if !join.member.is_empty() {
            let is_known = self.members.contains_key(&join.member) || self.expected.remove(&join.member).is_some();
            return match before {
                Some(before) if before != join.member => Err(ResponseError::FencedInstanceId.into()),
                _ if is_known => Ok(join.member.clone()),
                _ => Err(ResponseError::UnknownMemberId.into()),
            };
        }
        if before.is_none() && self.members.len() + self.expected.len() >= MAX_MEMBERS {
            return Err(ResponseError::GroupMaxSizeReached.into());
        }
        let name = format!("{}-{}", join.instance.as_deref().unwrap_or(&join.client_id), Uuid::new_v4());
        if let Some(before) = before {
            // The same instance, started again: it takes its predecessor's place.
            if let Some(member) = self.members.remove(&before) {
                self.members.insert(name.clone(), member);
            }
            if self.leader == before {
                self.leader.clone_from(&name);
            }
        } else if join.name_first && join.instance.is_none() {
            self.expected.insert(name.clone(), now + join.session);
            return Err(JoinRefused { code: ResponseError::MemberIdRequired, member: name });
        }
        Ok(name)
    }

    fn speaks_with_the_others(&self, join: &Join) -> bool {
        let is_same = |name: &String, member: &Member| {
            *name == join.member || (join.instance.is_some() && member.instance == join.instance)
        };
        let others: Vec<_> = self.members.iter().filter(|(name, m)| !is_same(name, m)).map(|(_, m)| m).collect();
        let known = |wanted: &str| others.iter().all(|m| m.protocols.iter().any(|(name, _)| name == wanted));
        let agrees = join.protocols.iter().any(|(name, _)| known(name));
        agrees && !join.protocol_type.is_empty() && (others.is_empty() || join.protocol_type == self.protocol_type)
    }

    /// All members have to join again; those that wait for an assignment are told so.
    fn start_joining(&mut self, now: Instant) {
        if self.phase == Phase::Joining {
            return;
        }
        self.phase = Phase::Joining;
        for member in self.members.values_mut() {
            if std::mem::take(&mut member.waiting) {
                member.hear(now);
            }
        }
        let patience = self.members.values().map(|member| member.patience).max().unwrap_or_default();
        self.deadline = Some(now + patience);
    }

    fn complete_if_all_joined(&mut self, now: Instant) {
        if self.members.values().any(|member| !member.waiting) || !self.expected.is_empty() {
            return;
        }
        self.generation = self.generation.wrapping_add(1).max(1);
        self.phase = Phase::Sharing;
        self.deadline = None;
        if !self.members.contains_key(&self.leader) {
            self.leader = self.members.keys().next().cloned().unwrap_or_default();
        }
        self.protocol = self.preferred_protocol();
        for member in self.members.values_mut() {
            member.waiting = false;
            member.assignment = Bytes::new();
            member.hear(now);
        }
    }

    /// Of the protocols that all members know, the one that most of them name first.
    fn preferred_protocol(&self) -> String {
        let known = |name: &String| self.members.values().all(|m| m.protocols.iter().any(|(other, _)| other == name));
        let mut votes: BTreeMap<&String, usize> = BTreeMap::new();
        for member in self.members.values() {
            if let Some((name, _)) = member.protocols.iter().find(|(name, _)| known(name)) {
                *votes.entry(name).or_default() += 1;
            }
        }
        votes.into_iter().max_by_key(|(_, votes)| *votes).map(|(name, _)| name.clone()).unwrap_or_default()
    }

    fn after_loss(&mut self, was_member: bool, now: Instant) {
        if self.members.is_empty() {
            if self.phase != Phase::Empty {
                self.generation = self.generation.wrapping_add(1).max(1);
            }
            (self.phase, self.deadline) = (Phase::Empty, None);
            self.leader.clear();
            self.protocol.clear();
        } else if was_member || self.phase == Phase::Joining {
            self.start_joining(now);
            self.complete_if_all_joined(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SESSION: Duration = Duration::from_secs(10);
    const PATIENCE: Duration = Duration::from_secs(60);

    fn join(member: &str) -> Join {
        Join {
            member: member.into(),
            instance: None,
            client_id: "c".into(),
            client_host: "h".into(),
            session: SESSION,
            patience: PATIENCE,
            protocol_type: "consumer".into(),
            protocols: vec![("range".into(), Bytes::from_static(b"topics"))],
            name_first: false,
        }
    }

    fn shared_out(group: &mut Membership, now: Instant) -> i32 {
        let generation = group.generation;
        let leader = group.leader.clone();
        let all = group.members.keys().map(|name| (name.clone(), Bytes::from(name.clone()))).collect();
        group.sync(&leader, generation, all, now).unwrap();
        generation
    }

    /// A stable group of two: leader and follower.
    fn pair(now: Instant) -> (Membership, String, String) {
        let mut group = Membership::default();
        let first = group.join(join(""), now).unwrap();
        shared_out(&mut group, now);
        let second = group.join(join(""), now).unwrap();
        assert!(group.joined(&second).unwrap().is_none(), "waits for the first to come again");
        assert_eq!(group.heartbeat(&first, 1, now), Err(ResponseError::RebalanceInProgress));
        group.join(join(&first), now).unwrap();
        assert_eq!(group.joined(&first).unwrap().unwrap().members.len(), 2);
        assert!(group.joined(&second).unwrap().unwrap().members.is_empty(), "only the leader is told of the others");
        group.sync(&second, 2, HashMap::new(), now).unwrap();
        assert_eq!(group.assignment(&second, 2), Ok(None));
        shared_out(&mut group, now);
        assert_eq!(group.assignment(&second, 2), Ok(Some(Bytes::from(second.clone()))));
        (group, first, second)
    }

    #[test]
    fn a_second_member_makes_the_first_join_again_and_both_get_their_share() {
        let (group, first, _) = pair(Instant::now());
        assert_eq!((group.phase(), group.protocol(), &group.leader), (Phase::Stable, "range", &first));
    }

    #[test]
    fn a_member_that_falls_silent_is_given_up_and_the_other_is_told() {
        let now = Instant::now();
        let (mut group, first, second) = pair(now);
        let later = now + SESSION / 2;
        group.heartbeat(&first, 2, later).unwrap();
        let too_late = now + SESSION;
        assert_eq!(group.heartbeat(&first, 2, too_late), Err(ResponseError::RebalanceInProgress));
        assert_eq!(group.heartbeat(&second, 2, too_late), Err(ResponseError::UnknownMemberId));
        group.join(join(&first), too_late).unwrap();
        assert_eq!(group.joined(&first).unwrap().unwrap().generation, 3);
    }

    #[test]
    fn who_does_not_join_again_in_time_is_left_behind() {
        let now = Instant::now();
        let (mut group, first, second) = pair(now);
        group.join(join(&first), now).unwrap();
        let mut at = now;
        while at < now + PATIENCE - SESSION {
            at += SESSION / 2;
            assert_eq!(group.heartbeat(&second, 2, at), Err(ResponseError::RebalanceInProgress));
            assert!(group.joined(&first).unwrap().is_none());
        }
        group.heartbeat(&second, 2, now + PATIENCE - SESSION / 2).unwrap_err();
        assert!(group.tick(now + PATIENCE));
        assert_eq!(group.joined(&first).unwrap().unwrap().members.len(), 1);
    }

    #[test]
    fn a_leader_that_never_shares_out_is_given_up_and_the_follower_joins_again() {
        let now = Instant::now();
        let (mut group, first, second) = pair(now);
        group.join(join(&first), now).unwrap();
        group.join(join(&second), now).unwrap();
        group.sync(&second, 3, HashMap::new(), now).unwrap();
        group.tick(now + SESSION);
        assert_eq!(group.assignment(&second, 3), Err(ResponseError::RebalanceInProgress));
        group.join(join(&second), now + SESSION).unwrap();
        assert_eq!(group.joined(&second).unwrap().unwrap().leader, second);
    }

    #[test]
    fn a_new_member_is_named_first_and_a_stranger_is_not_let_in() {
        let now = Instant::now();
        let mut group = Membership::default();
        let refused = group.join(Join { name_first: true, ..join("") }, now).unwrap_err();
        assert_eq!(refused.code, ResponseError::MemberIdRequired);
        assert_eq!(group.join(join("stranger"), now).unwrap_err().code, ResponseError::UnknownMemberId);
        let name = group.join(Join { name_first: true, ..join(&refused.member) }, now).unwrap();
        assert_eq!(name, refused.member);
        assert_eq!(group.joined(&name).unwrap().unwrap().generation, 1);
    }

    #[test]
    fn a_named_member_that_never_comes_holds_nobody_up_for_longer_than_its_session() {
        let now = Instant::now();
        let mut group = Membership::default();
        group.join(Join { name_first: true, ..join("") }, now).unwrap_err();
        let other = group.join(join(""), now).unwrap();
        assert!(group.joined(&other).unwrap().is_none());
        assert!(group.tick(now + SESSION));
        assert!(group.joined(&other).unwrap().is_some());
    }

    #[test]
    fn protocols_must_have_one_in_common_and_the_common_one_is_chosen() {
        let now = Instant::now();
        let speaking = |names: &[&str], member: &str| {
            let protocols = names.iter().map(|name| ((*name).to_owned(), Bytes::new())).collect();
            Join { protocols, ..join(member) }
        };
        let mut group = Membership::default();
        let first = group.join(speaking(&["range", "sticky"], ""), now).unwrap();
        let refused = group.join(speaking(&["own"], ""), now).unwrap_err();
        assert_eq!(refused.code, ResponseError::InconsistentGroupProtocol);
        group.join(speaking(&["sticky", "own"], ""), now).unwrap();
        group.join(speaking(&["range", "sticky"], &first), now).unwrap();
        assert_eq!(group.protocol(), "sticky");
        let other_type = Join { protocol_type: "connect".into(), ..join("") };
        assert_eq!(group.join(other_type, now).unwrap_err().code, ResponseError::InconsistentGroupProtocol);
    }

    #[test]
    fn only_members_of_this_generation_commit_unless_there_are_none() {
        let now = Instant::now();
        let mut empty = Membership::default();
        assert_eq!(empty.may_commit("", -1, now), Ok(()));
        assert_eq!(empty.may_commit("gone", 3, now), Err(ResponseError::UnknownMemberId));
        let (mut group, first, _) = pair(now);
        assert_eq!(group.may_commit("", -1, now), Err(ResponseError::UnknownMemberId));
        assert_eq!(group.may_commit(&first, 1, now), Err(ResponseError::IllegalGeneration));
        assert_eq!(group.may_commit(&first, 2, now), Ok(()));
    }

    #[test]
    fn the_last_to_leave_empties_the_group() {
        let now = Instant::now();
        let (mut group, first, second) = pair(now);
        group.leave(&second, None, now).unwrap();
        assert_eq!(group.leave(&second, None, now), Err(ResponseError::UnknownMemberId));
        assert_eq!(group.heartbeat(&first, 2, now), Err(ResponseError::RebalanceInProgress));
        group.leave(&first, None, now).unwrap();
        assert_eq!((group.phase(), group.is_empty()), (Phase::Empty, true));
    }

    #[test]
    fn an_instance_started_again_takes_its_place_without_a_rebalance_and_fences_its_former_self() {
        let now = Instant::now();
        let named = |member: &str| Join { instance: Some("i-1".into()), ..join(member) };
        let mut group = Membership::default();
        let leader = group.join(join(""), now).unwrap();
        let old = group.join(named(""), now).unwrap();
        group.join(join(&leader), now).unwrap();
        shared_out(&mut group, now);
        let new = group.join(named(""), now).unwrap();
        assert_eq!((group.phase(), group.joined(&new).unwrap().unwrap().generation), (Phase::Stable, 2));
        assert_eq!(group.assignment(&new, 2), Ok(Some(Bytes::from(old.clone()))), "it keeps what it read");
        assert_eq!(group.join(named(&old), now).unwrap_err().code, ResponseError::FencedInstanceId);
        assert_eq!(group.check_instance(&old, Some("i-1")), Err(ResponseError::FencedInstanceId));
        assert_eq!(group.leave("", Some("i-1"), now), Ok(new));
    }
}
