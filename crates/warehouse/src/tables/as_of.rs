//! What the lake held as of a commit that is not the newest, and what it holds no more.

use std::ops::RangeInclusive;

use turnstile_lake::{Catalog, Extent};

/// The versions that commits up to `seq` published and that are still in the lake, by window and version; `current` is
/// as of then.
pub(crate) fn as_of(catalog: &Catalog, seq: u64) -> Vec<Extent> {
    let mut extents = catalog.history();
    extents.retain(|extent| extent.seq <= seq);
    let window = |extent: &Extent| (extent.start_us, extent.end_us);
    for at in 0..extents.len() {
        let highest = extents.get(at + 1).is_none_or(|next| window(next) != window(&extents[at]));
        extents[at].current = highest && !extents[at].gone;
    }
    extents.retain(|extent| !extent.gone);
    extents
}

/// The windows whose files retention has deleted, as ranges of their starts in microseconds since the epoch, UTC: no window
/// that is still in the lake starts within one.
pub(crate) fn deleted_windows(catalog: &Catalog) -> Vec<RangeInclusive<i64>> {
    let extents = catalog.history();
    let mut ranges: Vec<RangeInclusive<i64>> = Vec::new();
    let mut open = false;
    for (at, extent) in extents.iter().enumerate() {
        // Of a window the highest version decides.
        if extents.get(at + 1).is_some_and(|next| (next.start_us, next.end_us) == (extent.start_us, extent.end_us)) {
            continue;
        }
        match ranges.last_mut().filter(|_| open) {
            Some(last) if extent.gone => *last = *last.start()..=extent.start_us,
            _ if extent.gone => ranges.push(extent.start_us..=extent.start_us),
            _ => {}
        }
        open = extent.gone;
    }
    ranges
}
