//! Which state changes a restart would read, and when a full snapshot replaces them.

/// State changes before a full snapshot may replace them: fewer do not slow a restart.
const FEW_CHANGES: usize = 32;

/// State changes before a full snapshot replaces them in any case: bounds the objects that a restart reads and that
/// every slot refers to.
const MAX_CHANGES: usize = 256;

/// The state changes that a restart would read, oldest first.
#[derive(Default)]
pub(crate) struct LiveChanges(Vec<LiveChange>);

/// The size of one change, and until when it is needed.
struct LiveChange {
    live_until_us: i64,
    bytes: usize,
}

impl LiveChanges {
    pub(crate) fn push(&mut self, live_until_us: i64, bytes: usize) {
        self.0.push(LiveChange { live_until_us, bytes });
    }

    /// Starts again with a snapshot of `bytes`.
    pub(crate) fn replace(&mut self, bytes: usize) {
        self.0 = vec![LiveChange { live_until_us: i64::MAX, bytes }];
    }

    /// Drops the changes that are obsolete once windows that end by `closed_until_us` have closed.
    pub(crate) fn expire(&mut self, closed_until_us: i64) {
        self.0.retain(|change| change.live_until_us > closed_until_us);
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// Whether to write a full snapshot. The changes since the last one have to outweigh it, so that all snapshots together
    /// write at most twice what was added: with millions of messages seen, one snapshot is large.
    pub(crate) fn need_snapshot(&self) -> bool {
        let changes = self.0.len();
        let base = self.0.first().map_or(0, |change| change.bytes);
        let added: usize = self.0.iter().skip(1).map(|change| change.bytes).sum();
        changes >= MAX_CHANGES || (changes >= FEW_CHANGES && added > base)
    }
}
