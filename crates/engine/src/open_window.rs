//! A window that can still accept rows.

use std::sync::Arc;

use turnstile_message::OffsetRange;

use crate::error::EngineError;
use crate::groups::{Layer, WindowGroups};
use crate::stored_layer::StoredLayer;
use crate::stream_plan::StreamPlan;

/// Layers in memory that a window keeps before it merges them: bounds the work that closing leaves to do.
const MAX_LAYERS: usize = 8;

/// What is kept of one window.
#[derive(Default)]
pub(crate) struct OpenWindow {
    /// Partial aggregates, to be merged when the window closes.
    pub(crate) layers: Vec<StoredLayer>,
    pub(crate) sources: Vec<OffsetRange>,
    pub(crate) messages: u64,
    /// The version published last; 0 before the first.
    pub(crate) version: u32,
    /// It has rows that no published version contains.
    pub(crate) dirty: bool,
}

/// A window that waits to be published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenWindowSummary {
    /// First instant, microseconds since the epoch, UTC.
    pub start_us: i64,
    /// First instant after it.
    pub end_us: i64,
    /// Messages that are part of it so far.
    pub messages: u64,
    /// The version that was published before; 0 if none was.
    pub published_version: u32,
}

impl OpenWindow {
    /// Whether it has rows that no published version contains.
    pub(crate) fn is_open(&self) -> bool {
        self.version == 0 || self.dirty
    }

    pub(crate) fn push(&mut self, layer: Arc<Layer>) {
        self.layers.push(StoredLayer::Memory(layer));
    }

    /// All layers as one set of groups.
    pub(crate) fn merge(&self, plan: &Arc<StreamPlan>) -> Result<WindowGroups, EngineError> {
        merge(plan, &self.layers)
    }

    /// Replaces all layers by `merged`.
    pub(crate) fn replace(&mut self, merged: Layer) {
        self.layers = vec![StoredLayer::Memory(Arc::new(merged))];
    }

    /// Merges the layers in memory if there are too many.
    pub(crate) fn bound_layers(&mut self, plan: &Arc<StreamPlan>) -> Result<(), EngineError> {
        if self.layers.iter().filter(|layer| !layer.is_spilled()).count() < MAX_LAYERS {
            return Ok(());
        }
        let (spilled, memory): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.layers).into_iter().partition(StoredLayer::is_spilled);
        self.layers = spilled;
        self.push(Arc::new(merge(plan, &memory)?.into_layer()?));
        Ok(())
    }
}

fn merge(plan: &Arc<StreamPlan>, layers: &[StoredLayer]) -> Result<WindowGroups, EngineError> {
    let mut groups = WindowGroups::new(plan)?;
    for layer in layers {
        groups.merge(&*layer.load(plan)?)?;
    }
    Ok(groups)
}
