//! Files of the data folders that no ledger of the lake knows.

use std::collections::{BTreeSet, HashMap};

use object_store::path::Path;

use super::findings::{Audit, Finding};
use super::maintained::maintenance;
use crate::error::LedgerError;
use crate::format::names::{compacted_for, partition_of};
use crate::lake::Lake;
use crate::read::chain::{WalkStep, walk};
use crate::read::places::Places;
use crate::slot::FileEntry;

/// Names files in the data folders that neither this pipeline nor another one of the lake published.
pub(super) async fn find_foreign(
    lake: &Lake,
    pipeline: &str,
    listed: &[Path],
    own: &HashMap<String, (u64, FileEntry)>,
    places: &Places,
    seen: &mut Audit,
) -> Result<(), LedgerError> {
    let data = |path: &&Path| path.as_ref().starts_with("_dead_letters/") || partition_of(path.as_ref()).is_some();
    let mut unknown: BTreeSet<&str> =
        listed.iter().filter(data).map(|path| path.as_ref()).filter(|name| !own.contains_key(*name)).collect();
    unknown.retain(|name| !is_compacted(pipeline, name, places, Some(&mut seen.leftovers)));
    if unknown.is_empty() {
        return Ok(());
    }
    for other in pipelines(listed).into_iter().filter(|other| other != pipeline) {
        let mut breaks = Vec::new();
        let walked = walk(lake, &other, |step| match step {
            WalkStep::Commit(line, _) => {
                for file in &line.files {
                    unknown.remove(file.name.as_str());
                }
            }
            WalkStep::Break(object, reason) => breaks.push(Finding::broken(object, &*reason)),
        })
        .await;
        let places = maintenance(lake, &other, seen).await?;
        unknown.retain(|name| !is_compacted(&other, name, &places, None));
        match walked {
            Err(LedgerError::Store(e)) => return Err(e.into()),
            Err(e) => seen.find(Finding::broken(format!("_turnstile/{other}"), &e)),
            Ok(_) => breaks.into_iter().for_each(|finding| seen.find(finding)),
        }
    }
    for name in unknown {
        seen.find(Finding::Foreign { name: name.to_owned() });
    }
    Ok(())
}

/// The pipelines that have a ledger in the lake, by a listing of it.
fn pipelines(listed: &[Path]) -> BTreeSet<String> {
    listed
        .iter()
        .filter_map(|path| {
            let parts: Vec<_> = path.parts().take(3).collect();
            let [root, pipeline, log] = parts.as_slice() else { return None };
            (root.as_ref() == "_turnstile" && log.as_ref() == "log").then(|| pipeline.as_ref().to_owned())
        })
        .collect()
}

/// Whether maintenance of the pipeline made the object: committed, about to be, or left over by a crash.
fn is_compacted(pipeline: &str, name: &str, places: &Places, leftovers: Option<&mut Vec<String>>) -> bool {
    if places.compacted.contains_key(name) || places.letters.contains_key(name) {
        return true;
    }
    let Some(seq) = compacted_for(pipeline, name) else { return false };
    // A slot that is not there yet may be about to name it.
    if seq <= places.newest
        && let Some(leftovers) = leftovers
    {
        leftovers.push(name.to_owned());
    }
    true
}
