//! What a verb works with: built once from the command line and handed down.
//!
//! In: a checked pipeline, the process's runtime and shutdown token. Out: the compiled plan, the lake, the warehouse and the
//! targets, each opened once, when it is first needed, and shared by everything that works on the pipeline: run,
//! loads, maintenance, the PostgreSQL port, replay, queries. Start at [`Context::new`].

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use tokio::runtime::Handle;
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;
use turnstile_engine::StreamPlan;
use turnstile_kafka::ClientSettings;
use turnstile_lake::Lake;
use turnstile_pipeline::Pipeline;
use turnstile_warehouse::Warehouse;

use super::event_sink::EventSink;
use super::fault::{engine_failed, lake_failed};
use super::lake_credentials::lake_options;
use super::settings::client_settings;
use super::targets::Targets;
use super::warehouse::open_warehouse;
use crate::process::Process;

/// How a verb opens the lake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LakeAccess {
    /// To read; nothing is created.
    Read,
    /// To write; a local folder is created, and create-if-absent is tested.
    Write,
    /// To write into a lake that exists.
    WriteExisting,
}

/// A pipeline and everything that is opened for it. Cloning is cheap.
#[derive(Clone)]
pub(crate) struct Context {
    inner: Arc<Inner>,
}

struct Inner {
    process: Process,
    pipeline: Pipeline,
    folder: PathBuf,
    access: LakeAccess,
    events: EventSink,
    plan: OnceLock<Arc<StreamPlan>>,
    lake: OnceCell<Lake>,
    warehouse: OnceCell<Warehouse>,
    targets: OnceLock<Targets>,
}

impl Context {
    /// The context of `pipeline`, whose file's relative paths begin at `folder`. Nothing is opened yet.
    pub(crate) fn new(process: &Process, pipeline: Pipeline, folder: &Path, access: LakeAccess) -> Self {
        let inner = Inner {
            process: process.clone(),
            pipeline,
            folder: folder.to_owned(),
            access,
            events: EventSink::default(),
            plan: OnceLock::new(),
            lake: OnceCell::new(),
            warehouse: OnceCell::new(),
            targets: OnceLock::new(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// The pipeline.
    pub(crate) fn pipeline(&self) -> &Pipeline {
        &self.inner.pipeline
    }

    /// The folder that the pipeline file's relative paths begin at.
    pub(crate) fn folder(&self) -> &Path {
        &self.inner.folder
    }

    /// Where events go that a person or a program may want to see.
    pub(crate) fn events(&self) -> &EventSink {
        &self.inner.events
    }

    /// The token that ends everything.
    pub(crate) fn shutdown(&self) -> &CancellationToken {
        &self.inner.process.shutdown
    }

    /// The process's runtime.
    pub(crate) fn runtime(&self) -> &Handle {
        &self.inner.process.runtime
    }

    /// Runs `work` to its end on this thread.
    pub(crate) fn block_on<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime().block_on(work)
    }

    /// The compiled plan.
    ///
    /// # Errors
    /// The pipeline cannot be compiled.
    pub(crate) fn plan(&self) -> anyhow::Result<Arc<StreamPlan>> {
        once(&self.inner.plan, || Ok(Arc::new(StreamPlan::new(self.pipeline()).map_err(engine_failed)?)))
            .map(Arc::clone)
    }

    /// The settings of the pipeline's Kafka clients, which stop waiting at shutdown.
    ///
    /// # Errors
    /// A setting is wrong.
    pub(crate) fn client_settings(&self) -> anyhow::Result<ClientSettings> {
        client_settings(self.pipeline(), self.shutdown())
    }

    /// The lake.
    ///
    /// # Errors
    /// It cannot be opened as this context says.
    pub(crate) async fn lake(&self) -> anyhow::Result<&Lake> {
        self.inner.lake.get_or_try_init(|| self.open_lake()).await
    }

    async fn open_lake(&self) -> anyhow::Result<Lake> {
        let (url, options) = (&self.pipeline().lake.url, lake_options(self.pipeline()).await?);
        tracing::debug!(url, access = ?self.inner.access, "opening the lake");
        if self.inner.access != LakeAccess::Write {
            let lake = Lake::open_for_reading(url, &options).await.map_err(lake_failed)?;
            if self.inner.access == LakeAccess::Read {
                return Ok(lake);
            }
        }
        Lake::open(url, &options).await.map_err(lake_failed)
    }

    /// The warehouse, over the lake. Its caches are shared by all who ask or load.
    ///
    /// # Errors
    /// The lake cannot be opened; models or limits are wrong.
    pub(crate) async fn warehouse(&self) -> anyhow::Result<&Warehouse> {
        let open = async || open_warehouse(self.lake().await?, self.pipeline(), self.folder(), self.plan()?);
        self.inner.warehouse.get_or_try_init(open).await
    }

    /// The databases that the pipeline's tables go to. Nothing is asked of them here.
    ///
    /// # Errors
    /// A setting is wrong.
    pub(crate) fn targets(&self) -> anyhow::Result<&Targets> {
        once(&self.inner.targets, || Targets::open(self.pipeline()))
    }
}

/// The value in `cell`, made by `make` when there is none. Of two who make it at the same time, one's is kept.
fn once<T>(cell: &OnceLock<T>, make: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<&T> {
    match cell.get() {
        Some(value) => Ok(value),
        None => {
            let value = make()?;
            Ok(cell.get_or_init(|| value))
        }
    }
}
