//! What the lake held as of a commit that is not the newest.

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
