//! The topic and the lake as the cluster reaches them.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::json;
use turnstile_kafka::ClientSettings;
use turnstile_pipeline::{Pipeline, TopicSelection};
use turnstile_spark::{DataSource, PartitionOffsets};

use crate::exit::Exit;
use crate::flow::fault::client;
use crate::report::Failure;

/// The topics as Spark's Kafka source reads them. They begin at `start` and, as a table, end at `end`; partitions
/// that are not named begin at their first message.
///
/// # Errors
/// A client setting that a Java client cannot have.
pub(super) fn messages(
    pipeline: &Pipeline,
    settings: &ClientSettings,
    start: &PartitionOffsets,
    end: Option<&PartitionOffsets>,
) -> anyhow::Result<DataSource> {
    let java = settings.for_java().map_err(|error| client(error.into()))?;
    if !java.ignored.is_empty() {
        tracing::debug!(keys = java.ignored.join(", "), "client settings without a meaning on Spark");
    }
    // As the embedded engine reads: what a producer's transaction took back is no message.
    let mut options = BTreeMap::from([("kafka.isolation.level".to_owned(), "read_committed".to_owned())]);
    let own = pipeline.spark.kafka.iter().map(|(key, value)| (key.clone(), value.clone()));
    options.extend(java.pairs.into_iter().chain(own).map(|(key, value)| (format!("kafka.{key}"), value)));
    let (way, topics) = match (&pipeline.source.topics, end) {
        // A table of past messages has no partitions but those of which the range is known.
        (_, Some(end)) => {
            let partitions: BTreeMap<&String, Vec<i32>> =
                end.iter().map(|(topic, partitions)| (topic, partitions.keys().copied().collect())).collect();
            ("assign", json!(partitions).to_string())
        }
        (topics, None) => subscription(topics),
    };
    options.insert(way.to_owned(), topics);
    options.insert("startingOffsets".to_owned(), json!(start).to_string());
    match end {
        Some(end) => options.insert("endingOffsets".to_owned(), json!(end).to_string()),
        None => options.insert("maxOffsetsPerTrigger".to_owned(), pipeline.spark.batch_messages.to_string()),
    };
    // A message that is gone before it was read ends the query.
    options.insert("failOnDataLoss".to_owned(), "true".to_owned());
    Ok(DataSource { format: "kafka".to_owned(), schema: None, options })
}

/// The option of Spark's Kafka source that names topics, and its value.
pub(crate) fn subscription(topics: &TopicSelection) -> (&'static str, String) {
    match topics {
        TopicSelection::Named(names) => ("subscribe", names.join(",")),
        TopicSelection::Matching(_) => ("subscribePattern", topics.to_string()),
    }
}

/// A URL of the lake that the cluster understands, without a slash at its end.
///
/// # Errors
/// It has to be given: `[spark] lake`.
pub(super) fn lake(pipeline: &Pipeline) -> anyhow::Result<String> {
    let url = match &pipeline.spark.lake {
        Some(url) => url.clone(),
        None => guess(&pipeline.lake.url)?,
    };
    Ok(url.trim_end_matches('/').to_owned())
}

fn guess(url: &str) -> anyhow::Result<String> {
    let unknown = |why: &str| {
        Failure::new(Exit::Config, format!("the cluster cannot reach the lake {url}: {why}"))
            .hint("set [spark] lake to its address as the cluster knows it, such as s3a://bucket/path")
    };
    match url.split_once(':') {
        Some(("s3", rest)) => Ok(format!("s3a:{rest}")),
        Some(("gs", _)) => Ok(url.to_owned()),
        Some(("az", _)) => {
            Err(unknown("Hadoop names the account too: abfss://container@account.dfs.core.windows.net/path").into())
        }
        Some(("file", path)) => {
            let path = std::path::absolute(Path::new(path.strip_prefix("//").unwrap_or(path)))?;
            Ok(format!("file://{}", path.display()))
        }
        _ => Err(unknown("it is in this process's memory").into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lake_has_the_cluster_s_scheme() {
        assert_eq!(guess("s3://bucket/a/b").unwrap(), "s3a://bucket/a/b");
        assert_eq!(guess("gs://bucket").unwrap(), "gs://bucket");
        assert_eq!(guess("file:/srv/lake").unwrap(), "file:///srv/lake");
        assert!(guess("file:./lake").unwrap().starts_with("file:///"));
        for url in ["az://container/x", "memory:"] {
            assert!(guess(url).is_err(), "{url}");
        }
    }
}
