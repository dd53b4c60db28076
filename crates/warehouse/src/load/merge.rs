//! Merges a day's small files: in steps during the day, so that a row is rewritten only a few times and no load waits
//! long; into one once the day is over.

use std::collections::BTreeMap;

use turnstile_delivery::TableKind;
use turnstile_values::{DAY_US, HOUR_US};

use super::same_rows::commit_same_rows;
use super::staged_tables::StagedTables;
use crate::error::WarehouseError;
use crate::store::{DataFile, TableState, WarehouseState};
use crate::warehouse::Warehouse;

/// Files of a day that is not over: as many of about the same number of windows are merged into one.
const FAN_IN: usize = 16;

/// Maximum compressed bytes of the files that are merged at once: their rows are held in memory.
const LARGEST: u64 = 32 << 20;

/// How long after a day's end its files are merged even if they are few: most late windows have come by then.
const CLOSED_AFTER_US: i64 = 2 * HOUR_US;

/// Merges the files of one day of each table, where there are many. Rows stay what they are.
pub(super) async fn merge(warehouse: &Warehouse, state: &mut WarehouseState) -> Result<(), WarehouseError> {
    let mut staged = StagedTables::of_same_rows(warehouse, state);
    let mut any = false;
    for (name, table) in &state.tables {
        if let Some(files) = due(table) {
            staged.merge(name, &files).await?;
            any = true;
        }
    }
    if !any {
        return Ok(());
    }
    tracing::debug!("merging files of the warehouse");
    commit_same_rows(warehouse, state, staged).await
}

/// Files of the oldest day that has too many of them.
fn due(table: &TableState) -> Option<Vec<DataFile>> {
    if !matches!(table.head.kind, TableKind::Incremental { .. }) {
        return None;
    }
    let mut days: BTreeMap<i64, Vec<DataFile>> = BTreeMap::new();
    for file in &table.files {
        let (first, _) = file.windows.bounds()?;
        days.entry(first.div_euclid(DAY_US)).or_default().push(file.clone());
    }
    let newest = table.files.iter().filter_map(|file| file.windows.bounds()).map(|(_, last)| last).max()?;
    days.into_iter().find_map(|(day, files)| {
        let over = newest > (day + 1) * DAY_US + CLOSED_AFTER_US;
        if over { together(files, 2) } else { of_one_size(files) }
    })
}

/// Files of about the same number of windows, when there are many.
fn of_one_size(files: Vec<DataFile>) -> Option<Vec<DataFile>> {
    let mut sizes: BTreeMap<u32, Vec<DataFile>> = BTreeMap::new();
    for file in files {
        sizes.entry(file.windows.len().max(1).ilog(FAN_IN)).or_default().push(file);
    }
    sizes.into_values().find_map(|files| together(files, FAN_IN))
}

/// As many of `files` as may be merged at once, the smallest; at least `fewest`.
fn together(mut files: Vec<DataFile>, fewest: usize) -> Option<Vec<DataFile>> {
    files.sort_by_key(|file| file.bytes);
    let mut bytes = 0;
    let fits = files.iter().take_while(|file| {
        bytes += file.bytes;
        bytes <= LARGEST
    });
    let fits = fits.count();
    files.truncate(fits);
    // In the order of their windows, which is that of the merged file's rows.
    files.sort_by_key(|file| file.windows.bounds());
    (files.len() >= fewest).then_some(files)
}

#[cfg(test)]
mod tests {
    use turnstile_lake::Hash;

    use super::*;
    use crate::store::WindowSet;

    fn file(first: i64, windows: i64, bytes: u64) -> DataFile {
        let windows = WindowSet::new(first..first + windows);
        DataFile { name: first.to_string(), sha256: Hash::of(b""), bytes, rows: 1, windows }
    }

    #[test]
    fn a_day_of_loads_writes_each_row_three_times_at_most_and_leaves_few_files() {
        let (mut files, mut written, mut most) = (Vec::new(), 0, 0);
        for window in 0..288 {
            files.push(file(window, 1, 1));
            while let Some(merged) = of_one_size(files.clone()) {
                let windows: i64 = merged.iter().map(|file| file.windows.len() as i64).sum();
                files.retain(|file| !merged.contains(file));
                files.push(file(merged[0].windows.bounds().unwrap().0, windows, windows as u64));
                written += windows;
            }
            most = most.max(files.len());
        }
        assert!(written <= 2 * 288, "{written}");
        assert!(most <= 31, "{most}");
    }

    #[test]
    fn what_is_merged_at_once_fits_into_memory() {
        let files = vec![file(2, 1, LARGEST), file(1, 1, 3), file(0, 1, 4)];
        let firsts: Vec<_> = together(files, 2).unwrap().iter().map(|file| file.windows.bounds().unwrap().0).collect();
        assert_eq!(firsts, [0, 1]);
        assert_eq!(together(vec![file(0, 1, LARGEST), file(1, 1, 1)], 2), None);
    }
}
