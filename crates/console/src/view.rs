//! Pages as HTML: plain values in, fragments out. Nothing here asks for data or decides who may see it.
//!
//! Every text of the data is escaped by maud; no page has inline style or script. Start at [`layout`](layout::layout).

pub(crate) mod chart;
pub(crate) mod conservation;
pub(crate) mod dead_letters;
pub(crate) mod figures;
pub(crate) mod gantt;
pub(crate) mod layout;
pub(crate) mod login;
pub(crate) mod overview;
pub(crate) mod overview_tables;
pub(crate) mod partitions;
pub(crate) mod pieces;
pub(crate) mod pipeline;
pub(crate) mod plan_picture;
pub(crate) mod runs;
pub(crate) mod series;
pub(crate) mod sql;
pub(crate) mod stations;
pub(crate) mod timeline;
pub(crate) mod window;
pub(crate) mod windows;
pub(crate) mod words;
