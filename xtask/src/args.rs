//! The command line: which chore, with which options.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

const EXAMPLES: &str = "\
Examples:
  cargo xtask test
  cargo xtask test --quick --only engine -- late
  cargo xtask servers
  cargo xtask bench e2e --messages 1000000
";

/// The project's chores.
#[derive(Debug, Parser)]
#[command(name = "xtask", bin_name = "cargo xtask", after_help = EXAMPLES)]
pub(crate) struct XtaskArgs {
    /// Without one, this help is printed.
    #[command(subcommand)]
    pub(crate) chore: Option<Chore>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Chore {
    /// Runs all tests, with the servers that they need: fetched, started, stopped
    Test(TestOptions),
    /// Checks formatting and clippy, as the test chore does
    Lint,
    /// Checks that no two types share a name and that texts use the field's words
    Names,
    /// Starts the test servers, prints their addresses as shell variables, stops them on Ctrl-C
    Servers {
        /// Only fetch the servers
        #[arg(long)]
        fetch_only: bool,
    },
    /// Runs benchmarks beside what a user would choose instead; prints a table
    Bench(BenchOptions),
}

#[derive(Debug, PartialEq, Eq, clap::Args)]
pub(crate) struct TestOptions {
    /// Run only what needs no server
    #[arg(long)]
    pub(crate) quick: bool,
    /// Run only this room's tests: kafka, lake, ...; turnstile is the binary (repeatable)
    #[arg(long, value_name = "ROOM")]
    pub(crate) only: Vec<String>,
    /// As for cargo test: names of tests, flags of the test runner
    #[arg(last = true)]
    pub(crate) filter: Vec<String>,
}

#[derive(Debug, PartialEq, Eq, clap::Args)]
pub(crate) struct BenchOptions {
    /// The benchmarks to run; default: all of them
    pub(crate) which: Vec<BenchName>,
    /// Messages in the topic
    #[arg(long, value_name = "N", default_value = "5000000", value_parser = number)]
    pub(crate) messages: u64,
    /// How often the failover benchmark kills a leader
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub(crate) kills: u32,
    /// Days in the tables of the warehouse benchmark; 365 take minutes to generate, and 2 GB
    #[arg(long, value_name = "N", default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) days: u32,
    /// Folder with the programs to compare with; default: ../shared/bench
    #[arg(long, value_name = "DIR")]
    pub(crate) reference: Option<PathBuf>,
    /// Measure this turnstile instead of building one
    #[arg(long, value_name = "FILE")]
    pub(crate) binary: Option<PathBuf>,
}

impl BenchOptions {
    /// The benchmarks to run, in the given order.
    pub(crate) fn selected(&self) -> &[BenchName] {
        if self.which.is_empty() { BenchName::value_variants() } else { &self.which }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum BenchName {
    Engine,
    #[value(name = "e2e")]
    E2e,
    Latency,
    Broker,
    Produce,
    Ready,
    Console,
    Spark,
    Scale,
    Failover,
    Warehouse,
}

/// A number that may have underscores between its digits.
fn number(text: &str) -> Result<u64, std::num::ParseIntError> {
    text.replace('_', "").parse()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;
    use clap::error::ErrorKind;

    use super::*;

    fn parse(line: &str) -> Result<Option<Chore>, clap::Error> {
        XtaskArgs::try_parse_from(["xtask"].into_iter().chain(line.split_whitespace())).map(|args| args.chore)
    }

    fn bench(line: &str) -> BenchOptions {
        match parse(line).unwrap() {
            Some(Chore::Bench(args)) => args,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_definition_is_consistent() {
        XtaskArgs::command().debug_assert();
    }

    #[test]
    fn what_follows_two_dashes_is_passed_to_the_test_runner() {
        let words = |line: &str| line.split_whitespace().map(String::from).collect::<Vec<_>>();
        let Some(Chore::Test(args)) = parse("test --only lake --quick -- late --quick").unwrap() else { panic!() };
        assert_eq!(args, TestOptions { quick: true, only: words("lake"), filter: words("late --quick") });
    }

    #[test]
    fn all_benchmarks_run_unless_one_is_named() {
        assert_eq!(bench("bench").selected(), BenchName::value_variants());
        let args = bench("bench e2e --messages 1_000 --reference /r");
        assert_eq!((args.selected(), args.messages), (&[BenchName::E2e][..], 1000));
        assert_eq!(args.reference, Some("/r".into()));
        assert_eq!(bench("bench warehouse --days 7").days, 7);
        assert_eq!(bench("bench failover --kills 3").kills, 3);
    }

    #[test]
    fn a_wrong_command_line_ends_with_exit_code_2_and_names_the_word() {
        for line in ["test --quik", "bench --quik", "bench warehouse --days 0", "test --only", "lints", "lint x"] {
            let error = parse(line).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{line}: {error}");
        }
        assert!(parse("test --quik").unwrap_err().to_string().contains("'--quik'"));
        assert_eq!(parse("--help").unwrap_err().kind(), ErrorKind::DisplayHelp);
        assert!(parse("").unwrap().is_none());
    }
}
