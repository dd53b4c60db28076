//! Small files of a day become one.

use std::collections::BTreeMap;

use chrono::Utc;
use delivery::Kind;

use super::next;
use super::work::{DAY_US, Work};
use crate::store::{DataFile, Entry, State, TableState};
use crate::{Warehouse, WarehouseError};

/// Files of a day that is not over: as many are merged into one.
const OPEN_DAY_FILES: usize = 48;

/// How long after a day's end its files are merged even if they are few: most late windows have come by then.
const CLOSED_AFTER_US: i64 = 2 * 3_600_000_000;

/// Merges the files of one day of each table, where there are many. Rows stay what they are.
pub(super) async fn merge(warehouse: &Warehouse, state: &mut State) -> Result<(), WarehouseError> {
    let mut work = Work::of_same_rows(warehouse, state);
    let mut any = false;
    for (name, table) in &state.tables {
        if let Some(files) = due(table) {
            work.merge(name, &files).await?;
            any = true;
        }
    }
    if !any {
        return Ok(());
    }
    let (tables, written) = work.into_parts();
    let entry = Entry { tables, ..next(state) };
    tracing::debug!(at = %Utc::now(), load = entry.load, "merging files of the warehouse");
    let committed = warehouse.inner().store.commit(state, &entry).await;
    if matches!(committed, Err(WarehouseError::Moved)) {
        warehouse.inner().lake.delete(&written).await?;
    }
    committed
}

/// The files of the oldest day that has too many of them.
fn due(table: &TableState) -> Option<Vec<DataFile>> {
    if !matches!(table.head.kind, Kind::Incremental { .. }) {
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
        (files.len() >= OPEN_DAY_FILES || (over && files.len() > 1)).then_some(files)
    })
}
