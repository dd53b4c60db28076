//! Consumer groups: joining, assignments, leaving; groups listed, described and deleted.

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

use super::context::{RequestContext, error_code, text};
use crate::group::{ClassicGroupState, JoinRequest, JoinResult};

/// From this version on a new member gets its id before it joins.
const REQUIRES_MEMBER_ID: i16 = 4;
const CLASSIC: &str = "classic";

pub(super) fn join_group(c: &RequestContext, request: JoinGroupRequest) -> JoinGroupResponse {
    let millis = |ms: i32| Duration::from_millis(u64::try_from(ms).unwrap_or(0));
    let session_timeout = millis(request.session_timeout_ms);
    let join = JoinRequest {
        member_id: request.member_id.to_string(),
        instance_id: request.group_instance_id.as_deref().map(str::to_owned),
        client_id: c.client.client_id.clone(),
        client_host: format!("/{}", c.client.peer.ip()),
        session_timeout,
        // Version 0 knows only the session timeout.
        rebalance_timeout: match request.rebalance_timeout_ms {
            ..0 => session_timeout,
            ms => millis(ms),
        },
        protocol_type: request.protocol_type.to_string(),
        protocols: request.protocols.into_iter().map(|p| (p.name.to_string(), p.metadata)).collect(),
        require_member_id: c.version >= REQUIRES_MEMBER_ID,
    };
    match c.broker.groups.join(&request.group_id, join) {
        Ok(result) => join_response(result),
        Err(error) => JoinGroupResponse::default()
            .with_error_code(error.code.code())
            .with_member_id(if error.member_id.is_empty() { request.member_id } else { text(&error.member_id) }),
    }
}

fn join_response(result: JoinResult) -> JoinGroupResponse {
    let members = result.members.into_iter().map(|(member_id, instance_id, metadata)| {
        JoinGroupResponseMember::default()
            .with_member_id(text(&member_id))
            .with_group_instance_id(instance_id.as_deref().map(text))
            .with_metadata(metadata)
    });
    JoinGroupResponse::default()
        .with_generation_id(result.generation)
        .with_protocol_type(Some(text(&result.protocol_type)))
        .with_protocol_name(Some(text(&result.protocol)))
        .with_leader(text(&result.leader))
        .with_member_id(text(&result.member_id))
        .with_members(members.collect())
}

pub(super) fn sync_group(c: &RequestContext, request: SyncGroupRequest) -> SyncGroupResponse {
    let (group, member) = (&*request.group_id, &*request.member_id);
    let assignments: HashMap<_, _> =
        request.assignments.into_iter().map(|a| (a.member_id.to_string(), a.assignment)).collect();
    let current = c.broker.groups.with_members(group, |members, _| {
        members.check_instance(member, request.group_instance_id.as_deref())?;
        let same = |given: &Option<StrBytes>, have: &str| given.as_deref().is_none_or(|given| given == have);
        if same(&request.protocol_type, members.protocol_type()) && same(&request.protocol_name, members.protocol()) {
            Ok((text(members.protocol_type()), text(members.protocol())))
        } else {
            Err(ResponseError::InconsistentGroupProtocol)
        }
    });
    let outcome = current.and_then(|current| {
        let assignment = c.broker.groups.sync(group, member, request.generation_id, assignments)?;
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

pub(super) fn heartbeat(c: &RequestContext, request: HeartbeatRequest) -> HeartbeatResponse {
    let outcome = c.broker.groups.with_members(&request.group_id, |members, now| {
        members.check_instance(&request.member_id, request.group_instance_id.as_deref())?;
        members.heartbeat(&request.member_id, request.generation_id, now)
    });
    HeartbeatResponse::default().with_error_code(error_code(&outcome))
}

/// The protocol of KIP-848, `group.protocol=consumer`, is not offered.
pub(super) fn consumer_group_heartbeat(
    _: &RequestContext,
    _: ConsumerGroupHeartbeatRequest,
) -> ConsumerGroupHeartbeatResponse {
    ConsumerGroupHeartbeatResponse::default()
        .with_error_code(ResponseError::UnsupportedVersion.code())
        .with_error_message(Some(text("the embedded broker has no group.protocol=consumer, only classic")))
}

pub(super) fn leave_group(c: &RequestContext, request: LeaveGroupRequest) -> LeaveGroupResponse {
    let leave = |member_id: &str, instance_id: Option<&str>| {
        c.broker.groups.with_members(&request.group_id, |members, now| members.leave(member_id, instance_id, now))
    };
    if c.version < 3 {
        return LeaveGroupResponse::default().with_error_code(error_code(&leave(&request.member_id, None)));
    }
    let members = request.members.iter().map(|member| {
        let outcome = leave(&member.member_id, member.group_instance_id.as_deref());
        MemberResponse::default()
            .with_member_id(member.member_id.clone())
            .with_group_instance_id(member.group_instance_id.clone())
            .with_error_code(error_code(&outcome))
    });
    LeaveGroupResponse::default().with_members(members.collect())
}

pub(super) fn list_groups(c: &RequestContext, request: ListGroupsRequest) -> ListGroupsResponse {
    let named = |filter: &[StrBytes], what: &str| {
        filter.is_empty() || filter.iter().any(|wanted| wanted.eq_ignore_ascii_case(what))
    };
    let groups = c.broker.groups.all().into_iter().filter_map(|group| {
        let state = group.lock();
        let group_state = state.members.state().name();
        let wanted = named(&request.states_filter, group_state) && named(&request.types_filter, CLASSIC);
        wanted.then(|| {
            ListedGroup::default()
                .with_group_id(GroupId(text(&group.id)))
                .with_protocol_type(text(state.members.protocol_type()))
                .with_group_state(text(group_state))
                .with_group_type(text(CLASSIC))
        })
    });
    ListGroupsResponse::default().with_groups(groups.collect())
}

pub(super) fn describe_groups(c: &RequestContext, request: DescribeGroupsRequest) -> DescribeGroupsResponse {
    let groups = request.groups.into_iter().map(|id| {
        let response = DescribedGroup::default().with_group_id(id.clone());
        let Some(group) = c.broker.groups.get(&id) else {
            let response = response.with_group_state(text(ClassicGroupState::Dead.name()));
            // Older clients read the state; newer ones expect an error.
            let missing = ResponseError::GroupIdNotFound.code();
            return if c.version >= 6 { response.with_error_code(missing) } else { response };
        };
        let state = group.lock();
        let protocol = state.members.protocol();
        let members = state.members.members().map(|(member_id, member)| {
            DescribedGroupMember::default()
                .with_member_id(text(member_id))
                .with_group_instance_id(member.instance_id.as_deref().map(text))
                .with_client_id(text(&member.client_id))
                .with_client_host(text(&member.client_host))
                .with_member_metadata(member.metadata(protocol))
                .with_member_assignment(member.assignment.clone())
        });
        response
            .with_group_state(text(state.members.state().name()))
            .with_protocol_type(text(state.members.protocol_type()))
            .with_protocol_data(text(protocol))
            .with_members(members.collect())
    });
    DescribeGroupsResponse::default().with_groups(groups.collect())
}

pub(super) fn delete_groups(c: &RequestContext, request: DeleteGroupsRequest) -> DeleteGroupsResponse {
    let results = request.groups_names.into_iter().map(|id| {
        let outcome = c.broker.groups.delete(&id);
        DeletableGroupResult::default().with_error_code(error_code(&outcome)).with_group_id(id)
    });
    DeleteGroupsResponse::default().with_results(results.collect())
}
