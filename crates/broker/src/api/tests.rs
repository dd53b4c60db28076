//! The protocol as bytes: requests and responses through the message library's client side.

use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};

use kafka_protocol::ResponseError;
use turnstile_values::human;

use super::context::{text, topic_name};
use super::*;
use crate::log::batch::fixtures;
use crate::topic_config::TopicConfig;
use crate::{Broker, BrokerSettings};

struct Client {
    broker: std::sync::Arc<BrokerState>,
    information: ClientInformation,
    _broker: Broker,
}

impl Client {
    fn new() -> Self {
        let broker = Broker::start(BrokerSettings::default()).unwrap();
        let state = broker.state();
        state.topics.create("t", 2, TopicConfig::default(), false).unwrap();
        let information =
            ClientInformation { peer: broker.address(), address: broker.address(), client_id: String::new() };
        Self { broker: state, information, _broker: broker }
    }

    fn raw(&mut self, key: i16, version: i16, body: &[u8]) -> Result<Option<Bytes>, String> {
        let mut request = BytesMut::new();
        let header_version = ApiKey::try_from(key).map_or(1, |key| key.request_header_version(version));
        let header = RequestHeader::default().with_request_api_key(key).with_request_api_version(version);
        header.with_correlation_id(77).encode(&mut request, header_version).unwrap();
        request.extend_from_slice(body);
        let mut out = BytesMut::new();
        let action = handle_request(&self.broker, &mut self.information, request.freeze(), &mut out);
        let action = action.map_err(|error| human::error(&*error))?;
        Ok((action == ResponseAction::Send).then(|| out.freeze()))
    }

    fn send<Q: Request>(&mut self, request: Q, version: i16) -> Result<Option<Q::Response>, String> {
        let mut body = BytesMut::new();
        request.encode(&mut body, version).map_err(|error| format!("encode: {error}"))?;
        let Some(mut bytes) = self.raw(Q::KEY, version, &body)? else { return Ok(None) };
        let header_version = ApiKey::try_from(Q::KEY).unwrap().response_header_version(version);
        assert_eq!(ResponseHeader::decode(&mut bytes, header_version).unwrap().correlation_id, 77);
        let response = Q::Response::decode(&mut bytes, version).map_err(|error| format!("decode: {error}"))?;
        assert!(bytes.is_empty(), "{} bytes left over in version {version}", bytes.len());
        Ok(Some(response))
    }

    fn produce(&mut self, version: i16, acks: i16, batch: Vec<u8>) -> Result<Option<ProduceResponse>, String> {
        let id = self.broker.topics.get("t").unwrap().id;
        let data = PartitionProduceData::default().with_records(Some(batch.into()));
        let topic = TopicProduceData::default().with_name(topic_name("t")).with_topic_id(id);
        let topic = topic.with_partition_data(vec![data]);
        let mut request = ProduceRequest::default().with_acks(acks).with_topic_data(vec![topic]);
        if version < WITH_IDS {
            request.topic_data[0].topic_id = Default::default();
        }
        self.send(request, version)
    }

    fn fetch_request(&self, version: i16, offset: i64) -> FetchRequest {
        let partition = FetchPartition::default().with_fetch_offset(offset).with_partition_max_bytes(1 << 20);
        let mut topic = FetchTopic::default().with_partitions(vec![partition]);
        if version >= WITH_IDS {
            topic.topic_id = self.broker.topics.get("t").unwrap().id;
        } else {
            topic.topic = topic_name("t");
        }
        FetchRequest::default().with_max_bytes(1 << 20).with_session_epoch(-1).with_topics(vec![topic])
    }
}

const WITH_IDS: i16 = 13;

/// Sends an otherwise empty request of every offered version, and reads the response.
macro_rules! every_version {
    ($client:expr, $($request:ident),* $(,)?) => {$(
        let key = ApiKey::try_from($request::KEY).unwrap();
        let highest = OFFERED.iter().find(|(offered, _)| *offered == key).unwrap().1;
        for version in key.valid_versions().min..=highest {
            let answered = $client.send($request::default(), version);
            assert!(matches!(answered, Ok(Some(_))), "{key:?} version {version}: {answered:?}");
        }
    )*};
}

#[test]
fn every_offered_version_of_every_request_gets_a_response_in_that_version() {
    let mut client = Client::new();
    every_version!(
        client,
        ListOffsetsRequest,
        MetadataRequest,
        OffsetCommitRequest,
        OffsetFetchRequest,
        FindCoordinatorRequest,
        JoinGroupRequest,
        HeartbeatRequest,
        LeaveGroupRequest,
        SyncGroupRequest,
        DescribeGroupsRequest,
        ListGroupsRequest,
        SaslHandshakeRequest,
        ApiVersionsRequest,
        CreateTopicsRequest,
        DeleteTopicsRequest,
        DeleteRecordsRequest,
        InitProducerIdRequest,
        OffsetForLeaderEpochRequest,
        DescribeConfigsRequest,
        AlterConfigsRequest,
        IncrementalAlterConfigsRequest,
        CreatePartitionsRequest,
        DeleteGroupsRequest,
        OffsetDeleteRequest,
        DescribeClusterRequest,
        ConsumerGroupHeartbeatRequest,
    );
}

#[test]
fn a_batch_goes_in_and_comes_out_the_same_under_every_version_but_for_its_offset() {
    let mut client = Client::new();
    for version in 3..=13 {
        let response = client.produce(version, -1, fixtures::batch(2)).unwrap().unwrap();
        let partition = &response.responses[0].partition_responses[0];
        assert_eq!((partition.error_code, partition.base_offset), (0, (i64::from(version) - 3) * 2));
    }
    for version in 4..=17 {
        let request = client.fetch_request(version, 4);
        let response = client.send(request, version).unwrap().unwrap();
        let partition = &response.responses[0].partitions[0];
        assert_eq!((partition.error_code, partition.high_watermark, partition.last_stable_offset), (0, 22, 22));
        let records = partition.records.as_ref().unwrap();
        let batch = fixtures::batch(2);
        assert_eq!(records.len(), batch.len() * 9, "version {version}");
        assert_eq!(records[..8], 4i64.to_be_bytes());
        assert_eq!(records[16..batch.len()], batch[16..]);
    }
}

#[test]
fn a_producer_without_acks_gets_no_response_and_a_closed_connection_when_refused() {
    let mut client = Client::new();
    assert_eq!(client.produce(9, 0, fixtures::batch(1)), Ok(None));
    assert!(client.produce(9, 0, b"no batch".to_vec()).is_err());
    let refused = client.produce(9, 7, fixtures::batch(1)).unwrap().unwrap();
    let error = refused.responses[0].partition_responses[0].error_code;
    assert_eq!(error, ResponseError::InvalidRequiredAcks.code());
}

#[test]
fn a_newer_client_learns_which_versions_there_are() {
    let mut client = Client::new();
    let mut bytes = client.raw(ApiKey::ApiVersions as i16, 100, &[]).unwrap().unwrap();
    ResponseHeader::decode(&mut bytes, 0).unwrap();
    let versions = ApiVersionsResponse::decode(&mut bytes, 0).unwrap();
    assert_eq!(versions.error_code, 35);
    let produce = versions.api_keys.iter().find(|key| key.api_key == 0).unwrap();
    assert_eq!((produce.min_version, produce.max_version), (0, 13));
    assert_eq!(versions.api_keys.len(), OFFERED.len());
}

#[test]
fn a_request_that_is_not_offered_or_cannot_be_read_closes_the_connection_with_the_reason() {
    let mut client = Client::new();
    assert!(client.raw(ApiKey::Fetch as i16, 3, &[]).unwrap_err().contains("Fetch version 3 is not supported"));
    assert!(client.raw(ApiKey::CreateAcls as i16, 2, &[]).unwrap_err().contains("CreateAcls"));
    assert!(client.raw(999, 0, &[]).unwrap_err().contains("999"));
    assert!(client.raw(ApiKey::Metadata as i16, 9, &[1, 2]).unwrap_err().contains("cannot read"));
    let mut out = BytesMut::new();
    assert!(handle_request(&client.broker, &mut client.information, Bytes::from_static(&[0, 3]), &mut out).is_err());
}

#[test]
fn no_request_crashes_the_broker_whatever_it_contains() {
    let client = std::cell::RefCell::new(Client::new());
    // Bytes that make plausible lengths more often than chance would.
    let byte = proptest::prop_oneof![0u8..4, proptest::prelude::Just(0xff), proptest::prelude::any::<u8>()];
    let bodies = proptest::collection::vec(byte, 0..60);
    let mut runner = proptest::test_runner::TestRunner::new(proptest::test_runner::Config {
        cases: 4_000,
        failure_persistence: None,
        ..Default::default()
    });
    let outcome = runner.run(&(0..OFFERED.len(), 0i16..18, bodies), |(at, version, body)| {
        let (key, highest) = OFFERED[at];
        // These may wait for others, as they should.
        if !matches!(key, ApiKey::JoinGroup | ApiKey::SyncGroup | ApiKey::Fetch) {
            let _ = client.borrow_mut().raw(key as i16, version.min(highest), &body);
        }
        Ok(())
    });
    outcome.unwrap();
    assert!(client.borrow_mut().send(MetadataRequest::default(), 12).unwrap().is_some());
}

#[test]
fn a_fetch_reports_the_error_of_each_partition() {
    let mut client = Client::new();
    let error = |client: &mut Client, request: FetchRequest, version| {
        client.send(request, version).unwrap().unwrap().responses[0].partitions[0].clone()
    };
    let request = client.fetch_request(12, 5);
    let found = error(&mut client, request, 12);
    assert_eq!((found.error_code, found.high_watermark, found.log_start_offset), (1, -1, -1));
    let mut request = client.fetch_request(12, 0);
    request.topics[0].partitions[0].current_leader_epoch = 9;
    assert_eq!(error(&mut client, request, 12).error_code, 75);
    let mut request = client.fetch_request(12, 0);
    request.topics[0].partitions[0].partition = 2;
    assert_eq!(error(&mut client, request, 12).error_code, 3);
    let mut request = client.fetch_request(12, 0);
    request.topics[0].topic = topic_name("none");
    assert_eq!(error(&mut client, request, 12).error_code, 3);
    let mut request = client.fetch_request(13, 0);
    request.topics[0].topic_id = uuid::Uuid::new_v4();
    assert_eq!(error(&mut client, request, 13).error_code, 100);
}

#[test]
fn a_recreated_topic_is_not_mistaken_for_the_deleted_one_by_its_id() {
    let mut client = Client::new();
    let request = client.fetch_request(13, 0);
    let old = client.broker.topics.get("t").unwrap();
    client.broker.topics.delete(&old).unwrap();
    client.broker.topics.create("t", 1, TopicConfig::default(), false).unwrap();
    let response = client.send(request, 13).unwrap().unwrap();
    assert_eq!(response.responses[0].partitions[0].error_code, 100);
}

#[test]
fn a_fetch_session_responds_with_changes_only() {
    let mut client = Client::new();
    let mut request = client.fetch_request(17, 0);
    request.session_epoch = 0;
    let first = client.send(request, 17).unwrap().unwrap();
    assert!(first.session_id > 0);
    assert_eq!(first.responses.len(), 1);
    let ask = |epoch| {
        let request = FetchRequest::default().with_session_id(first.session_id).with_session_epoch(epoch);
        request.with_max_bytes(1 << 20)
    };
    assert!(client.send(ask(1), 17).unwrap().unwrap().responses.is_empty());
    client.produce(13, -1, fixtures::batch(3)).unwrap();
    let news = client.send(ask(2), 17).unwrap().unwrap();
    assert_eq!(news.responses[0].partitions[0].high_watermark, 3);
    assert_eq!(client.send(ask(2), 17).unwrap().unwrap().error_code, 71);
    assert_eq!(client.send(ask(3), 17).unwrap().unwrap().responses.len(), 1, "the position did not move");
}

#[test]
fn a_fetch_waits_for_messages_and_no_longer_than_requested() {
    let mut client = Client::new();
    let patient = |client: &Client| client.fetch_request(12, 0).with_min_bytes(1).with_max_wait_ms(60_000);
    let hasty = client.fetch_request(12, 0).with_min_bytes(1).with_max_wait_ms(20);
    let empty = client.send(hasty, 12).unwrap().unwrap();
    assert!(empty.responses[0].partitions[0].records.as_ref().unwrap().is_empty());
    let broker = client.broker.clone();
    let writer = std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_millis(30));
        let topic = broker.topics.get("t").unwrap();
        let partition = topic.partition(0).unwrap();
        partition.log().unwrap().append(&fixtures::batch(1), &broker.topics.limits(&topic), 0).unwrap();
        partition.wake();
    });
    let request = patient(&client);
    let found = client.send(request, 12).unwrap().unwrap();
    assert!(!found.responses[0].partitions[0].records.as_ref().unwrap().is_empty());
    writer.join().unwrap();
}

#[test]
fn only_the_first_batch_comes_whole_however_little_is_allowed() {
    let mut client = Client::new();
    client.produce(12, -1, fixtures::batch(50)).unwrap();
    let mut request = client.fetch_request(12, 0).with_max_bytes(10);
    request.topics[0].partitions[0].partition_max_bytes = 10;
    let again = request.topics[0].partitions[0].clone();
    request.topics[0].partitions.push(again);
    let response = client.send(request, 12).unwrap().unwrap();
    let bytes: Vec<_> = response.responses[0].partitions.iter().map(|p| p.records.as_ref().unwrap().len()).collect();
    assert_eq!(bytes, [fixtures::batch(50).len(), 0]);
}

#[test]
fn transactions_are_refused_with_a_code_that_makes_clients_give_up() {
    let mut client = Client::new();
    let fatal = ResponseError::TransactionalIdAuthorizationFailed.code();
    let request = InitProducerIdRequest::default().with_transactional_id(Some(TransactionalId(text("x"))));
    assert_eq!(client.send(request, 4).unwrap().unwrap().error_code, fatal);
    let request = FindCoordinatorRequest::default().with_key_type(1).with_coordinator_keys(vec![text("x")]);
    assert_eq!(client.send(request, 5).unwrap().unwrap().coordinators[0].error_code, fatal);
    let without = InitProducerIdRequest::default().with_transactional_id(None);
    assert_eq!(client.send(without, 4).unwrap().unwrap().error_code, 0);
}
