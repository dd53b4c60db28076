//! `spark.connect.Relation`: what a table is computed from.

use std::collections::BTreeMap;

/// `Relation`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct RelationMessage {
    #[prost(oneof = "RelationKind", tags = "2, 10, 14, 17, 29, 33")]
    pub(crate) kind: Option<RelationKind>,
}

/// `Relation.rel_type`.
#[derive(Clone, PartialEq, prost::Oneof)]
pub(crate) enum RelationKind {
    #[prost(message, tag = "2")]
    Read(Read),
    #[prost(message, tag = "10")]
    Sql(Sql),
    #[prost(message, tag = "14")]
    Deduplicate(Box<Deduplicate>),
    #[prost(message, tag = "17")]
    Repartition(Box<Repartition>),
    #[prost(message, tag = "29")]
    CollectMetrics(Box<CollectMetrics>),
    #[prost(message, tag = "33")]
    WithWatermark(Box<WithWatermark>),
}

/// `Read`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Read {
    #[prost(message, optional, tag = "2")]
    pub(crate) data_source: Option<DataSourceMessage>,
    #[prost(bool, tag = "3")]
    pub(crate) is_streaming: bool,
}

/// `Read.DataSource`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct DataSourceMessage {
    #[prost(string, optional, tag = "1")]
    pub(crate) format: Option<String>,
    #[prost(string, optional, tag = "2")]
    pub(crate) schema: Option<String>,
    #[prost(btree_map = "string, string", tag = "3")]
    pub(crate) options: BTreeMap<String, String>,
    #[prost(string, repeated, tag = "4")]
    pub(crate) paths: Vec<String>,
}

/// `SQL`: a query, whose tables are views of the session.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Sql {
    #[prost(string, tag = "1")]
    pub(crate) query: String,
}

/// `Deduplicate`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Deduplicate {
    #[prost(message, optional, boxed, tag = "1")]
    pub(crate) input: Option<Box<RelationMessage>>,
    #[prost(string, repeated, tag = "2")]
    pub(crate) column_names: Vec<String>,
    #[prost(bool, optional, tag = "4")]
    pub(crate) within_watermark: Option<bool>,
}

/// `Repartition`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Repartition {
    #[prost(message, optional, boxed, tag = "1")]
    pub(crate) input: Option<Box<RelationMessage>>,
    #[prost(int32, tag = "2")]
    pub(crate) num_partitions: i32,
    /// False: partitions are only joined.
    #[prost(bool, optional, tag = "3")]
    pub(crate) shuffle: Option<bool>,
}

/// `WithWatermark`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct WithWatermark {
    #[prost(message, optional, boxed, tag = "1")]
    pub(crate) input: Option<Box<RelationMessage>>,
    #[prost(string, tag = "2")]
    pub(crate) event_time: String,
    /// An interval such as `300 seconds`.
    #[prost(string, tag = "3")]
    pub(crate) delay_threshold: String,
}

/// `CollectMetrics`: the same rows; aggregates over them are reported beside them.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct CollectMetrics {
    #[prost(message, optional, boxed, tag = "1")]
    pub(crate) input: Option<Box<RelationMessage>>,
    #[prost(string, tag = "2")]
    pub(crate) name: String,
    #[prost(message, repeated, tag = "3")]
    pub(crate) metrics: Vec<ExpressionMessage>,
}

/// `Expression`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ExpressionMessage {
    /// `Expression.expr_type`.
    #[prost(message, optional, tag = "4")]
    pub(crate) text: Option<ExpressionString>,
}

/// `Expression.ExpressionString`: an expression in SQL.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ExpressionString {
    #[prost(string, tag = "1")]
    pub(crate) expression: String,
}
