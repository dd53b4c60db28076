//! Command lines into plain values.

use std::fmt;
use std::path::PathBuf;

use anyhow::Result;

/// A command line that makes no sense.
#[derive(Debug)]
pub(crate) struct Usage(pub(crate) String);

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// What `cargo xtask test` is asked for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Test {
    /// Only tests that need no server.
    pub(crate) quick: bool,
    /// Only these rooms; all when empty.
    pub(crate) only: Vec<String>,
    /// For the test runner.
    pub(crate) filter: Vec<String>,
}

/// What `cargo xtask bench` is asked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Bench {
    /// The benches to run; never empty.
    pub(crate) which: Vec<String>,
    /// Messages in the `city` topic.
    pub(crate) messages: u64,
    /// How often the failover bench kills a leader.
    pub(crate) kills: u32,
    /// Days in the tables that the warehouse bench asks.
    pub(crate) days: u32,
    /// The folder of programs to compare with, when one was named.
    pub(crate) reference: Option<PathBuf>,
    /// The turnstile binary to measure, when one was named; otherwise a release binary is built.
    pub(crate) binary: Option<PathBuf>,
}

const BENCHES: [&str; 8] = ["engine", "e2e", "latency", "broker", "produce", "ready", "failover", "warehouse"];

pub(crate) fn test(arguments: &[String]) -> Result<Test> {
    let mut options = Test::default();
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        match argument.as_str() {
            "--quick" => options.quick = true,
            "--only" => options.only.push(value(argument, rest.next())?),
            "--" => options.filter = rest.by_ref().cloned().collect(),
            other => return unknown(other),
        }
    }
    Ok(options)
}

/// Whether servers are only to be fetched.
pub(crate) fn servers(arguments: &[String]) -> Result<bool> {
    match arguments {
        [] => Ok(false),
        [one] if one == "--fetch-only" => Ok(true),
        [first, ..] => unknown(first),
    }
}

pub(crate) fn bench(arguments: &[String]) -> Result<Bench> {
    let mut options =
        Bench { which: Vec::new(), messages: 5_000_000, kills: 20, days: 365, reference: None, binary: None };
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        match argument.as_str() {
            "--messages" => {
                let text = value(argument, rest.next())?;
                let digits = text.replace('_', "");
                options.messages = digits.parse().map_err(|_| Usage(format!("--messages: `{text}` is no number")))?;
            }
            "--kills" => {
                let text = value(argument, rest.next())?;
                options.kills = text.parse().map_err(|_| Usage(format!("--kills: `{text}` is no number")))?;
            }
            "--days" => {
                let text = value(argument, rest.next())?;
                let days = text.parse().ok().filter(|days| *days > 0);
                options.days = days.ok_or_else(|| Usage(format!("--days: `{text}` is no number of days")))?;
            }
            "--reference" => options.reference = Some(value(argument, rest.next())?.into()),
            "--binary" => options.binary = Some(value(argument, rest.next())?.into()),
            name if BENCHES.contains(&name) => options.which.push(name.into()),
            other => return unknown(other),
        }
    }
    if options.which.is_empty() {
        options.which = BENCHES.map(String::from).into();
    }
    Ok(options)
}

pub(crate) fn none(arguments: &[String]) -> Result<()> {
    arguments.first().map_or(Ok(()), |first| unknown(first))
}

fn value(flag: &str, value: Option<&String>) -> Result<String> {
    value.cloned().ok_or_else(|| Usage(format!("{flag} needs a value")).into())
}

fn unknown<T>(argument: &str) -> Result<T> {
    Err(Usage(format!("`{argument}` is not understood")).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(String::from).collect()
    }

    #[test]
    fn what_follows_two_dashes_goes_to_the_test_runner() {
        let options = test(&words("--only lake --quick -- late --quick")).unwrap();
        assert_eq!(options, Test { quick: true, only: words("lake"), filter: words("late --quick") });
    }

    #[test]
    fn a_bench_is_all_of_them_unless_one_is_named() {
        assert_eq!(bench(&[]).unwrap().which, BENCHES);
        let options = bench(&words("e2e --messages 1_000 --reference /r")).unwrap();
        let which = words("e2e");
        let expected =
            Bench { which, messages: 1000, kills: 20, days: 365, reference: Some("/r".into()), binary: None };
        assert_eq!(options, expected);
        assert_eq!(bench(&words("warehouse --days 7")).unwrap().days, 7);
        assert!(bench(&words("warehouse --days 0")).is_err());
        assert_eq!(bench(&words("failover --kills 3")).unwrap().kills, 3);
    }

    #[test]
    fn a_word_that_is_not_understood_is_named() {
        for fault in [test(&words("--quik")).unwrap_err(), bench(&words("--quik")).unwrap_err()] {
            assert_eq!(fault.to_string(), "`--quik` is not understood");
            assert!(fault.is::<Usage>());
        }
        assert_eq!(test(&words("--only")).unwrap_err().to_string(), "--only needs a value");
    }
}
