//! Requests and their answers: which are offered, and who answers each.
//!
//! In: the bytes of one request. Out: the bytes of its answer, or nothing where the protocol has none.
//! Start at [`answer`]; each family of requests has a file.

mod admin;
mod cluster;
mod configs;
mod fetch;
mod groups;
mod guard;
mod offsets;
mod produce;
mod sessions;
#[cfg(test)]
mod tests;

use std::net::{SocketAddr, TcpStream};

use bytes::{Buf as _, Bytes, BytesMut};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::*;
use kafka_protocol::protocol::{Decodable, Encodable, Request, StrBytes};

use crate::broker::Node;
use crate::log::LEADER_EPOCH;
pub(crate) use sessions::Sessions;

/// The id of the only broker.
const NODE_ID: BrokerId = BrokerId(1);
const GROUP_COORDINATOR: i8 = 0;

/// What is offered, and up to which version. The lowest is the lowest that the message library knows:
/// the one that Kafka 4 begins with.
const OFFERED: [(ApiKey, i16); 28] = [
    (ApiKey::Produce, 13),
    (ApiKey::Fetch, 17),
    (ApiKey::ListOffsets, 9),
    (ApiKey::Metadata, 13),
    (ApiKey::OffsetCommit, 9),
    (ApiKey::OffsetFetch, 9),
    (ApiKey::FindCoordinator, 5),
    (ApiKey::JoinGroup, 9),
    (ApiKey::Heartbeat, 4),
    (ApiKey::LeaveGroup, 5),
    (ApiKey::SyncGroup, 5),
    (ApiKey::DescribeGroups, 6),
    (ApiKey::ListGroups, 5),
    (ApiKey::SaslHandshake, 1),
    (ApiKey::ApiVersions, 4),
    (ApiKey::CreateTopics, 7),
    (ApiKey::DeleteTopics, 6),
    (ApiKey::DeleteRecords, 2),
    (ApiKey::InitProducerId, 5),
    (ApiKey::OffsetForLeaderEpoch, 4),
    (ApiKey::DescribeConfigs, 4),
    (ApiKey::AlterConfigs, 2),
    (ApiKey::IncrementalAlterConfigs, 1),
    (ApiKey::CreatePartitions, 3),
    (ApiKey::DeleteGroups, 2),
    (ApiKey::OffsetDelete, 0),
    (ApiKey::DescribeCluster, 2),
    // Only so that a client of the newer group protocol is told: unasked, librdkafka waits for ever.
    (ApiKey::ConsumerGroupHeartbeat, 1),
];

/// Who asks.
#[derive(Debug)]
pub(crate) struct Caller {
    pub(crate) peer: SocketAddr,
    /// The address by which the client reached the broker, and so the one to tell it.
    address: SocketAddr,
    client_id: String,
}

impl Caller {
    pub(crate) fn of(stream: &TcpStream) -> std::io::Result<Self> {
        Ok(Self { peer: stream.peer_addr()?, address: stream.local_addr()?, client_id: String::new() })
    }

    fn host(&self) -> StrBytes {
        StrBytes::from_string(self.address.ip().to_string())
    }

    fn port(&self) -> i32 {
        i32::from(self.address.port())
    }
}

/// What became of a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The answer stands in the output.
    Send,
    /// The client expects none.
    Nothing,
}

/// A request being answered.
struct Context<'a> {
    node: &'a Node,
    caller: &'a Caller,
    version: i16,
}

/// Answers `request` into `out`. The error says why the connection has to be closed: the protocol has no
/// answer to a request that cannot be read.
pub(crate) fn answer(node: &Node, caller: &mut Caller, request: Bytes, out: &mut BytesMut) -> Result<Answer, String> {
    let mut head = request.clone();
    let (number, version) = (head.try_get_i16(), head.try_get_i16());
    let (Ok(number), Ok(version), Ok(correlation)) = (number, version, head.try_get_i32()) else {
        return Err("a request without a header".into());
    };
    let Ok(key) = ApiKey::try_from(number) else { return Err(format!("request {number} is unknown")) };
    let highest = OFFERED.iter().find(|(offered, _)| *offered == key).map(|(_, highest)| *highest);
    let lowest = key.valid_versions().min;
    if highest.is_none_or(|highest| version > highest || version < lowest) {
        if key == ApiKey::ApiVersions {
            // A newer client: answered in the oldest form, which it reads whatever its version.
            let refused = api_versions().with_error_code(ResponseError::UnsupportedVersion.code());
            return send(&refused, correlation, 0, 0, out);
        }
        return Err(format!("{key:?} version {version} is not offered (client '{}')", caller.client_id));
    }
    let mut body = request;
    // The header holds no arrays, so its lengths need no guard.
    let header = RequestHeader::decode(&mut body, key.request_header_version(version))
        .map_err(|error| format!("{key:?} version {version}: cannot read the header: {error}"))?;
    if let Some(client_id) = header.client_id.filter(|client_id| **client_id != *caller.client_id) {
        caller.client_id = client_id.to_string();
    }
    let context = Context { node, caller, version };
    dispatch(&context, key, correlation, body, out).map_err(|error| format!("{key:?} version {version}: {error}"))
}

fn dispatch(c: &Context, key: ApiKey, correlation: i32, body: Bytes, out: &mut BytesMut) -> Result<Answer, String> {
    macro_rules! reply {
        ($request:ty, $answer:expr) => {{
            let request = guard::decode::<$request>(body, c.version)?;
            let response: <$request as Request>::Response = $answer(c, request);
            send(&response, correlation, key.response_header_version(c.version), c.version, out)
        }};
    }
    match key {
        ApiKey::ApiVersions => reply!(ApiVersionsRequest, |_: &Context, _| api_versions()),
        ApiKey::Produce => {
            let request: ProduceRequest = guard::decode(body, c.version)?;
            match produce::produce(c, request)? {
                Some(response) => send(&response, correlation, key.response_header_version(c.version), c.version, out),
                None => Ok(Answer::Nothing),
            }
        }
        ApiKey::Fetch => {
            let request: FetchRequest = guard::decode(body, c.version)?;
            put(
                &ResponseHeader::default().with_correlation_id(correlation),
                key.response_header_version(c.version),
                out,
            )?;
            fetch::fetch(c, request, out)?;
            Ok(Answer::Send)
        }
        ApiKey::Metadata => reply!(MetadataRequest, cluster::metadata),
        ApiKey::DescribeCluster => reply!(DescribeClusterRequest, cluster::describe),
        ApiKey::FindCoordinator => reply!(FindCoordinatorRequest, cluster::find_coordinator),
        ApiKey::InitProducerId => reply!(InitProducerIdRequest, produce::init_producer_id),
        ApiKey::CreateTopics => reply!(CreateTopicsRequest, admin::create_topics),
        ApiKey::DeleteTopics => reply!(DeleteTopicsRequest, admin::delete_topics),
        ApiKey::CreatePartitions => reply!(CreatePartitionsRequest, admin::create_partitions),
        ApiKey::DeleteRecords => reply!(DeleteRecordsRequest, admin::delete_records),
        ApiKey::DescribeConfigs => reply!(DescribeConfigsRequest, configs::describe),
        ApiKey::AlterConfigs => reply!(AlterConfigsRequest, configs::replace),
        ApiKey::IncrementalAlterConfigs => reply!(IncrementalAlterConfigsRequest, configs::change),
        ApiKey::ListOffsets => reply!(ListOffsetsRequest, offsets::list),
        ApiKey::OffsetForLeaderEpoch => reply!(OffsetForLeaderEpochRequest, offsets::end_of_epoch),
        ApiKey::JoinGroup => reply!(JoinGroupRequest, groups::join),
        ApiKey::SyncGroup => reply!(SyncGroupRequest, groups::sync),
        ApiKey::Heartbeat => reply!(HeartbeatRequest, groups::heartbeat),
        ApiKey::LeaveGroup => reply!(LeaveGroupRequest, groups::leave),
        ApiKey::ListGroups => reply!(ListGroupsRequest, groups::list),
        ApiKey::DescribeGroups => reply!(DescribeGroupsRequest, groups::describe),
        ApiKey::DeleteGroups => reply!(DeleteGroupsRequest, groups::delete),
        ApiKey::OffsetCommit => reply!(OffsetCommitRequest, offsets::commit),
        ApiKey::OffsetFetch => reply!(OffsetFetchRequest, offsets::fetch_committed),
        ApiKey::OffsetDelete => reply!(OffsetDeleteRequest, offsets::delete_committed),
        ApiKey::SaslHandshake => reply!(SaslHandshakeRequest, |_: &Context, _| {
            SaslHandshakeResponse::default().with_error_code(ResponseError::IllegalSaslState.code())
        }),
        ApiKey::ConsumerGroupHeartbeat => reply!(ConsumerGroupHeartbeatRequest, groups::refuse_newer_protocol),
        _ => Err("not offered".into()),
    }
}

/// What a client may ask, and in which versions.
fn api_versions() -> ApiVersionsResponse {
    let keys = OFFERED.iter().map(|(key, highest)| {
        // librdkafka takes a broker without Produce 0 for one that cannot compress. Kafka 4 says 0 too,
        // and like it this broker takes 3 and later.
        let lowest = if *key == ApiKey::Produce { 0 } else { key.valid_versions().min };
        ApiVersion::default().with_api_key(*key as i16).with_min_version(lowest).with_max_version(*highest)
    });
    ApiVersionsResponse::default().with_api_keys(keys.collect())
}

fn put(message: &impl Encodable, version: i16, out: &mut BytesMut) -> Result<(), String> {
    message.encode(out, version).map_err(|error| format!("cannot write the answer: {error}"))
}

fn send(
    response: &impl Encodable,
    correlation: i32,
    header_version: i16,
    version: i16,
    out: &mut BytesMut,
) -> Result<Answer, String> {
    put(&ResponseHeader::default().with_correlation_id(correlation), header_version, out)?;
    put(response, version, out)?;
    Ok(Answer::Send)
}

/// The code of an outcome: 0 when it went well.
fn code<T>(outcome: &Result<T, ResponseError>) -> i16 {
    outcome.as_ref().map_or_else(ResponseError::code, |_| 0)
}

fn text(from: &str) -> StrBytes {
    StrBytes::from_string(from.to_owned())
}

fn topic_name(from: &str) -> TopicName {
    TopicName(text(from))
}

/// Whether a client's idea of the partition's leader epoch is this broker's; -1 asks for no check.
fn check_epoch(epoch: i32) -> Result<(), ResponseError> {
    match epoch {
        -1 | LEADER_EPOCH => Ok(()),
        newer if newer > LEADER_EPOCH => Err(ResponseError::UnknownLeaderEpoch),
        _ => Err(ResponseError::FencedLeaderEpoch),
    }
}
