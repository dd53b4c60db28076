//! Windows as an SQL condition, as short as their regularity allows.
//!
//! A year of five-minute windows is 105,120 instants, and a BigQuery query may have a million characters. Windows nearly
//! always come at regular intervals: a run is described by its first window, its last and the interval.

/// The shortest sequence of windows that is written as a run.
const MIN_RUN: usize = 3;
/// Longest condition; the rest of the script is small. BigQuery's limit is 1,024 K characters.
const MAX_CONDITION_BYTES: usize = 900_000;

/// Windows at equal distances: first instants of the first and the last, and the distance, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct WindowRun {
    first: i64,
    last: i64,
    step: i64,
}

/// The condition that `column` (TIMESTAMP) is one of `windows` (sorted, microseconds), with constant bounds in front
/// by which BigQuery prunes the partitions of other days. `None`: it would be too long for a query.
pub(super) fn condition(column: &str, windows: &[i64]) -> Option<String> {
    let (Some(first), Some(last)) = (windows.first(), windows.last()) else { return Some("FALSE".to_owned()) };
    let (runs, singles) = split(windows);
    let mut any: Vec<String> = runs
        .iter()
        .map(|WindowRun { first, last, step }| {
            format!(
                "(UNIX_MICROS({column}) BETWEEN {first} AND {last} AND MOD(UNIX_MICROS({column}) - {first}, {step}) = 0)"
            )
        })
        .collect();
    if !singles.is_empty() {
        let list: Vec<String> = singles.iter().map(i64::to_string).collect();
        any.push(format!("UNIX_MICROS({column}) IN ({})", list.join(", ")));
    }
    let condition = format!("{} AND ({})", between(column, *first, *last), any.join(" OR "));
    (condition.len() <= MAX_CONDITION_BYTES).then_some(condition)
}

/// That `column` lies between two instants, both included.
pub(super) fn between(column: &str, first: i64, last: i64) -> String {
    format!("{column} BETWEEN {} AND {}", instant(first), instant(last))
}

/// A TIMESTAMP literal: constant, so that partitions are pruned before anything is read.
fn instant(us: i64) -> String {
    let at = chrono::DateTime::from_timestamp_micros(us).unwrap_or_default();
    format!("TIMESTAMP '{}'", at.format("%Y-%m-%d %H:%M:%S%.6f+00:00"))
}

fn split(windows: &[i64]) -> (Vec<WindowRun>, Vec<i64>) {
    let (mut runs, mut singles, mut at) = (Vec::new(), Vec::new(), 0);
    while at < windows.len() {
        let length = run_length(&windows[at..]);
        let run = &windows[at..at + length];
        if length >= MIN_RUN {
            runs.push(WindowRun { first: run[0], last: run[length - 1], step: run[1] - run[0] });
            at += length;
        } else {
            singles.push(run[0]);
            at += 1;
        }
    }
    (runs, singles)
}

/// How many windows, from the first one on, follow at the distance of the first two.
fn run_length(windows: &[i64]) -> usize {
    let [first, second, ..] = windows else { return windows.len() };
    let step = second - first;
    if step <= 0 {
        return 1;
    }
    1 + windows.windows(2).take_while(|pair| pair[1] - pair[0] == step).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60_000_000;

    /// The windows that a condition's runs and singles describe.
    fn expand(windows: &[i64]) -> Vec<i64> {
        let (runs, mut all) = split(windows);
        for WindowRun { first, last, step } in runs {
            all.extend((first..=last).step_by(step as usize));
        }
        all.sort_unstable();
        all
    }

    #[test]
    fn a_year_of_windows_is_one_short_condition() {
        let windows: Vec<i64> = (0..105_120).map(|n| n * 5 * MINUTE).collect();
        assert!(condition("T.`start`", &windows).unwrap().len() < 300);
        assert_eq!(expand(&windows), windows);
    }

    #[test]
    fn runs_and_singles_describe_exactly_the_given_windows() {
        for windows in [vec![], vec![7], vec![1, 2], vec![1, 2, 3, 9, 20, 21, 22, 24, 26, 28, 100], vec![0, 5, 6, 7, 8]]
        {
            assert_eq!(expand(&windows), windows);
        }
        // Irregular by a fixed rule: squares, with every third left out.
        let odd: Vec<i64> = (0..500).filter(|n| n % 3 != 0).map(|n: i64| n * n * 1_000).collect();
        assert_eq!(expand(&odd), odd);
    }

    #[test]
    fn the_bounds_are_constants_around_all_windows() {
        let text = condition("T.`start`", &[1_700_000_000_000_000]).unwrap();
        let at = "TIMESTAMP '2023-11-14 22:13:20.000000+00:00'";
        assert_eq!(text, format!("T.`start` BETWEEN {at} AND {at} AND (UNIX_MICROS(T.`start`) IN (1700000000000000))"));
    }

    #[test]
    fn no_windows_select_no_rows() {
        assert_eq!(condition("T.`start`", &[]).unwrap(), "FALSE");
    }

    #[test]
    fn a_condition_of_a_million_characters_is_refused() {
        let odd: Vec<i64> = (0..200_000_i64).map(|n| 1_700_000_000_000_000 + n * n).collect();
        assert_eq!(condition("c", &odd), None);
    }
}
