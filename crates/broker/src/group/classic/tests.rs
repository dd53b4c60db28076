use super::*;

const SESSION: Duration = Duration::from_secs(10);
const REBALANCE: Duration = Duration::from_secs(60);

fn join(member: &str) -> JoinRequest {
    JoinRequest {
        member_id: member.into(),
        instance_id: None,
        client_id: "c".into(),
        client_host: "h".into(),
        session_timeout: SESSION,
        rebalance_timeout: REBALANCE,
        protocol_type: "consumer".into(),
        protocols: vec![("range".into(), Bytes::from_static(b"topics"))],
        require_member_id: false,
    }
}

fn sync_all(group: &mut ClassicGroup, now: Instant) -> i32 {
    let generation = group.generation;
    let leader = group.leader.clone();
    let all = group.members().map(|(id, _)| (id.clone(), Bytes::from(id.clone()))).collect();
    group.sync(&leader, generation, all, now).unwrap();
    generation
}

/// A stable group of two: leader and follower.
fn pair(now: Instant) -> (ClassicGroup, String, String) {
    let mut group = ClassicGroup::default();
    let first = group.join(join(""), now).unwrap();
    sync_all(&mut group, now);
    let second = group.join(join(""), now).unwrap();
    assert!(group.join_result(&second).unwrap().is_none(), "waits for the first to join again");
    assert_eq!(group.heartbeat(&first, 1, now), Err(ResponseError::RebalanceInProgress));
    group.join(join(&first), now).unwrap();
    assert_eq!(group.join_result(&first).unwrap().unwrap().members.len(), 2);
    assert!(group.join_result(&second).unwrap().unwrap().members.is_empty(), "only the leader learns of the others");
    group.sync(&second, 2, HashMap::new(), now).unwrap();
    assert_eq!(group.assignment(&second, 2), Ok(None));
    sync_all(&mut group, now);
    assert_eq!(group.assignment(&second, 2), Ok(Some(Bytes::from(second.clone()))));
    (group, first, second)
}

#[test]
fn a_second_member_makes_the_first_rejoin_and_both_get_an_assignment() {
    let (group, first, _) = pair(Instant::now());
    assert_eq!((group.state(), group.protocol(), &group.leader), (ClassicGroupState::Stable, "range", &first));
}

#[test]
fn a_member_without_heartbeats_expires_and_the_other_learns_of_it() {
    let now = Instant::now();
    let (mut group, first, second) = pair(now);
    let later = now + SESSION / 2;
    group.heartbeat(&first, 2, later).unwrap();
    let too_late = now + SESSION;
    assert_eq!(group.heartbeat(&first, 2, too_late), Err(ResponseError::RebalanceInProgress));
    assert_eq!(group.heartbeat(&second, 2, too_late), Err(ResponseError::UnknownMemberId));
    group.join(join(&first), too_late).unwrap();
    assert_eq!(group.join_result(&first).unwrap().unwrap().generation, 3);
}

#[test]
fn a_member_that_does_not_rejoin_in_time_is_removed() {
    let now = Instant::now();
    let (mut group, first, second) = pair(now);
    group.join(join(&first), now).unwrap();
    let mut at = now;
    while at < now + REBALANCE - SESSION {
        at += SESSION / 2;
        assert_eq!(group.heartbeat(&second, 2, at), Err(ResponseError::RebalanceInProgress));
        assert!(group.join_result(&first).unwrap().is_none());
    }
    group.heartbeat(&second, 2, now + REBALANCE - SESSION / 2).unwrap_err();
    assert!(group.tick(now + REBALANCE));
    assert_eq!(group.join_result(&first).unwrap().unwrap().members.len(), 1);
}

#[test]
fn a_leader_that_never_assigns_expires_and_the_follower_rejoins() {
    let now = Instant::now();
    let (mut group, first, second) = pair(now);
    group.join(join(&first), now).unwrap();
    group.join(join(&second), now).unwrap();
    group.sync(&second, 3, HashMap::new(), now).unwrap();
    group.tick(now + SESSION);
    assert_eq!(group.assignment(&second, 3), Err(ResponseError::RebalanceInProgress));
    group.join(join(&second), now + SESSION).unwrap();
    assert_eq!(group.join_result(&second).unwrap().unwrap().leader, second);
}

#[test]
fn a_new_member_gets_its_id_first_and_an_unknown_id_is_refused() {
    let now = Instant::now();
    let mut group = ClassicGroup::default();
    let refused = group.join(JoinRequest { require_member_id: true, ..join("") }, now).unwrap_err();
    assert_eq!(refused.code, ResponseError::MemberIdRequired);
    assert_eq!(group.join(join("unknown"), now).unwrap_err().code, ResponseError::UnknownMemberId);
    let name = group.join(JoinRequest { require_member_id: true, ..join(&refused.member_id) }, now).unwrap();
    assert_eq!(name, refused.member_id);
    assert_eq!(group.join_result(&name).unwrap().unwrap().generation, 1);
}

#[test]
fn a_pending_member_that_never_joins_holds_up_the_others_for_its_session_at_most() {
    let now = Instant::now();
    let mut group = ClassicGroup::default();
    group.join(JoinRequest { require_member_id: true, ..join("") }, now).unwrap_err();
    let other = group.join(join(""), now).unwrap();
    assert!(group.join_result(&other).unwrap().is_none());
    assert!(group.tick(now + SESSION));
    assert!(group.join_result(&other).unwrap().is_some());
}

#[test]
fn protocols_must_have_one_in_common_and_the_common_one_is_chosen() {
    let now = Instant::now();
    let speaking = |names: &[&str], member: &str| {
        let protocols = names.iter().map(|name| ((*name).to_owned(), Bytes::new())).collect();
        JoinRequest { protocols, ..join(member) }
    };
    let mut group = ClassicGroup::default();
    let first = group.join(speaking(&["range", "sticky"], ""), now).unwrap();
    let refused = group.join(speaking(&["own"], ""), now).unwrap_err();
    assert_eq!(refused.code, ResponseError::InconsistentGroupProtocol);
    group.join(speaking(&["sticky", "own"], ""), now).unwrap();
    group.join(speaking(&["range", "sticky"], &first), now).unwrap();
    assert_eq!(group.protocol(), "sticky");
    let other_type = JoinRequest { protocol_type: "connect".into(), ..join("") };
    assert_eq!(group.join(other_type, now).unwrap_err().code, ResponseError::InconsistentGroupProtocol);
}

#[test]
fn only_members_of_the_current_generation_commit_unless_there_are_none() {
    let now = Instant::now();
    let mut empty = ClassicGroup::default();
    assert_eq!(empty.check_offset_commit("", -1, now), Ok(()));
    assert_eq!(empty.check_offset_commit("gone", 3, now), Err(ResponseError::UnknownMemberId));
    let (mut group, first, _) = pair(now);
    assert_eq!(group.check_offset_commit("", -1, now), Err(ResponseError::UnknownMemberId));
    assert_eq!(group.check_offset_commit(&first, 1, now), Err(ResponseError::IllegalGeneration));
    assert_eq!(group.check_offset_commit(&first, 2, now), Ok(()));
}

#[test]
fn the_last_to_leave_empties_the_group() {
    let now = Instant::now();
    let (mut group, first, second) = pair(now);
    group.leave(&second, None, now).unwrap();
    assert_eq!(group.leave(&second, None, now), Err(ResponseError::UnknownMemberId));
    assert_eq!(group.heartbeat(&first, 2, now), Err(ResponseError::RebalanceInProgress));
    group.leave(&first, None, now).unwrap();
    assert_eq!((group.state(), group.is_empty()), (ClassicGroupState::Empty, true));
}

#[test]
fn a_restarted_static_member_keeps_its_assignment_without_a_rebalance_and_fences_its_predecessor() {
    let now = Instant::now();
    let named = |member: &str| JoinRequest { instance_id: Some("i-1".into()), ..join(member) };
    let mut group = ClassicGroup::default();
    let leader = group.join(join(""), now).unwrap();
    let old = group.join(named(""), now).unwrap();
    group.join(join(&leader), now).unwrap();
    sync_all(&mut group, now);
    let new = group.join(named(""), now).unwrap();
    assert_eq!((group.state(), group.join_result(&new).unwrap().unwrap().generation), (ClassicGroupState::Stable, 2));
    assert_eq!(group.assignment(&new, 2), Ok(Some(Bytes::from(old.clone()))), "it keeps its assignment");
    assert_eq!(group.join(named(&old), now).unwrap_err().code, ResponseError::FencedInstanceId);
    assert_eq!(group.check_instance(&old, Some("i-1")), Err(ResponseError::FencedInstanceId));
    assert_eq!(group.leave("", Some("i-1"), now), Ok(new));
}
