//! What alerts are raised for, and what an alert says.

use std::time::Duration;

use serde::Serialize;

/// One rule.
#[derive(Debug, Clone, PartialEq)]
pub struct AlertRule {
    /// Its name, unique among the rules.
    pub name: String,
    /// What has to hold.
    pub condition: AlertCondition,
    /// It fires once the condition has held for this long without a break, and resolves once it has not held for as long.
    pub hold: Duration,
}

/// What a rule watches.
#[derive(Debug, Clone, PartialEq)]
pub enum AlertCondition {
    /// More messages than this are left to read, in all partitions together.
    LagRecords {
        /// The highest lag that is good.
        over: u64,
    },
    /// The next message to be read is older than this, in any partition.
    LagSeconds {
        /// The highest age that is good.
        over: Duration,
    },
    /// Messages have been waiting or coming in for this long, and the watermark has not moved since. A stream without messages for
    /// as long is quiet, not stalled.
    WatermarkStalled {
        /// The longest standstill that is good.
        longer_than: Duration,
    },
    /// More messages than this went to the dead letters in the last minute. Late messages that are kept there do not count.
    DeadLettersPerMinute {
        /// The highest number that is good.
        over: u64,
    },
    /// Messages read differ from the sum of their fates.
    ConservationBroken,
    /// A load or a delivery failed, and has not succeeded since. One alert for each target.
    LoadFailed,
    /// A run ended with an error, or its process was killed; until the next one reads.
    RunFailed,
}

impl AlertCondition {
    /// How bad it is.
    pub fn severity(&self) -> AlertSeverity {
        match self {
            Self::ConservationBroken | Self::RunFailed => AlertSeverity::Critical,
            _ => AlertSeverity::Warning,
        }
    }

    /// The limit that its value is compared with: messages, or seconds.
    pub fn threshold(&self) -> Option<f64> {
        match self {
            Self::LagRecords { over } | Self::DeadLettersPerMinute { over } => Some(*over as f64),
            Self::LagSeconds { over } => Some(over.as_secs_f64()),
            Self::WatermarkStalled { longer_than } => Some(longer_than.as_secs_f64()),
            Self::ConservationBroken => Some(0.0),
            Self::LoadFailed | Self::RunFailed => None,
        }
    }
}

/// How bad an alert is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AlertSeverity {
    /// Someone should see to it.
    Warning,
    /// Results may be wrong, or there are none.
    Critical,
}

/// An alert that fired or resolved.
#[derive(Debug, Clone, PartialEq)]
pub struct Alert {
    /// The pipeline.
    pub pipeline: String,
    /// The rule's name.
    pub rule: String,
    /// How bad it is.
    pub severity: AlertSeverity,
    /// What the rule is broken by, where there may be several: a load's target.
    pub subject: Option<String>,
    /// What is wrong, in one line.
    pub summary: String,
    /// The measured value, in the threshold's unit.
    pub value: Option<f64>,
    /// [`AlertCondition::threshold`].
    pub threshold: Option<f64>,
    /// When the condition began to hold, microseconds since the epoch, UTC. The same in both changes of one alert.
    pub since_us: i64,
    /// When it fired or resolved.
    pub at_us: i64,
}

/// A change of an alert. Each alert fires once and then resolves once.
#[derive(Debug, Clone, PartialEq)]
pub enum AlertChange {
    /// The condition held for as long as the rule says.
    Fired(Alert),
    /// It no longer holds; the alert has the value and summary of the firing.
    Resolved(Alert),
}

impl AlertChange {
    /// The alert.
    pub fn alert(&self) -> &Alert {
        match self {
            Self::Fired(alert) | Self::Resolved(alert) => alert,
        }
    }
}
