//! Maintenance under audit: its chain, and what compacted objects say that they hold.

use std::collections::HashMap;

use super::findings::{Audit, Finding};
use crate::error::LedgerError;
use crate::hash::Hash;
use crate::lake::Lake;
use crate::read::places::Places;
use crate::slot::{FileEntry, FileKind};

/// What maintenance did. A chain that cannot be read is a finding: what it retired then is one too.
pub(super) async fn maintenance(lake: &Lake, pipeline: &str, seen: &mut Audit) -> Result<Places, LedgerError> {
    match Places::read(lake, pipeline).await {
        Err(LedgerError::Corrupt { object, reason }) => {
            seen.find(Finding::broken(object, &*reason));
            Ok(Places::default())
        }
        Err(error @ LedgerError::OtherPipeline { .. }) => {
            let object = format!("the maintenance chain of {pipeline:?}");
            seen.find(Finding::broken(object, &error));
            Ok(Places::default())
        }
        done => done,
    }
}

/// Compares what compacted objects say that they hold with what was published.
pub(super) fn check_parts(files: &HashMap<String, (u64, FileEntry)>, places: &Places, seen: &mut Audit) {
    let published: HashMap<(i64, i64, u32), (u64, u64, Hash)> = files
        .values()
        .filter_map(|(seq, file)| match file.kind {
            FileKind::Window { start_us, end_us, version } => {
                Some(((start_us, end_us, version), (*seq, file.rows, file.sha256)))
            }
            FileKind::DeadLetters => None,
        })
        .collect();
    let letters: HashMap<u64, (u64, Hash)> = files
        .values()
        .filter(|(_, file)| file.kind == FileKind::DeadLetters)
        .map(|(seq, file)| (*seq, (file.rows, file.sha256)))
        .collect();
    for object in places.letters.values() {
        for part in object.parts.iter().filter(|part| letters.get(&part.seq) != Some(&(part.rows, part.sha256))) {
            let reason = format!("its dead letters of commit {} differ from those published", part.seq);
            seen.find(Finding::Ledger { object: object.name.clone(), reason });
        }
    }
    for object in places.compacted.values() {
        for part in &object.parts {
            let window = (part.start_us, part.end_us, part.version);
            if published.get(&window) != Some(&(part.seq, part.rows, part.sha256)) {
                let reason = format!("its rows of {window:?} differ from those published");
                seen.find(Finding::Ledger { object: object.name.clone(), reason });
            }
        }
    }
}
