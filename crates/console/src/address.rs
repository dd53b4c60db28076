//! The pages and their addresses.
//!
//! In: a path and a query of a URL. Out: which page, with checked parts. Nothing of a URL is ever a file's name or SQL.

use std::time::Duration;

use chrono::DateTime;
use turnstile_values::human;

use crate::data::WindowCondition;

/// Longest name of a pipeline, as the pipeline file allows.
const MAX_PIPELINE_CHARS: usize = 64;

/// Longest id of a run, and of a chart.
const MAX_ID_CHARS: usize = 64;

/// Longest name of a series, in bytes.
const MAX_SERIES_BYTES: usize = 256;

/// A page of a pipeline. Equal addresses show the same, so one rendering serves all who watch.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct PageAddress {
    pub(crate) pipeline: String,
    pub(crate) page: Page,
}

/// What a page shows.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Page {
    Overview,
    Windows { condition: Option<WindowCondition>, offset: u64 },
    Window { start_us: i64 },
    Partitions,
    DeadLetters,
    Stations { chart: Option<String>, series: Option<String> },
    Runs { offset: u64 },
    Run { id: String },
    Sql,
    Pipeline,
}

/// The parts of the navigation: title, last part of the path, key after `g`.
pub(crate) const SECTIONS: [(&str, &str, char); 8] = [
    ("Overview", "", 'o'),
    ("Windows", "windows", 'w'),
    ("Partitions", "partitions", 'p'),
    ("Dead letters", "dead-letters", 'd'),
    ("Stations", "stations", 's'),
    ("Runs", "runs", 'r'),
    ("SQL", "sql", 'q'),
    ("Pipeline", "pipeline", 'f'),
];

impl PageAddress {
    /// The page at `/p/{pipeline}/{path}?{query}`; `None` if there is none.
    pub(crate) fn parse(pipeline: &str, path: &str, query: &[(String, String)]) -> Option<Self> {
        let value = |key: &str| query.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str());
        let offset = || value("after").unwrap_or("0").parse().ok();
        let mut parts = path.trim_matches('/').split('/');
        let page = match (parts.next().unwrap_or_default(), parts.next(), parts.next()) {
            ("", None, None) => Page::Overview,
            ("windows", None, None) => {
                Page::Windows { condition: value("show").and_then(condition), offset: offset()? }
            }
            ("windows", Some(start), None) => Page::Window { start_us: instant_us(start)? },
            ("partitions", None, None) => Page::Partitions,
            ("dead-letters", None, None) => Page::DeadLetters,
            ("stations", None, None) => Page::Stations {
                chart: value("chart").filter(|id| is_id(id)).map(str::to_owned),
                series: value("series")
                    .filter(|name| !name.is_empty() && name.len() <= MAX_SERIES_BYTES)
                    .map(str::to_owned),
            },
            ("runs", None, None) => Page::Runs { offset: offset()? },
            ("runs", Some(id), None) if is_id(id) => Page::Run { id: id.to_owned() },
            ("sql", None, None) => Page::Sql,
            ("pipeline", None, None) => Page::Pipeline,
            _ => return None,
        };
        is_pipeline(pipeline).then(|| Self { pipeline: pipeline.to_owned(), page })
    }

    /// Whether it changes while it is open.
    pub(crate) fn is_live(&self) -> bool {
        !matches!(self.page, Page::Sql | Page::Pipeline)
    }

    /// How long a live page stays as it is at least: charts run a query, and change with a load, not with a message.
    pub(crate) fn live_pause(&self) -> Duration {
        match self.page {
            Page::Stations { .. } => Duration::from_secs(10),
            _ => Duration::from_millis(250),
        }
    }

    /// Its section's place in [`SECTIONS`].
    pub(crate) fn section(&self) -> usize {
        match self.page {
            Page::Overview => 0,
            Page::Windows { .. } | Page::Window { .. } => 1,
            Page::Partitions => 2,
            Page::DeadLetters => 3,
            Page::Stations { .. } => 4,
            Page::Runs { .. } | Page::Run { .. } => 5,
            Page::Sql => 6,
            Page::Pipeline => 7,
        }
    }
}

/// Whether a pipeline can have this name.
pub(crate) fn is_pipeline(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    name.len() <= MAX_PIPELINE_CHARS
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(allowed)
}

/// Whether a run or a chart can have this id.
pub(crate) fn is_id(id: &str) -> bool {
    !id.is_empty() && id.len() <= MAX_ID_CHARS && id.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
}

/// The page of the window that starts at `start_us`.
pub(crate) fn window_href(pipeline: &str, start_us: i64) -> String {
    format!("/p/{pipeline}/windows/{}", human::instant(start_us))
}

/// The word for a condition in URLs.
pub(crate) fn condition_word(condition: WindowCondition) -> &'static str {
    match condition {
        WindowCondition::Open => "open",
        WindowCondition::Closed => "closed",
        WindowCondition::Corrected => "corrected",
        WindowCondition::Retired => "retired",
    }
}

fn condition(word: &str) -> Option<WindowCondition> {
    use WindowCondition::{Closed, Corrected, Open, Retired};
    [Open, Closed, Corrected, Retired].into_iter().find(|condition| condition_word(*condition) == word)
}

fn instant_us(text: &str) -> Option<i64> {
    DateTime::parse_from_rfc3339(text).ok().map(|at| at.timestamp_micros())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(path: &str, query: &[(&str, &str)]) -> Option<Page> {
        let query: Vec<_> = query.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        PageAddress::parse("mta-turnstile", path, &query).map(|address| address.page)
    }

    #[test]
    fn every_section_has_a_page() {
        for (at, (_, path, _)) in SECTIONS.iter().enumerate() {
            let address = PageAddress::parse("mta", path, &[]).unwrap();
            assert_eq!(address.section(), at, "{path}");
        }
    }

    #[test]
    fn a_window_s_address_leads_to_it_to_the_microsecond() {
        for start_us in [1_785_542_400_000_000, 1_785_542_400_500_001, -1] {
            let href = window_href("mta", start_us);
            assert_eq!(parse(href.strip_prefix("/p/mta/").unwrap(), &[]), Some(Page::Window { start_us }));
        }
    }

    #[test]
    fn what_is_no_page_s_address_is_none() {
        for path in ["windows/yesterday", "windows/2026-08-01T08:00:00Z/files", "runs/a.b", "runs/%2e", "sql/x", "etc"]
        {
            assert_eq!(parse(path, &[]), None, "{path}");
        }
        assert_eq!(parse("windows", &[("after", "-1")]), None);
        for name in ["", "..", ".hidden", "a/b", "a b", &"x".repeat(65)] {
            assert_eq!(PageAddress::parse(name, "", &[]), None, "{name}");
        }
    }
}
