//! One timestamp column's text as instants.

use std::sync::Arc;

use turnstile_pipeline::TimestampPattern;

use super::timestamp;
use super::zone::{LocalTimeKind, LocalZone};

/// Parses one timestamp column. Neighbouring rows often carry the same second, which is parsed once.
#[derive(Debug)]
pub(crate) struct TimestampParser {
    pattern: TimestampPattern,
    pub(crate) zone: LocalZone,
    pub(crate) name: Arc<str>,
    last_text: Vec<u8>,
    last: (i64, LocalTimeKind),
    pub(crate) ambiguous: u64,
    pub(crate) nonexistent: u64,
}

impl TimestampParser {
    pub(crate) fn new(pattern: TimestampPattern, zone: chrono_tz::Tz) -> Self {
        Self {
            pattern,
            zone: LocalZone::new(zone),
            name: zone.name().into(),
            last_text: Vec::new(),
            last: (0, LocalTimeKind::Unique),
            ambiguous: 0,
            nonexistent: 0,
        }
    }

    #[inline]
    pub(crate) fn parse(&mut self, text: &[u8]) -> Option<i64> {
        if self.last_text.is_empty() || self.last_text != text {
            let read = timestamp::read(&self.pattern, text)?;
            let (utc, kind) = match read.offset_secs {
                Some(offset) => (read.secs - offset, LocalTimeKind::Unique),
                None => self.zone.instant(read.secs),
            };
            self.last = (utc * 1_000_000 + read.micros, kind);
            self.last_text.clear();
            self.last_text.extend_from_slice(text);
        }
        self.count(self.last.1);
        Some(self.last.0)
    }

    #[inline]
    pub(crate) fn count(&mut self, kind: LocalTimeKind) {
        match kind {
            LocalTimeKind::Unique => {}
            LocalTimeKind::Ambiguous => self.ambiguous += 1,
            LocalTimeKind::Nonexistent => self.nonexistent += 1,
        }
    }
}
