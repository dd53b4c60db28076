//! Local timestamps to instants of one zone, fast: by [`offset_of_local`], whose answers are kept.

use chrono_tz::Tz;
use turnstile_values::{LocalTimeKind, offset_of_local};

/// Converts local seconds to UTC seconds for one zone.
///
/// Offsets change at quarter hours at the finest, so an answer holds for its whole quarter hour and is
/// kept in a small direct-mapped table.
#[derive(Debug)]
pub(crate) struct LocalZone {
    zone: Tz,
    utc: bool,
    slots: Box<[OffsetSlot; SLOTS]>,
}

const SLOTS: usize = 256;
const QUARTER_SECS: i64 = 900;

#[derive(Debug, Clone, Copy)]
struct OffsetSlot {
    quarter: i64,
    offset_secs: i64,
    kind: LocalTimeKind,
}

impl LocalZone {
    pub(crate) fn new(zone: Tz) -> Self {
        let empty = OffsetSlot { quarter: i64::MIN, offset_secs: 0, kind: LocalTimeKind::Unique };
        Self { zone, utc: matches!(zone, Tz::UTC | Tz::Etc__UTC), slots: Box::new([empty; SLOTS]) }
    }

    /// UTC seconds of `local_secs`, seconds since 1970-01-01T00:00:00 on the zone's wall clock.
    #[inline]
    pub(crate) fn instant(&mut self, local_secs: i64) -> (i64, LocalTimeKind) {
        if self.utc {
            return (local_secs, LocalTimeKind::Unique);
        }
        let quarter = local_secs.div_euclid(QUARTER_SECS);
        let at = quarter.rem_euclid(SLOTS as i64) as usize;
        if self.slots[at].quarter != quarter {
            self.slots[at] = self.look_up(quarter);
        }
        let slot = self.slots[at];
        (local_secs - slot.offset_secs, slot.kind)
    }

    #[cold]
    fn look_up(&self, quarter: i64) -> OffsetSlot {
        let (offset_secs, kind) = offset_of_local(self.zone, quarter * QUARTER_SECS);
        OffsetSlot { quarter, offset_secs, kind }
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;

    fn local(text: &str) -> i64 {
        chrono::NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S").unwrap().and_utc().timestamp()
    }

    fn utc(zone: &mut LocalZone, text: &str) -> (String, LocalTimeKind) {
        let (secs, kind) = zone.instant(local(text));
        (DateTime::from_timestamp(secs, 0).unwrap().format("%F %T").to_string(), kind)
    }

    #[test]
    fn the_hour_that_happens_twice_is_taken_as_its_first() {
        let mut zone = LocalZone::new(Tz::America__New_York);
        assert_eq!(utc(&mut zone, "2023-11-05 00:59:59"), ("2023-11-05 04:59:59".into(), LocalTimeKind::Unique));
        assert_eq!(utc(&mut zone, "2023-11-05 01:30:00"), ("2023-11-05 05:30:00".into(), LocalTimeKind::Ambiguous));
        assert_eq!(utc(&mut zone, "2023-11-05 02:00:00"), ("2023-11-05 07:00:00".into(), LocalTimeKind::Unique));
    }

    #[test]
    fn the_hour_that_never_happens_moves_later_by_the_gap() {
        let mut zone = LocalZone::new(Tz::America__New_York);
        assert_eq!(utc(&mut zone, "2023-03-12 01:59:59"), ("2023-03-12 06:59:59".into(), LocalTimeKind::Unique));
        assert_eq!(utc(&mut zone, "2023-03-12 02:30:00"), ("2023-03-12 07:30:00".into(), LocalTimeKind::Nonexistent));
        assert_eq!(utc(&mut zone, "2023-03-12 03:30:00"), ("2023-03-12 07:30:00".into(), LocalTimeKind::Unique));
    }
}
