//! Offsets by time, by leader epoch, and as groups committed them.

use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
use kafka_protocol::messages::offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic};
use kafka_protocol::messages::offset_delete_response::{OffsetDeleteResponsePartition, OffsetDeleteResponseTopic};
use kafka_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions, OffsetFetchResponseTopic,
    OffsetFetchResponseTopics,
};
use kafka_protocol::messages::offset_for_leader_epoch_response::{EpochEndOffset, OffsetForLeaderTopicResult};
use kafka_protocol::messages::*;

use super::context::{RequestContext, check_epoch, error_code, text, topic_name};
use crate::group::{CommittedOffsets, OffsetAndMetadata};
use crate::log::LEADER_EPOCH;
use crate::partition::Partition;

// Special timestamps of ListOffsets.
const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;
const LATEST_TIERED: i64 = -5;

/// As Apache Kafka's `offset.metadata.max.bytes`.
const MAX_METADATA_BYTES: usize = 4096;

fn partition(c: &RequestContext, topic: &str, index: i32) -> Result<Arc<Partition>, ResponseError> {
    let topic = c.broker.topics.get(topic).ok_or(ResponseError::UnknownTopicOrPartition)?;
    topic.partition(index).ok_or(ResponseError::UnknownTopicOrPartition)
}

pub(super) fn list_offsets(c: &RequestContext, request: ListOffsetsRequest) -> ListOffsetsResponse {
    let topics = request.topics.into_iter().map(|wanted| {
        let partitions = wanted.partitions.iter().map(|asked| {
            let response = ListOffsetsPartitionResponse::default().with_partition_index(asked.partition_index);
            let found = check_epoch(asked.current_leader_epoch)
                .and_then(|()| find(c, &wanted.name, asked.partition_index, asked.timestamp));
            match found {
                Ok(Some((offset, timestamp))) => {
                    let epoch = if c.version >= 4 { LEADER_EPOCH } else { -1 };
                    response.with_offset(offset).with_timestamp(timestamp).with_leader_epoch(epoch)
                }
                Ok(None) => response,
                Err(code) => response.with_error_code(code.code()),
            }
        });
        ListOffsetsTopicResponse::default().with_partitions(partitions.collect()).with_name(wanted.name.clone())
    });
    ListOffsetsResponse::default().with_topics(topics.collect())
}

/// Offset and timestamp; the timestamp is -1 where the question was not about time.
fn find(c: &RequestContext, topic: &str, index: i32, time: i64) -> Result<Option<(i64, i64)>, ResponseError> {
    let partition = partition(c, topic, index)?;
    let log = partition.log()?;
    match time {
        LATEST => Ok(Some((log.end(), -1))),
        EARLIEST | EARLIEST_LOCAL => Ok(Some((log.start(), -1))),
        MAX_TIMESTAMP => log.find_latest_time(),
        LATEST_TIERED => Ok(None),
        time if time >= 0 => log.find_time(time),
        _ => Err(ResponseError::InvalidRequest),
    }
}

pub(super) fn offset_for_leader_epoch(
    c: &RequestContext,
    request: OffsetForLeaderEpochRequest,
) -> OffsetForLeaderEpochResponse {
    let topics = request.topics.into_iter().map(|wanted| {
        let partitions = wanted.partitions.iter().map(|asked| {
            let response = EpochEndOffset::default().with_partition(asked.partition);
            let end = check_epoch(asked.current_leader_epoch)
                .and_then(|()| partition(c, &wanted.topic, asked.partition)?.log().map(|log| log.end()));
            match end {
                Ok(end) if asked.leader_epoch == LEADER_EPOCH => {
                    response.with_leader_epoch(LEADER_EPOCH).with_end_offset(end)
                }
                // There was never such an epoch.
                Ok(_) => response,
                Err(code) => response.with_error_code(code.code()),
            }
        });
        OffsetForLeaderTopicResult::default().with_partitions(partitions.collect()).with_topic(wanted.topic.clone())
    });
    OffsetForLeaderEpochResponse::default().with_topics(topics.collect())
}

pub(super) fn offset_commit(c: &RequestContext, request: OffsetCommitRequest) -> OffsetCommitResponse {
    let mut commits = Vec::new();
    // The errors of single partitions; an error of the group replaces all of them.
    let mut codes = Vec::new();
    for topic in &request.topics {
        for asked in &topic.partitions {
            let metadata = asked.committed_metadata.as_deref().unwrap_or_default();
            let outcome = match partition(c, &topic.name, asked.partition_index) {
                Ok(_) if metadata.len() > MAX_METADATA_BYTES => Err(ResponseError::OffsetMetadataTooLarge),
                outcome => outcome.map(|_| ()),
            };
            if outcome.is_ok() {
                let (offset, leader_epoch) = (asked.committed_offset, asked.committed_leader_epoch);
                let committed = OffsetAndMetadata { offset, leader_epoch, metadata: metadata.to_owned() };
                commits.push(((Arc::from(&**topic.name), asked.partition_index), committed));
            }
            codes.push(error_code(&outcome));
        }
    }
    let (member, generation) = (&request.member_id, request.generation_id_or_member_epoch);
    let outcome = c.broker.groups.commit(
        &request.group_id,
        |members, now| {
            members.check_instance(member, request.group_instance_id.as_deref())?;
            members.check_offset_commit(member, generation, now)
        },
        commits,
    );
    let mut codes = codes.into_iter();
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|asked| {
            let own = codes.next().unwrap_or_default();
            OffsetCommitResponsePartition::default()
                .with_partition_index(asked.partition_index)
                .with_error_code(outcome.map_or_else(|code| code.code(), |()| own))
        });
        OffsetCommitResponseTopic::default().with_partitions(partitions.collect()).with_name(topic.name.clone())
    });
    OffsetCommitResponse::default().with_topics(topics.collect())
}

pub(super) fn offset_fetch(c: &RequestContext, request: OffsetFetchRequest) -> OffsetFetchResponse {
    if c.version < 8 {
        let topics = request.topics.map(|topics| topics.into_iter().map(|t| (t.name, t.partition_indexes)).collect());
        let topics = committed(c, &request.group_id, topics).into_iter().map(|(name, partitions)| {
            let partitions = partitions.into_iter().map(|(index, committed)| {
                OffsetFetchResponsePartition::default()
                    .with_partition_index(index)
                    .with_committed_offset(committed.offset)
                    .with_committed_leader_epoch(committed.leader_epoch)
                    .with_metadata(Some(text(&committed.metadata)))
            });
            OffsetFetchResponseTopic::default().with_name(name).with_partitions(partitions.collect())
        });
        return OffsetFetchResponse::default().with_topics(topics.collect());
    }
    let groups = request.groups.into_iter().map(|group| {
        let topics = group.topics.map(|topics| topics.into_iter().map(|t| (t.name, t.partition_indexes)).collect());
        let topics = committed(c, &group.group_id, topics).into_iter().map(|(name, partitions)| {
            let partitions = partitions.into_iter().map(|(index, committed)| {
                OffsetFetchResponsePartitions::default()
                    .with_partition_index(index)
                    .with_committed_offset(committed.offset)
                    .with_committed_leader_epoch(committed.leader_epoch)
                    .with_metadata(Some(text(&committed.metadata)))
            });
            OffsetFetchResponseTopics::default().with_name(name).with_partitions(partitions.collect())
        });
        OffsetFetchResponseGroup::default().with_topics(topics.collect()).with_group_id(group.group_id)
    });
    OffsetFetchResponse::default().with_groups(groups.collect())
}

/// What `group` committed for `wanted`, or for all partitions; offset -1 where it committed nothing.
fn committed(
    c: &RequestContext,
    group: &str,
    wanted: Option<Vec<(TopicName, Vec<i32>)>>,
) -> Vec<(TopicName, Vec<(i32, OffsetAndMetadata)>)> {
    let found = c.broker.groups.get(group);
    let offsets = found.map(|group| group.lock().offsets.clone()).unwrap_or_default();
    let nothing = || OffsetAndMetadata { offset: -1, leader_epoch: -1, metadata: String::new() };
    match wanted {
        Some(wanted) => wanted
            .into_iter()
            .map(|(name, partitions)| {
                let of = |index| (index, offsets.get(&name, index).cloned().unwrap_or_else(nothing));
                let partitions = partitions.into_iter().map(of).collect();
                (name, partitions)
            })
            .collect(),
        None => by_topic(&offsets),
    }
}

fn by_topic(offsets: &CommittedOffsets) -> Vec<(TopicName, Vec<(i32, OffsetAndMetadata)>)> {
    let mut out: Vec<(TopicName, Vec<(i32, OffsetAndMetadata)>)> = Vec::new();
    for (topic, index, committed) in offsets.iter() {
        match out.last_mut().filter(|(name, _)| ***name == **topic) {
            Some((_, partitions)) => partitions.push((index, committed.clone())),
            None => out.push((topic_name(topic), vec![(index, committed.clone())])),
        }
    }
    out
}

pub(super) fn offset_delete(c: &RequestContext, request: OffsetDeleteRequest) -> OffsetDeleteResponse {
    let wanted: Vec<_> = request
        .topics
        .iter()
        .flat_map(|topic| topic.partitions.iter().map(|partition| (&**topic.name, partition.partition_index)))
        .collect();
    let outcome = c.broker.groups.remove_offsets(&request.group_id, &wanted);
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic
            .partitions
            .iter()
            .map(|partition| OffsetDeleteResponsePartition::default().with_partition_index(partition.partition_index));
        OffsetDeleteResponseTopic::default().with_name(topic.name.clone()).with_partitions(partitions.collect())
    });
    OffsetDeleteResponse::default().with_error_code(error_code(&outcome)).with_topics(topics.collect())
}
