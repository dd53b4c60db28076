//! Consumer groups: joining, sharing out, leaving; groups listed, described and deleted.

use std::collections::HashMap;
use std::time::Duration;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::delete_groups_response::DeletableGroupResult;
use kafka_protocol::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use kafka_protocol::messages::join_group_response::JoinGroupResponseMember;
use kafka_protocol::messages::leave_group_response::MemberResponse;
use kafka_protocol::messages::list_groups_response::ListedGroup;
use kafka_protocol::messages::*;
use kafka_protocol::protocol::StrBytes;

use super::{Context, code, text};
use crate::group::membership::{Join, Joined};

/// From this version on a new member gets its name before it joins.
const NAME_FIRST: i16 = 4;
const CLASSIC: &str = "classic";

pub(super) fn join(c: &Context, request: JoinGroupRequest) -> JoinGroupResponse {
    let millis = |ms: i32| Duration::from_millis(u64::try_from(ms).unwrap_or(0));
    let session = millis(request.session_timeout_ms);
    let join = Join {
        member: request.member_id.to_string(),
        instance: request.group_instance_id.as_deref().map(str::to_owned),
        client_id: c.caller.client_id.clone(),
        client_host: format!("/{}", c.caller.peer.ip()),
        session,
        // Version 0 knows only the session timeout.
        patience: if request.rebalance_timeout_ms < 0 { session } else { millis(request.rebalance_timeout_ms) },
        protocol_type: request.protocol_type.to_string(),
        protocols: request.protocols.into_iter().map(|p| (p.name.to_string(), p.metadata)).collect(),
        name_first: c.version >= NAME_FIRST,
    };
    match c.node.groups.join(&request.group_id, join) {
        Ok(joined) => told(joined),
        Err(refused) => JoinGroupResponse::default()
            .with_error_code(refused.code.code())
            .with_member_id(if refused.member.is_empty() { request.member_id } else { text(&refused.member) }),
    }
}

fn told(joined: Joined) -> JoinGroupResponse {
    let members = joined.members.into_iter().map(|(name, instance, metadata)| {
        JoinGroupResponseMember::default()
            .with_member_id(text(&name))
            .with_group_instance_id(instance.as_deref().map(text))
            .with_metadata(metadata)
    });
    JoinGroupResponse::default()
        .with_generation_id(joined.generation)
        .with_protocol_type(Some(text(&joined.protocol_type)))
        .with_protocol_name(Some(text(&joined.protocol)))
        .with_leader(text(&joined.leader))
        .with_member_id(text(&joined.member))
        .with_members(members.collect())
}

pub(super) fn sync(c: &Context, request: SyncGroupRequest) -> SyncGroupResponse {
    let (group, member) = (&*request.group_id, &*request.member_id);
    let assignments: HashMap<_, _> =
        request.assignments.into_iter().map(|a| (a.member_id.to_string(), a.assignment)).collect();
    let current = c.node.groups.with_members(group, |members, _| {
        members.check_instance(member, request.group_instance_id.as_deref())?;
        let same = |asked: &Option<StrBytes>, have: &str| asked.as_deref().is_none_or(|asked| asked == have);
        if same(&request.protocol_type, members.protocol_type()) && same(&request.protocol_name, members.protocol()) {
            Ok((text(members.protocol_type()), text(members.protocol())))
        } else {
            Err(ResponseError::InconsistentGroupProtocol)
        }
    });
    let outcome = current.and_then(|current| {
        let assignment = c.node.groups.sync(group, member, request.generation_id, assignments)?;
        Ok((current, assignment))
    });
    match outcome {
        Ok(((protocol_type, protocol), assignment)) => SyncGroupResponse::default()
            .with_protocol_type(Some(protocol_type))
            .with_protocol_name(Some(protocol))
            .with_assignment(assignment),
        Err(code) => SyncGroupResponse::default().with_error_code(code.code()),
    }
}

pub(super) fn heartbeat(c: &Context, request: HeartbeatRequest) -> HeartbeatResponse {
    let outcome = c.node.groups.with_members(&request.group_id, |members, now| {
        members.check_instance(&request.member_id, request.group_instance_id.as_deref())?;
        members.heartbeat(&request.member_id, request.generation_id, now)
    });
    HeartbeatResponse::default().with_error_code(code(&outcome))
}

/// The protocol of KIP-848, `group.protocol=consumer`, is not offered.
pub(super) fn refuse_newer_protocol(_: &Context, _: ConsumerGroupHeartbeatRequest) -> ConsumerGroupHeartbeatResponse {
    ConsumerGroupHeartbeatResponse::default()
        .with_error_code(ResponseError::UnsupportedVersion.code())
        .with_error_message(Some(text("the embedded broker has no group.protocol=consumer, only classic")))
}

pub(super) fn leave(c: &Context, request: LeaveGroupRequest) -> LeaveGroupResponse {
    let leave = |member: &str, instance: Option<&str>| {
        c.node.groups.with_members(&request.group_id, |members, now| members.leave(member, instance, now))
    };
    if c.version < 3 {
        return LeaveGroupResponse::default().with_error_code(code(&leave(&request.member_id, None)));
    }
    let members = request.members.iter().map(|member| {
        let outcome = leave(&member.member_id, member.group_instance_id.as_deref());
        MemberResponse::default()
            .with_member_id(member.member_id.clone())
            .with_group_instance_id(member.group_instance_id.clone())
            .with_error_code(code(&outcome))
    });
    LeaveGroupResponse::default().with_members(members.collect())
}

pub(super) fn list(c: &Context, request: ListGroupsRequest) -> ListGroupsResponse {
    let named = |filter: &[StrBytes], what: &str| {
        filter.is_empty() || filter.iter().any(|wanted| wanted.eq_ignore_ascii_case(what))
    };
    let groups = c.node.groups.all().into_iter().filter_map(|group| {
        let state = group.lock();
        let phase = state.members.phase().name();
        let wanted = named(&request.states_filter, phase) && named(&request.types_filter, CLASSIC);
        wanted.then(|| {
            ListedGroup::default()
                .with_group_id(GroupId(text(&group.id)))
                .with_protocol_type(text(state.members.protocol_type()))
                .with_group_state(text(phase))
                .with_group_type(text(CLASSIC))
        })
    });
    ListGroupsResponse::default().with_groups(groups.collect())
}

pub(super) fn describe(c: &Context, request: DescribeGroupsRequest) -> DescribeGroupsResponse {
    let groups = request.groups.into_iter().map(|id| {
        let answer = DescribedGroup::default().with_group_id(id.clone());
        let Some(group) = c.node.groups.get(&id) else {
            let answer = answer.with_group_state(StrBytes::from_static_str("Dead"));
            // Older clients read the state; newer ones want it said.
            let missing = ResponseError::GroupIdNotFound.code();
            return if c.version >= 6 { answer.with_error_code(missing) } else { answer };
        };
        let state = group.lock();
        let protocol = state.members.protocol();
        let members = state.members.members().map(|(name, member)| {
            DescribedGroupMember::default()
                .with_member_id(text(name))
                .with_group_instance_id(member.instance.as_deref().map(text))
                .with_client_id(text(&member.client_id))
                .with_client_host(text(&member.client_host))
                .with_member_metadata(member.metadata(protocol))
                .with_member_assignment(member.assignment.clone())
        });
        answer
            .with_group_state(text(state.members.phase().name()))
            .with_protocol_type(text(state.members.protocol_type()))
            .with_protocol_data(text(protocol))
            .with_members(members.collect())
    });
    DescribeGroupsResponse::default().with_groups(groups.collect())
}

pub(super) fn delete(c: &Context, request: DeleteGroupsRequest) -> DeleteGroupsResponse {
    let results = request.groups_names.into_iter().map(|id| {
        let outcome = c.node.groups.delete(&id);
        DeletableGroupResult::default().with_error_code(code(&outcome)).with_group_id(id)
    });
    DeleteGroupsResponse::default().with_results(results.collect())
}
