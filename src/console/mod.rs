//! What the web console shows of a pipeline: its ledger, its warehouse, its flow if that runs in this process.
//!
//! In: a context, and what a running flow's events say. Out: the plain values of [`ConsoleData`].
//! Changes nothing but through the two actions that the console has. Start at [`PipelineConsole`].

mod dead_letters;
mod description;
mod live_view;
mod overview;
mod queries;
mod runs;
mod server;
mod several;
mod source;
mod windows;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio::sync::{Mutex, watch};
use turnstile_console::data::{
    ChartSpec, ConsoleData, ConsoleError, DeadLetterSummary, OpenReason, PartitionOverview, PipelineDescription,
    PipelineListing, PipelineOverview, RecentFile, RequeueSummary, RunDetail, RunPage, SqlRequest, SqlTable,
    TableListing, WindowDetail, WindowPage, WindowSelection,
};
use turnstile_engine::OpenWindowSummary;
use turnstile_lake::{Catalog, CommitRecord, Extent, FileEntry, Lake};
use turnstile_values::human;

pub(crate) use description::PipelineFileText;
pub(crate) use live_view::LiveView;
pub(crate) use server::{FOLLOW_EVERY, LISTEN, serve};
pub(crate) use several::SeveralPipelines;
pub(crate) use source::PipelineSource;
use windows::{PublishedWindows, corrections, count_excluded, open_listings, window_files};

use crate::flow::{ledger_failed, seems_running};
use crate::report::Failure;

/// The shortest time from one reading of the ledger to the next.
const READ_EVERY: Duration = Duration::from_millis(500);

/// Commits that are kept to be shown again.
const COMMITS: usize = 1_000;

/// Rows of a window that are shown.
const PREVIEW_ROWS: usize = 20;

/// Bytes of text of a window's rows that are shown.
const PREVIEW_BYTES: usize = 64 << 10;

/// Why a console offers no action that runs beside no flow.
const READ_ONLY: &str = "this console only reads: the pipeline does not run in this process";

/// One pipeline, for the console.
pub(crate) struct PipelineConsole {
    source: PipelineSource,
    /// The flow, where it runs in this process.
    live: Option<Arc<LiveView>>,
    file: Option<PipelineFileText>,
    ledger: Mutex<Option<LedgerView>>,
    /// Commits that were read lately.
    commits: Mutex<HashMap<u64, Arc<CommitRecord>>>,
    /// Where nothing runs here: goes up with the ledger.
    ledger_version: watch::Sender<u64>,
}

/// The ledger as it was a moment ago.
#[derive(Clone)]
struct LedgerView {
    at: Instant,
    catalog: Catalog,
    windows: PublishedWindows,
}

impl PipelineConsole {
    /// The console of the pipeline of `source`, which was read from `file`, and of the flow that `live` follows.
    pub(crate) fn new(
        source: PipelineSource,
        live: Option<Arc<LiveView>>,
        file: Option<PipelineFileText>,
    ) -> Arc<Self> {
        Arc::new(Self {
            source,
            live,
            file,
            ledger: Mutex::new(None),
            commits: Mutex::default(),
            ledger_version: watch::Sender::new(0),
        })
    }

    /// Where no flow runs in this process: looks at the ledger again and again, until shutdown, and tells when it has grown.
    pub(crate) async fn follow_ledger(&self, every: Duration) {
        let mut known = None;
        loop {
            let position = self.ledger().await.ok().map(|ledger| ledger.catalog.position());
            if position != known {
                known = position;
                self.ledger_version.send_modify(|version| *version += 1);
            }
            tokio::select! {
                () = self.source.shutdown().cancelled() => return,
                () = tokio::time::sleep(every) => {}
            }
        }
    }

    /// The pipeline's name.
    pub(crate) fn name(&self) -> &str {
        self.source.name()
    }

    fn check(&self, pipeline: &str) -> Result<(), ConsoleError> {
        match pipeline == self.source.name() {
            true => Ok(()),
            false => Err(ConsoleError::NotFound { what: "pipeline", name: pipeline.to_owned() }),
        }
    }

    async fn lake(&self) -> Result<&Lake, ConsoleError> {
        self.source.lake().await
    }

    /// The ledger, not older than a moment.
    async fn ledger(&self) -> Result<LedgerView, ConsoleError> {
        let mut ledger = self.ledger.lock().await;
        if let Some(known) = ledger.as_ref().filter(|known| known.at.elapsed() < READ_EVERY) {
            return Ok(known.clone());
        }
        let (lake, name) = (self.lake().await?, self.source.name());
        let catalog = match ledger.as_ref() {
            Some(known) => known.catalog.advance(lake).await,
            None => match Catalog::read(lake, name).await {
                Ok(Some(catalog)) => Ok(catalog),
                Ok(None) => {
                    return Err(ConsoleError::Unavailable {
                        fact: format!("{name} has not committed anything yet"),
                        hint: Some("the first commit comes about a second after the first message".to_owned()),
                        source: None,
                    });
                }
                Err(error) => Err(error),
            },
        };
        let catalog = catalog.map_err(|error| unavailable(ledger_failed(error)))?;
        let windows = match ledger.as_ref().filter(|known| known.windows.at == catalog.position()) {
            Some(known) => known.windows.clone(),
            None => PublishedWindows::of(&catalog),
        };
        let now = LedgerView { at: Instant::now(), catalog, windows };
        *ledger = Some(now.clone());
        Ok(now)
    }

    /// The commit `seq`.
    async fn commit(&self, seq: u64) -> Result<Option<Arc<CommitRecord>>, ConsoleError> {
        let mut commits = self.commits.lock().await;
        if let Some(commit) = commits.get(&seq) {
            return Ok(Some(Arc::clone(commit)));
        }
        let (lake, name) = (self.lake().await?, self.source.name());
        let commit = turnstile_lake::commit_record(lake, name, seq).await;
        let Some(commit) = commit.map_err(|error| unavailable(ledger_failed(error)))?.map(Arc::new) else {
            return Ok(None);
        };
        if commits.len() >= COMMITS {
            commits.clear();
        }
        commits.insert(seq, Arc::clone(&commit));
        Ok(Some(commit))
    }

    /// The newest files of windows, newest first.
    async fn recent_files(&self, windows: &PublishedWindows) -> Result<Vec<RecentFile>, ConsoleError> {
        let mut files = Vec::with_capacity(windows.recent.len());
        for extent in windows.recent.iter() {
            let at_us = self.commit(extent.seq).await?.map_or(0, |commit| commit.committed_at_us);
            files.push(overview::recent_file(extent, at_us));
        }
        Ok(files)
    }

    fn open_windows(&self) -> Vec<OpenWindowSummary> {
        let live = self.live.as_ref();
        live.and_then(|live| live.read(|live| live.commit.as_ref().map(|commit| commit.first_open.clone())))
            .unwrap_or_default()
    }

    async fn preview(&self, start_us: i64) -> Option<SqlTable> {
        let warehouse = self.source.known()?.warehouse().await.ok()?;
        let table = warehouse.source().history_table();
        let start = human::instant(start_us);
        let request = SqlRequest {
            text: format!("SELECT * FROM {table} WHERE _current AND _window_start = '{start}' LIMIT {PREVIEW_ROWS}"),
            max_rows: PREVIEW_ROWS,
            max_bytes: PREVIEW_BYTES,
            timeout: warehouse.limits().statement_timeout,
        };
        queries::query(warehouse, &request).await.ok()
    }
}

/// A failure as a page shows it.
fn unavailable(error: anyhow::Error) -> ConsoleError {
    let hint = error.downcast_ref::<Failure>().and_then(Failure::next_step).map(str::to_owned);
    let source = error.source().map(|cause| human::error(cause).into());
    ConsoleError::Unavailable { fact: error.to_string(), hint, source }
}

#[async_trait]
impl ConsoleData for PipelineConsole {
    fn changes(&self) -> watch::Receiver<u64> {
        self.live.as_ref().map_or_else(|| self.ledger_version.subscribe(), |live| live.changes())
    }

    fn read_only(&self) -> Option<String> {
        self.live.is_none().then(|| READ_ONLY.to_owned())
    }

    async fn pipelines(&self) -> Result<Vec<PipelineListing>, ConsoleError> {
        let running = match &self.live {
            Some(_) => true,
            None => self.ledger().await.is_ok_and(|ledger| seems_running(ledger.catalog.newest())),
        };
        Ok(vec![PipelineListing { name: self.source.name().to_owned(), running }])
    }

    async fn overview(&self, pipeline: &str) -> Result<PipelineOverview, ConsoleError> {
        self.check(pipeline)?;
        let ledger = self.ledger().await;
        // Before the first commit there is something to see of a flow that runs here.
        let ledger = match (ledger, &self.live) {
            (Err(ConsoleError::Unavailable { source: None, .. }), Some(_)) => None,
            (ledger, _) => Some(ledger?),
        };
        let runs = match self.source.known() {
            Some(context) if ledger.is_some() && context.pipeline().warehouse.is_some() => {
                let warehouse = context.warehouse().await.map_err(unavailable)?;
                warehouse.runs().await.unwrap_or_default()
            }
            _ => Vec::new(),
        };
        let files = match &ledger {
            Some(ledger) => self.recent_files(&ledger.windows).await?,
            None => Vec::new(),
        };
        let catalog = ledger.as_ref().map(|ledger| &ledger.catalog);
        let open = self.open_windows();
        let overview = overview::overview(self.source.known(), catalog, self.live.as_deref(), &open, &runs);
        Ok(PipelineOverview { files, ..overview })
    }

    async fn windows(&self, pipeline: &str, selection: WindowSelection) -> Result<WindowPage, ConsoleError> {
        self.check(pipeline)?;
        let ledger = self.ledger().await?;
        let open = self.open_windows();
        let open_count = match &self.live {
            Some(live) => live.read(|live| live.commit.as_ref().map_or(0, |commit| commit.open_windows)),
            None => 0,
        };
        let mut windows = Vec::with_capacity(selection.limit);
        for window in ledger.windows.select(open_listings(&open), selection) {
            let commit = match window.seq {
                Some(seq) => self.commit(seq).await?,
                None => None,
            };
            let mut window = match commit {
                Some(commit) => window.with_commit(&commit),
                None => window.listing,
            };
            count_excluded(&mut window, &ledger.catalog);
            windows.push(window);
        }
        Ok(WindowPage {
            windows,
            counts: ledger.windows.counts(open_count as u64),
            next_close_us: open.first().map(|window| window.end_us),
            watermark_us: ledger.catalog.newest().watermark_us,
        })
    }

    async fn window(&self, pipeline: &str, start_us: i64) -> Result<WindowDetail, ConsoleError> {
        self.check(pipeline)?;
        let ledger = self.ledger().await?;
        let open = self.open_windows();
        let waiting = open.iter().find(|window| window.start_us == start_us);
        let published = ledger.windows.find(start_us).cloned();
        let not_found = || ConsoleError::NotFound { what: "window", name: human::short_instant(start_us) };
        let newest_version = published.as_ref().map_or(0, |published| published.version);
        let mut window = match (waiting, published) {
            (Some(waiting), _) => open_listings(std::slice::from_ref(waiting)).remove(0),
            (None, Some(published)) => published,
            (None, None) => return Err(not_found()),
        };
        let version = |version| ledger.catalog.extent(start_us, window.end_us, version).cloned();
        let versions: Vec<Extent> = (1..=newest_version).filter_map(version).collect();
        let (mut commits, mut failed) = (HashMap::new(), Vec::new());
        for extent in &versions {
            let Some(commit) = self.commit(extent.seq).await? else { continue };
            failed.extend(commit.failed.iter().filter(|lost| lost.start_us == start_us).cloned());
            commits.insert(extent.seq, commit);
        }
        let files = window_files(&versions, &commits);
        if window.messages.is_none() {
            let newest = versions.last().and_then(|extent| {
                windows::file_of(commits.get(&extent.seq)?, extent.start_us, extent.end_us, extent.version)
            });
            window.messages = newest.map(FileEntry::messages);
        }
        count_excluded(&mut window, &ledger.catalog);
        window.published_at_us = files.last().and_then(|file| file.published_at_us);
        let open = waiting.map(|_| OpenReason {
            watermark_us: ledger.catalog.newest().watermark_us,
            holder: self.live.as_ref().and_then(|live| live.read(|live| live.holder())),
            note: None,
        });
        let preview = if files.is_empty() { None } else { self.preview(start_us).await };
        let neighbours = ledger.windows.neighbours(start_us);
        Ok(WindowDetail { window, corrections: corrections(&files), files, preview, failed, open, neighbours })
    }

    async fn partitions(&self, pipeline: &str) -> Result<PartitionOverview, ConsoleError> {
        self.check(pipeline)?;
        let ledger = self.ledger().await?;
        Ok(overview::partitions(self.source.known(), ledger.catalog.newest(), self.live.as_deref()))
    }

    async fn dead_letters(&self, pipeline: &str) -> Result<DeadLetterSummary, ConsoleError> {
        self.check(pipeline)?;
        let ledger = self.ledger().await?;
        dead_letters::summary(self.source.known(), self.lake().await?, &ledger.catalog, self.read_only()).await
    }

    async fn requeue(&self, pipeline: &str, reason: &str) -> Result<RequeueSummary, ConsoleError> {
        self.check(pipeline)?;
        dead_letters::send_again(self.source.whole()?, reason).await
    }

    async fn charts(&self, pipeline: &str) -> Result<Vec<ChartSpec>, ConsoleError> {
        self.check(pipeline)?;
        let context = self.source.whole()?;
        let plan = context.plan().map_err(unavailable)?;
        // Before the first commit there is nothing to leave out.
        let ledger = self.ledger().await.ok();
        let newest = |number| ledger.as_ref().and_then(|ledger| ledger.windows.nth_newest(number));
        Ok(queries::charts(context, plan.output_schema(), newest))
    }

    async fn tables(&self, pipeline: &str) -> Result<Vec<TableListing>, ConsoleError> {
        self.check(pipeline)?;
        queries::tables(self.source.whole()?.warehouse().await.map_err(unavailable)?).await
    }

    async fn sql(&self, pipeline: &str, request: SqlRequest) -> Result<SqlTable, ConsoleError> {
        self.check(pipeline)?;
        queries::query(self.source.whole()?.warehouse().await.map_err(unavailable)?, &request).await
    }

    async fn description(&self, pipeline: &str) -> Result<PipelineDescription, ConsoleError> {
        self.check(pipeline)?;
        Ok(description::describe(self.source.whole()?.pipeline(), self.file.as_ref()))
    }

    async fn runs(&self, pipeline: &str, offset: u64, limit: usize) -> Result<RunPage, ConsoleError> {
        self.check(pipeline)?;
        runs::page(self.source.whole()?, offset, limit).await
    }

    async fn run(
        &self,
        pipeline: &str,
        id: &str,
        max_tasks: usize,
        max_logs: usize,
    ) -> Result<RunDetail, ConsoleError> {
        self.check(pipeline)?;
        runs::detail(self.source.whole()?, id, max_tasks, max_logs).await
    }

    async fn cancel(&self, pipeline: &str, id: &str) -> Result<(), ConsoleError> {
        self.check(pipeline)?;
        runs::cancel(self.source.whole()?, id).await
    }
}
