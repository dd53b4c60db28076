//! A window that can still accept rows.

use std::sync::Arc;

use turnstile_message::OffsetRange;

use crate::error::EngineError;
use crate::groups::{Layer, WindowGroups};
use crate::stream_plan::StreamPlan;

/// What is kept of one window.
#[derive(Default)]
pub(crate) struct OpenWindow {
    /// Partial aggregates, to be merged when the window closes.
    pub(crate) layers: Vec<Arc<Layer>>,
    pub(crate) sources: Vec<OffsetRange>,
    pub(crate) messages: u64,
    /// The version published last; 0 before the first.
    pub(crate) version: u32,
    /// It has rows that no published version contains.
    pub(crate) dirty: bool,
}

impl OpenWindow {
    /// All layers as one set of groups.
    pub(crate) fn merge(&self, plan: &Arc<StreamPlan>) -> Result<WindowGroups, EngineError> {
        let mut groups = WindowGroups::new(plan)?;
        for layer in &self.layers {
            groups.merge(layer)?;
        }
        Ok(groups)
    }

    /// Replaces the layers with their merger.
    pub(crate) fn compact(&mut self, plan: &Arc<StreamPlan>) -> Result<(), EngineError> {
        self.layers = vec![Arc::new(self.merge(plan)?.into_layer()?)];
        Ok(())
    }
}
