//! Fetch sessions (KIP-227): the broker remembers what a client fetches, so that its requests name only
//! what changed, and answers only what is new.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use kafka_protocol::ResponseError;
use kafka_protocol::messages::TopicName;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchRequest, FetchTopic, ForgottenTopic};
use parking_lot::Mutex;
use uuid::Uuid;

/// Sessions kept; a client that gets none names everything each time.
const MAX_SESSIONS: usize = 1000;
/// A full house makes room for a newcomer at the cost of who was silent so long.
const EVICT_AFTER: Duration = Duration::from_secs(120);
/// No session yet, or none wanted.
const NO_SESSION: i32 = 0;
const FIRST_EPOCH: i32 = 0;
const LAST_EPOCH: i32 = -1;

/// One partition that a client fetches.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) name: TopicName,
    pub(super) id: Uuid,
    pub(super) partition: i32,
    pub(super) offset: i64,
    pub(super) max_bytes: usize,
    pub(super) leader_epoch: i32,
    /// End and start offset that the client was told last; `None` before it was told anything.
    pub(super) told: Option<(i64, i64)>,
}

impl Wanted {
    fn new(topic: &FetchTopic, partition: &FetchPartition) -> Self {
        Self {
            name: topic.topic.clone(),
            id: topic.topic_id,
            partition: partition.partition,
            offset: partition.fetch_offset,
            max_bytes: usize::try_from(partition.partition_max_bytes).unwrap_or(0),
            leader_epoch: partition.current_leader_epoch,
            told: None,
        }
    }

    fn is(&self, name: &TopicName, id: &Uuid, partition: i32) -> bool {
        self.partition == partition && self.id == *id && self.name == *name
    }
}

/// What one request fetches.
#[derive(Debug)]
pub(super) struct Plan {
    /// 0 when there is no session.
    pub(super) session: i32,
    epoch: i32,
    /// Whether partitions without news are left out of the answer.
    pub(super) only_news: bool,
    pub(super) wanted: Vec<Wanted>,
}

#[derive(Debug, Default)]
pub(crate) struct Sessions(Mutex<HashMap<i32, Session>>);

#[derive(Debug)]
struct Session {
    /// Of the next request.
    epoch: i32,
    used_at: Instant,
    wanted: Vec<Wanted>,
}

impl Sessions {
    /// What `request` fetches. A session is taken out until [`Sessions::finish`]: its client has one
    /// request under way at a time.
    pub(super) fn begin(&self, request: &FetchRequest) -> Result<Plan, ResponseError> {
        let mut sessions = self.0.lock();
        let (session, epoch) = (request.session_id, request.session_epoch);
        if matches!(epoch, FIRST_EPOCH | LAST_EPOCH) {
            sessions.remove(&session);
            let id = if epoch == FIRST_EPOCH { new_id(&mut sessions) } else { NO_SESSION };
            let named = |topic| move |partition| Wanted::new(topic, partition);
            let wanted = request.topics.iter().flat_map(|topic| topic.partitions.iter().map(named(topic)));
            return Ok(Plan { session: id, epoch: 1, only_news: false, wanted: wanted.collect() });
        }
        let known = sessions.get(&session).ok_or(ResponseError::FetchSessionIdNotFound)?;
        if known.epoch != epoch {
            return Err(ResponseError::InvalidFetchSessionEpoch);
        }
        let mut wanted = sessions.remove(&session).map(|known| known.wanted).unwrap_or_default();
        forget(&mut wanted, &request.forgotten_topics_data);
        for topic in &request.topics {
            for partition in &topic.partitions {
                let new = Wanted::new(topic, partition);
                match wanted.iter_mut().find(|old| old.is(&new.name, &new.id, new.partition)) {
                    Some(old) => *old = Wanted { told: old.told, ..new },
                    None => wanted.push(new),
                }
            }
        }
        Ok(Plan { session, epoch: epoch.checked_add(1).unwrap_or(1), only_news: true, wanted })
    }

    /// Keeps the session of `plan` for its client's next request.
    pub(super) fn finish(&self, plan: Plan) {
        if plan.session != NO_SESSION {
            let session = Session { epoch: plan.epoch, used_at: Instant::now(), wanted: plan.wanted };
            self.0.lock().insert(plan.session, session);
        }
    }
}

fn forget(wanted: &mut Vec<Wanted>, forgotten: &[ForgottenTopic]) {
    for topic in forgotten {
        for partition in &topic.partitions {
            wanted.retain(|old| !old.is(&topic.topic, &topic.topic_id, *partition));
        }
    }
}

/// An id for a new session, or 0 when there is no room.
fn new_id(sessions: &mut HashMap<i32, Session>) -> i32 {
    if sessions.len() >= MAX_SESSIONS {
        let oldest = sessions.iter().min_by_key(|(_, session)| session.used_at);
        match oldest.filter(|(_, session)| session.used_at.elapsed() > EVICT_AFTER).map(|(id, _)| *id) {
            Some(oldest) => drop(sessions.remove(&oldest)),
            None => return NO_SESSION,
        }
    }
    // Not a count: a client from before a restart must not meet somebody else's session.
    loop {
        let id = (Uuid::new_v4().as_u128() as i32) & i32::MAX;
        if id != NO_SESSION && !sessions.contains_key(&id) {
            return id;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(session: i32, epoch: i32, partitions: &[(i32, i64)]) -> FetchRequest {
        let partitions = partitions
            .iter()
            .map(|(index, offset)| FetchPartition::default().with_partition(*index).with_fetch_offset(*offset));
        let topic = FetchTopic::default().with_partitions(partitions.collect());
        FetchRequest::default().with_session_id(session).with_session_epoch(epoch).with_topics(vec![topic])
    }

    fn offsets(plan: &Plan) -> Vec<(i32, i64)> {
        plan.wanted.iter().map(|wanted| (wanted.partition, wanted.offset)).collect()
    }

    #[test]
    fn a_session_remembers_what_is_not_named_again_and_forgets_what_it_is_told_to() {
        let sessions = Sessions::default();
        let plan = sessions.begin(&request(0, 0, &[(0, 5), (1, 7)])).unwrap();
        let id = plan.session;
        assert!(id > 0 && !plan.only_news);
        sessions.finish(plan);
        let forget = ForgottenTopic::default().with_partitions(vec![0]);
        let plan = sessions.begin(&request(id, 1, &[(1, 9)]).with_forgotten_topics_data(vec![forget])).unwrap();
        assert_eq!(offsets(&plan), [(1, 9)]);
        sessions.finish(plan);
        assert_eq!(offsets(&sessions.begin(&request(id, 2, &[])).unwrap()), [(1, 9)]);
    }

    #[test]
    fn a_wrong_epoch_and_an_unknown_session_are_refused_and_a_session_can_be_closed() {
        let sessions = Sessions::default();
        let plan = sessions.begin(&request(0, 0, &[(0, 5)])).unwrap();
        let id = plan.session;
        sessions.finish(plan);
        let refused = |id, epoch| sessions.begin(&request(id, epoch, &[])).map(|_| ()).unwrap_err();
        assert_eq!(refused(id, 5), ResponseError::InvalidFetchSessionEpoch);
        assert_eq!(refused(id + 1, 1), ResponseError::FetchSessionIdNotFound);
        assert_eq!(sessions.begin(&request(id, -1, &[])).unwrap().session, 0);
        assert_eq!(refused(id, 1), ResponseError::FetchSessionIdNotFound);
    }
}
