//! Random deliveries against a slow, obvious oracle.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::collection::{btree_map, btree_set, vec};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, TestRunner};
use turnstile_delivery::postgres::PostgresTarget;
use turnstile_delivery::{Delivery, Scope, TableChange, Target, TargetError};

use super::city::{change, dim, fact, facts, load, names, top, window};
use super::test_database::TestDatabase;

const CASES: u32 = 24;

/// What one delivery brings.
#[derive(Debug, Clone)]
struct Step {
    /// Windows, and rows that fall into them by window and station.
    windows: BTreeSet<i64>,
    facts: BTreeMap<(i64, u8), i64>,
    /// Replace all windows instead of some.
    all_windows: bool,
    dim: BTreeMap<i64, u8>,
    top: Option<Vec<(i64, u8)>>,
    /// Where batches are cut.
    batch_rows: usize,
    /// What is tried besides: the same again, a new connection, a delivery from an older position.
    twist: Twist,
}

#[derive(Debug, Clone, Copy)]
enum Twist {
    None,
    Again,
    Reconnect,
    Stale,
    Refused,
}

fn step() -> impl Strategy<Value = Step> {
    let twists = select(vec![Twist::None, Twist::None, Twist::Again, Twist::Reconnect, Twist::Stale, Twist::Refused]);
    (
        btree_set(0..6i64, 0..4),
        btree_map((0..6i64, 0..5u8), 0..3i64, 0..20),
        prop::bool::weighted(0.15),
        btree_map(0..8i64, 0..4u8, 0..5),
        prop::option::of(vec((0..3i64, 0..3u8), 0..5)),
        1..7usize,
        twists,
    )
        .prop_map(|(windows, mut facts, all_windows, dim, top, batch_rows, twist)| {
            facts.retain(|(window, _), _| all_windows || windows.contains(window));
            Step { windows, facts, all_windows, dim, top, batch_rows, twist }
        })
}

/// What the tables should hold.
#[derive(Debug, Default, Clone)]
struct Oracle {
    fact: BTreeMap<(i64, u8), i64>,
    dim: BTreeMap<i64, u8>,
    top: Vec<(i64, u8)>,
}

impl Oracle {
    fn apply(&mut self, step: &Step) {
        self.fact.retain(|(window, _), _| !step.all_windows && !step.windows.contains(window));
        self.fact.extend(step.facts.iter().map(|(key, value)| (*key, *value)));
        self.dim.extend(step.dim.iter().map(|(key, value)| (*key, *value)));
        if let Some(top) = &step.top {
            self.top = top.clone();
            self.top.sort_unstable();
        }
    }

    fn lines(&self) -> [Vec<String>; 3] {
        let name = |pair: (&i64, &u8)| format!("{}|n{}", pair.0, pair.1);
        [
            self.fact.iter().map(|((w, s), n)| format!("{}|s{s}|{n}", window(*w) / 1_000_000)).collect(),
            self.dim.iter().map(name).collect(),
            self.top.iter().map(|(id, n)| name((id, n))).collect(),
        ]
    }
}

fn delivery(number: u64, step: &Step) -> Delivery {
    let rows: Vec<(String, i64, i64)> = step.facts.iter().map(|((w, s), n)| (format!("s{s}"), *w, *n)).collect();
    let rows: Vec<(&str, i64, i64)> = rows.iter().map(|(station, w, n)| (station.as_str(), *w, *n)).collect();
    let batches: Vec<_> = rows.chunks(step.batch_rows).map(facts).collect();
    let scope = match step.all_windows {
        true => Scope::Everything,
        false => Scope::Windows(step.windows.iter().map(|nth| window(*nth)).collect()),
    };
    let named = |pairs: Vec<(i64, u8)>| {
        let words: Vec<(i64, String)> = pairs.into_iter().map(|(id, n)| (id, format!("n{n}"))).collect();
        names(&words.iter().map(|(id, name)| (*id, name.as_str())).collect::<Vec<_>>())
    };
    let mut changes = vec![
        TableChange { table: Arc::new(fact()), scope, rows: Arc::new(batches) },
        change(dim(), Scope::Keys, named(step.dim.iter().map(|(id, n)| (*id, *n)).collect())),
    ];
    if let Some(top_rows) = &step.top {
        changes.push(change(top(), Scope::Everything, named(top_rows.clone())));
    }
    let tables = vec![Arc::new(fact()), Arc::new(dim()), Arc::new(top())];
    Delivery { tables, ..load(number, changes) }
}

async fn lines(database: &TestDatabase, schema: &str) -> [Vec<String>; 3] {
    let fact =
        format!("SELECT extract(epoch FROM start_at)::bigint, station, entries FROM {schema}.fact ORDER BY 1, 2");
    let named = |table: &str| format!("SELECT id, name FROM {schema}.{table} ORDER BY 1, 2");
    [database.sql(&fact).await, database.sql(&named("dim")).await, database.sql(&named("top")).await]
}

async fn agree(database: &TestDatabase, schema: &str, steps: &[Step]) -> Result<(), TestCaseError> {
    let settings = database.settings(&[("schema", schema)]);
    let mut target = PostgresTarget::new(settings.clone());
    let mut oracle = Oracle::default();
    for (number, step) in (1..).zip(steps) {
        if matches!(step.twist, Twist::Refused) {
            // Everything fits but the last change: nothing of the delivery may stay.
            let mut refused = delivery(number, step);
            refused.changes.push(change(dim(), Scope::Keys, names(&[(1, "a"), (1, "b")])));
            let answer = target.apply(&refused).await;
            prop_assert!(matches!(answer, Err(TargetError::Refused { .. })), "{:?}", answer);
        }
        let next = delivery(number, step);
        let delivered = target.apply(&next).await.map_err(|error| TestCaseError::fail(format!("{error:?}")))?;
        prop_assert!(!delivered.already);
        oracle.apply(step);
        match step.twist {
            Twist::Again => prop_assert!(target.apply(&next).await.unwrap().already),
            Twist::Reconnect => target = PostgresTarget::new(settings.clone()),
            Twist::Stale if number > 1 => {
                let answer = target.apply(&delivery(number - 1, step)).await;
                prop_assert!(matches!(answer, Err(TargetError::Moved { .. })), "{:?}", answer);
            }
            Twist::None | Twist::Stale | Twist::Refused => {}
        }
        prop_assert_eq!(lines(database, schema).await, oracle.lines(), "after load {}", number);
    }
    Ok(())
}

#[test]
#[ignore = "needs servers: cargo xtask test"]
fn random_deliveries_leave_what_the_oracle_has() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let database = runtime.block_on(TestDatabase::new());
    let mut runner = TestRunner::new(Config { cases: CASES, failure_persistence: None, ..Config::default() });
    let schemas = std::cell::Cell::new(0);
    let result = runner.run(&vec(step(), 1..8), |steps| {
        schemas.set(schemas.get() + 1);
        runtime.block_on(agree(&database, &format!("case_{}", schemas.get()), &steps))
    });
    result.unwrap_or_else(|error| panic!("{error}"));
}
