//! A broker that asks who is there.

use turnstile_kafka::{
    ClientError, ClientSettings, KafkaConnection, PartitionReader, ReadError, ReadLimits, StartAt, TopicAdmin,
};
use turnstile_message::TopicPartition;
use turnstile_testkit::servers::{KafkaConfig, KafkaServer};

const LOGIN: &str = "org.apache.kafka.common.security.plain.PlainLoginModule required \
    username=\"admin\" password=\"admin-pw\" user_admin=\"admin-pw\" user_reader=\"reader-pw\";";

fn broker() -> KafkaServer {
    let config = KafkaConfig::default()
        .property("listener.security.protocol.map", "PLAINTEXT:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT")
        .property("inter.broker.listener.name", "PLAINTEXT")
        .property("sasl.enabled.mechanisms", "PLAIN")
        .property("sasl.mechanism.inter.broker.protocol", "PLAIN")
        .property("listener.name.plaintext.plain.sasl.jaas.config", LOGIN)
        .property("authorizer.class.name", "org.apache.kafka.metadata.authorizer.StandardAuthorizer")
        .property("super.users", "User:ANONYMOUS;User:admin");
    KafkaServer::start(&turnstile_testkit::kafka_home(), config).unwrap()
}

fn settings(broker: &KafkaServer, user: &str, password: &str) -> ClientSettings {
    let file = tempfile::NamedTempFile::new().unwrap();
    let text = format!(
        "bootstrap.servers={}\nsecurity.protocol=SASL_PLAINTEXT\nsasl.mechanism=PLAIN\nsasl.username={user}\nsasl.password={password}\n",
        broker.bootstrap()
    );
    std::fs::write(file.path(), text).unwrap();
    ClientSettings::from_properties(file.path()).unwrap()
}

#[test]
#[ignore = "needs servers: cargo xtask test"]
fn a_wrong_password_and_a_missing_permission_are_distinct_errors_without_secrets() {
    let broker = broker();
    let admin = settings(&broker, "admin", "admin-pw");
    let plan =
        turnstile_kafka::NewTopicPlan { topic: "t".to_owned(), partitions: 1, replication: 1, config: Vec::new() };
    TopicAdmin::open(&admin).unwrap().create(&plan).unwrap();
    assert_eq!(KafkaConnection::open(&admin).unwrap().topic_partitions("t").unwrap(), [0]);

    let wrong = settings(&broker, "admin", "hush-hush");
    let error = KafkaConnection::open(&wrong).unwrap().topic_partitions("t").unwrap_err();
    assert!(matches!(error, ClientError::Auth { .. }), "{error}");
    assert!(!format!("{error} {error:?}").contains("hush"), "{error}");

    let reader = settings(&broker, "reader", "reader-pw");
    let positions = vec![(TopicPartition::new("t", 0), StartAt::Earliest)];
    let error = PartitionReader::open(&reader, positions, ReadLimits::default()).err().unwrap();
    assert!(matches!(error, ReadError::Client(ClientError::TopicForbidden { .. })), "{error}");
}
