//! The dialect beside Apache Spark itself: every operator, cast, function and aggregate over edge values, in two zones, with
//! columns and with constants; and expressions made at random of the same forms.
//!
//! Equal, or a difference that docs/sql.md names and [`forms`] marks. Start at [`forms`].

mod answer;
mod forms;
mod generated;
mod ours;
mod rows;
mod theirs;

use std::collections::BTreeSet;

use answer::Answer;
use forms::{Allowed, Form};
use rows::{Rows, ZONES};
use theirs::Spark;

/// Expressions that one run of the generator asks; hours by hand with `TURNSTILE_EXPRESSIONS=100000`.
const GENERATED: usize = 150;

/// An expression that Spark has answered, and what it may differ in.
struct Case {
    sql: String,
    allowed: Allowed,
}

/// What is wrong, a line each: our answers for each row, with columns and with constants, beside Spark's.
fn differences(rows: &Rows, case: &Case, spark: &[Answer], may_refuse: bool) -> Vec<String> {
    let mut wrong = Vec::new();
    let columns = match ours::of_columns(rows, &case.sql) {
        Ok(answers) => answers,
        Err(_) if may_refuse => return wrong,
        Err(fault) => return vec![format!("{}: refused: {fault}", case.sql)],
    };
    for (row, (ours, spark)) in columns.iter().zip(spark).enumerate() {
        if !case.allowed.same(ours, spark) {
            wrong.push(format!("{} [{}]: {ours} for Spark's {spark}", case.sql, rows.shown(row, &case.sql)));
            continue;
        }
        let constant = rows.with_constants(row, &case.sql);
        match ours::of_constants(rows, &constant) {
            Some(constant) if constant == *ours => {}
            // What a constant decides is known without a look at an operand that fails.
            Some(_) if may_refuse && *ours == Answer::Error => {}
            // What cannot be computed is found while planning, even where another branch is taken.
            None if *ours == Answer::Error || may_refuse => {}
            other => wrong.push(format!("{constant}: {other:?} as constants, {ours} as columns")),
        }
    }
    wrong
}

/// In each zone that has a say in an expression, side by side.
fn compare(cases: &[Case], may_refuse: bool) -> Vec<String> {
    let in_zone = |zone: &'static str| {
        let rows = Rows::new(zone);
        let cases: Vec<&Case> = cases.iter().filter(|case| zone == ZONES[0] || rows::is_of_time(&case.sql)).collect();
        let texts: Vec<&str> = cases.iter().map(|case| case.sql.as_str()).collect();
        let answers = Spark::ask(&rows, &texts);
        assert_eq!(answers.len(), cases.len());
        let all = cases.iter().zip(&answers).flat_map(|(case, spark)| differences(&rows, case, spark, may_refuse));
        all.collect::<Vec<_>>()
    };
    std::thread::scope(|scope| {
        let zones = ZONES.map(|zone| scope.spawn(move || in_zone(zone)));
        zones.into_iter().flat_map(|zone| zone.join().unwrap()).collect()
    })
}

fn assert_none(wrong: &[String]) {
    let expressions: BTreeSet<&str> = wrong.iter().filter_map(|line| line.split(" [").next()).collect();
    assert!(
        wrong.is_empty(),
        "{} differences of {} expressions:\n{}",
        wrong.len(),
        expressions.len(),
        wrong.join("\n")
    );
}

#[test]
#[ignore = "needs servers: cargo xtask test"]
fn every_form_of_the_dialect_means_what_it_means_in_spark() {
    let cases: Vec<Case> = forms::SCALARS.iter().flat_map(Form::cases).collect();
    assert_none(&compare(&cases, false));
}

#[test]
#[ignore = "needs servers: cargo xtask test"]
fn every_aggregate_computes_what_it_computes_in_spark() {
    let mut wrong = Vec::new();
    for zone in ZONES {
        let rows = Rows::new(zone);
        let cases: Vec<Case> = forms::AGGREGATES.iter().flat_map(Form::cases).collect();
        let texts: Vec<&str> = cases.iter().map(|case| case.sql.as_str()).collect();
        for (case, spark) in cases.iter().zip(Spark::ask_groups(&rows, &texts)) {
            match ours::of_groups(&rows, &case.sql) {
                Err(fault) => wrong.push(format!("{}: refused: {fault}", case.sql)),
                Ok(ours) => {
                    for (group, (ours, spark)) in ours.iter().zip(&spark).enumerate() {
                        if !case.allowed.same(ours, spark) {
                            wrong.push(format!("{} [group {group}]: {ours} for Spark's {spark}", case.sql));
                        }
                    }
                }
            }
        }
    }
    assert_none(&wrong);
}

#[test]
#[ignore = "needs servers: cargo xtask test"]
fn expressions_at_random_mean_what_they_mean_in_spark() {
    let count = std::env::var("TURNSTILE_EXPRESSIONS").map_or(GENERATED, |count| count.parse().unwrap());
    let seed = std::env::var("TURNSTILE_SEED").map_or(1, |seed| seed.parse().unwrap());
    let cases = generated::cases(seed, count);
    let planned = cases.iter().filter(|case| ours::plans(&Rows::new(ZONES[0]), &case.sql)).count();
    assert!(planned * 2 > count, "{planned} of {count} expressions were planned");
    assert_none(&compare(&cases, true));
}

/// Where the same text means something else on Spark, another text is sent: docs/spark.md.
#[test]
#[ignore = "needs servers: cargo xtask test"]
fn the_query_that_is_sent_to_spark_means_the_same() {
    let rows = Rows::new(ZONES[0]);
    let mut wrong = Vec::new();
    for (forms, is_aggregate, rewritten) in [(forms::SCALARS, false, 20), (forms::AGGREGATES, true, 50)] {
        let sent = |case: Case| {
            let sent =
                ours::sent(&rows, &case.sql, is_aggregate).unwrap_or_else(|fault| panic!("{}: {fault}", case.sql));
            (Case { allowed: case.allowed.once_rewritten(&case.sql), ..case }, sent)
        };
        // What is sent as it stands is compared by the other tests.
        let cases = forms.iter().flat_map(Form::cases).map(sent).filter(|(case, sent)| case.sql != *sent);
        let cases: Vec<(Case, String)> = cases.collect();
        assert!(cases.len() >= rewritten, "{} expressions are rewritten", cases.len());
        let texts: Vec<&str> = cases.iter().map(|(_, sent)| sent.as_str()).collect();
        let answers = if is_aggregate { Spark::ask_groups(&rows, &texts) } else { Spark::ask(&rows, &texts) };
        for ((case, sent), spark) in cases.iter().zip(answers) {
            let ours =
                if is_aggregate { ours::of_groups(&rows, &case.sql) } else { ours::of_columns(&rows, &case.sql) };
            for (at, (ours, spark)) in ours.unwrap().iter().zip(&spark).enumerate() {
                if !case.allowed.same(ours, spark) {
                    wrong.push(format!("{} [{at}], sent as {sent}: {ours} for Spark's {spark}", case.sql));
                }
            }
        }
    }
    assert_none(&wrong);
}

/// docs/sql.md lists what can be called: all of it, and nothing else, is compared with Spark.
#[test]
fn the_documented_functions_are_those_that_are_compared() {
    let text = include_str!("../../../../docs/sql.md");
    let section = |from: &str, to: &str| text.split_once(from).unwrap().1.split_once(to).unwrap().0;
    let scalars: BTreeSet<String> = section("## Scalar functions", "`date_format` and")
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.split_once(" | ")?.1.strip_suffix(" |"))
        .flat_map(|names| names.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').map(str::to_owned))
        .filter(|name| !name.is_empty() && name != "FROM" && name != "extract")
        .collect();
    let aggregates: BTreeSet<String> = section("## Aggregates", "### Registers")
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.split_once(" |").map(|(names, _)| names))
        .filter(|names| *names != "function")
        .flat_map(|names| names.split(", ").map(|name| name.split('(').next().unwrap().to_owned()))
        // What follows a comma within parentheses is an argument.
        .filter(|name| !name.ends_with(')') && !["increase", "resets", "jumps"].contains(&name.as_str()))
        .collect();
    // An aggregate is the first call of its form.
    let called = |forms: &[Form], first: usize| -> BTreeSet<String> {
        let calls = forms.iter().flat_map(|form| forms::calls(form.sql).into_iter().take(first));
        calls.filter(|name| *name != "extract").map(str::to_owned).collect()
    };
    let missing = |listed: &BTreeSet<String>, called: &BTreeSet<String>| -> Vec<String> {
        listed.symmetric_difference(called).cloned().collect()
    };
    assert_eq!(missing(&scalars, &called(forms::SCALARS, usize::MAX)), [""; 0]);
    assert_eq!(missing(&aggregates, &called(forms::AGGREGATES, 1)), [""; 0]);
}
