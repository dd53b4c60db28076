//! Requests and responses: which are offered, and the handler of each.
//!
//! In: the bytes of one request. Out: the bytes of its response, or nothing where the protocol has none.
//! Knows nothing of sockets and files. Start at [`handle_request`]; each family of requests has a file, with a
//! handler under the protocol's name.

use turnstile_values::{BoxError, caused};

mod admin;
mod cluster;
mod configs;
mod context;
mod fetch;
mod groups;
mod guard;
mod offsets;
mod produce;
#[cfg(test)]
mod tests;

use bytes::{Buf as _, Bytes, BytesMut};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::*;
use kafka_protocol::protocol::{Decodable, Encodable, Request};

use crate::state::BrokerState;
pub(crate) use context::ClientInformation;
use context::{RequestContext, encode};

/// The APIs that are offered, and up to which version. The lowest version is the lowest that the message library
/// knows: that of Kafka 4.
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
    // Only so that a client of the newer group protocol gets an error: without it librdkafka waits for ever.
    (ApiKey::ConsumerGroupHeartbeat, 1),
];

/// What to do after a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ResponseAction {
    /// Send the response in the output.
    Send,
    /// The client expects no response.
    NoOp,
}

/// Writes the response to `request` into `out`. The error says why the connection has to be closed: the protocol
/// has no response to a request that cannot be read.
pub(crate) fn handle_request(
    broker: &BrokerState,
    client: &mut ClientInformation,
    request: Bytes,
    out: &mut BytesMut,
) -> Result<ResponseAction, BoxError> {
    let mut head = request.clone();
    let (number, version) = (head.try_get_i16(), head.try_get_i16());
    let (Ok(number), Ok(version), Ok(correlation)) = (number, version, head.try_get_i32()) else {
        return Err("a request without a header".into());
    };
    let Ok(key) = ApiKey::try_from(number) else { return Err(format!("request {number} is unknown").into()) };
    let highest = OFFERED.iter().find(|(offered, _)| *offered == key).map(|(_, highest)| *highest);
    let lowest = key.valid_versions().min;
    if highest.is_none_or(|highest| version > highest || version < lowest) {
        if key == ApiKey::ApiVersions {
            // A newer client: version 0 of the response is the one that every client can read.
            let unsupported = api_versions().with_error_code(ResponseError::UnsupportedVersion.code());
            return send(&unsupported, correlation, 0, 0, out);
        }
        return Err(format!("{key:?} version {version} is not supported (client '{}')", client.client_id).into());
    }
    let mut body = request;
    // The header holds no arrays, so its lengths need no guard.
    let header = RequestHeader::decode(&mut body, key.request_header_version(version))
        .map_err(|error| caused(format!("{key:?} version {version}: cannot read the header"), error))?;
    if let Some(client_id) = header.client_id.filter(|client_id| **client_id != *client.client_id) {
        client.client_id = client_id.to_string();
    }
    let context = RequestContext { broker, client, version };
    dispatch(&context, key, correlation, body, out).map_err(|error| caused(format!("{key:?} version {version}"), error))
}

fn dispatch(
    c: &RequestContext,
    key: ApiKey,
    correlation: i32,
    body: Bytes,
    out: &mut BytesMut,
) -> Result<ResponseAction, BoxError> {
    macro_rules! respond {
        ($request:ty, $handler:expr) => {{
            let request = guard::decode::<$request>(body, c.version)?;
            let response: <$request as Request>::Response = $handler(c, request);
            send(&response, correlation, key.response_header_version(c.version), c.version, out)
        }};
    }
    match key {
        ApiKey::ApiVersions => respond!(ApiVersionsRequest, |_: &RequestContext, _| api_versions()),
        ApiKey::Produce => {
            let request: ProduceRequest = guard::decode(body, c.version)?;
            match produce::produce(c, request)? {
                Some(response) => send(&response, correlation, key.response_header_version(c.version), c.version, out),
                None => Ok(ResponseAction::NoOp),
            }
        }
        ApiKey::Fetch => {
            let request: FetchRequest = guard::decode(body, c.version)?;
            encode(
                &ResponseHeader::default().with_correlation_id(correlation),
                key.response_header_version(c.version),
                out,
            )?;
            fetch::fetch(c, request, out)?;
            Ok(ResponseAction::Send)
        }
        ApiKey::Metadata => respond!(MetadataRequest, cluster::metadata),
        ApiKey::DescribeCluster => respond!(DescribeClusterRequest, cluster::describe_cluster),
        ApiKey::FindCoordinator => respond!(FindCoordinatorRequest, cluster::find_coordinator),
        ApiKey::InitProducerId => respond!(InitProducerIdRequest, produce::init_producer_id),
        ApiKey::CreateTopics => respond!(CreateTopicsRequest, admin::create_topics),
        ApiKey::DeleteTopics => respond!(DeleteTopicsRequest, admin::delete_topics),
        ApiKey::CreatePartitions => respond!(CreatePartitionsRequest, admin::create_partitions),
        ApiKey::DeleteRecords => respond!(DeleteRecordsRequest, admin::delete_records),
        ApiKey::DescribeConfigs => respond!(DescribeConfigsRequest, configs::describe_configs),
        ApiKey::AlterConfigs => respond!(AlterConfigsRequest, configs::alter_configs),
        ApiKey::IncrementalAlterConfigs => respond!(IncrementalAlterConfigsRequest, configs::incremental_alter_configs),
        ApiKey::ListOffsets => respond!(ListOffsetsRequest, offsets::list_offsets),
        ApiKey::OffsetForLeaderEpoch => respond!(OffsetForLeaderEpochRequest, offsets::offset_for_leader_epoch),
        ApiKey::JoinGroup => respond!(JoinGroupRequest, groups::join_group),
        ApiKey::SyncGroup => respond!(SyncGroupRequest, groups::sync_group),
        ApiKey::Heartbeat => respond!(HeartbeatRequest, groups::heartbeat),
        ApiKey::LeaveGroup => respond!(LeaveGroupRequest, groups::leave_group),
        ApiKey::ListGroups => respond!(ListGroupsRequest, groups::list_groups),
        ApiKey::DescribeGroups => respond!(DescribeGroupsRequest, groups::describe_groups),
        ApiKey::DeleteGroups => respond!(DeleteGroupsRequest, groups::delete_groups),
        ApiKey::OffsetCommit => respond!(OffsetCommitRequest, offsets::offset_commit),
        ApiKey::OffsetFetch => respond!(OffsetFetchRequest, offsets::offset_fetch),
        ApiKey::OffsetDelete => respond!(OffsetDeleteRequest, offsets::offset_delete),
        ApiKey::SaslHandshake => respond!(SaslHandshakeRequest, |_: &RequestContext, _| {
            SaslHandshakeResponse::default().with_error_code(ResponseError::IllegalSaslState.code())
        }),
        ApiKey::ConsumerGroupHeartbeat => respond!(ConsumerGroupHeartbeatRequest, groups::consumer_group_heartbeat),
        _ => Err("not offered".into()),
    }
}

/// What a client may request, and in which versions.
fn api_versions() -> ApiVersionsResponse {
    let keys = OFFERED.iter().map(|(key, highest)| {
        // librdkafka assumes that a broker without Produce 0 cannot decompress. Kafka 4 says 0 too, and like
        // this broker accepts 3 and later.
        let lowest = if *key == ApiKey::Produce { 0 } else { key.valid_versions().min };
        ApiVersion::default().with_api_key(*key as i16).with_min_version(lowest).with_max_version(*highest)
    });
    ApiVersionsResponse::default().with_api_keys(keys.collect())
}

fn send(
    response: &impl Encodable,
    correlation: i32,
    header_version: i16,
    version: i16,
    out: &mut BytesMut,
) -> Result<ResponseAction, BoxError> {
    encode(&ResponseHeader::default().with_correlation_id(correlation), header_version, out)?;
    encode(response, version, out)?;
    Ok(ResponseAction::Send)
}
