//! What a snapshot names can be replaced before it is read: then a newer snapshot answers.

use std::error::Error;

use crate::source::LiveRowsError;

/// How many snapshots a statement is run over, in all, while newer commits replace what each one names.
pub(crate) const SNAPSHOTS_TRIED: u32 = 5;

/// Whether a statement failed because newer commits replaced what its snapshot names. Over a newer session it may
/// succeed; none of its rows was read.
pub fn is_replaced(error: &(dyn Error + 'static)) -> bool {
    let mut at = Some(error);
    while let Some(error) = at {
        if matches!(error.downcast_ref(), Some(LiveRowsError::Replaced)) {
            return true;
        }
        at = error.source();
    }
    false
}
