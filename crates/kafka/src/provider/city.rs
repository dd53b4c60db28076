//! `city`: a synthetic subway of any size, with rush hours and adjustable faults.

use std::time::Duration;

use super::clock::{SyntheticClock, WallClock};
use super::draw::{draw, push_number, uuid_text};
use super::{ProducerRecord, Provider, ProviderError};

/// Most turnstiles a city may have: each keeps about a hundred bytes of its fields in memory.
const MAX_TURNSTILES: u64 = 1_000_000;

/// What the city is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CitySettings {
    /// Another seed gives other counts, IDs and faults.
    pub seed: u64,
    /// Stations. Default 387, as many as 5,026 turnstiles at 13 a station fill.
    pub stations: u64,
    /// What a station's name begins with, before its number. Default `STATION `.
    pub station_prefix: &'static str,
    /// Turnstiles, read in turn. Default 5,026, those of the real subway in January 2024.
    pub turnstiles: u64,
    /// Index of the first message: a restart resumes where the last run stopped.
    pub first: u64,
    /// Messages in a thousand whose event time lies `late_by` back.
    pub late_permille: u64,
    /// How far back. Default one hour.
    pub late_by: Duration,
    /// Messages in a thousand that repeat the message before them.
    pub duplicates_permille: u64,
    /// Messages in a thousand that no schema accepts.
    pub malformed_permille: u64,
}

impl Default for CitySettings {
    fn default() -> Self {
        Self {
            seed: 1,
            stations: 387,
            station_prefix: "STATION ",
            turnstiles: 5_026,
            first: 0,
            late_permille: 0,
            late_by: Duration::from_secs(3600),
            duplicates_permille: 0,
            malformed_permille: 0,
        }
    }
}

/// What a message of the city is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ReadingKind {
    Plain,
    Late,
    Malformed,
    Duplicate,
}

/// Riders in a reading, in tenths of the ordinary 5 to 10, by hour of the day, where people enter in the morning.
const MORNING: [u64; 24] = [2, 1, 1, 1, 2, 5, 12, 25, 30, 20, 12, 10, 10, 10, 10, 11, 12, 14, 13, 10, 8, 6, 5, 3];
/// The same where people leave in the morning and enter in the evening.
const EVENING: [u64; 24] = [3, 2, 1, 1, 1, 2, 4, 7, 9, 9, 9, 10, 11, 10, 11, 14, 20, 30, 28, 18, 12, 9, 7, 5];

/// The provider. Message `i` is a reading of turnstile `i mod turnstiles`, with the 13 fields and the form of
/// `test-station`; its key is `CA,UNIT,SCP`, so that a turnstile stays in one partition, in order.
#[derive(Debug, Clone)]
pub struct CityProvider {
    settings: CitySettings,
    clock: SyntheticClock,
    wall_clock: WallClock,
    turnstiles: Vec<Turnstile>,
    index: u64,
}

#[derive(Debug, Clone)]
struct Turnstile {
    /// `CA,UNIT,SCP,STATION,LINENAME,DIVISION,`.
    fields: Box<[u8]>,
    key_len: usize,
    /// Whether people enter here in the morning.
    morning: bool,
}

impl CityProvider {
    /// A city whose message `i` depends on the settings, the clock and `i`.
    ///
    /// # Errors
    /// Shares that exceed 1000 permille together, no turnstile, or more of them than fit in memory.
    pub fn new(settings: CitySettings, clock: SyntheticClock) -> Result<Self, ProviderError> {
        let wrong = |reason: String| Err(ProviderError::Settings(reason));
        let shares = [settings.late_permille, settings.duplicates_permille, settings.malformed_permille];
        if shares.iter().fold(0u64, |sum, share| sum.saturating_add(*share)) > 1000 {
            return wrong("late, duplicate and malformed messages add up to more than 1000 per thousand".to_owned());
        }
        if settings.stations == 0 || settings.turnstiles < settings.stations || settings.turnstiles > MAX_TURNSTILES {
            return wrong(format!(
                "a city needs a station, a turnstile per station, and at most {MAX_TURNSTILES} turnstiles: {} stations with {} turnstiles",
                settings.stations, settings.turnstiles
            ));
        }
        let per_station = settings.turnstiles.div_ceil(settings.stations);
        let turnstiles = (0..settings.turnstiles)
            .map(|id| Turnstile::new(id / per_station, id % per_station, settings.station_prefix))
            .collect();
        Ok(Self { settings, clock, wall_clock: clock.wall_clock(), turnstiles, index: settings.first })
    }

    /// The event-time step at which every turnstile is read once in ten seconds.
    pub fn default_step(turnstiles: u64) -> Duration {
        Duration::from_secs(10) / u32::try_from(turnstiles.clamp(1, MAX_TURNSTILES)).unwrap_or(1)
    }

    fn kind(&self, index: u64) -> ReadingKind {
        let s = &self.settings;
        let share = draw(s.seed, index, 0) % 1000;
        match share {
            // The first message has no predecessor to repeat.
            _ if share < s.duplicates_permille && index > 0 => ReadingKind::Duplicate,
            _ if share < s.duplicates_permille => ReadingKind::Plain,
            _ if share < s.duplicates_permille + s.malformed_permille => ReadingKind::Malformed,
            _ if share < s.duplicates_permille + s.malformed_permille + s.late_permille => ReadingKind::Late,
            _ => ReadingKind::Plain,
        }
    }

    fn write(&mut self, index: u64, kind: ReadingKind, record: &mut ProducerRecord) {
        let seed = self.settings.seed;
        let turnstile = &self.turnstiles[(index % self.turnstiles.len() as u64) as usize];
        record.reset();
        record.set_key(&turnstile.fields[..turnstile.key_len]);
        record.event_at_ms = self.clock.event_at_ms(index);
        let late_by = if kind == ReadingKind::Late { self.settings.late_by } else { Duration::ZERO };
        self.wall_clock.set(record.event_at_ms.saturating_sub(i64::try_from(late_by.as_millis()).unwrap_or(i64::MAX)));

        let (into, out_of) = if turnstile.morning { (&MORNING, &EVENING) } else { (&EVENING, &MORNING) };
        let riders = |field, hours: &[u64; 24]| (5 + draw(seed, index, field) % 6) * hours[self.wall_clock.hour()] / 10;
        let mut id = [0; 36];
        uuid_text(seed, index, &mut id);

        let out = &mut record.value;
        out.push(b'"');
        out.extend_from_slice(&turnstile.fields);
        out.extend_from_slice(&self.wall_clock.date());
        out.push(b',');
        out.extend_from_slice(self.wall_clock.time());
        out.extend_from_slice(b",REGULAR,");
        let entries_at = out.len();
        push_number(out, riders(1, into));
        out.push(b',');
        push_number(out, riders(2, out_of));
        out.push(b',');
        out.extend_from_slice(&id);
        out.push(b',');
        out.extend_from_slice(self.wall_clock.timestamp());
        out.push(b'"');
        if kind == ReadingKind::Malformed {
            spoil(out, entries_at, draw(seed, index, 3));
        }
    }
}

/// Makes a message that no schema accepts, in one of five ways.
fn spoil(value: &mut Vec<u8>, entries_at: usize, way: u64) {
    match way % 5 {
        // Truncated, as by a sender that died: the JSON string does not end.
        0 => value.truncate(entries_at),
        // A field is missing.
        1 => {
            value.truncate(entries_at);
            value.extend_from_slice(b"7\"");
        }
        // A text where a number belongs.
        2 => {
            value.splice(entries_at..entries_at + 1, *b"abc");
        }
        // Not UTF-8.
        3 => value[entries_at] = 0xFF,
        // No reading at all.
        _ => {
            value.clear();
            value.extend_from_slice(b"{\"alarm\":\"door\"}");
        }
    }
}

impl Turnstile {
    fn new(station: u64, place: u64, prefix: &str) -> Self {
        let key = format!("A{station:03},R{:03},{:02}-00-{place:02}", station % 470, place / 4);
        let fields = format!("{key},{prefix}{station:03},456NQR,BMT,");
        Self { key_len: key.len(), fields: fields.into_bytes().into(), morning: station.is_multiple_of(2) }
    }
}

impl Provider for CityProvider {
    fn name(&self) -> &'static str {
        "city"
    }

    fn total(&self) -> Option<u64> {
        None
    }

    fn next(&mut self, record: &mut ProducerRecord) -> Result<bool, ProviderError> {
        let mut index = self.index;
        let mut kind = self.kind(index);
        while kind == ReadingKind::Duplicate {
            index -= 1;
            kind = self.kind(index);
        }
        self.write(index, kind, record);
        self.index += 1;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use chrono::NaiveDate;

    use super::*;

    fn city(settings: CitySettings) -> CityProvider {
        let start = NaiveDate::from_ymd_opt(2026, 8, 1).unwrap().and_hms_opt(8, 0, 0).unwrap();
        let step = CityProvider::default_step(settings.turnstiles);
        CityProvider::new(settings, SyntheticClock::starting(start, step, chrono_tz::UTC)).unwrap()
    }

    fn records(city: &mut CityProvider, n: usize) -> Vec<ProducerRecord> {
        let mut record = ProducerRecord::default();
        (0..n)
            .map(|_| {
                city.next(&mut record).unwrap();
                record.clone()
            })
            .collect()
    }

    fn fields(record: &ProducerRecord) -> Option<Vec<String>> {
        let line: String = serde_json::from_slice(&record.value).ok()?;
        let fields: Vec<String> = line.split(',').map(str::to_owned).collect();
        (fields.len() == 13 && fields[9].parse::<u32>().is_ok()).then_some(fields)
    }

    #[test]
    fn a_message_has_the_thirteen_fields_of_the_load_generator_and_the_turnstile_as_its_key() {
        let all = records(&mut city(CitySettings::default()), 5_027);
        let last = fields(&all[5_026]).unwrap();
        assert_eq!(last[..9].join(","), "A000,R000,00-00-00,STATION 000,456NQR,BMT,08-01-26,08:00:09,REGULAR");
        assert_eq!(last[12], "2026-08-01 08:00:09");
        let other = fields(&all[700]).unwrap();
        assert_eq!(other[..6].join(","), "A053,R053,02-00-11,STATION 053,456NQR,BMT");
        assert_eq!(all[700].key().unwrap(), b"A053,R053,02-00-11");
        let keys: HashSet<_> = all.iter().map(|r| r.key.clone()).collect();
        assert_eq!(keys.len(), 5_026);
        let ids: HashSet<_> = all.iter().map(|r| fields(r).unwrap()[11].clone()).collect();
        assert_eq!(ids.len(), 5_027);
    }

    #[test]
    fn a_run_that_begins_later_yields_the_same_bytes_from_there() {
        let settings = CitySettings {
            duplicates_permille: 200,
            late_permille: 100,
            malformed_permille: 100,
            ..CitySettings::default()
        };
        let whole = records(&mut city(settings), 3_000);
        let rest = records(&mut city(CitySettings { first: 1_234, ..settings }), 1_766);
        assert_eq!(whole[1_234..], rest);
        assert_ne!(whole, records(&mut city(CitySettings { seed: 2, ..settings }), 3_000));
    }

    #[test]
    fn each_kind_of_fault_has_its_share() {
        let settings = CitySettings {
            duplicates_permille: 50,
            late_permille: 100,
            malformed_permille: 20,
            ..CitySettings::default()
        };
        let mut city = city(settings);
        let all = records(&mut city, 20_000);
        let near = |count: usize, permille: usize| {
            let expected = 20 * permille;
            assert!(count.abs_diff(expected) < expected / 4, "{count} of 20000 where about {expected} belong");
        };
        near(all.windows(2).filter(|pair| pair[0] == pair[1]).count(), 50);
        let is_late = |r: &&ProducerRecord| fields(r).is_some_and(|f| f[12].as_str() < "2026-08-01 08:00:00");
        near(all.iter().filter(is_late).count(), 105);
        assert!(
            all.windows(2).all(|pair| pair[0].event_at_ms <= pair[1].event_at_ms),
            "late readings are sent in order"
        );
        near(all.iter().filter(|r| fields(r).is_none()).count(), 21);
    }

    #[test]
    fn mornings_fill_some_stations_and_evenings_the_others() {
        let at = |hour: u32| {
            let start = NaiveDate::from_ymd_opt(2026, 8, 3).unwrap().and_hms_opt(hour, 0, 0).unwrap();
            let clock = SyntheticClock::starting(start, Duration::from_millis(1), chrono_tz::UTC);
            let settings = CitySettings { stations: 2, turnstiles: 2, ..CitySettings::default() };
            let mut entries = [0u32; 2];
            for (i, record) in records(&mut CityProvider::new(settings, clock).unwrap(), 400).iter().enumerate() {
                entries[i % 2] += fields(record).unwrap()[9].parse::<u32>().unwrap();
            }
            entries
        };
        let (night, morning, evening) = (at(3), at(8), at(17));
        assert!(morning[0] > 2 * morning[1] && evening[1] > 2 * evening[0], "{morning:?} {evening:?}");
        assert!(night[0] * 10 < morning[0], "{night:?} {morning:?}");
    }

    #[test]
    fn settings_that_cannot_be_are_refused() {
        let clock = SyntheticClock::starting_now(Duration::from_secs(1), chrono_tz::UTC);
        let refused = |settings| CityProvider::new(settings, clock).unwrap_err().to_string();
        assert!(
            refused(CitySettings { late_permille: 600, malformed_permille: 600, ..CitySettings::default() })
                .contains("1000")
        );
        assert!(refused(CitySettings { stations: 0, ..CitySettings::default() }).contains("0 stations"));
        assert!(refused(CitySettings { turnstiles: 5, stations: 6, ..CitySettings::default() }).contains("6 stations"));
    }
}
