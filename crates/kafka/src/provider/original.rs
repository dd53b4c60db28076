//! The two producers of the original exercise, message for message.

use super::clock::{SyntheticClock, WallClock};
use super::draw::{draw, push_number, uuid_text};
use super::{ProducerRecord, Provider, ProviderError};

const HEADER: &[u8] = b"CA,UNIT,SCP,STATION,LINENAME,DIVISION,DATE,TIME,DESC,ENTRIES,EXITS\n";

/// `test-station`: the Python producer. The value is a JSON string that holds one CSV line of 13 fields; the key is the
/// line's ID. Two stations, 5 to 10 entries and exits.
#[derive(Debug, Clone)]
pub struct TestStationProvider(Readings);

impl TestStationProvider {
    /// A producer whose message `i` depends on the seed, the clock and `i`.
    pub fn new(seed: u64, clock: SyntheticClock) -> Self {
        Self(Readings::new(seed, clock))
    }
}

impl Provider for TestStationProvider {
    fn name(&self) -> &'static str {
        "test-station"
    }

    fn total(&self) -> Option<u64> {
        None
    }

    fn next(&mut self, record: &mut ProducerRecord) -> Result<bool, ProviderError> {
        let readings = &mut self.0;
        let id = readings.begin(record);
        let out = &mut record.value;
        out.push(b'"');
        readings.push_turnstile(out);
        out.push(readings.one_or_two(2));
        readings.push_counts(out, |drawn| 5 + drawn % 6);
        out.push(b',');
        out.extend_from_slice(&id);
        out.push(b',');
        out.extend_from_slice(readings.wall_clock.timestamp());
        out.push(b'"');
        readings.index += 1;
        Ok(true)
    }
}

/// `header-row`: the C# producer. The value is a header line, a line feed and one row of 11 fields; the key is a UUID.
/// One station, 500 to 1000 entries and exits.
#[derive(Debug, Clone)]
pub struct HeaderRowProvider(Readings);

impl HeaderRowProvider {
    /// A producer whose message `i` depends on the seed, the clock and `i`.
    pub fn new(seed: u64, clock: SyntheticClock) -> Self {
        Self(Readings::new(seed, clock))
    }
}

impl Provider for HeaderRowProvider {
    fn name(&self) -> &'static str {
        "header-row"
    }

    fn total(&self) -> Option<u64> {
        None
    }

    fn next(&mut self, record: &mut ProducerRecord) -> Result<bool, ProviderError> {
        let readings = &mut self.0;
        readings.begin(record);
        let out = &mut record.value;
        out.extend_from_slice(HEADER);
        readings.push_turnstile(out);
        readings.push_counts(out, |drawn| 500 + drawn % 501);
        readings.index += 1;
        Ok(true)
    }
}

/// What both producers draw: four turnstiles of one line, and the counts of each reading.
#[derive(Debug, Clone)]
struct Readings {
    seed: u64,
    clock: SyntheticClock,
    wall_clock: WallClock,
    index: u64,
}

impl Readings {
    fn new(seed: u64, clock: SyntheticClock) -> Self {
        Self { seed, clock, wall_clock: clock.wall_clock(), index: 0 }
    }

    /// Empties the record and gives it key and time; returns the key.
    fn begin(&mut self, record: &mut ProducerRecord) -> [u8; 36] {
        let mut id = [0; 36];
        uuid_text(self.seed, self.index, &mut id);
        record.reset();
        record.set_key(&id);
        record.event_at_ms = self.clock.event_at_ms(self.index);
        self.wall_clock.set(record.event_at_ms);
        id
    }

    fn one_or_two(&self, field: u64) -> u8 {
        b'1' + (draw(self.seed, self.index, field) % 2) as u8
    }

    /// `CA,UNIT,SCP,STATION`; the station has no number yet.
    fn push_turnstile(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"A00");
        out.push(self.one_or_two(0));
        out.extend_from_slice(b",R00");
        out.push(self.one_or_two(1));
        out.extend_from_slice(b",02-00-00,Test-Station");
    }

    /// `,LINENAME,DIVISION,DATE,TIME,DESC,ENTRIES,EXITS`; `count` makes a count of what was drawn.
    fn push_counts(&self, out: &mut Vec<u8>, count: impl Fn(u64) -> u64) {
        out.extend_from_slice(b",456NQR,BMT,");
        out.extend_from_slice(&self.wall_clock.date());
        out.push(b',');
        out.extend_from_slice(self.wall_clock.time());
        out.extend_from_slice(b",REGULAR,");
        push_number(out, count(draw(self.seed, self.index, 3)));
        out.push(b',');
        push_number(out, count(draw(self.seed, self.index, 4)));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use chrono::NaiveDate;

    use super::*;

    fn clock() -> SyntheticClock {
        let start = NaiveDate::from_ymd_opt(2023, 9, 22).unwrap().and_hms_opt(14, 5, 0).unwrap();
        SyntheticClock::starting(start, Duration::from_secs(10), chrono_tz::America::New_York)
    }

    fn messages(provider: &mut dyn Provider, n: usize) -> Vec<(String, String)> {
        let mut record = ProducerRecord::default();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        (0..n)
            .map(|_| {
                assert!(provider.next(&mut record).unwrap());
                (text(record.key().unwrap()), text(&record.value))
            })
            .collect()
    }

    #[test]
    fn test_station_messages_are_those_of_the_python_producer() {
        let sent = messages(&mut TestStationProvider::new(1, clock()), 2);
        let expected = [
            (
                "c1aff138-fa51-4e39-9627-2305dbade9bc",
                "\"A001,R002,02-00-00,Test-Station1,456NQR,BMT,09-22-23,14:05:00,REGULAR,10,6,\
                 c1aff138-fa51-4e39-9627-2305dbade9bc,2023-09-22 14:05:00\"",
            ),
            (
                "c501ebfc-19a4-4510-954d-c524908a3d23",
                "\"A002,R001,02-00-00,Test-Station1,456NQR,BMT,09-22-23,14:05:10,REGULAR,7,7,\
                 c501ebfc-19a4-4510-954d-c524908a3d23,2023-09-22 14:05:10\"",
            ),
        ];
        assert_eq!(sent, expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
    }

    #[test]
    fn header_row_messages_are_those_of_the_c_sharp_producer() {
        let sent = messages(&mut HeaderRowProvider::new(1, clock()), 1);
        let value = "CA,UNIT,SCP,STATION,LINENAME,DIVISION,DATE,TIME,DESC,ENTRIES,EXITS\n\
                     A001,R002,02-00-00,Test-Station,456NQR,BMT,09-22-23,14:05:00,REGULAR,775,963";
        assert_eq!(sent, [("c1aff138-fa51-4e39-9627-2305dbade9bc".to_owned(), value.to_owned())]);
    }

    #[test]
    fn every_value_of_the_original_s_ranges_is_drawn_and_no_other() {
        let mut seen = std::collections::BTreeMap::<(usize, String), u32>::new();
        for (key, value) in messages(&mut TestStationProvider::new(7, clock()), 2_000) {
            let line: String = serde_json::from_str(&value).unwrap();
            let fields: Vec<&str> = line.split(',').collect();
            assert_eq!((fields.len(), fields[11]), (13, key.as_str()));
            assert_eq!(fields[11].as_bytes()[14], b'4', "a version 4 UUID: {key}");
            for column in [0, 1, 2, 3, 4, 5, 8, 9, 10] {
                *seen.entry((column, fields[column].to_owned())).or_default() += 1;
            }
        }
        let values = |column| seen.keys().filter(|(c, _)| *c == column).map(|(_, v)| v.as_str()).collect::<Vec<_>>();
        assert_eq!(values(0), ["A001", "A002"]);
        assert_eq!(values(1), ["R001", "R002"]);
        assert_eq!(values(3), ["Test-Station1", "Test-Station2"]);
        assert_eq!(values(9), ["10", "5", "6", "7", "8", "9"]);
        assert_eq!(values(10), ["10", "5", "6", "7", "8", "9"]);
        assert_eq!(
            (values(2), values(4), values(5), values(8)),
            (vec!["02-00-00"], vec!["456NQR"], vec!["BMT"], vec!["REGULAR"])
        );
    }
}
