//! Every way into a secured cluster, as a person writes it in a properties file, and what the cluster allows then.

use std::process::Command;
use std::time::{Duration, Instant};

use turnstile_kafka::{
    ClientError, ClientSettings, KafkaConnection, LinkState, NewTopicPlan, PartitionReader, Producer, ProducerLimits,
    ReadLimits, StartAt, TopicAdmin,
};
use turnstile_message::TopicPartition;
use turnstile_testkit::servers::{SecuredKafka, SecuredListener};

use crate::broker::{record, values};

fn broker() -> SecuredKafka {
    let broker = SecuredKafka::start(&turnstile_testkit::kafka_home()).unwrap();
    let plan = NewTopicPlan { topic: "t".to_owned(), partitions: 1, replication: 1, config: Vec::new() };
    let open = ClientSettings::from_servers(&broker.at(SecuredListener::Plaintext)).unwrap();
    TopicAdmin::open(&open).unwrap().create(&plan).unwrap();
    broker
}

fn settings(servers: &str, lines: &str) -> ClientSettings {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), format!("bootstrap.servers={servers}\n{lines}\n")).unwrap();
    ClientSettings::from_properties(file.path()).unwrap().with_connect_timeout(std::time::Duration::from_secs(20))
}

/// A Java client's settings for tokens of the issuer.
fn open_id(broker: &SecuredKafka, secret: &str) -> String {
    format!(
        "security.protocol=SASL_PLAINTEXT\nsasl.mechanism=OAUTHBEARER\nsasl.oauthbearer.token.endpoint.url={}\n\
         sasl.login.callback.handler.class=\
         org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginCallbackHandler\nsasl.jaas.config=\
         org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required clientId=\"reader\" \
         clientSecret=\"{secret}\" scope=\"read\";",
        broker.token_endpoint()
    )
}

#[test]
#[ignore = "needs servers: cargo xtask test"]
fn every_login_and_every_form_of_certificate_is_let_in() {
    let broker = broker();
    broker.allow("reader", "Read", &["--topic", "t"]).unwrap();
    let made = broker.certificates();
    let (ca, client) = (made.authority.display(), &made.client);
    let (certificate, key, keystore) = (client.certificate.display(), client.key.display(), client.keystore.display());
    let pkcs12 = client.keystore.with_extension("p12");
    let mut pack = Command::new("openssl");
    pack.args(["pkcs12", "-export", "-passout", "pass:store-pw", "-inkey"]).arg(&client.key);
    pack.arg("-in").arg(&client.certificate).arg("-out").arg(&pkcs12);
    assert!(pack.status().unwrap().success());
    let pkcs12 = pkcs12.display();
    let login = |module: &str, mechanism: &str| {
        format!(
            "sasl.mechanism={mechanism}\nsasl.jaas.config=org.apache.kafka.common.security.{module} required \\\n  \
             username=\"reader\" password=\"reader-pw\";"
        )
    };
    let (plain, scram) = ("plain.PlainLoginModule", "scram.ScramLoginModule");
    let pem = format!("ssl.truststore.type=PEM\nssl.truststore.location={ca}");
    for (listener, lines) in [
        (SecuredListener::Plaintext, String::new()),
        (SecuredListener::Sasl, format!("security.protocol=SASL_PLAINTEXT\n{}", login(plain, "PLAIN"))),
        (SecuredListener::Sasl, format!("security.protocol=SASL_PLAINTEXT\n{}", login(scram, "SCRAM-SHA-256"))),
        (
            SecuredListener::Sasl,
            "security.protocol=SASL_PLAINTEXT\nsasl.mechanisms=SCRAM-SHA-512\nsasl.username=reader\n\
             sasl.password=reader-pw"
                .to_owned(),
        ),
        (SecuredListener::SaslTls, format!("security.protocol=SASL_SSL\n{pem}\n{}", login(scram, "SCRAM-SHA-512"))),
        (SecuredListener::SaslTls, format!("security.protocol=SASL_SSL\n{pem}\n{}", login(plain, "PLAIN"))),
        (SecuredListener::Tls, format!("security.protocol=SSL\nssl.ca.location={ca}")),
        (
            SecuredListener::MutualTls,
            format!(
                "security.protocol=SSL\nssl.ca.location={ca}\nssl.certificate.location={certificate}\n\
                 ssl.key.location={key}"
            ),
        ),
        (
            SecuredListener::MutualTls,
            format!("security.protocol=SSL\n{pem}\nssl.keystore.type=PEM\nssl.keystore.location={keystore}"),
        ),
        (
            SecuredListener::MutualTls,
            format!(
                "security.protocol=SSL\n{pem}\nssl.keystore.type=PKCS12\nssl.keystore.location={pkcs12}\n\
                 ssl.keystore.password=store-pw"
            ),
        ),
        (
            SecuredListener::OAuth,
            "security.protocol=SASL_PLAINTEXT\nsasl.mechanism=OAUTHBEARER\nsasl.jaas.config=\
             org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required \
             unsecuredLoginStringClaim_sub=\"reader\";"
                .to_owned(),
        ),
        (SecuredListener::OpenId, open_id(&broker, "reader-pw")),
        (
            SecuredListener::OpenId,
            format!(
                "security.protocol=SASL_PLAINTEXT\nsasl.mechanism=OAUTHBEARER\nsasl.oauthbearer.method=oidc\n\
                 sasl.oauthbearer.client.id=reader\nsasl.oauthbearer.client.secret=reader-pw\n\
                 sasl.oauthbearer.token.endpoint.url={}",
                broker.token_endpoint()
            ),
        ),
        // Without the check of the name a certificate for another host will do.
        (
            SecuredListener::Elsewhere,
            format!("security.protocol=SSL\nssl.ca.location={ca}\nssl.endpoint.identification.algorithm="),
        ),
    ] {
        let connection = KafkaConnection::open(&settings(&broker.at(listener), &lines)).unwrap();
        assert_eq!(connection.topic_partitions("t").unwrap(), [0], "{listener:?} {lines}");
    }
}

#[test]
#[ignore = "needs servers: cargo xtask test"]
fn reading_goes_on_after_its_token_has_expired() {
    let broker = broker();
    broker.allow("reader", "Read", &["--topic", "t"]).unwrap();
    let open = ClientSettings::from_servers(&broker.at(SecuredListener::Plaintext)).unwrap();
    let producer = Producer::open(&open, ProducerLimits::default()).unwrap();
    let reading = settings(&broker.at(SecuredListener::OpenId), &open_id(&broker, "reader-pw"));
    let positions = vec![(TopicPartition::new("t", 0), StartAt::Earliest)];
    let mut reader = PartitionReader::open(&reading, positions, ReadLimits::default()).unwrap();
    let mut queue = reader.split().remove(0);
    // Two lives of a token and more.
    for sent in 0..25 {
        producer.send("t", &record("k", &sent.to_string())).unwrap();
        let began = Instant::now();
        let read = loop {
            let batch = queue.next(10, 1 << 20, Duration::from_millis(100)).unwrap();
            if !batch.is_empty() || began.elapsed() > Duration::from_secs(30) {
                break values(&batch);
            }
        };
        assert_eq!(read, [sent.to_string()]);
        std::thread::sleep(Duration::from_secs(1));
    }
    assert_eq!(reader.state(), LinkState::Up);
}

#[test]
#[ignore = "needs servers: cargo xtask test"]
fn permissions_are_known_without_using_them() {
    let broker = broker();
    let lines = "security.protocol=SASL_PLAINTEXT\nsasl.mechanism=PLAIN\nsasl.username=reader\n\
                 sasl.password=reader-pw\ngroup.id=g";
    let connection = KafkaConnection::open(&settings(&broker.at(SecuredListener::Sasl), lines)).unwrap();
    assert!(matches!(connection.may_write("t"), Err(ClientError::TopicForbidden { .. })));
    assert!(matches!(connection.may_use_group("g"), Err(ClientError::GroupForbidden { .. })));

    broker.allow("reader", "Read", &["--topic", "t"]).unwrap();
    assert_eq!(connection.may_write("t").unwrap(), Some(false));
    broker.allow("reader", "Write", &["--topic", "t"]).unwrap();
    assert_eq!(connection.may_write("t").unwrap(), Some(true));

    broker.allow("reader", "Read", &["--group", "g"]).unwrap();
    assert_ne!(connection.may_use_group("g").unwrap(), Some(false));
}
