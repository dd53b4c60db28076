//! When a person is to be called: `[alerts]`.

use turnstile_values::MINUTE_US;

use crate::endpoint::{PasswordSource, password_source};
use crate::file::TomlNode;
use crate::file::read::{Faults, TableReader};

/// `[alerts]`: rules, each of which fires once and resolves once. What is `None` has no rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlertSettings {
    /// More messages than this are not read yet.
    pub lag_messages: Option<u64>,
    /// The oldest message that is not read yet is older than this, microseconds.
    pub lag_us: Option<i64>,
    /// The watermark has not moved for so long while messages are waiting, microseconds.
    pub watermark_stalled_us: Option<i64>,
    /// More messages a minute than this are rejected.
    pub dead_letters_per_minute: Option<u64>,
    /// The counts of a commit do not add up. Default: yes.
    pub conservation: bool,
    /// A load or a delivery fails. Default: yes.
    pub load_failed: bool,
    /// A run ends with an error. Default: yes.
    pub run_failed: bool,
    /// How long something must last before it fires, and be over before it resolves, microseconds.
    pub for_us: i64,
    /// Where alerts are posted: an address that may hold a secret.
    pub webhook: Option<PasswordSource>,
}

impl Default for AlertSettings {
    fn default() -> Self {
        Self {
            lag_messages: None,
            lag_us: None,
            watermark_stalled_us: None,
            dead_letters_per_minute: None,
            conservation: true,
            load_failed: true,
            run_failed: true,
            for_us: MINUTE_US,
            webhook: None,
        }
    }
}

pub(crate) fn read(node: &TomlNode, faults: &Faults) -> Option<AlertSettings> {
    let mut reader = TableReader::new(node, "alerts", faults)?;
    let settings = AlertSettings {
        lag_messages: reader.count("lag_messages"),
        lag_us: reader.positive_duration("lag"),
        watermark_stalled_us: reader.positive_duration("watermark_stalled"),
        dead_letters_per_minute: reader.count("dead_letters_per_minute"),
        conservation: reader.boolean("conservation").unwrap_or(true),
        load_failed: reader.boolean("load_failed").unwrap_or(true),
        run_failed: reader.boolean("run_failed").unwrap_or(true),
        for_us: reader.duration("for").unwrap_or(MINUTE_US),
        webhook: password_source(&mut reader, "webhook", "webhook_env", "webhook_file").map(|source| source.value),
    };
    reader.finish();
    Some(settings)
}
