//! A statement that reads models' tables and the lake sees both at one position.
//!
//! Models' tables hold what the last load read, and the lake has more since. A statement that compares the two, as the
//! models' tests do, reads the lake as of the commit that was loaded. Statements over the lake alone read all of it.
//! So does one that also reads the open windows: these are known as of the newest commit only.

use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNodeRecursion};
use datafusion::datasource::{provider_as_source, source_as_provider};
use datafusion::logical_expr::LogicalPlan;
use datafusion::optimizer::AnalyzerRule;

use super::computed::ComputedTable;
use super::{HistoryTable, LakeTable, ModelTable};

/// Replaces the lake's tables, in a plan that reads models' tables too, by the same as of the newest load.
#[derive(Debug)]
pub(crate) struct OnePosition;

impl AnalyzerRule for OnePosition {
    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        let (mut of_models, mut of_open_windows) = (false, false);
        plan.apply_with_subqueries(|node| {
            if let Some(table) = table_of(node) {
                of_models |= table.downcast_ref::<ModelTable>().is_some();
                of_open_windows |= table.downcast_ref::<ComputedTable>().is_some_and(ComputedTable::is_of_newest);
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
        if !of_models || of_open_windows {
            return Ok(plan);
        }
        let replaced = plan.transform_down_with_subqueries(|node| {
            let loaded = table_of(&node).and_then(|table| as_loaded(table.as_ref()));
            Ok(match (node, loaded) {
                (LogicalPlan::TableScan(mut scan), Some(loaded)) => {
                    scan.source = provider_as_source(loaded);
                    Transformed::yes(LogicalPlan::TableScan(scan))
                }
                (node, _) => Transformed::no(node),
            })
        })?;
        Ok(replaced.data)
    }

    fn name(&self) -> &str {
        "one_position"
    }
}

fn table_of(node: &LogicalPlan) -> Option<Arc<dyn TableProvider>> {
    match node {
        LogicalPlan::TableScan(scan) => source_as_provider(&scan.source).ok(),
        _ => None,
    }
}

fn as_loaded(table: &dyn TableProvider) -> Option<Arc<dyn TableProvider>> {
    if let Some(external) = table.downcast_ref::<LakeTable>() {
        return Some(Arc::new(external.as_loaded()?));
    }
    Some(Arc::new(table.downcast_ref::<HistoryTable>()?.as_loaded()?))
}
