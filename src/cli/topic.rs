//! `turnstile topic`: creates, lists, describes and deletes topics.

use std::io::{self, Write};

use turnstile_kafka::{ClientError, NewTopicPlan, TopicAdmin, TopicDescription};
use turnstile_values::human;

use crate::cli::cluster::{ClusterArgs, client_failure};
use crate::cli::text_table::TextTable;
use crate::exit::Exit;
use crate::process::Process;

/// Create, list, describe and delete topics
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    turnstile topic create mta-turnstile --partitions 4 --bootstrap localhost:9092\n  \
    turnstile topic describe mta-turnstile --config ~/.kafka/docker-kafka.properties --json")]
pub(crate) struct TopicArgs {
    #[command(subcommand)]
    command: TopicCommand,
}

#[derive(Debug, clap::Subcommand)]
enum TopicCommand {
    /// Create a topic
    #[command(after_help = "Examples:\n  \
        turnstile topic create mta-turnstile --partitions 4 --bootstrap localhost:9092\n  \
        turnstile topic create old-weeks --set retention.ms=-1 --replication 3")]
    Create {
        /// Name of the topic
        topic: String,
        /// Number of partitions
        #[arg(long, value_name = "N", default_value_t = 1)]
        partitions: i32,
        /// Replicas of each partition [default: the broker's]
        #[arg(long, value_name = "N")]
        replication: Option<i32>,
        /// A setting of the topic, such as retention.ms=86400000
        #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
        set: Vec<(String, String)>,
        /// Print JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        cluster: ClusterArgs,
    },
    /// List topics with their number of partitions
    #[command(after_help = "Example:\n  turnstile topic list --bootstrap localhost:9092 --json")]
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        cluster: ClusterArgs,
    },
    /// Show partitions, offsets and settings of a topic
    #[command(after_help = "Example:\n  turnstile topic describe mta-turnstile --bootstrap localhost:9092")]
    Describe {
        /// Name of the topic
        topic: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        cluster: ClusterArgs,
    },
    /// Delete a topic with all its messages
    #[command(after_help = "Example:\n  turnstile topic delete mta-turnstile --bootstrap localhost:9092")]
    Delete {
        /// Name of the topic
        topic: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        cluster: ClusterArgs,
    },
}

pub(crate) fn run(args: TopicArgs, process: &Process) -> anyhow::Result<Exit> {
    let stop = process.shutdown_on_signals()?;
    let open = |cluster: &ClusterArgs| -> anyhow::Result<TopicAdmin> {
        TopicAdmin::open(&cluster.settings(&stop)?).map_err(client_failure)
    };
    let outcome = match &args.command {
        TopicCommand::Create { topic, partitions, replication, set, json, cluster } => {
            let replication = replication.unwrap_or(-1);
            let plan = NewTopicPlan { topic: topic.clone(), partitions: *partitions, replication, config: set.clone() };
            open(cluster)?.create(&plan).map(|()| match json {
                true => serde_json::json!({ "created": topic, "partitions": partitions }).to_string(),
                false => {
                    let partitions = human::plural(u64::try_from(*partitions).unwrap_or_default(), "partition");
                    format!("created topic \"{topic}\" with {partitions}")
                }
            })
        }
        TopicCommand::List { json, cluster } => open(cluster)?.list().map(|topics| list(&topics, *json)),
        TopicCommand::Describe { topic, json, cluster } => {
            open(cluster)?.describe(topic).map(|found| describe(&found, *json))
        }
        TopicCommand::Delete { topic, json, cluster } => open(cluster)?.delete(topic).map(|()| match json {
            true => serde_json::json!({ "deleted": topic }).to_string(),
            false => format!("deleted topic \"{topic}\""),
        }),
    };
    match outcome {
        Err(ClientError::Stopped) => {}
        Err(error) => return Err(client_failure(error)),
        // An empty list prints nothing.
        Ok(text) if text.is_empty() => {}
        Ok(text) => writeln!(io::stdout(), "{text}")?,
    }
    Ok(Exit::Done)
}

fn list(topics: &[(String, usize)], json: bool) -> String {
    if json {
        let all: Vec<_> =
            topics.iter().map(|(topic, n)| serde_json::json!({ "topic": topic, "partitions": n })).collect();
        return serde_json::Value::from(all).to_string();
    }
    let lines: Vec<String> = topics.iter().map(|(topic, partitions)| format!("{topic}\t{partitions}")).collect();
    lines.join("\n")
}

fn describe(found: &TopicDescription, json: bool) -> String {
    if json {
        let partitions: Vec<_> = found
            .partitions
            .iter()
            .map(|p| {
                serde_json::json!({
                    "partition": p.partition, "leader": p.leader, "replicas": p.replicas, "in_sync": p.in_sync,
                    "low": p.low, "high": p.high,
                })
            })
            .collect();
        let config: serde_json::Map<_, _> = found.config.iter().map(|(k, v)| (k.clone(), v.as_str().into())).collect();
        return serde_json::json!({ "topic": found.topic, "partitions": partitions, "config": config }).to_string();
    }
    let partitions = human::plural(found.partitions.len() as u64, "partition");
    let mut text = format!("topic {}, {partitions}", found.topic);
    for (key, value) in &found.config {
        text.push_str(&format!("\n  {key}={value}"));
    }
    let mut table = TextTable::new(["partition", "low", "high", "leader", "replicas", "in sync"], 0..4);
    for p in &found.partitions {
        table.row([
            p.partition.to_string(),
            p.low.to_string(),
            p.high.to_string(),
            p.leader.to_string(),
            ids(&p.replicas),
            ids(&p.in_sync),
        ]);
    }
    format!("{text}\n{}", table.to_string().trim_end())
}

fn ids(brokers: &[i32]) -> String {
    brokers.iter().map(i32::to_string).collect::<Vec<_>>().join(",")
}

fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(format!("\"{text}\" is not a setting; write KEY=VALUE")),
    }
}

#[cfg(test)]
mod tests {
    use turnstile_kafka::PartitionDescription;

    use super::*;

    #[test]
    fn a_description_shows_offsets_and_settings() {
        let partition =
            PartitionDescription { partition: 0, leader: 1, replicas: vec![1, 2], in_sync: vec![1], low: 3, high: 9 };
        let config = vec![("retention.ms".to_owned(), "1000".to_owned())];
        let found = TopicDescription { topic: "t".to_owned(), partitions: vec![partition], config };
        let text = describe(&found, false);
        assert!(
            text.contains("  retention.ms=1000") && text.ends_with("\n        0    3     9       1  1,2       1"),
            "{text}"
        );
        let json: serde_json::Value = serde_json::from_str(&describe(&found, true)).unwrap();
        assert_eq!((&json["partitions"][0]["high"], &json["config"]["retention.ms"]), (&9.into(), &"1000".into()));
    }

    #[test]
    fn a_setting_needs_a_key() {
        assert_eq!(key_value("a=b=c"), Ok(("a".to_owned(), "b=c".to_owned())));
        assert!(key_value("=b").is_err() && key_value("ab").is_err());
    }
}
