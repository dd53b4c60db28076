//! Messages of every form that other programs send: codecs, keys, sizes, tombstones, odd topic names.

use turnstile_kafka::{Producer, ProducerLimits, ProducerRecord};

use crate::scene::{PATIENCE, Scene, expected, messages, text};

/// Cases C3 and C5.
#[test]
fn every_codec_key_and_size_is_read_from_a_topic_with_points_in_its_name_that_ends_with_a_tombstone() {
    let broker = Scene::embedded(1);
    let scene = Scene::at(broker.servers.clone(), "city.readings.v1_raw-x", 3);
    let mut rows = messages(500);
    // The ID is no part of the sums.
    rows[7] = rows[7].replace(",id-7,", &format!(",{},", "x".repeat(3 << 20)));
    let keys: [Option<&[u8]>; 4] = [None, Some(b""), Some(b"\xff\x00\xfe"), Some("Schlüssel".as_bytes())];
    for (part, codec) in rows.chunks(100).zip(["none", "gzip", "snappy", "lz4", "zstd"]) {
        let settings = scene.client().with("message.max.bytes", "4000000", "test").unwrap();
        let settings = settings.with("compression.type", codec, "test").unwrap();
        let producer = Producer::open(&settings, ProducerLimits::default()).unwrap();
        for (row, key) in part.iter().zip(keys.into_iter().cycle()) {
            let record = ProducerRecord {
                key: key.unwrap_or_default().to_vec(),
                keyed: key.is_some(),
                value: row.clone().into_bytes(),
                ..ProducerRecord::default()
            };
            producer.send(&scene.topic, &record.with_header("trace", "ünï")).unwrap();
        }
        for key in keys.into_iter().flatten() {
            producer.send(&scene.topic, &ProducerRecord::resent(Some(key), None, -1)).unwrap();
        }
        let (stats, failures) = producer.close(PATIENCE);
        assert_eq!((stats.failed, failures.len()), (0, 0), "{codec}: {failures:?}");
    }
    let pipeline = scene.pipeline("");
    let output = scene.drain(&pipeline);
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(scene.rows(), expected(&rows));
    let audit = scene.audit(&pipeline);
    assert!(audit.contains("515 read = 500 aggregated") && audit.contains("15 tombstones"), "{audit}");
    let lag = scene.turnstile(&["lag", pipeline.to_str().unwrap(), "--json"]);
    let lag: serde_json::Value = serde_json::from_slice(&lag.stdout).unwrap_or_else(|_| panic!("{}", text(&lag)));
    assert_eq!(lag["records"], 0, "{lag}");
}
