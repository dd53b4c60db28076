//! A pipeline as a person reads it: what `turnstile check` prints and what a run logs when it starts.

use std::fmt::Write;

use turnstile_values::human;

use crate::endpoint::PasswordSource;
use crate::pipeline::Pipeline;
use crate::query::spark_type;
use crate::stream::{DedupSettings, LatePolicy};
use crate::warehouse::LoadSchedule;

impl Pipeline {
    /// The plan in words, one fact a line. Holds no settings of the Kafka client or the store but
    /// `bootstrap.servers`, so no secret.
    pub fn explain(&self) -> String {
        let mut out = Lines::default();
        out.line("pipeline", &self.name);
        out.line("plan", &self.plan_hash);
        out.line("source", &self.explain_source());
        out.line("decodes", &self.explain_columns());
        let stream = &self.stream;
        let off = || "off".to_owned();
        out.line("event time", &format!("{}, watermark {}", stream.event_time, human::duration(stream.watermark_us)));
        out.line(
            "dedup",
            &match &stream.dedup {
                DedupSettings::Off => off(),
                DedupSettings::Value => "whole value".to_owned(),
                DedupSettings::Fields(names) => names.join(", "),
            },
        );
        out.line(
            "late rows",
            &match stream.late {
                LatePolicy::Drop => "counted and dropped".to_owned(),
                LatePolicy::DeadLetter => "dead letters".to_owned(),
                LatePolicy::Correct => {
                    format!("correct the window for {} after its close", human::duration(stream.correct_for_us))
                }
            },
        );
        for (key, value) in [("idle", stream.idle_us), ("quiet", stream.quiet_us), ("future", stream.future_us)] {
            out.line(key, &value.map_or_else(off, human::duration));
        }
        self.explain_query(&mut out);
        out.line("lake", &self.explain_lake());
        let every = stream.commit.every_us.map(human::duration);
        let rows = stream.commit.rows.map(|rows| format!("{rows} rows"));
        let cadence: Vec<String> = every.into_iter().chain(rows).collect();
        out.line("commit", &format!("every {}", cadence.join(" or ")));
        out.line("memory", &format!("at most {} for windows and dedup", human::size(stream.memory_bytes)));
        if let Some(warehouse) = &self.warehouse {
            let schedule = match &warehouse.schedule {
                LoadSchedule::Every(us) => format!("every {}", human::duration(*us)),
                LoadSchedule::Cron { text, zone } => format!("cron {text} ({zone})"),
            };
            out.line("warehouse", &format!("{}, {schedule}", warehouse.table));
        }
        out.text
    }

    /// The message's fields: name, Spark's name of the type, whether it can be null.
    pub fn message_columns(&self) -> Vec<(&str, String, bool)> {
        let fields = self.source.schema.iter();
        fields.map(|field| (field.name.as_str(), field.kind.spark_name().into_owned(), true)).collect()
    }

    /// The result's columns: name, Spark's name of the type, whether it can be null.
    pub fn output_columns(&self) -> Vec<(&str, String, bool)> {
        let fields = self.query.output_schema.fields().iter();
        fields
            .map(|field| {
                let kind = spark_type(field.data_type()).unwrap_or_else(|| field.data_type().to_string());
                (field.name().as_str(), kind, field.is_nullable())
            })
            .collect()
    }

    /// The message's fields as Spark's `printSchema` shows them.
    pub fn message_schema_tree(&self) -> String {
        tree(self.message_columns())
    }

    /// The result's columns as Spark's `printSchema` shows them.
    pub fn output_schema_tree(&self) -> String {
        tree(self.output_columns())
    }

    fn explain_source(&self) -> String {
        let source = &self.source;
        let mut out = format!("topic {}, {}", source.topics, source.format.as_str());
        if let Some(servers) = source.kafka.get("bootstrap.servers") {
            let _ = write!(out, ", {servers}");
        }
        if let Some(path) = &source.properties {
            let _ = write!(out, ", settings of {}", path.display());
        }
        if let Some(registry) = &source.registry {
            let _ = write!(out, ", schemas of {}", registry.url);
            match &registry.password {
                Some(PasswordSource::Environment(name)) => {
                    let _ = write!(out, " (password of ${name})");
                }
                Some(PasswordSource::File(path)) => {
                    let _ = write!(out, " (password of {})", path.display());
                }
                None => {}
            }
        }
        out
    }

    fn explain_columns(&self) -> String {
        let fields = &self.source.schema;
        let names: Vec<&str> = self.query.columns.iter().map(|i| fields[*i].name.as_str()).collect();
        format!("{} of {} fields: {}", names.len(), fields.len(), names.join(", "))
    }

    fn explain_query(&self, out: &mut Lines) {
        let query = &self.query;
        let window = &query.window;
        let mut shape = match window.slide_us == window.size_us {
            true => format!("tumbling, {}", human::duration(window.size_us)),
            false => format!("hopping, {} every {}", human::duration(window.size_us), human::duration(window.slide_us)),
        };
        if window.offset_us != 0 {
            let _ = write!(shape, ", starting {} after midnight UTC of the epoch", human::duration(window.offset_us));
        }
        out.line("window", &shape);
        if let Some(filter) = &query.filter {
            out.line("where", &query.readable_input(filter));
        }
        let keys: Vec<String> = query.keys.iter().map(|key| query.readable_input(key)).collect();
        out.line("group by", &std::iter::once("window".to_owned()).chain(keys).collect::<Vec<_>>().join(", "));
        if let Some(having) = &query.having {
            out.line("having", &query.readable_output(having));
        }
        for (name, expr) in &query.output {
            out.line("column", &format!("{name} = {}", query.readable_output(expr)));
        }
    }

    fn explain_lake(&self) -> String {
        let lake = &self.lake;
        let mut out = format!("{}, {}", lake.url, lake.format.extension());
        if lake.index_column {
            out.push_str(", index column");
        }
        if let Some(key) = &lake.partition {
            let _ = write!(out, ", in folders {key}=…");
        }
        match lake.retain_us {
            Some(us) => {
                let _ = write!(out, ", kept {} and until every warehouse has loaded", human::duration(us));
            }
            None => out.push_str(", kept for ever"),
        }
        if lake.compact {
            out.push_str(", days that are over compacted");
        }
        if lake.maintain_us.is_none() {
            out.push_str(", maintained by hand");
        }
        out
    }
}

fn tree(fields: Vec<(&str, String, bool)>) -> String {
    let mut out = String::from("root\n");
    for (name, kind, nullable) in fields {
        let _ = writeln!(out, " |-- {name}: {kind} (nullable = {nullable})");
    }
    out
}

#[derive(Default)]
struct Lines {
    text: String,
}

impl Lines {
    fn line(&mut self, key: &str, value: &str) {
        let _ = writeln!(self.text, "{key:<11} {value}");
    }
}
