//! The windows of a pipeline, open and published, as pages list them.

use std::collections::HashMap;
use std::sync::Arc;

use turnstile_console::data::{WindowCondition, WindowCounts, WindowFile, WindowListing, WindowSelection};
use turnstile_engine::OpenWindowSummary;
use turnstile_lake::{Catalog, CatalogPosition, CommitRecord, Extent, FileEntry, FileKind};
use turnstile_message::OffsetRange;

/// Files that are listed as the newest.
const RECENT_FILES: usize = 10;

/// The published windows at one position of the ledger, newest first.
#[derive(Debug, Clone)]
pub(crate) struct PublishedWindows {
    pub(crate) at: CatalogPosition,
    windows: Arc<Vec<PublishedWindow>>,
    counts: WindowCounts,
    /// The versions that were published last, newest first.
    pub(crate) recent: Arc<[Extent]>,
}

/// A window as it is listed, and the commit that published its newest version.
#[derive(Debug, Clone)]
pub(crate) struct PublishedWindow {
    pub(crate) listing: WindowListing,
    /// `None`: it waits to be published.
    pub(crate) seq: Option<u64>,
}

impl PublishedWindows {
    /// Those of `catalog`.
    pub(crate) fn of(catalog: &Catalog) -> Self {
        let mut extents = catalog.history();
        let mut windows: Vec<PublishedWindow> = Vec::with_capacity(extents.len());
        for extent in &extents {
            let window = PublishedWindow { listing: listing(extent), seq: Some(extent.seq) };
            let bounds = |window: &PublishedWindow| (window.listing.start_us, window.listing.end_us);
            match windows.last_mut() {
                // Versions follow each other.
                Some(last) if bounds(last) == bounds(&window) => *last = window,
                _ => windows.push(window),
            }
        }
        windows.reverse();
        let mut counts = WindowCounts::default();
        for window in &windows {
            *match window.listing.condition {
                WindowCondition::Open => &mut counts.open,
                WindowCondition::Closed => &mut counts.closed,
                WindowCondition::Corrected => &mut counts.corrected,
                WindowCondition::Retired => &mut counts.retired,
            } += 1;
        }
        extents.sort_by_key(|extent| std::cmp::Reverse((extent.seq, extent.start_us)));
        extents.truncate(RECENT_FILES);
        Self { at: catalog.position(), windows: Arc::new(windows), counts, recent: extents.into() }
    }

    /// How many windows there are, with `open` windows that were never published.
    pub(crate) fn counts(&self, open: u64) -> WindowCounts {
        WindowCounts { open, ..self.counts }
    }

    /// The selected ones of these and of `open`, newest first.
    pub(crate) fn select(&self, open: Vec<WindowListing>, selection: WindowSelection) -> Vec<PublishedWindow> {
        let open = open.into_iter().map(|listing| PublishedWindow { listing, seq: None });
        let (mut open, mut published) = (open.peekable(), self.windows.iter().peekable());
        let merged = std::iter::from_fn(|| match (open.peek(), published.peek()) {
            (Some(one), Some(other)) if one.listing.start_us >= other.listing.start_us => open.next(),
            (Some(_), None) => open.next(),
            _ => published.next().cloned(),
        });
        let wanted =
            |window: &PublishedWindow| selection.condition.is_none_or(|wanted| wanted == window.listing.condition);
        merged.filter(wanted).skip(selection.offset as usize).take(selection.limit).collect()
    }

    /// The published window that starts at `start_us`.
    pub(crate) fn find(&self, start_us: i64) -> Option<&WindowListing> {
        let at = self.windows.binary_search_by(|window| start_us.cmp(&window.listing.start_us)).ok()?;
        self.windows.get(at).map(|window| &window.listing)
    }

    /// Start of the `number`-th newest published window; `None`: there are fewer.
    pub(crate) fn nth_newest(&self, number: usize) -> Option<i64> {
        self.windows.get(number.checked_sub(1)?).map(|window| window.listing.start_us)
    }

    /// Starts of the windows before and after `start_us`.
    pub(crate) fn neighbours(&self, start_us: i64) -> (Option<i64>, Option<i64>) {
        // Newest first.
        let at = self.windows.partition_point(|window| window.listing.start_us > start_us);
        let after = at.checked_sub(1).map(|at| self.windows[at].listing.start_us);
        let starts = self.windows[at..].iter().map(|window| window.listing.start_us);
        (starts.into_iter().find(|start| *start < start_us), after)
    }
}

impl PublishedWindow {
    /// Adds what its commit tells.
    pub(crate) fn with_commit(mut self, commit: &CommitRecord) -> WindowListing {
        let file = file_of(commit, self.listing.start_us, self.listing.end_us, self.listing.version);
        self.listing.messages = file.map(FileEntry::messages);
        self.listing.bytes = file.map(|file| file.bytes);
        self.listing.published_at_us = Some(commit.committed_at_us);
        self.listing
    }
}

fn listing(extent: &Extent) -> WindowListing {
    let condition = match (extent.gone, extent.version) {
        (true, _) => WindowCondition::Retired,
        (false, 1) => WindowCondition::Closed,
        (false, _) => WindowCondition::Corrected,
    };
    let own = !extent.object.compacted;
    WindowListing {
        start_us: extent.start_us,
        end_us: extent.end_us,
        condition,
        version: extent.version,
        rows: Some(extent.rows),
        messages: None,
        late: None,
        duplicates: None,
        file: Some(extent.object.name.to_string()),
        bytes: own.then_some(extent.object.bytes),
        published_at_us: None,
    }
}

/// Adds how many messages of the window came late, and how many were seen before.
pub(crate) fn count_excluded(window: &mut WindowListing, catalog: &Catalog) {
    let published_at = catalog.extent(window.start_us, window.end_us, 1).map_or(u64::MAX, |extent| extent.seq);
    // An earlier release published it, which did not count them by window.
    if published_at < catalog.excluded_from() {
        return;
    }
    let excluded = catalog.excluded(window.start_us, window.end_us);
    (window.late, window.duplicates) = (Some(excluded.late), Some(excluded.duplicates));
}

/// Windows that wait to be published, newest first.
pub(crate) fn open_listings(open: &[OpenWindowSummary]) -> Vec<WindowListing> {
    let listing = |window: &OpenWindowSummary| WindowListing {
        start_us: window.start_us,
        end_us: window.end_us,
        condition: WindowCondition::Open,
        version: window.published_version,
        rows: None,
        messages: Some(window.messages),
        late: None,
        duplicates: None,
        file: None,
        bytes: None,
        published_at_us: None,
    };
    open.iter().rev().map(listing).collect()
}

/// The files of the versions of one window, oldest first, with the commits that published them.
pub(crate) fn window_files(extents: &[Extent], commits: &HashMap<u64, Arc<CommitRecord>>) -> Vec<WindowFile> {
    let file = |extent: &Extent| {
        let commit = commits.get(&extent.seq);
        let entry = commit.and_then(|commit| file_of(commit, extent.start_us, extent.end_us, extent.version));
        WindowFile {
            version: extent.version,
            name: entry.map_or_else(|| extent.object.name.to_string(), |entry| entry.name.clone()),
            url: None,
            bytes: entry.map_or(extent.object.bytes, |entry| entry.bytes),
            rows: extent.rows,
            sha256: extent.sha256.to_string(),
            seq: Some(extent.seq),
            published_at_us: commit.map(|commit| commit.committed_at_us),
            retired: extent.gone || extent.object.compacted,
            sources: entry.map_or_else(Vec::new, |entry| entry.sources.clone()),
        }
    };
    extents.iter().map(file).collect()
}

/// The file that a commit wrote of one version of a window.
pub(super) fn file_of(commit: &CommitRecord, start_us: i64, end_us: i64, version: u32) -> Option<&FileEntry> {
    let kind = FileKind::Window { start_us, end_us, version };
    commit.files.iter().find(|file| file.kind == kind)
}

/// Messages that later versions have and the first has not.
pub(crate) fn corrections(files: &[WindowFile]) -> Option<u64> {
    let messages = |file: &WindowFile| file.sources.iter().map(|range: &OffsetRange| range.messages).sum::<u64>();
    let (first, last) = (files.first()?, files.last()?);
    (files.len() > 1).then(|| messages(last).saturating_sub(messages(first)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(start_us: i64, condition: WindowCondition) -> WindowListing {
        let open = OpenWindowSummary { start_us, end_us: start_us + 5, messages: 1, published_version: 0 };
        WindowListing { condition, ..open_listings(&[open]).remove(0) }
    }

    #[test]
    fn open_and_published_windows_are_one_list_newest_first() {
        use WindowCondition::{Closed, Corrected, Open};
        let published = [window(30, Closed), window(20, Corrected), window(10, Closed)];
        let published = published.map(|listing| PublishedWindow { listing, seq: Some(1) });
        let windows = Arc::new(published.to_vec());
        let counts = WindowCounts { closed: 2, corrected: 1, ..WindowCounts::default() };
        let published = PublishedWindows { at: CatalogPosition::default(), windows, counts, recent: Arc::default() };
        let open = [window(40, Open), window(20, Open), window(15, Open)];
        let starts = |condition, offset, limit| {
            let selected = published.select(open.to_vec(), WindowSelection { condition, offset, limit });
            selected.iter().map(|window| window.listing.start_us).collect::<Vec<_>>()
        };
        assert_eq!(starts(None, 0, 9), [40, 30, 20, 20, 15, 10]);
        assert_eq!(starts(None, 1, 2), [30, 20]);
        assert_eq!(starts(Some(Closed), 0, 9), [30, 10]);
        assert_eq!(starts(Some(Open), 1, 9), [20, 15]);
        assert_eq!(published.find(20).unwrap().condition, Corrected);
        assert!(published.find(25).is_none());
        assert_eq!(published.neighbours(20), (Some(10), Some(30)));
        assert_eq!((published.neighbours(10), published.neighbours(30)), ((None, Some(20)), (Some(20), None)));
        assert_eq!(published.neighbours(99), (Some(30), None));
        assert_eq!((published.nth_newest(2), published.nth_newest(4)), (Some(20), None));
        assert_eq!(published.counts(3), WindowCounts { open: 3, ..counts });
    }
}
