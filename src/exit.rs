//! Exit codes: a contract that scripts can rely on, documented in docs/exit-codes.md.

use std::process::ExitCode;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// Success.
    Done = 0,
    /// Any failure without its own code.
    Failed = 1,
    /// The command line is wrong (clap's own code).
    Usage = 2,
    /// A configuration or pipeline file is wrong.
    Config = 3,
    /// The broker, the schema registry or the Spark server cannot be reached, or refused the client.
    Source = 4,
    /// The topic or part of its records is missing: it does not exist, was truncated or recreated.
    SourceData = 5,
    /// The lake's store refused or is full.
    Lake = 6,
    /// Another process owns this pipeline.
    Fenced = 7,
    /// The ledger belongs to another pipeline, another plan or a newer version.
    Ledger = 8,
    /// An audit, replay or compaction found a difference.
    Difference = 9,
    /// A run rejected most of what it read.
    Rejected = 10,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_codes_are_those_of_the_program() {
        let all = [
            Exit::Done,
            Exit::Failed,
            Exit::Usage,
            Exit::Config,
            Exit::Source,
            Exit::SourceData,
            Exit::Lake,
            Exit::Fenced,
            Exit::Ledger,
            Exit::Difference,
            Exit::Rejected,
        ];
        let documented: Vec<u8> = include_str!("../docs/exit-codes.md")
            .lines()
            .filter_map(|line| line.strip_prefix("| ")?.split(' ').next()?.parse().ok())
            .collect();
        assert_eq!(documented, all.map(|exit| exit as u8));
        // A variant that is added does not compile here until it stands above, and so in the document.
        for exit in all {
            match exit {
                Exit::Done | Exit::Failed | Exit::Usage | Exit::Config | Exit::Source => {}
                Exit::SourceData | Exit::Lake | Exit::Fenced | Exit::Ledger | Exit::Difference | Exit::Rejected => {}
            }
        }
    }
}
