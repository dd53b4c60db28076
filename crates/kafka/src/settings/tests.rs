use std::io::Write;

#[test]
fn the_later_of_two_spellings_wins_over_defaults_too() {
    let set = |entries: &[(&str, &str)]| {
        let mut settings = ClientSettings::from_servers("h:1").unwrap();
        for (key, value) in entries {
            settings = settings.with(key, value, "test").unwrap();
        }
        settings
    };
    let value_of = |settings: &ClientSettings, key: &str| {
        let config = settings.config(&[("fetch.message.max.bytes", "7000"), ("linger.ms", "5")], &[]);
        config.create_native_config().unwrap().get(key).unwrap()
    };
    // A map without order would be right half of the time.
    for _ in 0..20 {
        let java = set(&[("max.partition.fetch.bytes", "9000"), ("queue.buffering.max.ms", "70")]);
        assert_eq!(value_of(&java, "fetch.message.max.bytes"), "9000");
        assert_eq!(value_of(&java, "linger.ms"), "70");
        let both = set(&[("fetch.message.max.bytes", "8000"), ("max.partition.fetch.bytes", "9000")]);
        assert_eq!(value_of(&both, "fetch.message.max.bytes"), "9000");
        assert_eq!(value_of(&set(&[("metadata.broker.list", "other:1")]), "bootstrap.servers"), "other:1");
    }
    assert_eq!(set(&[("metadata.broker.list", "other:1")]).servers(), "other:1");
}

#[test]
fn keys_that_contradict_idempotence_are_reported_unless_it_is_set_explicitly() {
    let against = |entries: &[(&str, &str)]| {
        let entries = [("bootstrap.servers", "h:1")].into_iter().chain(entries.iter().copied());
        let settings = ClientSettings::from_map(entries, "test").unwrap();
        settings.against_idempotence().map(|(key, _)| key)
    };
    assert_eq!(against(&[("acks", "1")]), Some("acks"));
    assert_eq!(against(&[("retries", "0")]), Some("retries"));
    assert_eq!(against(&[("acks", "all"), ("retries", "5")]), None);
    assert_eq!(against(&[("acks", "1"), ("enable.idempotence", "false")]), None);
}

use super::*;

fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

#[test]
fn a_cloud_properties_file_of_the_original_is_taken_as_it_is() {
    let file = file(
        "# Required connection configs\nbootstrap.servers=pkc-1.cloud:9092\nsecurity.protocol=SASL_SSL\n\
         sasl.mechanism=PLAIN\nsasl.username=user-1\nsasl.password=pa=ss:w rd\nschema.registry.url=http://r\n\
         value.deserializer=org.apache.kafka.X\n",
    );
    let settings = ClientSettings::from_properties(file.path()).unwrap();
    assert_eq!(settings.servers(), "pkc-1.cloud:9092");
    let config = settings.config(&[], &[]);
    assert_eq!(config.get("sasl.mechanisms"), Some("PLAIN"));
    assert_eq!(config.get("sasl.password"), Some("pa=ss:w rd"));
}

#[test]
fn secrets_are_in_no_debug_text_and_in_no_error() {
    let settings = ClientSettings::from_map(
        [
            ("bootstrap.servers", "h:1"),
            ("sasl.username", "joe"),
            ("sasl.password", "hush-1"),
            ("ssl.key.pem", "hush-2"),
        ],
        "test",
    )
    .unwrap();
    let debug = format!("{settings:?} {settings:#?}");
    assert!(debug.contains("sasl.password") && debug.contains("h:1"));
    for secret in ["hush", "joe"] {
        assert!(!debug.contains(secret), "{debug}");
    }
    for key in ["sasl.pasword", "ssl.key.pasword", "nonsense", "sasl.oauthbearer.method"] {
        let error = ClientSettings::from_map([("bootstrap.servers", "h:1"), (key, "hush-3")], "test").unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hush"), "{error}");
    }
}

#[test]
fn an_unknown_key_is_named_with_file_line_and_the_nearest_known_key() {
    let file = file("bootstrap.servers=h:1\nsasl.pasword=x\n");
    let error = ClientSettings::from_properties(file.path()).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("{}:2: unknown Kafka client key `sasl.pasword`; did you mean `sasl.password`?", file.path().display())
    );
}

#[test]
fn a_broken_line_a_wrong_value_and_a_missing_broker_are_named() {
    let broken = file("bootstrap.servers=h:1\n\nacks\n");
    let error = ClientSettings::from_properties(broken.path()).unwrap_err().to_string();
    assert!(error.ends_with(":3: `acks` has no value; write `acks=value`"), "{error}");
    let wrong = ClientSettings::from_map([("bootstrap.servers", "h:1"), ("linger.ms", "soon")], "m").unwrap_err();
    assert!(wrong.to_string().starts_with("m: `linger.ms`: "), "{wrong}");
    let none = ClientSettings::from_map([("acks", "all")], "m").unwrap_err();
    assert_eq!(none.to_string(), "m: `bootstrap.servers` is missing");
    let later = file("acks=all\n");
    let settings = ClientSettings::from_properties(later.path()).unwrap();
    assert!(settings.check().is_err());
    assert!(settings.with("bootstrap.servers", "h:1", "--bootstrap").unwrap().check().is_ok());
    let absent = ClientSettings::from_properties("/nowhere/at.all").unwrap_err();
    assert!(absent.to_string().starts_with("/nowhere/at.all: cannot be read"), "{absent}");
}

#[test]
fn a_java_client_s_file_is_translated_and_what_only_java_needs_is_listed() {
    let file = file(
        "bootstrap.servers=h:1\nsecurity.protocol=SASL_SSL\nsasl.mechanism=SCRAM-SHA-512\n\
         sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required \\\n\
         \x20  username=\"joe\" \\\n  password=\"hush\";\n\
         ssl.endpoint.identification.algorithm=\nkey.deserializer=x.Y\nmax.poll.records=10\n",
    );
    let settings = ClientSettings::from_properties(file.path()).unwrap();
    settings.check().unwrap();
    let config = settings.config(&[], &[]);
    assert_eq!((config.get("sasl.username"), config.get("sasl.password")), (Some("joe"), Some("hush")));
    assert_eq!(config.get("ssl.endpoint.identification.algorithm"), Some("none"));
    assert_eq!(settings.ignored().collect::<Vec<_>>(), ["key.deserializer", "max.poll.records"]);
}

#[test]
fn a_secret_is_taken_from_the_file_that_is_named() {
    let secret = file("hush\n");
    let text = format!("bootstrap.servers=h:1\nsasl.password.file={}\n", secret.path().display());
    let settings = ClientSettings::from_properties(file(&text).path()).unwrap();
    assert_eq!(settings.config(&[], &[]).get("sasl.password"), Some("hush"));
    let empty = file("\n");
    let text = format!("sasl.password.file={}\n", empty.path().display());
    let properties = file(&text);
    let error = ClientSettings::from_properties(properties.path()).unwrap_err().to_string();
    assert!(error.contains(":1: `sasl.password.file`: ") && error.ends_with(" is empty"), "{error}");
}

#[test]
fn later_settings_win_and_keep_their_place() {
    let file = file("bootstrap.servers=h:1\nclient.id=file\ngroup.id=file\n");
    let environment =
        ClientSettings::from_map([("bootstrap.servers", "h:2"), ("client.id", "environment")], "the environment");
    let settings = ClientSettings::from_properties(file.path()).unwrap().over(environment.unwrap());
    let settings = settings.with("bootstrap.servers", "h:3", "--bootstrap").unwrap();
    assert_eq!(
        (settings.servers(), settings.shown("client.id"), settings.group()),
        ("h:3", Some("environment"), Some("file"))
    );
    assert_eq!(settings.origin_of("client.id"), "the environment");
}

#[test]
fn a_login_that_lacks_something_is_refused_before_anything_is_sent() {
    let lacking = |entries: &[(&str, &str)]| {
        let entries = entries.iter().copied().chain([("bootstrap.servers", "h:1")]);
        ClientSettings::from_map(entries, "m").unwrap().check().unwrap_err().to_string()
    };
    let protocol = ("security.protocol", "sasl_ssl");
    assert_eq!(
        lacking(&[protocol]),
        "m: `sasl.mechanism` is missing: security.protocol=SASL_SSL needs one of PLAIN, SCRAM-SHA-256, \
         SCRAM-SHA-512, OAUTHBEARER"
    );
    assert_eq!(
        lacking(&[protocol, ("sasl.mechanism", "PLAIN"), ("sasl.username", "joe")]),
        "m: `sasl.password` is missing: sasl.mechanism=PLAIN needs it"
    );
    assert!(lacking(&[protocol, ("sasl.mechanism", "OAUTHBEARER")]).contains("oauthbearer.method` is missing"));
}

#[test]
fn a_file_that_is_not_utf_8_is_read_as_java_reads_it() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"client.id=caf\xE9\n").unwrap();
    let settings = ClientSettings::from_properties(file.path()).unwrap();
    assert_eq!(settings.shown("client.id"), Some("caf\u{e9}"));
}
