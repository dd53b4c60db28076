//! Where reading begins, by `--from`.

use std::str::FromStr;

use chrono::DateTime;
use turnstile_kafka::{ClientError, KafkaConnection, ReadError};
use turnstile_message::TopicPartition;

/// A place in every partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StartPlace {
    /// The first message held.
    Beginning,
    /// After the last message.
    End,
    /// So many messages before the end.
    Last(i64),
    /// This offset.
    Offset(i64),
    /// The first message of this moment or later, milliseconds since the epoch.
    Time(i64),
}

impl FromStr for StartPlace {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "\"{text}\" is not a start position; write beginning, end, end-N, an offset, or a time such as 2026-08-01T08:00:00Z"
            )
        };
        match text {
            "beginning" | "earliest" => return Ok(Self::Beginning),
            "end" | "latest" => return Ok(Self::End),
            _ => {}
        }
        if let Some(last) = text.strip_prefix("end-") {
            return last.parse::<u32>().map(|n| Self::Last(i64::from(n))).map_err(|_| wrong());
        }
        if text.bytes().all(|byte| byte.is_ascii_digit()) {
            return text.parse().map(Self::Offset).map_err(|_| wrong());
        }
        let at = DateTime::parse_from_rfc3339(text).map_err(|_| wrong())?;
        Ok(Self::Time(at.timestamp_millis()))
    }
}

impl StartPlace {
    /// The offset in each partition, in their order; `ranges` are what they hold.
    pub(super) fn resolve(
        self,
        connection: &KafkaConnection,
        partitions: &[TopicPartition],
        ranges: &[(i64, i64)],
    ) -> Result<Vec<i64>, ReadError> {
        let of = |place: fn((i64, i64)) -> i64| Ok(ranges.iter().map(|range| place(*range)).collect());
        match self {
            Self::Beginning => of(|(low, _)| low),
            Self::End => of(|(_, high)| high),
            Self::Last(n) => Ok(ranges.iter().map(|(low, high)| (high - n).max(*low)).collect()),
            Self::Time(at_ms) => {
                let found: Result<Vec<i64>, ClientError> = connection.offsets_at(partitions, at_ms);
                Ok(found?)
            }
            Self::Offset(position) => {
                for (partition, (earliest, latest)) in partitions.iter().zip(ranges) {
                    if !(*earliest..=*latest).contains(&position) {
                        let (partition, earliest, latest) = (partition.clone(), *earliest, *latest);
                        return Err(ReadError::OffsetOutOfRange { partition, position, earliest, latest });
                    }
                }
                Ok(vec![position; partitions.len()])
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_word_an_offset_or_a_moment() {
        let place = |text: &str| text.parse::<StartPlace>();
        assert_eq!(place("beginning"), Ok(StartPlace::Beginning));
        assert_eq!((place("end"), place("end-10")), (Ok(StartPlace::End), Ok(StartPlace::Last(10))));
        assert_eq!(place("42"), Ok(StartPlace::Offset(42)));
        assert_eq!(place("2026-08-01T02:00:00+02:00"), Ok(StartPlace::Time(1_785_542_400_000)));
        for wrong in ["", "-5", "end-x", "yesterday", "2026-08-01", "99999999999999999999"] {
            assert!(place(wrong).is_err(), "{wrong}");
        }
    }
}
