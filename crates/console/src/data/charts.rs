//! Charts that are offered.

/// A chart of a query's columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChartSpec {
    /// Short and unique within the pipeline: letters, digits, `-`. Part of a URL.
    pub id: String,
    /// Its title, such as `Entries and exits per station`.
    pub title: String,
    /// The query. It comes from the program, never from a URL.
    pub sql: String,
    /// The column of the horizontal axis: an instant or a number.
    pub x: String,
    /// The columns that are drawn, such as `entries`, `exits`; the first decides the order of series.
    pub y: Vec<String>,
    /// The column that names what is drawn in separate charts, such as `station`.
    pub series: Option<String>,
    /// The unit of the values, such as `people`.
    pub unit: Option<String>,
}
