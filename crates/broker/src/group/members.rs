//! The members of one group: their ids, what they support, whether they are alive.
//!
//! In: what a client says when it joins, and the time. Out: member ids, members that expired, the protocol
//! that all support. Knows nothing of generations and rebalances. Reads no clock. Start at [`Members`].

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use bytes::Bytes;
use kafka_protocol::ResponseError;
use uuid::Uuid;

/// Members of one group.
const MAX_MEMBERS: usize = 500;

/// What a client says when it joins.
#[derive(Debug, Clone)]
pub(crate) struct JoinRequest {
    /// Empty for a new member.
    pub(crate) member_id: String,
    pub(crate) instance_id: Option<String>,
    pub(crate) client_id: String,
    pub(crate) client_host: String,
    pub(crate) session_timeout: Duration,
    pub(crate) rebalance_timeout: Duration,
    pub(crate) protocol_type: String,
    pub(crate) protocols: Vec<(String, Bytes)>,
    /// A new member is given its id first and joins with it, so that a lost response leaves no orphan.
    pub(crate) require_member_id: bool,
}

/// Why a client could not join.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct JoinError {
    pub(crate) code: ResponseError,
    /// The id to join again with, when that is the reason; otherwise empty.
    pub(crate) member_id: String,
}

impl From<ResponseError> for JoinError {
    fn from(code: ResponseError) -> Self {
        Self { code, member_id: String::new() }
    }
}

#[derive(Debug)]
pub(crate) struct GroupMember {
    pub(crate) instance_id: Option<String>,
    pub(crate) client_id: String,
    pub(crate) client_host: String,
    session_timeout: Duration,
    rebalance_timeout: Duration,
    pub(super) protocols: Vec<(String, Bytes)>,
    pub(crate) assignment: Bytes,
    /// When its session expires, unless it sends a heartbeat.
    expires_at: Instant,
    /// One of its requests waits here, so it is alive.
    pub(super) waiting: bool,
}

impl GroupMember {
    /// A member as `join` describes it, with the assignment that it had before.
    pub(super) fn new(join: JoinRequest, assignment: Bytes, now: Instant) -> Self {
        Self {
            instance_id: join.instance_id,
            client_id: join.client_id,
            client_host: join.client_host,
            session_timeout: join.session_timeout,
            rebalance_timeout: join.rebalance_timeout,
            protocols: join.protocols,
            assignment,
            expires_at: now + join.session_timeout,
            waiting: false,
        }
    }

    /// Its metadata for `protocol`.
    pub(crate) fn metadata(&self, protocol: &str) -> Bytes {
        self.protocols.iter().find(|(name, _)| name == protocol).map(|(_, bytes)| bytes.clone()).unwrap_or_default()
    }

    /// Extends its session.
    pub(super) fn heartbeat(&mut self, now: Instant) {
        self.expires_at = now + self.session_timeout;
    }

    fn supports(&self, protocol: &str) -> bool {
        self.protocols.iter().any(|(name, _)| name == protocol)
    }
}

/// What [`Members::expire`] removed.
#[derive(Debug)]
pub(super) struct Expired {
    pub(super) members: usize,
    pub(super) pending: usize,
}

#[derive(Debug, Default)]
pub(super) struct Members {
    by_id: BTreeMap<String, GroupMember>,
    /// Ids given to new members that have not joined with them yet, and until when they may.
    pending: HashMap<String, Instant>,
}

impl Members {
    pub(super) fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&String, &GroupMember)> {
        self.by_id.iter()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (&String, &mut GroupMember)> {
        self.by_id.iter_mut()
    }

    pub(super) fn get(&self, member_id: &str) -> Result<&GroupMember, ResponseError> {
        self.by_id.get(member_id).ok_or(ResponseError::UnknownMemberId)
    }

    pub(super) fn get_mut(&mut self, member_id: &str) -> Result<&mut GroupMember, ResponseError> {
        self.by_id.get_mut(member_id).ok_or(ResponseError::UnknownMemberId)
    }

    /// Whether `member_id` has joined.
    pub(super) fn contains(&self, member_id: &str) -> bool {
        self.by_id.contains_key(member_id)
    }

    pub(super) fn insert(&mut self, member_id: String, member: GroupMember) {
        self.by_id.insert(member_id, member);
    }

    pub(super) fn remove(&mut self, member_id: &str) -> Option<GroupMember> {
        self.by_id.remove(member_id)
    }

    /// Takes back an id that was given out; false when it was not.
    pub(super) fn remove_pending(&mut self, member_id: &str) -> bool {
        self.pending.remove(member_id).is_some()
    }

    /// Whether all members wait for the rebalance to complete, and none is still to join.
    pub(super) fn all_joined(&self) -> bool {
        self.pending.is_empty() && self.by_id.values().all(|member| member.waiting)
    }

    /// The longest time that a member asks for to join again.
    pub(super) fn rebalance_timeout(&self) -> Duration {
        self.by_id.values().map(|member| member.rebalance_timeout).max().unwrap_or_default()
    }

    /// Removes members whose session expired; with `rebalance_expired` also those that have not joined again.
    pub(super) fn expire(&mut self, rebalance_expired: bool, now: Instant) -> Expired {
        let before = (self.by_id.len(), self.pending.len());
        self.pending.retain(|_, until| *until > now && !rebalance_expired);
        self.by_id.retain(|member_id, member| {
            let stays = member.waiting || (member.expires_at > now && !rebalance_expired);
            if !stays {
                tracing::info!(member_id, rebalance_expired, "a group member expired");
            }
            stays
        });
        Expired { members: before.0 - self.by_id.len(), pending: before.1 - self.pending.len() }
    }

    /// When the next session expires; that of a waiting member does not.
    pub(super) fn next_expiry(&self) -> Option<Instant> {
        let sessions = self.by_id.values().filter(|member| !member.waiting).map(|member| member.expires_at);
        sessions.chain(self.pending.values().copied()).min()
    }

    /// The current member id of a static member.
    pub(super) fn static_member_id(&self, instance_id: &str) -> Option<String> {
        let current = self.by_id.iter().find(|(_, member)| member.instance_id.as_deref() == Some(instance_id));
        current.map(|(member_id, _)| member_id.clone())
    }

    /// Whether `member_id` is still the member known as `instance_id`.
    pub(super) fn check_instance(&self, member_id: &str, instance_id: Option<&str>) -> Result<(), ResponseError> {
        match instance_id.and_then(|instance_id| self.static_member_id(instance_id)) {
            Some(current) if current != member_id => Err(ResponseError::FencedInstanceId),
            _ => Ok(()),
        }
    }

    /// The id of the member that joins: its current one, or a new one. A static member that was restarted
    /// replaces its predecessor, whose id is given too.
    pub(super) fn member_id_for(
        &mut self,
        join: &JoinRequest,
        now: Instant,
    ) -> Result<(String, Option<String>), JoinError> {
        let predecessor = join.instance_id.as_deref().and_then(|instance_id| self.static_member_id(instance_id));
        if !join.member_id.is_empty() {
            let is_known = self.contains(&join.member_id) || self.remove_pending(&join.member_id);
            return match predecessor {
                Some(current) if current != join.member_id => Err(ResponseError::FencedInstanceId.into()),
                _ if is_known => Ok((join.member_id.clone(), None)),
                _ => Err(ResponseError::UnknownMemberId.into()),
            };
        }
        if predecessor.is_none() && self.by_id.len() + self.pending.len() >= MAX_MEMBERS {
            return Err(ResponseError::GroupMaxSizeReached.into());
        }
        let member_id = format!("{}-{}", join.instance_id.as_deref().unwrap_or(&join.client_id), Uuid::new_v4());
        if let Some(member) = predecessor.as_ref().and_then(|predecessor| self.by_id.remove(predecessor)) {
            self.by_id.insert(member_id.clone(), member);
        } else if join.require_member_id && join.instance_id.is_none() {
            self.pending.insert(member_id.clone(), now + join.session_timeout);
            return Err(JoinError { code: ResponseError::MemberIdRequired, member_id });
        }
        Ok((member_id, predecessor))
    }

    /// Whether a joining member has a protocol in common with all other members of a group of `protocol_type`.
    pub(super) fn supports_protocols(&self, join: &JoinRequest, protocol_type: &str) -> bool {
        let is_same = |member_id: &String, member: &GroupMember| {
            *member_id == join.member_id || (join.instance_id.is_some() && member.instance_id == join.instance_id)
        };
        let others: Vec<_> = self.by_id.iter().filter(|(id, member)| !is_same(id, member)).map(|(_, m)| m).collect();
        let agrees = join.protocols.iter().any(|(name, _)| others.iter().all(|member| member.supports(name)));
        agrees && !join.protocol_type.is_empty() && (others.is_empty() || join.protocol_type == protocol_type)
    }

    /// Of the protocols that all members support, the one that most of them name first.
    pub(super) fn select_protocol(&self) -> String {
        let supported = |name: &String| self.by_id.values().all(|member| member.supports(name));
        let mut votes: BTreeMap<&String, usize> = BTreeMap::new();
        for member in self.by_id.values() {
            if let Some((name, _)) = member.protocols.iter().find(|(name, _)| supported(name)) {
                *votes.entry(name).or_default() += 1;
            }
        }
        votes.into_iter().max_by_key(|(_, votes)| *votes).map(|(name, _)| name.clone()).unwrap_or_default()
    }
}
