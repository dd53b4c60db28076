//! Several blobs of state as one: what a restart reads stays few and bounded blobs, however much is kept.

use std::sync::Arc;

use crate::error::EngineError;
use crate::kept_state::KeptState;
use crate::state;
use crate::stream_plan::StreamPlan;

/// One blob with all that `blobs` hold of windows that end after `closed_until_us`. It may take the place of any of them in
/// the order in which state is restored.
///
/// # Errors
/// [`EngineError::State`] when a blob cannot be read.
pub fn merge_state(plan: &Arc<StreamPlan>, blobs: &[Vec<u8>], closed_until_us: i64) -> Result<Vec<u8>, EngineError> {
    let mut kept = KeptState::new(plan)?;
    for bytes in blobs {
        kept.restore(state::decode(plan, bytes)?, closed_until_us)?;
    }
    kept.encode()
}
