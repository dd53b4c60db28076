//! One timestamp column's text as instants.

use std::sync::Arc;

use turnstile_pipeline::TimestampFormat;
use turnstile_values::LocalTimeKind;

use super::zone::LocalZone;

/// Seconds of the years 1 to 9999: far from where windows' bounds would overflow.
pub(crate) const INSTANT_SECS: std::ops::Range<i64> = -62_135_596_800..253_402_300_800;

/// Parses one timestamp column. Neighbouring rows often carry the same second, which is parsed once.
#[derive(Debug)]
pub(crate) struct TimestampParser {
    format: TimestampFormat,
    pub(crate) zone: LocalZone,
    pub(crate) name: Arc<str>,
    last_text: Vec<u8>,
    last: (i64, LocalTimeKind),
    pub(crate) ambiguous: u64,
    pub(crate) nonexistent: u64,
}

impl TimestampParser {
    pub(crate) fn new(format: TimestampFormat, zone: chrono_tz::Tz) -> Self {
        Self {
            format,
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
            let read = self.format.read(text)?;
            let (utc, kind) = match read.offset_secs {
                Some(offset) => (read.secs - offset, LocalTimeKind::Unique),
                None => self.zone.instant(read.secs),
            };
            if !INSTANT_SECS.contains(&utc) {
                return None;
            }
            self.last = (utc * 1_000_000 + read.micros, kind);
            self.last_text.clear();
            self.last_text.extend_from_slice(text);
        }
        self.count(self.last.1);
        Some(self.last.0)
    }

    /// The instant that a number of a field of numbers since 1970 means; microseconds since the epoch.
    pub(crate) fn of_number(&self, number: i64) -> Option<i64> {
        let TimestampFormat::Epoch(unit) = self.format else { return None };
        let read = unit.instant(number).filter(|read| INSTANT_SECS.contains(&read.secs))?;
        Some(read.secs * 1_000_000 + read.micros)
    }

    /// Whether the field's values are numbers since 1970.
    pub(crate) fn takes_numbers(&self) -> bool {
        matches!(self.format, TimestampFormat::Epoch(_))
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
