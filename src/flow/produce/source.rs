//! Where the messages to produce come from, and when each is sent.

use std::path::PathBuf;
use std::time::Duration;

use chrono::{NaiveDate, NaiveDateTime, Timelike};
use chrono_tz::Tz;
use tokio_util::sync::CancellationToken;
use turnstile_kafka::{
    CityProvider, CitySettings, HeaderRowProvider, LineFormat, LineInput, LineProvider, LineSettings,
    MtaReplayProvider, Pace, Provider, ProviderError, RegisterMode, SyntheticClock, TestStationProvider,
};

use super::never_ahead::NeverAhead;

/// Time between two messages of the synthetic stations, when nothing says how many to send.
const STATION_EVERY: Duration = Duration::from_secs(10);

/// How far back event time begins that passes faster than the clock, so that it can do so for a while before it reaches the
/// clock.
pub(crate) const BEGINS_BACK: Duration = Duration::from_secs(30 * 24 * 3600);

/// The start of a stream that is produced without a rate limit, so that it is the same each time: 2026-08-01 00:00:00.
const FIXED_START: Option<NaiveDate> = NaiveDate::from_ymd_opt(2026, 8, 1);

/// Where messages come from.
pub(crate) enum ProduceSource {
    TestStation { seed: u64 },
    HeaderRow { seed: u64 },
    City(CitySettings),
    MtaReplay { files: Vec<PathBuf>, registers: RegisterMode, skip_wrong: bool },
    Lines { inputs: Vec<LineInput>, format: LineFormat, header: bool, key_field: Option<String>, skip_wrong: bool },
}

/// How many messages to send.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum ProduceRate {
    Max,
    PerSecond(f64),
}

/// When messages are sent, and the event time that they carry.
pub(crate) struct ProduceTimes {
    rate: Option<ProduceRate>,
    /// Time between two messages.
    every: Option<Duration>,
    /// How many times as fast as the clock event time passes.
    speed: Option<f64>,
    /// Event time of the first message.
    start: Option<NaiveDateTime>,
    past_start: Option<NaiveDateTime>,
    /// The zone of the readings' local times.
    zone: Tz,
}

impl ProduceSource {
    /// The provider, and the pace at which its messages are sent. Waiting for standard input ends with `stop`.
    ///
    /// # Errors
    /// A file or a setting cannot be used.
    pub(crate) fn open(
        self,
        times: &ProduceTimes,
        stop: &CancellationToken,
    ) -> Result<(Box<dyn Provider>, Pace), ProviderError> {
        let synthetic = !matches!(self, Self::MtaReplay { .. } | Self::Lines { .. });
        let (provider, pace): (Box<dyn Provider>, Pace) = match self {
            Self::TestStation { seed } => {
                let (pace, clock) = times.synthetic(STATION_EVERY);
                (Box::new(TestStationProvider::new(seed, clock)), pace)
            }
            Self::HeaderRow { seed } => {
                let (pace, clock) = times.synthetic(STATION_EVERY);
                (Box::new(HeaderRowProvider::new(seed, clock)), pace)
            }
            Self::City(city) => {
                // Without a rate, each turnstile is read every ten seconds of event time.
                let usual = CityProvider::default_step(city.turnstiles).div_f64(times.speed());
                let (pace, clock) = times.synthetic(usual);
                (Box::new(CityProvider::new(city, clock)?), pace)
            }
            Self::MtaReplay { files, registers, skip_wrong } => {
                (Box::new(MtaReplayProvider::open(&files, registers, times.zone, skip_wrong)?), times.replay_pace())
            }
            Self::Lines { inputs, format, header, key_field, skip_wrong } => {
                let settings = LineSettings { format, header, key_field, skip_wrong, zone: times.zone };
                (Box::new(LineProvider::open(inputs, settings, stop.clone())?), times.replay_pace())
            }
        };
        Ok(match times.past_start().filter(|_| synthetic) {
            Some(_) => (Box::new(NeverAhead::new(provider, stop.clone())), pace),
            None => (provider, pace),
        })
    }
}

impl ProduceTimes {
    /// Event time that outruns the clock begins in the past when nothing is said, far enough to go on for a while.
    pub(crate) fn new(
        rate: Option<ProduceRate>,
        every: Option<Duration>,
        speed: Option<f64>,
        start: Option<NaiveDateTime>,
        zone: Tz,
    ) -> Self {
        let outruns = start.is_none() && speed.is_some_and(|speed| speed > 1.0) && rate != Some(ProduceRate::Max);
        let now = chrono::Utc::now().with_timezone(&zone).naive_local();
        let past_start = outruns.then(|| now.with_nanosecond(0).unwrap_or(now) - BEGINS_BACK);
        Self { rate, every, speed, start, past_start, zone }
    }

    /// Where synthetic event time begins that passes faster than the clock until it reaches it.
    pub(crate) fn past_start(&self) -> Option<NaiveDateTime> {
        self.past_start
    }

    fn speed(&self) -> f64 {
        self.speed.unwrap_or(1.0)
    }

    fn replay_pace(&self) -> Pace {
        match (self.rate, self.every, self.speed) {
            (Some(ProduceRate::PerSecond(rate)), ..) => Pace::Rate(rate),
            (None, Some(every), _) => Pace::Every(every),
            (None, None, Some(speed)) => Pace::EventTime { speed },
            (Some(ProduceRate::Max), ..) | (None, None, None) => Pace::Unlimited,
        }
    }

    /// Pace and event time of synthetic readings: event time passes `speed` times as fast as messages are due.
    fn synthetic(&self, usual: Duration) -> (Pace, SyntheticClock) {
        let (pace, between) = match (self.rate, self.every) {
            (Some(ProduceRate::Max), _) => (Pace::Unlimited, usual),
            (Some(ProduceRate::PerSecond(rate)), _) => (Pace::Rate(rate), Duration::from_secs_f64(1.0 / rate)),
            (None, every) => (Pace::Every(every.unwrap_or(usual)), every.unwrap_or(usual)),
        };
        let step = between.mul_f64(self.speed());
        let fixed = FIXED_START.filter(|_| pace == Pace::Unlimited).map(NaiveDateTime::from);
        let clock = match self.start.or(fixed).or(self.past_start) {
            Some(start) => SyntheticClock::starting(start, step, self.zone),
            None => SyntheticClock::starting_now(step, self.zone),
        };
        (pace, clock)
    }
}
