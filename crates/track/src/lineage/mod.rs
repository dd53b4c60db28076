//! OpenLineage: which topics, files and tables a run read and wrote.
//!
//! In: [`TrackEvent`](crate::TrackEvent)s and the names of datasets. Out: [`LineageEvent`]s, to a file or an HTTP endpoint.
//! Start at [`LineageRun::observe`]; [`LineageSink`] does the I/O.
//!
//! The events' types are ours: `openlineage-client` 0.0.5 has a model, but promises no stability, lacks the SQL facet's dialect,
//! and its untyped maps are where most of our facets would be.

mod dataset;
mod event;
mod facet;
mod run;
mod sink;
#[cfg(test)]
mod tests;

pub use dataset::LineageDataset;
pub use event::{LineageEvent, LineageEventType};
pub use facet::LINEAGE_PRODUCER;
pub use run::{LineageEnd, LineageJob, LineageRun, MAX_LINEAGE_FILES, MAX_LINEAGE_PARTITIONS};
pub use sink::{LINEAGE_CAPACITY, LineageSink, MAX_LINEAGE_FILE_BYTES};
