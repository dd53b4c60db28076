//! Which blobs of state are merged into one, so that a slot refers to few of them and each is of bounded size.

use turnstile_lake::StateRef;

use super::commit::ADD;

/// Increments that a slot may refer to before small ones are merged. The engine's own snapshots keep them below this unless
/// some of its state is on disk.
const MAX_INCREMENTS: usize = 300;

/// Increments that one merger takes at the most.
const MERGED_AT_ONCE: usize = 128;

/// Bytes of all that one merger takes: bounds its memory.
const MERGED_BYTES: u64 = 64 << 20;

/// The increments of `live` to merge now, by position, ascending; none while there are few, or if each is large already.
pub(crate) fn due(live: &[StateRef]) -> Vec<usize> {
    let mut increments: Vec<usize> = (0..live.len()).filter(|at| live[*at].kind == ADD).collect();
    if increments.len() <= MAX_INCREMENTS {
        return Vec::new();
    }
    // The smallest first: each byte is merged again only once its blob is among the small ones.
    increments.sort_by_key(|at| live[*at].bytes);
    let mut bytes = 0;
    let fits = |at: &usize| {
        bytes += live[*at].bytes;
        bytes <= MERGED_BYTES
    };
    let mut chosen: Vec<usize> = increments.into_iter().take(MERGED_AT_ONCE).take_while(fits).collect();
    chosen.sort_unstable();
    if chosen.len() < 2 { Vec::new() } else { chosen }
}

#[cfg(test)]
mod tests {
    use turnstile_lake::Hash;

    use super::*;

    fn blob(kind: &str, bytes: u64) -> StateRef {
        let object = String::new();
        StateRef { object, start: 0, bytes, sha256: Hash::of(b""), kind: kind.to_owned(), live_until_us: None }
    }

    #[test]
    fn the_smallest_increments_are_merged_once_there_are_many() {
        let mut live = vec![blob("replace", 1)];
        live.extend((0..MAX_INCREMENTS as u64).map(|n| blob(ADD, 1000 - n)));
        assert_eq!(due(&live), Vec::<usize>::new());
        live.push(blob(ADD, 1 << 30));
        let chosen = due(&live);
        assert_eq!((chosen.len(), chosen[0], *chosen.last().unwrap()), (MERGED_AT_ONCE, 173, 300));
    }

    #[test]
    fn large_increments_stay_as_they_are() {
        let live: Vec<StateRef> = (0..=MAX_INCREMENTS).map(|_| blob(ADD, MERGED_BYTES)).collect();
        assert_eq!(due(&live), Vec::<usize>::new());
    }
}
