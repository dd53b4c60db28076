//! The pipeline file, its plan and its schemas.

use std::path::Path;

use toml_edit::{DocumentMut, Item, TableLike, Value};
use turnstile_console::data::{PipelineDescription, PlanEdge, PlanNode, PlanNodeKind, PlanPicture, SchemaColumn};
use turnstile_pipeline::{DedupSettings, LatePolicy, Pipeline, is_secret};
use turnstile_values::human;

/// What stands in a secret's place.
const HIDDEN: &str = "(hidden)";

/// A pipeline file as it was read: its name and its text.
#[derive(Debug, Clone)]
pub(crate) struct PipelineFileText {
    pub(crate) name: String,
    pub(crate) text: String,
}

impl PipelineFileText {
    /// The file at `path`, which was read as a pipeline a moment ago.
    pub(crate) fn read(path: &Path) -> Option<Self> {
        Some(Self { name: path.display().to_string(), text: std::fs::read_to_string(path).ok()? })
    }
}

/// What a page shows of `pipeline`, which was read from `file`.
pub(crate) fn describe(pipeline: &Pipeline, file: Option<&PipelineFileText>) -> PipelineDescription {
    let column = |(name, type_name, _): (&str, String, bool)| {
        let note = (name == pipeline.stream.event_time).then(|| "event time".to_owned());
        SchemaColumn { name: name.to_owned(), type_name, note }
    };
    let result =
        |(name, type_name, _): (&str, String, bool)| SchemaColumn { name: name.to_owned(), type_name, note: None };
    PipelineDescription {
        file_name: file.map(|file| file.name.clone()),
        file_text: file.map(|file| masked(&file.text)),
        plan_hash: Some(pipeline.plan_hash.clone()),
        plan: picture(pipeline),
        message: pipeline.message_columns().into_iter().map(column).collect(),
        aggregate: pipeline.output_columns().into_iter().map(result).collect(),
    }
}

/// The text with every secret hidden, and what a URL says before its `@`; nothing of a text that is not TOML.
fn masked(text: &str) -> String {
    let Ok(mut document) = text.parse::<DocumentMut>() else { return HIDDEN.to_owned() };
    mask_table(document.as_table_mut());
    document.to_string()
}

fn mask_table(table: &mut dyn TableLike) {
    for (key, item) in table.iter_mut() {
        let key = key.get().to_owned();
        match item {
            Item::Value(value) => mask_value(&key, value),
            Item::Table(table) => mask_table(table),
            Item::ArrayOfTables(tables) => tables.iter_mut().for_each(|table| mask_table(table)),
            Item::None => {}
        }
    }
}

fn mask_value(key: &str, value: &mut Value) {
    match value {
        Value::InlineTable(table) => mask_table(table),
        Value::Array(array) => array.iter_mut().for_each(|value| mask_value(key, value)),
        Value::String(text) if is_secret(key) || key == "json" || has_user(text.value()) => {
            let decor = text.decor().clone();
            *value = Value::from(HIDDEN);
            *value.decor_mut() = decor;
        }
        _ => {}
    }
}

/// Whether a URL has a user, or a signature in its query.
fn has_user(text: &str) -> bool {
    let Some((_, rest)) = text.split_once("://") else { return false };
    rest.split(['/', '?', '#']).next().is_some_and(|authority| authority.contains('@')) || rest.contains("sig=")
}

/// Source, decode, dedup, windows, lake, warehouse and targets from left to right; dead letters beside them.
fn picture(pipeline: &Pipeline) -> PlanPicture {
    let (source, stream, window) = (&pipeline.source, &pipeline.stream, &pipeline.query.window);
    let mut picture = PlanPicture::default();
    let node = |picture: &mut PlanPicture, title: &str, kind, details: Vec<String>| {
        picture.nodes.push(PlanNode { title: title.to_owned(), details, kind });
        picture.nodes.len() - 1
    };
    let arrow = |picture: &mut PlanPicture, from, to, label: Option<&str>| {
        picture.edges.push(PlanEdge { from, to, label: label.map(str::to_owned) });
    };
    let topic = node(&mut picture, "Kafka", PlanNodeKind::Source, vec![source.topics.to_string()]);
    let fields = human::plural(source.schema.len() as u64, "field");
    let decode = node(&mut picture, "Decode", PlanNodeKind::Transform, vec![source.format.as_str().to_owned(), fields]);
    arrow(&mut picture, topic, decode, None);
    let rejected = node(
        &mut picture,
        "Dead letters",
        PlanNodeKind::Rejected,
        vec![
            stream
                .dead_letter_topic
                .clone()
                .map_or_else(|| "files in the lake".to_owned(), |topic| format!("topic {topic}")),
        ],
    );
    arrow(&mut picture, decode, rejected, Some("rejected"));
    let mut before = decode;
    let dedup = match &stream.dedup {
        DedupSettings::Off => None,
        DedupSettings::Value => Some("whole value".to_owned()),
        DedupSettings::Fields(names) => Some(names.join(", ")),
    };
    if let Some(by) = dedup {
        let dedup = node(&mut picture, "Remove duplicates", PlanNodeKind::Transform, vec![by]);
        arrow(&mut picture, before, dedup, None);
        before = dedup;
    }
    let mut details = vec![human::duration(window.size_us)];
    if window.slide_us != window.size_us {
        details.push(format!("every {}", human::duration(window.slide_us)));
    }
    details.push(format!("watermark {}", human::duration(stream.watermark_us)));
    details.push(human::plural(pipeline.query.keys.len() as u64, "group column"));
    let windows = node(&mut picture, "Windows", PlanNodeKind::Transform, details);
    arrow(&mut picture, before, windows, None);
    if stream.late == LatePolicy::DeadLetter {
        arrow(&mut picture, windows, rejected, Some("late"));
    }
    let lake = vec![pipeline.lake.url.clone(), pipeline.lake.format.extension().to_owned()];
    let lake = node(&mut picture, "Lake", PlanNodeKind::Sink, lake);
    arrow(&mut picture, windows, lake, Some("closed windows"));
    if let Some(settings) = &pipeline.warehouse {
        let warehouse = node(&mut picture, "Warehouse", PlanNodeKind::Sink, vec![settings.table.clone()]);
        arrow(&mut picture, lake, warehouse, None);
        let targets = [("PostgreSQL", settings.postgres.is_some()), ("BigQuery", settings.bigquery.is_some())];
        for (name, _) in targets.into_iter().filter(|(_, there)| *there) {
            let target = node(&mut picture, name, PlanNodeKind::Sink, Vec::new());
            arrow(&mut picture, warehouse, target, None);
        }
    }
    picture
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_secret_of_a_file_is_shown_and_everything_else_stays() {
        let text = "# a comment\n[source]\nkafka = { \"sasl.password\" = \"hush\", \"client.id\" = 'x' } # why\n\
                    [source.other]\n\"ssl.key.password\" = \"hush\"\n[warehouse.postgres]\nurl = \"postgres://u:hush@h/d\"\n\
                    [warehouse.bigquery]\ncredentials = { json = \"hush\" }\n[lake]\nurl = \"s3://bucket/x\"\n";
        let shown = masked(text);
        assert!(!shown.contains("hush"), "{shown}");
        for kept in ["# a comment", "\"client.id\" = 'x'", "# why", "s3://bucket/x"] {
            assert!(shown.contains(kept), "{shown}");
        }
        assert_eq!(shown.matches(HIDDEN).count(), 4, "{shown}");
        assert_eq!(masked("password = hush"), HIDDEN, "a text that cannot be read is not shown");
    }

    #[test]
    fn a_plan_is_a_picture_whose_arrows_lead_forward() {
        let file = include_str!("../../pipelines/mta-turnstile.toml");
        let pipeline = Pipeline::from_str(file, "p.toml").unwrap();
        let picture = picture(&pipeline);
        let titles: Vec<&str> = picture.nodes.iter().map(|node| node.title.as_str()).collect();
        assert_eq!(titles, ["Kafka", "Decode", "Dead letters", "Remove duplicates", "Windows", "Lake", "Warehouse"]);
        assert!(
            picture
                .edges
                .iter()
                .all(|edge| edge.from < edge.to || picture.nodes[edge.to].kind == PlanNodeKind::Rejected)
        );
        let description = describe(&pipeline, None);
        assert!(description.message.iter().any(|column| column.note.as_deref() == Some("event time")));
        assert_eq!(description.aggregate.len(), pipeline.output_columns().len());
    }
}
