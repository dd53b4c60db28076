//! A layer of a window: in memory, or in a file of the spill space.

use std::sync::Arc;

use crate::error::EngineError;
use crate::groups::Layer;
use crate::spill::SpillFile;
use crate::state;
use crate::stream_plan::StreamPlan;

/// Partial aggregates of a window, wherever they are.
pub(crate) enum StoredLayer {
    Memory(Arc<Layer>),
    Spilled(SpilledLayer),
}

/// Where a layer lies, as a blob of state.
pub(crate) struct SpilledLayer {
    file: Arc<dyn SpillFile>,
    at: u64,
    bytes: usize,
}

impl StoredLayer {
    /// Bytes of memory.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Memory(layer) => layer.bytes(),
            Self::Spilled(_) => size_of::<SpilledLayer>(),
        }
    }

    pub(crate) fn is_spilled(&self) -> bool {
        matches!(self, Self::Spilled(_))
    }

    /// The layer itself.
    pub(crate) fn load(&self, plan: &StreamPlan) -> Result<Arc<Layer>, EngineError> {
        match self {
            Self::Memory(layer) => Ok(Arc::clone(layer)),
            Self::Spilled(spilled) => {
                let mut bytes = vec![0; spilled.bytes];
                spilled.file.read_at(spilled.at, &mut bytes).map_err(EngineError::Spill)?;
                Ok(Arc::new(state::decode_layer(plan, &bytes)?))
            }
        }
    }

    /// Moves it to `file`.
    pub(crate) fn spill(&mut self, plan: &StreamPlan, file: &Arc<dyn SpillFile>) -> Result<(), EngineError> {
        if let Self::Memory(layer) = self {
            let bytes = state::encode_layer(plan, layer)?;
            let at = file.append(&bytes).map_err(EngineError::Spill)?;
            *self = Self::Spilled(SpilledLayer { file: Arc::clone(file), at, bytes: bytes.len() });
        }
        Ok(())
    }
}
