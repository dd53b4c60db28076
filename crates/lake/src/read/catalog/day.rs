//! The windows that start on one UTC day: their rows, where those are stored, and which of them are current.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::{Extent, LakeObject};
use crate::format::FileEncoding;
use crate::maintenance_slot::{Compacted, CompactedWindow};
use crate::read::excluded_windows::ExcludedWindows;
use crate::slot::FileEntry;

/// Extents of one day, by window and version. Compacted objects never reach over a day's end, so an object's extents
/// are all here.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Day {
    pub(super) extents: Vec<Extent>,
    /// Late rows and duplicates.
    pub(super) excluded: ExcludedWindows,
}

impl Day {
    /// Takes a window's file.
    pub(super) fn publish(&mut self, window: (i64, i64, u32), seq: u64, file: &FileEntry) {
        let object = LakeObject {
            name: file.name.as_str().into(),
            sha256: file.sha256,
            bytes: file.bytes,
            rows: file.rows,
            format: FileEncoding::of(&file.name),
            windows: 0,
            compacted: false,
        };
        self.put(Extent {
            start_us: window.0,
            end_us: window.1,
            version: window.2,
            seq,
            rows: file.rows,
            sha256: file.sha256,
            object: Arc::new(object),
            first_row: 0,
            current: false,
            gone: false,
        });
    }

    pub(super) fn put(&mut self, extent: Extent) {
        match self.find(extent.start_us, extent.end_us, extent.version) {
            Ok(at) => self.extents[at] = extent,
            Err(at) => self.extents.insert(at, extent),
        }
    }

    /// Where a version of a window is, or would be.
    pub(super) fn find(&self, start_us: i64, end_us: i64, version: u32) -> Result<usize, usize> {
        self.extents.binary_search_by_key(&(start_us, end_us, version), |e| (e.start_us, e.end_us, e.version))
    }

    /// Moves the rows of the parts into the compacted object.
    ///
    /// # Errors
    /// A part that was never published, or published with other rows: the reason.
    pub(super) fn compact(&mut self, compacted: &Compacted) -> Result<(), String> {
        let object = Arc::new(LakeObject {
            name: compacted.name.as_str().into(),
            sha256: compacted.sha256,
            bytes: compacted.bytes,
            rows: compacted.rows,
            format: FileEncoding::of(&compacted.name),
            windows: 0,
            compacted: true,
        });
        let mut first_row = 0;
        for part in &compacted.parts {
            let extent = self.part(part)?;
            (extent.object, extent.first_row) = (object.clone(), first_row);
            first_row += part.rows;
        }
        if first_row == compacted.rows { Ok(()) } else { Err("its rows are not the sum of its parts'".to_owned()) }
    }

    fn part(&mut self, part: &CompactedWindow) -> Result<&mut Extent, String> {
        let window = (part.start_us, part.end_us, part.version);
        match self.find(window.0, window.1, window.2) {
            Ok(at) if self.extents[at].gone => Err(format!("it holds {window:?}, which was retired")),
            Ok(at) if (self.extents[at].sha256, self.extents[at].rows) == (part.sha256, part.rows) => {
                Ok(&mut self.extents[at])
            }
            Ok(_) => Err(format!("it holds rows of {window:?} that differ from those published")),
            Err(_) => Err(format!("it holds {window:?}, which was never published")),
        }
    }

    /// Marks what lies in the object as gone; whether anything does.
    pub(super) fn retire(&mut self, name: &str) -> bool {
        let mut any = false;
        for extent in self.extents.iter_mut().filter(|extent| &*extent.object.name == name) {
            (extent.gone, any) = (true, true);
        }
        any
    }

    /// Finds out what is current, and counts it for each object.
    pub(super) fn mark_current(&mut self) {
        let mut next: Option<(i64, i64)> = None;
        for extent in self.extents.iter_mut().rev() {
            // The last of a window's extents has its highest version. When that one is gone, so is the window.
            let highest = next != Some((extent.start_us, extent.end_us));
            extent.current = highest && !extent.gone;
            next = Some((extent.start_us, extent.end_us));
        }
        let mut current: HashMap<Arc<str>, u32> = HashMap::new();
        for extent in &self.extents {
            *current.entry(extent.object.name.clone()).or_default() += u32::from(extent.current);
        }
        let mut renewed: BTreeMap<Arc<str>, Arc<LakeObject>> = BTreeMap::new();
        for extent in &mut self.extents {
            let windows = current[&extent.object.name];
            if extent.object.windows != windows {
                let object = renewed
                    .entry(extent.object.name.clone())
                    .or_insert_with(|| Arc::new(LakeObject { windows, ..LakeObject::clone(&extent.object) }));
                extent.object = object.clone();
            }
        }
    }
}

impl From<&Extent> for CompactedWindow {
    fn from(extent: &Extent) -> Self {
        let (start_us, end_us, version) = (extent.start_us, extent.end_us, extent.version);
        Self { start_us, end_us, version, rows: extent.rows, seq: extent.seq, sha256: extent.sha256 }
    }
}
