//! The names that flows and tasks have for people.

/// The names of a flow and its tasks. Every one can be set; the defaults are those of the job that turnstile replaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrackNames {
    /// The flow.
    pub flow: String,
    /// Reading, from one published commit to the next.
    pub read: String,
    /// Aggregating and closing windows.
    pub aggregate: String,
    /// Writing files and publishing them.
    pub write: String,
    /// Loading the warehouse, or a delivery to another database.
    pub load: String,
    /// The tests of a load.
    pub tests: String,
    /// Deleting and merging old files.
    pub retain: String,
    /// Writing messages to a topic.
    pub produce: String,
    /// Reading messages of a topic, without computing anything of them.
    pub consume: String,
}

impl Default for TrackNames {
    fn default() -> Self {
        Self {
            flow: "MTA Spark Data Stream flow".into(),
            read: "Read data stream".into(),
            aggregate: "Aggregate messages".into(),
            write: "Write to Storage".into(),
            load: "Load warehouse".into(),
            tests: "Run tests".into(),
            retain: "Retain".into(),
            produce: "Produce messages".into(),
            consume: "Consume messages".into(),
        }
    }
}
