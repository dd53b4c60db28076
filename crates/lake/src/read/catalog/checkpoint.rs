//! Checkpoints: snapshots of a catalog, so that a new process need not read the ledger from its beginning.
//!
//! A checkpoint is an immutable object under `_turnstile/<pipeline>/catalog/`. It only saves time: one that is
//! missing, damaged or from another ledger is ignored. Source: docs/ledger.md, "Checkpoints".

use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead, BufReader, Write};
use std::sync::Arc;

use bytes::Bytes;
use flate2::read::GzDecoder;
use flate2::{Compression, GzBuilder};
use object_store::path::Path;
use serde::{Deserialize, Serialize};
use turnstile_message::ExcludedMessages;
use turnstile_values::{BoxError, caused, human};

use super::day::Day;
use super::fold::{ExtentTable, take_letters};
use super::{Catalog, CatalogPosition, CatalogStart, DeadLettersFile, Extent, LakeObject, Leaving, LettersObject};
use crate::chain::{ChainPosition, Checkpoints};
use crate::day::day_of;
use crate::error::{LedgerError, corrupt};
use crate::format::FileEncoding;
use crate::framed::FORMAT;
use crate::hash::Hash;
use crate::lake::Lake;
use crate::ledger::LedgerFolder;
use crate::maintenance_slot::{CompactedLetters, MaintenanceSlot};
use crate::read::chain::Anchor;
use crate::store::StoreError;

/// A checkpoint is due after this many commits and slots of maintenance,
const COMMITS: u64 = 1_024;

/// or, in a large table, one commit per this many extents: what is written stays in proportion to what is saved.
const EXTENTS_A_COMMIT: u64 = 16;

/// A maintenance slot may hold a day's windows: it counts as this many commits.
const MAINTENANCE_COMMITS: u64 = 64;

#[derive(Serialize, Deserialize)]
struct CheckpointHeader {
    format: u32,
    pipeline: String,
    anchor: Anchor,
    maintained: ChainPosition,
    longest_us: i64,
    lines: u64,
    /// Whether its program knew objects of dead letters.
    #[serde(default)]
    letters: bool,
    /// From which commit on late rows and duplicates are counted by window; `None`: its program did not know of them.
    #[serde(default)]
    excluded_from: Option<u64>,
}

/// One line of a checkpoint.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum CheckpointLine {
    /// An object with the extents in it.
    Object {
        name: String,
        sha256: Hash,
        bytes: u64,
        rows: u64,
        compacted: bool,
        extents: Vec<ExtentLine>,
    },
    DeadLetters {
        name: String,
        seq: u64,
        committed_at_us: i64,
        rows: u64,
        bytes: u64,
        sha256: Hash,
        gone: bool,
    },
    Excluded(ExcludedMessages),
    Letters {
        #[serde(flatten)]
        letters: CompactedLetters,
        gone: bool,
    },
    Leaving {
        name: String,
        bytes: u64,
        since_us: i64,
    },
}

#[derive(Serialize, Deserialize)]
struct ExtentLine {
    start_us: i64,
    end_us: i64,
    version: u32,
    seq: u64,
    rows: u64,
    first_row: u64,
    /// That of the object when it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sha256: Option<Hash>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    gone: bool,
}

impl Catalog {
    /// Writes a checkpoint when one is due, and deletes those that are no longer needed; whether it wrote one. Any
    /// process may do so at any time.
    ///
    /// # Errors
    /// The store does not answer or refuses. Nothing depends on it.
    pub async fn checkpoint(&self, lake: &Lake) -> Result<bool, StoreError> {
        let (folder, position) = (&self.inner.folder, self.position());
        let names = Checkpoints::new(lake, folder.checkpoints().as_ref()).names().await?;
        let there: Vec<(u64, u64)> = names.iter().filter_map(|name| numbers(name)).collect();
        let known = |(seq, maintenance): (u64, u64)| seq + maintenance * MAINTENANCE_COMMITS;
        let newest = there.iter().copied().map(known).max().unwrap_or(0);
        let extents: usize = self.days().map(|(_, extents)| extents.len()).sum();
        if known((position.seq, position.maintenance)) < newest + COMMITS.max(extents as u64 / EXTENTS_A_COMMIT) {
            return Ok(false);
        }
        self.write_checkpoint(lake).await?;
        Ok(true)
    }

    /// Writes a checkpoint whether or not one is due.
    pub(super) async fn write_checkpoint(&self, lake: &Lake) -> Result<(), StoreError> {
        let CatalogPosition { seq, maintenance } = self.position();
        let name = format!("{seq:020}-{maintenance:020}.jsonl.gz");
        let folder = self.inner.folder.checkpoints();
        Checkpoints::new(lake, folder.as_ref()).write(&name, Bytes::from(self.encode())).await
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let plain = "a checkpoint is plain data, written to memory";
        let lines: Vec<CheckpointLine> = lines(&self.inner.table);
        let header = CheckpointHeader {
            format: FORMAT,
            pipeline: self.pipeline().to_owned(),
            anchor: self.inner.anchor,
            maintained: self.inner.maintained,
            longest_us: self.inner.table.longest_us,
            lines: lines.len() as u64,
            letters: true,
            excluded_from: Some(self.inner.table.excluded_from),
        };
        let mut gzip = GzBuilder::new().mtime(0).operating_system(255).write(Vec::new(), Compression::fast());
        let mut line = |json: Vec<u8>| gzip.write_all(&json).and_then(|()| gzip.write_all(b"\n"));
        line(serde_json::to_vec(&header).expect(plain)).expect(plain);
        for one in &lines {
            line(serde_json::to_vec(one).expect(plain)).expect(plain);
        }
        gzip.finish().expect(plain)
    }
}

/// What the checkpoints that can be read say, the newest first.
///
/// # Errors
/// The store does not answer. A checkpoint that cannot be read is left out.
pub(super) async fn newest(lake: &Lake, folder: &LedgerFolder) -> Result<Vec<CatalogStart>, LedgerError> {
    let checkpoints = Checkpoints::new(lake, folder.checkpoints().as_ref());
    let mut skipped = 0;
    while let Some((object, bytes)) = checkpoints.newest(skipped).await? {
        match decode(&bytes, folder) {
            Ok((mut start, knows_letters)) if is_of(lake, folder, &start).await? => {
                if !knows_letters {
                    start.table.letters = letters_until(lake, folder, start.maintained.seq).await?;
                }
                return Ok(vec![start]);
            }
            Ok(_) => tracing::warn!(object, "a checkpoint from another ledger is ignored"),
            Err(damage) => {
                let reason = human::error(&*damage);
                tracing::warn!(object, reason, "a checkpoint cannot be read and is ignored");
            }
        }
        skipped += 1;
    }
    Ok(Vec::new())
}

/// Whether the slots that a checkpoint stands on are those that are there. A slot of the log that is rolled up by now is
/// compared when the chain is walked on.
async fn is_of(lake: &Lake, folder: &LedgerFolder, beginning: &CatalogStart) -> Result<bool, StoreError> {
    let CatalogStart { anchor, maintained, .. } = beginning;
    let slot = async |path: Path, expected: Option<Hash>, must_be: bool| {
        let found = lake.persist(|| lake.store().get(&path)).await?;
        Ok::<_, StoreError>(match (found, expected) {
            (Some(found), Some(expected)) => Hash::of(&found) == expected,
            (None, Some(_)) => !must_be,
            (_, None) => true,
        })
    };
    let of_log = anchor.seq == 0 || slot(folder.slot(anchor.seq), anchor.slot, false).await?;
    let of_maintenance =
        maintained.seq == 0 || slot(folder.maintenance_slot(maintained.seq), maintained.sha256, true).await?;
    Ok(of_log && of_maintenance)
}

fn lines(table: &ExtentTable) -> Vec<CheckpointLine> {
    let mut lines = Vec::new();
    for day in table.days.values() {
        let mut at: HashMap<&str, usize> = HashMap::new();
        for extent in &day.extents {
            let object = &extent.object;
            let line = *at.entry(&object.name).or_insert_with(|| {
                lines.push(CheckpointLine::Object {
                    name: object.name.to_string(),
                    sha256: object.sha256,
                    bytes: object.bytes,
                    rows: object.rows,
                    compacted: object.compacted,
                    extents: Vec::new(),
                });
                lines.len() - 1
            });
            if let CheckpointLine::Object { extents, .. } = &mut lines[line] {
                extents.push(ExtentLine::of(extent));
            }
        }
    }
    lines.extend(table.days.values().flat_map(|day| day.excluded.iter()).map(CheckpointLine::Excluded));
    let letters = table.dead_letters.values().flat_map(|day| day.iter());
    lines.extend(letters.map(|file| CheckpointLine::DeadLetters {
        name: file.name.to_string(),
        seq: file.seq,
        committed_at_us: file.committed_at_us,
        rows: file.rows,
        bytes: file.bytes,
        sha256: file.sha256,
        gone: file.gone,
    }));
    lines.extend(
        table
            .letters
            .values()
            .map(|object| CheckpointLine::Letters { letters: object.letters.clone(), gone: object.gone }),
    );
    lines.extend(table.leaving.values().map(|leaving| CheckpointLine::Leaving {
        name: leaving.name.to_string(),
        bytes: leaving.bytes,
        since_us: leaving.since_us,
    }));
    lines
}

impl ExtentLine {
    fn of(extent: &Extent) -> Self {
        Self {
            start_us: extent.start_us,
            end_us: extent.end_us,
            version: extent.version,
            seq: extent.seq,
            rows: extent.rows,
            first_row: extent.first_row,
            sha256: (extent.sha256 != extent.object.sha256).then_some(extent.sha256),
            gone: extent.gone,
        }
    }

    fn extent(self, object: &Arc<LakeObject>) -> Extent {
        Extent {
            start_us: self.start_us,
            end_us: self.end_us,
            version: self.version,
            seq: self.seq,
            rows: self.rows,
            sha256: self.sha256.unwrap_or(object.sha256),
            object: object.clone(),
            first_row: self.first_row,
            current: false,
            gone: self.gone,
        }
    }
}

/// What maintenance did with dead letters, up to a slot: an earlier release's checkpoint says nothing of it.
async fn letters_until(
    lake: &Lake,
    folder: &LedgerFolder,
    until: u64,
) -> Result<BTreeMap<String, LettersObject>, LedgerError> {
    let mut objects = BTreeMap::new();
    let take = |slot: MaintenanceSlot| {
        let path = folder.maintenance_slot(slot.seq);
        take_letters(&mut objects, &slot).map(|()| true).map_err(|reason| corrupt(&path, reason))
    };
    folder.maintenance_chain(lake).walk(ChainPosition::default(), until, take).await?;
    Ok(objects)
}

/// What a checkpoint says, and whether its program knew objects of dead letters.
fn decode(bytes: &[u8], folder: &LedgerFolder) -> Result<(CatalogStart, bool), BoxError> {
    let unpacked = |error| caused("it cannot be decompressed", error);
    let parsed = |error| caused("one of its lines cannot be read", error);
    let mut text = BufReader::new(GzDecoder::new(bytes)).lines();
    let first = text.next().ok_or("it is empty")?.map_err(unpacked)?;
    let header: CheckpointHeader = serde_json::from_str(&first).map_err(parsed)?;
    if header.format != FORMAT || header.pipeline != folder.pipeline() {
        return Err("its format or pipeline is different".into());
    }
    let excluded_from = header.excluded_from.unwrap_or(header.anchor.seq + 1);
    let mut table = ExtentTable { longest_us: header.longest_us, excluded_from, ..ExtentTable::default() };
    let mut lines = 0;
    for line in text {
        let line: CheckpointLine = serde_json::from_str(&line.map_err(unpacked)?).map_err(parsed)?;
        take(&mut table, line);
        lines += 1;
    }
    if lines != header.lines {
        return Err(format!("it has {lines} lines, but its header says {}", header.lines).into());
    }
    for day in table.days.values_mut() {
        order(Arc::make_mut(day));
    }
    Ok((CatalogStart { anchor: header.anchor, maintained: header.maintained, table }, header.letters))
}

fn take(table: &mut ExtentTable, line: CheckpointLine) {
    match line {
        CheckpointLine::Object { name, sha256, bytes, rows, compacted, extents } => {
            let format = FileEncoding::of(&name);
            let object = Arc::new(LakeObject { name: name.into(), sha256, bytes, rows, format, windows: 0, compacted });
            for extent in extents {
                let day = table.days.entry(day_of(extent.start_us)).or_default();
                Arc::make_mut(day).extents.push(extent.extent(&object));
            }
        }
        CheckpointLine::DeadLetters { name, seq, committed_at_us, rows, bytes, sha256, gone } => {
            let day = table.dead_letters.entry(day_of(committed_at_us)).or_default();
            let file = DeadLettersFile { name: name.into(), seq, committed_at_us, rows, bytes, sha256, gone };
            Arc::make_mut(day).push(file);
        }
        CheckpointLine::Excluded(excluded) => {
            let day = table.days.entry(day_of(excluded.start_us)).or_default();
            Arc::make_mut(day).excluded.add(excluded);
        }
        CheckpointLine::Letters { letters, gone } => {
            table.letters.insert(letters.name.clone(), LettersObject { letters, gone });
        }
        CheckpointLine::Leaving { name, bytes, since_us } => {
            let leaving = Leaving { name: name.as_str().into(), bytes, since_us };
            table.leaving.insert(name, leaving);
        }
    }
}

fn order(day: &mut Day) {
    day.extents.sort_unstable_by_key(|extent| (extent.start_us, extent.end_us, extent.version));
    day.mark_current();
}

/// The position in a checkpoint's name.
fn numbers(name: &str) -> Option<(u64, u64)> {
    let (seq, maintenance) = name.rsplit('/').next()?.strip_suffix(".jsonl.gz")?.split_once('-')?;
    Some((seq.parse().ok()?, maintenance.parse().ok()?))
}
