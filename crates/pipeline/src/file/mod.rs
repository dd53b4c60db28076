//! The text of a pipeline file as a tree in which every value has its position.
//!
//! In: TOML text and the values that replace some of it. Out: a [`TomlNode`] tree, and positions.
//! Knows nothing of what the keys mean. Start at [`PipelineText::parse`]; [`read::TableReader`] is how a table is read.

mod node;
pub(crate) mod read;
mod string_map;

pub(crate) use node::{Fault, PipelineText, TextSpan, TomlNode, TomlTable, TomlValue};
pub(crate) use string_map::StringMap;
