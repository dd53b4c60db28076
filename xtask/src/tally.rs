//! Adds up the results that the test binaries print.

/// Sums over all test binaries of one run.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct TestTally {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) ignored: u64,
    started: u64,
    ended: u64,
}

impl TestTally {
    /// Takes one line of cargo test's output.
    pub(crate) fn line(&mut self, line: &str) {
        let line = without_colour(line);
        if let Some(rest) = line.strip_prefix("test result: ") {
            self.ended += 1;
            for part in rest.split([';', '.']) {
                match part.trim().split_once(' ') {
                    Some((n, "passed")) => self.passed += n.parse().unwrap_or(0),
                    Some((n, "failed")) => self.failed += n.parse().unwrap_or(0),
                    Some((n, "ignored")) => self.ignored += n.parse().unwrap_or(0),
                    _ => {}
                }
            }
        } else if is_start(&line) {
            self.started += 1;
        }
    }

    /// Binaries that started and never printed a result: they crashed.
    pub(crate) fn crashed(&self) -> u64 {
        self.started.saturating_sub(self.ended)
    }

    /// Whether tests ran and all of them passed.
    pub(crate) fn is_good(&self) -> bool {
        self.passed > 0 && self.failed == 0 && self.crashed() == 0
    }

    /// The closing line. A binary that crashed counts as one failed test.
    pub(crate) fn closing(&self) -> String {
        let line = format!("{} passed, {} failed", self.passed, self.failed + self.crashed());
        if self.ignored > 0 { format!("{line}, {} skipped", self.ignored) } else { line }
    }
}

/// "running 5 tests"
fn is_start(line: &str) -> bool {
    let mut words = line.split(' ');
    words.next() == Some("running")
        && words.next().is_some_and(|n| n.parse::<u64>().is_ok())
        && matches!(words.next(), Some("test" | "tests"))
        && words.next().is_none()
}

/// Drops the terminal's escape sequences: ESC [ … letter.
fn without_colour(line: &str) -> String {
    let mut plain = String::with_capacity(line.len());
    let mut rest = line.chars();
    while let Some(c) = rest.next() {
        if c == '\u{1b}' {
            rest.by_ref().find(char::is_ascii_alphabetic);
        } else {
            plain.push(c);
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(text: &str) -> TestTally {
        let mut tally = TestTally::default();
        text.lines().for_each(|line| tally.line(line));
        tally
    }

    #[test]
    fn binaries_add_up() {
        let tally = tally(
            "running 3 tests\ntest a ... ok\n\
             test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s\n\
             running 1 test\n\
             test result: \u{1b}[31mFAILED\u{1b}(B\u{1b}[m. 0 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out\n",
        );
        assert_eq!(tally.closing(), "2 passed, 1 failed, 1 skipped");
        assert!(!tally.is_good());
    }

    #[test]
    fn a_binary_that_crashed_is_a_failure() {
        let tally = tally("running 2 tests\nrunning 1 test\ntest result: ok. 1 passed; 0 failed; 0 ignored\n");
        assert_eq!(tally.closing(), "1 passed, 1 failed");
        assert!(!tally.is_good());
    }

    #[test]
    fn a_run_without_tests_is_not_good() {
        assert!(!tally("running 0 tests\ntest result: ok. 0 passed; 0 failed; 0 ignored\n").is_good());
        assert!(tally("running 1 test\ntest result: ok. 1 passed; 0 failed; 0 ignored\n").is_good());
    }
}
