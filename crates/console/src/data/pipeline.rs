//! Pipelines: which there are, and what one is made of.

/// A pipeline in the list of pipelines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PipelineListing {
    /// Its name: at most 64 letters, digits, `.`, `_` and `-`.
    pub name: String,
    /// It runs in this process or another.
    pub running: bool,
}

/// The file, the plan and the schemas of a pipeline.
#[derive(Debug, Clone, Default)]
pub struct PipelineDescription {
    /// The file's name; `None` where only the ledger is known.
    pub file_name: Option<String>,
    /// Its text, with secrets masked already.
    pub file_text: Option<String>,
    /// Hash of the plan.
    pub plan_hash: Option<String>,
    /// The plan.
    pub plan: PlanPicture,
    /// Columns of a message.
    pub message: Vec<SchemaColumn>,
    /// Columns of an aggregate, as files have them.
    pub aggregate: Vec<SchemaColumn>,
}

/// The plan as nodes and arrows, drawn from left to right. No arrow may lead back.
#[derive(Debug, Clone, Default)]
pub struct PlanPicture {
    /// In any order; arrows name them by index.
    pub nodes: Vec<PlanNode>,
    /// The arrows.
    pub edges: Vec<PlanEdge>,
}

/// An arrow of a plan, by the nodes' indexes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanEdge {
    /// From this node.
    pub from: usize,
    /// To this node.
    pub to: usize,
    /// What passes: `late rows`.
    pub label: Option<String>,
}

/// A step of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanNode {
    /// One or two words: `Windows`.
    pub title: String,
    /// A few short lines: `5 minutes`, `watermark 5 minutes`.
    pub details: Vec<String>,
    /// What sort of step.
    pub kind: PlanNodeKind,
}

/// What sort of step a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PlanNodeKind {
    /// Where messages come from.
    Source,
    /// What is done with them.
    Transform,
    /// Where results go.
    Sink,
    /// Where rejected messages go.
    Rejected,
}

/// A column of a schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaColumn {
    /// Its name.
    pub name: String,
    /// Its type.
    pub type_name: String,
    /// What it is, in a few words: a format, a zone, `event time`, `group key`, `sum(ENTRIES)`.
    pub note: Option<String>,
}
