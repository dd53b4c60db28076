//! Which messages a query leaves out because they come too late.

use turnstile_pipeline::{DedupSettings, Pipeline, WindowSpec};
use turnstile_values::MILLISECOND_US;

/// Messages with an event time below a limit are late.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lateness {
    window: WindowSpec,
    /// Spark drops duplicates before it aggregates, and what is late for that by its event time.
    dedup: bool,
}

impl Lateness {
    pub(super) fn of(pipeline: &Pipeline) -> Self {
        Self { window: pipeline.query.window, dedup: pipeline.stream.dedup != DedupSettings::Off }
    }

    /// The event time from which on messages are in time for a batch, if the batch before it had the watermark `watermark_ms`.
    pub(super) fn for_watermark(self, watermark_ms: i64) -> i64 {
        let watermark_us = watermark_ms.saturating_mul(MILLISECOND_US);
        match self.dedup {
            // Its predicate is `event time <= watermark`.
            true => watermark_us.saturating_add(1),
            false => self.for_windows(watermark_us),
        }
    }

    /// The same, if all windows that end up to `closed_until_us` are complete.
    pub(super) fn for_windows(self, closed_until_us: i64) -> i64 {
        let WindowSpec { slide_us, offset_us, .. } = self.window;
        let next = self.window.ends_by(closed_until_us).saturating_add(1);
        next.saturating_mul(slide_us).saturating_add(offset_us)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_late_if_its_last_window_is_complete_and_for_dedup_by_its_own_time() {
        let window = WindowSpec { size_us: 300_000_000, slide_us: 60_000_000, offset_us: 10_000_000 };
        let windows = Lateness { window, dedup: false };
        // The window that begins at 70 s ends at 370 s; the next message's last window begins at 130 s.
        assert_eq!(windows.for_watermark(370_000), 130_000_000);
        assert_eq!(windows.for_watermark(369_999), 70_000_000);
        for event_us in [-1, 0, 129_999_999, 130_000_000, 999_000_000] {
            let is_late = window.last_end_us(event_us) <= 370_000_000;
            assert_eq!(event_us < windows.for_watermark(370_000), is_late, "{event_us}");
        }
        let dedup = Lateness { window, dedup: true };
        assert_eq!(dedup.for_watermark(370_000), 370_000_001);
        assert_eq!(dedup.for_windows(370_000_000), 130_000_000);
    }
}
