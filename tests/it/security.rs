//! A secured cluster: every wrong way in is one paragraph with the right exit code.

use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::{Duration, Instant};

use turnstile_kafka::{ClientSettings, NewTopicPlan, Producer, ProducerLimits, ProducerRecord, TopicAdmin};
use turnstile_testkit::servers::{SecuredKafka, SecuredListener};

use crate::scene::{PATIENCE, Scene, finish, messages, signal, text};

/// The password of the user `reader`: what must never be seen.
pub(crate) const SECRET: &str = "reader-pw";
pub(crate) const PLAIN: &str =
    "security.protocol=SASL_PLAINTEXT\nsasl.mechanism=PLAIN\nsasl.username=reader\nsasl.password=";

/// A secured broker with the topic `t` of 100 messages, and a folder with a pipeline that reads it.
pub(crate) struct Secured {
    pub(crate) broker: SecuredKafka,
    pub(crate) scene: Scene,
}

impl Secured {
    pub(crate) fn start() -> Self {
        let broker = SecuredKafka::start(&turnstile_testkit::kafka_home()).unwrap();
        let scene = Scene::without_topic(broker.at(SecuredListener::Plaintext), "t");
        let open = ClientSettings::from_servers(&scene.servers).unwrap();
        let topics = TopicAdmin::open(&open).unwrap();
        for topic in ["t", "dead"] {
            let config = vec![("retention.ms".to_owned(), "-1".to_owned())];
            topics.create(&NewTopicPlan { topic: topic.to_owned(), partitions: 1, replication: 1, config }).unwrap();
        }
        let producer = Producer::open(&open, ProducerLimits::default()).unwrap();
        for message in messages(100) {
            producer.send("t", &ProducerRecord { value: message.into_bytes(), ..ProducerRecord::default() }).unwrap();
        }
        assert_eq!(producer.close(PATIENCE).0.delivered, 100);
        Self { broker, scene }
    }

    /// A properties file for a listener, or another address.
    pub(crate) fn properties(&self, servers: &str, lines: &str) -> PathBuf {
        let path = self.scene.dir.path().join("client.properties");
        std::fs::write(&path, format!("bootstrap.servers={servers}\n{lines}\n")).unwrap();
        path
    }

    /// The story's pipeline with its client settings in a properties file. `stream` is added to `[stream]`.
    pub(crate) fn pipeline(&self, properties: &Path, stream: &str) -> PathBuf {
        let path = self.scene.pipeline(stream);
        let text = std::fs::read_to_string(&path).unwrap();
        let kafka = format!("kafka = {{ \"bootstrap.servers\" = \"{}\" }}", self.scene.servers);
        assert!(text.contains(&kafka), "{text}");
        std::fs::write(&path, text.replace(&kafka, &format!("properties = \"{}\"", properties.display()))).unwrap();
        path
    }

    /// Runs every verb that talks to a cluster, side by side; each with its output.
    fn every_verb(&self, properties: &Path) -> Vec<(String, Output)> {
        let (config, pipeline) = (properties.to_str().unwrap(), self.pipeline(properties, ""));
        let pipeline = pipeline.to_str().unwrap();
        let verbs: [&[&str]; 5] = [
            &["run", pipeline, "--until-end"],
            &["check", pipeline, "--connect"],
            &["produce", "--topic", "t", "--count", "1", "--config", config],
            &["consume", "--topic", "t", "--until-end", "--config", config],
            &["topic", "describe", "t", "--config", config],
        ];
        let limit = ["--connect-timeout", "3"];
        let started: Vec<_> =
            verbs.iter().map(|verb| (verb.join(" "), self.scene.spawn(&[verb, &limit[..]].concat(), &[]))).collect();
        started.into_iter().map(|(verb, child)| (verb, finish(child))).collect()
    }
}

/// One paragraph: fact, cause, next step, with what is expected in it, and no secret.
fn is_one_paragraph(what: &str, output: &Output, code: i32, expected: &[&str]) {
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{what}: {}", text(output));
    for start in ["error: ", "hint:  "] {
        assert_eq!(stderr.lines().filter(|line| line.starts_with(start)).count(), 1, "{what}: {stderr}");
    }
    assert!(stderr.lines().count() <= 8, "{what}: {stderr}");
    for part in expected {
        assert!(stderr.contains(part), "{what}: {part:?} is not in: {stderr}");
    }
    for secret in [SECRET, "hush"] {
        assert!(!text(output).contains(secret), "{what}: {}", text(output));
    }
}

#[test]
#[ignore = "needs servers: cargo xtask test"]
fn every_connection_fault_is_reported_in_one_paragraph_within_the_time_given() {
    let secured = Secured::start();
    let at = |listener| secured.broker.at(listener);
    let made = secured.broker.certificates();
    let scram = PLAIN.replace("PLAIN\n", "SCRAM-SHA-512\n");
    let tls = |authority: &Path| format!("security.protocol=SSL\nssl.ca.location={}", authority.display());
    let (trusted, untrusted) = (tls(&made.authority), tls(&made.other_authority));
    let stranger = format!(
        "{trusted}\nssl.certificate.location={}\nssl.key.location={}",
        made.stranger.certificate.display(),
        made.stranger.key.display()
    );
    let tokens = |endpoint: &str| {
        format!(
            "security.protocol=SASL_PLAINTEXT\nsasl.mechanism=OAUTHBEARER\nsasl.oauthbearer.method=oidc\n\
             sasl.oauthbearer.client.id=reader\nsasl.oauthbearer.client.secret=hush\n\
             sasl.oauthbearer.token.endpoint.url={endpoint}"
        )
    };
    let open = String::new;
    for (case, servers, lines, expected) in [
        (
            "a wrong PLAIN password",
            at(SecuredListener::Sasl),
            format!("{PLAIN}hush"),
            "correct sasl.username and sasl.password",
        ),
        (
            "a wrong SCRAM password",
            at(SecuredListener::Sasl),
            format!("{scram}hush"),
            "correct sasl.username and sasl.password",
        ),
        (
            "a wrong secret for tokens",
            at(SecuredListener::OpenId),
            tokens(&secured.broker.token_endpoint()),
            "client.secret",
        ),
        (
            "an issuer that is away",
            at(SecuredListener::OpenId),
            tokens("http://127.0.0.1:1/token"),
            "token.endpoint.url",
        ),
        ("a mechanism not enabled", at(SecuredListener::ScramOnly), format!("{PLAIN}{SECRET}"), "SCRAM-SHA-512"),
        ("an untrusted authority", at(SecuredListener::Tls), untrusted, "ssl.ca.location"),
        ("an expired certificate", at(SecuredListener::Expired), trusted.clone(), "has expired"),
        ("a name not in the certificate", at(SecuredListener::Elsewhere), trusted.clone(), "another host name"),
        (
            "mutual TLS without a certificate",
            at(SecuredListener::MutualTls),
            trusted.clone(),
            "ssl.certificate.location",
        ),
        ("mutual TLS with a stranger's certificate", at(SecuredListener::MutualTls), stranger, "certificate"),
        ("TLS to a port without", at(SecuredListener::Plaintext), trusted, "security.protocol"),
        ("no TLS to a port with", at(SecuredListener::Tls), open(), "security.protocol"),
        ("a login to a port without", at(SecuredListener::Plaintext), format!("{PLAIN}{SECRET}"), "security.protocol"),
        ("no login to a port with", at(SecuredListener::Sasl), open(), "security.protocol"),
        ("a host that does not resolve", "nowhere.invalid:9092".to_owned(), open(), "bootstrap.servers"),
    ] {
        let began = Instant::now();
        for (verb, output) in secured.every_verb(&secured.properties(&servers, &lines)) {
            is_one_paragraph(&format!("{case}: {verb}"), &output, 4, &[expected, "cause: "]);
        }
        // Five processes and a broker on a busy machine; a hang would take forever.
        assert!(began.elapsed() < Duration::from_secs(60), "{case} took {:?}", began.elapsed());
    }
    for (line, expected) in [
        ("sasl.password", "client.properties:2: `sasl.password` has no value"),
        (
            "sasl.pasword=hush",
            "client.properties:2: unknown Kafka client key `sasl.pasword`; did you mean `sasl.password`?",
        ),
        ("client.id=\\u00zz", "client.properties:2: "),
    ] {
        for (verb, output) in secured.every_verb(&secured.properties("127.0.0.1:1", line)) {
            is_one_paragraph(&format!("{line}: {verb}"), &output, 3, &[expected]);
        }
    }
}

#[test]
#[ignore = "needs servers: cargo xtask test"]
fn a_topic_without_permission_is_named_and_check_says_which_step_failed() {
    let secured = Secured::start();
    let properties =
        secured.properties(&secured.broker.at(SecuredListener::Sasl), &format!("{PLAIN}{SECRET}\ngroup.id=g"));
    for (verb, output) in secured.every_verb(&properties) {
        is_one_paragraph(&verb, &output, 4, &["not permitted on topic \"t\"", "cause: "]);
    }

    let check = |stream: &str| {
        let pipeline = secured.pipeline(&properties, stream);
        let output = secured.scene.turnstile(&["check", pipeline.to_str().unwrap(), "--connect", "--json"]);
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let steps: Vec<String> = report["steps"]
            .as_array()
            .unwrap()
            .iter()
            .map(|step| format!("{} {}", step["step"].as_str().unwrap(), step["state"].as_str().unwrap()))
            .collect();
        (output.status.code(), steps.join(", "), report)
    };
    let dead = "dead_letter_topic = \"dead\"";
    secured.broker.allow("reader", "Describe", &["--topic", "t"]).unwrap();
    let (code, steps, _) = check("");
    let begin = "settings ok, resolve ok, connect ok, log in ok, topic ok, offsets ok";
    assert_eq!((code, steps), (Some(4), format!("{begin}, read failed, group failed, dead letters skipped")));

    secured.broker.allow("reader", "Read", &["--topic", "t", "--group", "g"]).unwrap();
    secured.broker.allow("reader", "Describe", &["--topic", "dead"]).unwrap();
    let (code, steps, report) = check(dead);
    assert_eq!((code, steps), (Some(4), format!("{begin}, read ok, group ok, dead letters failed")));
    assert_eq!(
        report["partitions"][0],
        serde_json::json!({ "topic": "t", "partition": 0, "earliest": 0, "latest": 100 })
    );

    // It may read and not write: producing reports that, and does not try forever.
    let config = properties.to_str().unwrap();
    for count in [["--count", "1"], ["--rate", "max"]] {
        let args = ["produce", "--topic", "t", "--provider", "city", "--config", config];
        let output = secured.scene.turnstile(&[&args[..], &count].concat());
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(4), "{}", text(&output));
        assert!(stderr.contains("error: ") && stderr.contains("uthorization"), "{stderr}");
        assert!(stderr.lines().count() < 20, "{stderr}");
    }

    secured.broker.allow("reader", "Write", &["--topic", "dead"]).unwrap();
    let (code, steps, _) = check(dead);
    assert_eq!((code, steps), (Some(0), format!("{begin}, read ok, group ok, dead letters ok")));

    // Who names no group needs no permission on one.
    secured.properties(&secured.broker.at(SecuredListener::Sasl), &format!("{PLAIN}{SECRET}"));
    let (code, steps, _) = check("");
    assert_eq!((code, steps), (Some(0), format!("{begin}, read ok, group skipped, dead letters skipped")));
}

#[test]
#[ignore = "needs servers: cargo xtask test"]
fn a_run_whose_permission_is_taken_away_says_so_and_ends() {
    let secured = Secured::start();
    secured.broker.allow("reader", "Read", &["--topic", "t"]).unwrap();
    let properties = secured.properties(&secured.broker.at(SecuredListener::Sasl), &format!("{PLAIN}{SECRET}"));
    let pipeline = secured.pipeline(&properties, "");
    let run = secured.scene.spawn(&["run", pipeline.to_str().unwrap()], &[]);
    let log = secured.scene.lake().join("_turnstile/story/log");
    let began = Instant::now();
    // The second slot is the first commit: the claim alone reads nothing.
    while std::fs::read_dir(&log).map_or(0, Iterator::count) < 2 {
        assert!(began.elapsed() < PATIENCE, "nothing was committed");
        std::thread::sleep(Duration::from_millis(50));
    }
    secured.broker.forbid("reader", "Read", &["--topic", "t"]).unwrap();
    let output = finish(run);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(4), "{}", text(&output));
    assert!(stderr.contains("error: not permitted on topic \"t\"") && stderr.contains("nothing was lost"), "{stderr}");

    secured.broker.allow("reader", "Read", &["--topic", "t"]).unwrap();
    let drained = secured.scene.drain(&pipeline);
    assert!(drained.status.success(), "{}", text(&drained));
    assert_eq!(secured.scene.rows(), crate::scene::expected(&messages(100)));
}

#[test]
#[ignore = "needs servers: cargo xtask test"]
fn settings_of_the_environment_win_over_the_file_s_and_arguments_over_both() {
    let secured = Secured::start();
    secured.broker.allow("reader", "Read", &["--topic", "t"]).unwrap();
    let secret = secured.scene.dir.path().join("secret");
    std::fs::write(&secret, format!("{SECRET}\n")).unwrap();
    let secret = secret.to_str().unwrap();
    let properties = secured.properties("127.0.0.1:1", &format!("{PLAIN}hush"));
    let (config, pipeline) = (properties.to_str().unwrap(), secured.pipeline(&properties, ""));
    let servers = secured.broker.at(SecuredListener::Sasl);
    let from_file = ("TURNSTILE_KAFKA_SASL_PASSWORD_FILE", secret);
    let named = ("TURNSTILE_KAFKA_BOOTSTRAP_SERVERS", servers.as_str());

    let consume = ["consume", "--topic", "t", "--until-end", "--config", config];
    let by_environment = finish(secured.scene.spawn(&consume, &[from_file, named]));
    assert!(by_environment.status.success(), "{}", text(&by_environment));
    let elsewhere = ("TURNSTILE_KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1");
    let by_argument = [&consume[..], &["--bootstrap", &servers]].concat();
    let by_argument = finish(secured.scene.spawn(&by_argument, &[from_file, elsewhere]));
    assert!(by_argument.status.success(), "{}", text(&by_argument));
    let run = finish(secured.scene.spawn(&["run", pipeline.to_str().unwrap(), "--until-end"], &[from_file, named]));
    assert!(run.status.success(), "{}", text(&run));

    let wrong = finish(secured.scene.spawn(&consume, &[("TURNSTILE_KAFKA_SASL_PASWORD", "hush")]));
    is_one_paragraph("a wrong variable", &wrong, 3, &["TURNSTILE_KAFKA_SASL_PASWORD: unknown"]);
}

#[test]
fn ctrl_c_ends_the_wait_for_a_broker_and_a_check_that_was_not_finished_is_no_good_one() {
    let scene = Scene::without_topic("127.0.0.1:1".to_owned(), "t");
    let pipeline = scene.pipeline("");
    let pipeline = pipeline.to_str().unwrap();
    // A port that takes connections and never answers, so that there is something to wait for.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let servers = format!("source.kafka={{ \"bootstrap.servers\" = \"{address}\" }}");
    for (verb, code) in [
        (&["consume", "--topic", "t", "--bootstrap", &address][..], 0),
        (&["produce", "--topic", "t", "--count", "1", "--bootstrap", &address], 0),
        (&["run", pipeline, "--set", &servers], 0),
        (&["check", pipeline, "--connect", "--set", &servers], 1),
    ] {
        let child = scene.spawn(&[verb, &["--connect-timeout", "100"]].concat(), &[]);
        std::thread::sleep(Duration::from_millis(1_500));
        let began = Instant::now();
        signal(&child, "INT");
        let output = finish(child);
        assert_eq!(output.status.code(), Some(code), "{verb:?}: {}", text(&output));
        assert!(began.elapsed() < Duration::from_secs(20), "{verb:?} took {:?} to end", began.elapsed());
    }
}

#[test]
fn check_connect_shows_each_step_of_a_broker_that_tells_no_permissions() {
    let scene = Scene::embedded(2);
    scene.send(messages(10).iter().map(String::as_bytes));
    let pipeline = scene.pipeline("dead_letter_topic = \"city\"");
    let path = pipeline.to_str().unwrap();
    let group = ("TURNSTILE_KAFKA_GROUP_ID", "g");
    let shown = finish(scene.spawn(&["check", path, "--connect"], &[group]));
    assert!(shown.status.success(), "{}", text(&shown));
    let lines = String::from_utf8(shown.stdout).unwrap();
    let steps: Vec<&str> = lines.lines().filter(|line| line.starts_with("ok ")).collect();
    assert_eq!(steps.len(), 9, "{lines}");
    assert!(lines.contains("city, 2 partitions") && lines.contains("10 offsets between"), "{lines}");
    assert!(lines.contains("city[1]: earliest 0, latest "), "{lines}");

    let absent = scene.turnstile(&["check", path, "--connect", "--set", "source.topic=nowhere"]);
    assert_eq!(absent.status.code(), Some(5), "{}", text(&absent));
    let lines = String::from_utf8(absent.stdout).unwrap();
    assert!(
        lines.contains("failed   topic") && lines.contains("skipped  read          needs the step \"topic\""),
        "{lines}"
    );
}

#[test]
fn a_secret_in_an_argument_is_refused_and_not_repeated() {
    let scene = Scene::without_topic("127.0.0.1:1".to_owned(), "t");
    let pipeline = scene.pipeline("");
    for set in [
        "source.kafka={ \"bootstrap.servers\" = \"h:1\", \"sasl.password\" = \"hush\" }",
        "source.kafka.sasl.password=hush",
        "lake.options.aws_secret_access_key=hush",
    ] {
        let output = scene.turnstile(&["run", pipeline.to_str().unwrap(), "--set", set]);
        assert_eq!(output.status.code(), Some(3), "{}", text(&output));
        assert!(text(&output).contains("is a secret") && !text(&output).contains("hush"), "{}", text(&output));
    }
    for verb in ["status", "lag"] {
        let line = [verb, "--lake", "file:./lake", "--pipeline", "p", "--set", "aws_secret_access_key=hush"];
        let output = scene.turnstile(&line);
        assert_eq!(output.status.code(), Some(3), "{}", text(&output));
        assert!(text(&output).contains("is a secret") && !text(&output).contains("hush"), "{}", text(&output));
    }
    let slip = scene.turnstile(&["run", pipeline.to_str().unwrap(), "--set", "source.kafka.sasl.password hush"]);
    assert_eq!(slip.status.code(), Some(2), "{}", text(&slip));
    assert!(!text(&slip).contains("hush"), "{}", text(&slip));
}
