//! A page's data, asked for, as fragments.
//!
//! In: an address. Out: its fragments and the status of the answer; what cannot be read becomes a panel that says why.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use maud::html;
use tokio::sync::Semaphore;

use crate::address::{Page, PageAddress};
use crate::data::{ChartSpec, ConsoleData, ConsoleError, SqlRequest, SqlTable, WindowSelection};
use crate::fragment::Fragment;
use crate::settings::{ConsoleLimits, ConsoleSettings};
use crate::view::pieces::{PageContext, problem};
use crate::view::{dead_letters, layout, overview, partitions, pipeline, runs, stations, window, windows};

/// A page as fragments.
#[derive(Debug)]
pub(crate) struct RenderedPage {
    pub(crate) status: StatusCode,
    pub(crate) fragments: Vec<Fragment>,
}

/// Renders pages: for requests, and live.
pub(crate) struct PageRenderer {
    data: Arc<dyn ConsoleData>,
    limits: ConsoleLimits,
    /// Bounds the queries that run at once, those of charts and those that a person typed.
    queries: Semaphore,
    clock: Arc<dyn Fn() -> i64 + Send + Sync>,
}

impl PageRenderer {
    pub(crate) fn new(data: Arc<dyn ConsoleData>, settings: &ConsoleSettings) -> Self {
        let (limits, clock) = (settings.limits, Arc::clone(&settings.clock));
        Self { data, limits, queries: Semaphore::new(limits.sql_queries), clock }
    }

    /// The wall clock.
    pub(crate) fn now_us(&self) -> i64 {
        (self.clock)()
    }

    /// The page at `address`, the few words in the header first. Never fails: errors become panels.
    pub(crate) async fn render(&self, address: &PageAddress) -> RenderedPage {
        let read_only = self.data.read_only();
        let context = PageContext { pipeline: address.pipeline.clone(), now_us: self.now_us(), read_only };
        let overview = self.in_time(self.data.overview(&address.pipeline)).await;
        let pulse = overview.as_ref().map(overview::pulse).unwrap_or_default();
        let mut fragments = vec![Fragment::new(layout::PULSE, pulse)];
        let page = match (&address.page, overview) {
            (Page::Overview, overview) => overview.map(|overview| overview::overview(&context, &overview)),
            (_, Err(error @ ConsoleError::NotFound { .. })) => Err(error),
            _ => self.page(&context, &address.page).await,
        };
        let status = match page {
            Ok(page) => {
                fragments.extend(page);
                StatusCode::OK
            }
            Err(error) => {
                let panel = html! { h1 { "This cannot be shown" } (problem(&error)) };
                fragments.push(Fragment::new("problem", panel));
                status_of(&error)
            }
        };
        RenderedPage { status, fragments }
    }

    async fn in_time<T>(&self, work: impl Future<Output = Result<T, ConsoleError>>) -> Result<T, ConsoleError> {
        in_time(self.limits.request_timeout, work).await
    }

    async fn page(&self, context: &PageContext, page: &Page) -> Result<Vec<Fragment>, ConsoleError> {
        let (data, name) = (&self.data, context.pipeline.as_str());
        Ok(match page {
            Page::Windows { condition, offset } => {
                let selection =
                    WindowSelection { condition: *condition, offset: *offset, limit: windows::PAGE_WINDOWS };
                let page = self.in_time(data.windows(name, selection)).await?;
                windows::windows(context, &page, *condition, *offset)
            }
            Page::Window { start_us } => window::window(context, &self.in_time(data.window(name, *start_us)).await?),
            Page::Partitions => partitions::partitions(context, &self.in_time(data.partitions(name)).await?),
            Page::DeadLetters => dead_letters::dead_letters(context, &self.in_time(data.dead_letters(name)).await?),
            Page::Stations { chart, series } => self.stations(context, chart.as_deref(), series.as_deref()).await?,
            Page::Runs { offset } => {
                let page = self.in_time(data.runs(name, *offset, runs::PAGE_RUNS)).await?;
                runs::runs(context, &page, *offset)
            }
            Page::Run { id } => {
                let run = self.in_time(data.run(name, id, runs::MAX_TASKS, runs::MAX_LOGS)).await?;
                runs::run(context, &run)
            }
            Page::Pipeline => pipeline::pipeline(&self.in_time(data.description(name)).await?),
            // The overview is rendered from what the header needs; SQL has forms and is rendered by its route.
            Page::Overview | Page::Sql => Vec::new(),
        })
    }

    async fn stations(
        &self,
        context: &PageContext,
        chart: Option<&str>,
        series: Option<&str>,
    ) -> Result<Vec<Fragment>, ConsoleError> {
        let specs = self.in_time(self.data.charts(&context.pipeline)).await?;
        let Some(first) = specs.first() else { return Ok(stations::nothing(context)) };
        let spec = match chart {
            None => first,
            Some(id) => specs.iter().find(|spec| spec.id == id).ok_or_else(|| not_found(id))?,
        };
        let table = self.query(self.data.chart(&context.pipeline, request(spec, &self.limits))).await?;
        Ok(stations::stations(context, &specs, spec, series, &table))
    }

    /// The result of a query, once it is its turn; both within the time of a query.
    pub(crate) async fn query(
        &self,
        query: impl Future<Output = Result<SqlTable, ConsoleError>>,
    ) -> Result<SqlTable, ConsoleError> {
        let limit = self.limits.sql_timeout;
        let in_turn = async {
            let _turn =
                self.queries.acquire().await.map_err(|_| ConsoleError::unavailable("the console is stopping"))?;
            query.await
        };
        tokio::time::timeout(limit, in_turn).await.unwrap_or(Err(ConsoleError::Timeout(limit)))
    }
}

/// The status of a page that shows this error.
pub(crate) fn status_of(error: &ConsoleError) -> StatusCode {
    match error {
        ConsoleError::NotFound { .. } => StatusCode::NOT_FOUND,
        ConsoleError::Unavailable { .. } | ConsoleError::Timeout(_) => StatusCode::SERVICE_UNAVAILABLE,
        ConsoleError::Refused { .. } => StatusCode::CONFLICT,
        ConsoleError::Sql(_) => StatusCode::UNPROCESSABLE_ENTITY,
    }
}

/// The result, or that it took too long: a page is answered whatever the data does.
pub(crate) async fn in_time<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, ConsoleError>>,
) -> Result<T, ConsoleError> {
    match tokio::time::timeout(limit, work).await {
        Ok(result) => result,
        Err(_) => Err(ConsoleError::unavailable(format!("there was no answer within {} seconds", limit.as_secs()))),
    }
}

fn request(spec: &ChartSpec, limits: &ConsoleLimits) -> SqlRequest {
    let text = spec.sql.clone();
    SqlRequest { text, max_rows: limits.csv_rows, max_bytes: limits.sql_bytes, timeout: limits.sql_timeout }
}

fn not_found(chart: &str) -> ConsoleError {
    ConsoleError::NotFound { what: "chart", name: chart.to_owned() }
}
