//! `--zone`: in which zone readings are local times. One default for the producer and the job: this machine's.

use std::fmt;

use chrono_tz::Tz;
use turnstile_values::suggest;

/// A zone, and whether the machine or a person said so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Zone {
    pub(crate) tz: Tz,
    is_machines: bool,
}

/// What `--zone` says.
///
/// # Errors
/// It is no zone, or this machine's has no name.
pub(crate) fn zone(text: &str) -> Result<Zone, String> {
    if text == "local" {
        return Ok(Zone { tz: machine_zone(std::env::var("TZ").ok().as_deref())?, is_machines: true });
    }
    match text.parse() {
        Ok(tz) => Ok(Zone { tz, is_machines: false }),
        Err(_) => {
            let known = chrono_tz::TZ_VARIANTS.iter().map(|zone| zone.name());
            let hint = suggest(text, known.chain(["local"]).collect::<Vec<_>>());
            Err(format!("\"{text}\" is not a time zone; write `local` or a name such as America/New_York; {hint}"))
        }
    }
}

/// The machine's zone: that of `TZ`, else of /etc/localtime; a machine without either is in UTC, as the C library has it.
fn machine_zone(variable: Option<&str>) -> Result<Tz, String> {
    let name = match variable {
        Some(name) => {
            let name = name.strip_prefix(':').unwrap_or(name);
            name.split_once("zoneinfo/").map_or(name, |(_, name)| name).to_owned()
        }
        None => iana_time_zone::get_timezone().unwrap_or_default(),
    };
    if name.is_empty() {
        return Ok(Tz::UTC);
    }
    name.parse().map_err(|_| format!("this machine's time zone \"{name}\" has no IANA name; name one with --zone"))
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let origin = if self.is_machines { " (this machine's; --zone names another)" } else { "" };
        write!(f, "{}{origin}", self.tz.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zone_is_a_name_or_the_machines() {
        assert_eq!(zone("Asia/Kolkata").unwrap().to_string(), "Asia/Kolkata");
        let error = zone("America/NewYork").unwrap_err();
        assert!(error.contains("did you mean") && error.contains("America/New_York"), "{error}");
        for (variable, name) in [
            ("Asia/Tokyo", "Asia/Tokyo"),
            (":Europe/Berlin", "Europe/Berlin"),
            (":/usr/share/zoneinfo/Asia/Kolkata", "Asia/Kolkata"),
            ("", "UTC"),
            ("UTC", "UTC"),
        ] {
            assert_eq!(machine_zone(Some(variable)).unwrap().name(), name, "{variable}");
        }
        assert!(machine_zone(Some("<+0330>-3:30")).unwrap_err().contains("--zone"));
    }
}
