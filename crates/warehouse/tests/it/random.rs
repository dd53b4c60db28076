//! Random streams against an obvious oracle.

use std::collections::BTreeMap;

use turnstile_lake::FileEncoding;
use turnstile_warehouse::{BUILT_IN, WarehouseLimits};

use crate::story::{Story, facts, load, load_all};

/// A generator that gives the same numbers for the same seed (Knuth's MMIX constants).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// Of each window its version and rows.
type Oracle<'a> = BTreeMap<i64, (u32, Vec<(&'a str, i64)>)>;

#[tokio::test]
async fn facts_are_those_of_the_newest_versions_whenever_loads_happen() {
    const STATIONS: [&str; 3] = ["a", "b", "c"];
    for seed in 0..6 {
        let mut dice = Dice(seed);
        let format = if dice.roll(2) == 0 { FileEncoding::CsvGz } else { FileEncoding::Parquet };
        let mut story = Story::begin(format).await;
        let limits = WarehouseLimits { load_rows: 1 + dice.roll(20), ..WarehouseLimits::default() };
        let mut warehouse = story.warehouse_of(&BUILT_IN, limits);
        let mut oracle = Oracle::new();
        for _ in 0..8 + dice.roll(8) {
            let mut windows = BTreeMap::new();
            for _ in 0..1 + dice.roll(3) {
                let number = dice.roll(200) as i64;
                let version = oracle.get(&number).map_or(1, |(version, _)| version + 1);
                let mut rows: Vec<(&str, i64)> = Vec::new();
                for station in STATIONS {
                    if dice.roll(3) > 0 {
                        rows.push((station, dice.roll(100) as i64));
                    }
                }
                if !rows.is_empty() {
                    windows.insert(number, (version, rows));
                }
            }
            let files: Vec<_> = windows.iter().map(|(n, (version, rows))| (*n, *version, rows.as_slice())).collect();
            story.publish(&files).await;
            oracle.extend(windows);
            if dice.roll(3) == 0 {
                load(&warehouse).await.unwrap();
            }
            if dice.roll(10) == 0 {
                // Another process goes on.
                warehouse = story.warehouse_of(&BUILT_IN, limits);
            }
        }
        load_all(&warehouse).await;
        let expected: Vec<String> = oracle
            .iter()
            .flat_map(|(number, (_, rows))| {
                rows.iter().map(move |(station, entries)| format!("{station},{number},{entries}"))
            })
            .collect();
        assert_eq!(facts(&warehouse).await, expected, "seed {seed}");
    }
}
