//! Fetch sessions (KIP-227): the broker keeps what a client fetches, so that requests name only what changed
//! and responses hold only what is new.
//!
//! In: fetch requests. Out: the partitions that each fetches. Knows nothing of logs. Start at
//! [`FetchSessionCache::begin`].

use std::collections::HashMap;
use std::time::{Duration, Instant};

use kafka_protocol::ResponseError;
use kafka_protocol::messages::TopicName;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchRequest, FetchTopic, ForgottenTopic};
use parking_lot::Mutex;
use uuid::Uuid;

/// Sessions kept; a client without one names all partitions each time.
const MAX_SESSIONS: usize = 1000;
/// A full cache evicts a session that was idle for so long to make room for a new one.
const EVICT_AFTER: Duration = Duration::from_secs(120);
/// No session yet, or none requested.
const NO_SESSION: i32 = 0;
const FIRST_EPOCH: i32 = 0;
const LAST_EPOCH: i32 = -1;

/// One partition that a client fetches.
#[derive(Debug, Clone)]
pub(crate) struct CachedPartition {
    pub(crate) name: TopicName,
    pub(crate) id: Uuid,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) max_bytes: usize,
    pub(crate) leader_epoch: i32,
    /// End and start offset that the client was sent last; `None` before the first response.
    pub(crate) last_sent: Option<(i64, i64)>,
}

impl CachedPartition {
    fn new(topic: &FetchTopic, partition: &FetchPartition) -> Self {
        Self {
            name: topic.topic.clone(),
            id: topic.topic_id,
            partition: partition.partition,
            offset: partition.fetch_offset,
            max_bytes: usize::try_from(partition.partition_max_bytes).unwrap_or(0),
            leader_epoch: partition.current_leader_epoch,
            last_sent: None,
        }
    }

    fn matches(&self, name: &TopicName, id: &Uuid, partition: i32) -> bool {
        self.partition == partition && self.id == *id && self.name == *name
    }
}

/// What one request fetches.
#[derive(Debug)]
pub(crate) struct FetchContext {
    /// 0 when there is no session.
    pub(crate) session: i32,
    epoch: i32,
    /// Whether partitions without changes are left out of the response.
    pub(crate) incremental: bool,
    pub(crate) partitions: Vec<CachedPartition>,
}

#[derive(Debug, Default)]
pub(crate) struct FetchSessionCache(Mutex<HashMap<i32, FetchSession>>);

#[derive(Debug)]
struct FetchSession {
    /// Of the next request.
    epoch: i32,
    used_at: Instant,
    partitions: Vec<CachedPartition>,
}

impl FetchSessionCache {
    /// What `request` fetches. A session is taken out until [`FetchSessionCache::finish`]: its client has one
    /// request under way at a time.
    pub(crate) fn begin(&self, request: &FetchRequest) -> Result<FetchContext, ResponseError> {
        let mut sessions = self.0.lock();
        let (session, epoch) = (request.session_id, request.session_epoch);
        if matches!(epoch, FIRST_EPOCH | LAST_EPOCH) {
            sessions.remove(&session);
            let id = if epoch == FIRST_EPOCH { new_id(&mut sessions) } else { NO_SESSION };
            let named = |topic| move |partition| CachedPartition::new(topic, partition);
            let partitions = request.topics.iter().flat_map(|topic| topic.partitions.iter().map(named(topic)));
            return Ok(FetchContext { session: id, epoch: 1, incremental: false, partitions: partitions.collect() });
        }
        let known = sessions.get(&session).ok_or(ResponseError::FetchSessionIdNotFound)?;
        if known.epoch != epoch {
            return Err(ResponseError::InvalidFetchSessionEpoch);
        }
        let mut partitions = sessions.remove(&session).map(|known| known.partitions).unwrap_or_default();
        forget(&mut partitions, &request.forgotten_topics_data);
        for topic in &request.topics {
            for partition in &topic.partitions {
                let new = CachedPartition::new(topic, partition);
                match partitions.iter_mut().find(|old| old.matches(&new.name, &new.id, new.partition)) {
                    Some(old) => *old = CachedPartition { last_sent: old.last_sent, ..new },
                    None => partitions.push(new),
                }
            }
        }
        Ok(FetchContext { session, epoch: epoch.checked_add(1).unwrap_or(1), incremental: true, partitions })
    }

    /// Keeps the session of `context` for its client's next request.
    pub(crate) fn finish(&self, context: FetchContext) {
        if context.session != NO_SESSION {
            let session =
                FetchSession { epoch: context.epoch, used_at: Instant::now(), partitions: context.partitions };
            self.0.lock().insert(context.session, session);
        }
    }
}

fn forget(partitions: &mut Vec<CachedPartition>, forgotten: &[ForgottenTopic]) {
    for topic in forgotten {
        for partition in &topic.partitions {
            partitions.retain(|old| !old.matches(&topic.topic, &topic.topic_id, *partition));
        }
    }
}

/// An id for a new session, or 0 when the cache is full.
fn new_id(sessions: &mut HashMap<i32, FetchSession>) -> i32 {
    if sessions.len() >= MAX_SESSIONS {
        let oldest = sessions.iter().min_by_key(|(_, session)| session.used_at);
        match oldest.filter(|(_, session)| session.used_at.elapsed() > EVICT_AFTER).map(|(id, _)| *id) {
            Some(oldest) => drop(sessions.remove(&oldest)),
            None => return NO_SESSION,
        }
    }
    // Random: a client from before a restart must not get the session of another.
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

    fn offsets(context: &FetchContext) -> Vec<(i32, i64)> {
        context.partitions.iter().map(|cached| (cached.partition, cached.offset)).collect()
    }

    #[test]
    fn a_session_keeps_partitions_that_are_not_named_again_and_removes_forgotten_ones() {
        let sessions = FetchSessionCache::default();
        let context = sessions.begin(&request(0, 0, &[(0, 5), (1, 7)])).unwrap();
        let id = context.session;
        assert!(id > 0 && !context.incremental);
        sessions.finish(context);
        let forget = ForgottenTopic::default().with_partitions(vec![0]);
        let context = sessions.begin(&request(id, 1, &[(1, 9)]).with_forgotten_topics_data(vec![forget])).unwrap();
        assert_eq!(offsets(&context), [(1, 9)]);
        sessions.finish(context);
        assert_eq!(offsets(&sessions.begin(&request(id, 2, &[])).unwrap()), [(1, 9)]);
    }

    #[test]
    fn a_wrong_epoch_and_an_unknown_session_are_refused_and_a_session_can_be_closed() {
        let sessions = FetchSessionCache::default();
        let context = sessions.begin(&request(0, 0, &[(0, 5)])).unwrap();
        let id = context.session;
        sessions.finish(context);
        let refused = |id, epoch| sessions.begin(&request(id, epoch, &[])).map(|_| ()).unwrap_err();
        assert_eq!(refused(id, 5), ResponseError::InvalidFetchSessionEpoch);
        assert_eq!(refused(id + 1, 1), ResponseError::FetchSessionIdNotFound);
        assert_eq!(sessions.begin(&request(id, -1, &[])).unwrap().session, 0);
        assert_eq!(refused(id, 1), ResponseError::FetchSessionIdNotFound);
    }
}
