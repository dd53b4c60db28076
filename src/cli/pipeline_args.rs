//! Which pipeline a verb works on: the same flags, with the same meaning, on every verb.
//!
//! A pipeline is known by its file, or by its name in a lake. A file has everything: the lake, the query, the brokers. A name
//! is enough for verbs that read the ledger only.

use std::path::{Path, PathBuf};

use turnstile_lake::Lake;
use turnstile_pipeline::Pipeline;
use turnstile_track::MessageMove;

use super::last_run::{DATA, LastRun};
use super::ledger_at::LedgerAt;
use super::pipeline_file::{add_environment, load_pipeline_with, split_set, store_set};
use crate::console::PipelineFileText;
use crate::exit::Exit;
use crate::flow::{self, Context, LakeAccess};
use crate::process::Process;
use crate::report::Failure;
use crate::tracking::TopicRun;

/// The pipeline: its file, or its name in a lake.
#[derive(Debug, clap::Args)]
pub(super) struct PipelineArgs {
    /// The pipeline file [default: the pipeline that `turnstile up` or `stream` ran last in --dir]
    #[arg(value_name = "PIPELINE.toml", conflicts_with = "pipeline")]
    pipeline_file: Option<PathBuf>,
    #[command(flatten)]
    flags: PipelineFlags,
}

/// The same by flags alone, for verbs whose arguments are something else.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct PipelineFlags {
    /// The data folder of `turnstile up` and `stream` [default: ./turnstile-data]
    #[arg(long, value_name = "DIR", conflicts_with = "lake")]
    dir: Option<PathBuf>,
    /// The lake: a URL such as s3://bucket/turnstile, or a folder; with a pipeline file, instead of the file's
    #[arg(long, value_name = "LOCATION")]
    lake: Option<String>,
    /// The pipeline: its name in that lake, or its file
    #[arg(long, value_name = "NAME|FILE")]
    pipeline: Option<String>,
    /// Set a key of the pipeline file, or without a file an option of the lake's store; may be given several times.
    /// Pass credentials in the environment
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
}

/// What the arguments lead to.
pub(super) enum FoundPipeline {
    /// A pipeline, the folder that its file's relative paths begin at, and the file's text where it can be read again.
    Whole(Box<Pipeline>, PathBuf, Option<PipelineFileText>),
    /// Its ledger: no file is known.
    Ledger(LedgerAt),
}

impl PipelineArgs {
    /// The pipeline's context, which opens the lake by `access`.
    pub(super) fn open(&self, process: &Process, access: LakeAccess) -> anyhow::Result<Context> {
        self.find(process)?.open(process, access)
    }

    /// The pipeline's ledger; its file is not needed.
    pub(super) fn ledger(&self, process: &Process) -> anyhow::Result<LedgerAt> {
        let file = self.pipeline_file.as_deref();
        if file.is_none()
            && self.flags.names_nothing()
            && let Some(newest) = newest_ledger(self.flags.data_dir())
        {
            return Ok(newest);
        }
        Ok(match self.flags.find(file, process)? {
            FoundPipeline::Ledger(at) => at,
            FoundPipeline::Whole(pipeline, ..) => {
                let options = process.runtime.block_on(flow::lake_options(&pipeline))?;
                LedgerAt { url: pipeline.lake.url, pipeline: pipeline.name, options }
            }
        })
    }

    /// Whether a file is named, which says where the brokers are.
    pub(super) fn names_file(&self) -> bool {
        self.pipeline_file.is_some() || self.flags.pipeline.as_deref().is_some_and(is_file)
    }

    /// The pipeline, or at least where its ledger is.
    pub(super) fn find(&self, process: &Process) -> anyhow::Result<FoundPipeline> {
        self.flags.find(self.pipeline_file.as_deref(), process)
    }
}

impl FoundPipeline {
    /// The pipeline's context, which opens the lake by `access`. Client settings in the environment override the file's.
    pub(super) fn open(self, process: &Process, access: LakeAccess) -> anyhow::Result<Context> {
        let (mut pipeline, folder) = self.whole()?;
        add_environment(&mut pipeline)?;
        Ok(Context::new(process, pipeline, &folder, access))
    }

    /// The pipeline and its folder.
    ///
    /// # Errors
    /// Only its name is known.
    pub(super) fn whole(self) -> anyhow::Result<(Pipeline, PathBuf)> {
        self.whole_with_file().map(|(pipeline, folder, _)| (pipeline, folder))
    }

    /// The same, with the file.
    pub(super) fn whole_with_file(self) -> anyhow::Result<(Pipeline, PathBuf, Option<PipelineFileText>)> {
        match self {
            Self::Whole(pipeline, folder, file) => Ok((*pipeline, folder, file)),
            Self::Ledger(at) => {
                let fact = format!("only the name of pipeline {:?} is known, and this needs its file", at.pipeline);
                Err(Failure::new(Exit::Usage, fact)
                    .hint(format!(
                        "name the file, with --lake {} if the lake is not the file's; `turnstile stream … \
                         --print-pipeline` prints that of a stream",
                        at.url
                    ))
                    .into())
            }
        }
    }
}

impl PipelineFlags {
    /// Flags that name a pipeline by its name or file alone.
    pub(super) fn of(pipeline: &str) -> Self {
        Self { pipeline: Some(pipeline.to_owned()), ..Self::default() }
    }

    /// The same, with the pipeline `name` of the lake that they name.
    pub(super) fn named(&self, name: &str) -> Self {
        Self { pipeline: Some(name.to_owned()), ..self.clone() }
    }

    /// The lake, if it is all that these flags name.
    pub(super) fn lake_alone(&self) -> Option<anyhow::Result<LedgerAt>> {
        let url = self.lake.as_deref().filter(|_| self.pipeline.is_none()).map(location)?;
        Some(store_set(&self.set).map(|options| LedgerAt { url, pipeline: String::new(), options }))
    }

    /// The pipeline's context, which opens the lake by `access`.
    pub(super) fn open(&self, process: &Process, access: LakeAccess) -> anyhow::Result<Context> {
        self.find(None, process)?.open(process, access)
    }

    /// The pipeline of `file` and these flags.
    ///
    /// # Errors
    /// A file or the lake cannot be read; no pipeline, or more than one, is found.
    pub(super) fn find(&self, file: Option<&Path>, process: &Process) -> anyhow::Result<FoundPipeline> {
        let named = self.pipeline.as_deref();
        let file = file.or_else(|| named.filter(|name| is_file(name)).map(Path::new));
        if let Some(file) = file {
            return self.of_file(file);
        }
        let url = self.lake.as_deref().map(location);
        let last_run = LastRun::read(&match &url {
            // `up` keeps its pipeline beside the lake.
            Some(url) => folder_beside(url).unwrap_or_default(),
            None => self.data_dir().to_owned(),
        })?;
        if let (None, None) = (named, &url) {
            let Some(last_run) = last_run else { return Err(nothing_named(self.data_dir())) };
            return self.of_last_run(&last_run);
        }
        let options = || store_set(&self.set);
        let at = match (url, named) {
            (Some(url), Some(name)) => LedgerAt { url, pipeline: name.to_owned(), options: options()? },
            (Some(url), None) => {
                LedgerAt { pipeline: only_pipeline(process, &url, options()?)?, url, options: options()? }
            }
            (None, name) => {
                let url = format!("file:{}", self.data_dir().join("lake").display());
                LedgerAt { url, pipeline: name.unwrap_or_default().to_owned(), options: options()? }
            }
        };
        match last_run {
            Some(last_run) if last_run.pipeline(&[])?.name == at.pipeline => self.of_last_run(&last_run),
            _ => Ok(FoundPipeline::Ledger(at)),
        }
    }

    /// A file; with --dir, as `turnstile up` runs it there.
    fn of_file(&self, file: &Path) -> anyhow::Result<FoundPipeline> {
        let mut set = match &self.dir {
            None => Vec::new(),
            Some(dir) => match LastRun::read(dir)? {
                Some(last_run) => last_run.set,
                None => vec![("lake.url".to_owned(), format!("file:{}", dir.join("lake").display()))],
            },
        };
        set.extend(self.lake.as_deref().map(|lake| ("lake.url".to_owned(), location(lake))));
        set.extend(split_set(&self.set)?);
        let pipeline = Box::new(load_pipeline_with(file, &set)?);
        Ok(FoundPipeline::Whole(pipeline, flow::folder_of(file), PipelineFileText::read(file)))
    }

    fn of_last_run(&self, last_run: &LastRun) -> anyhow::Result<FoundPipeline> {
        let pipeline = Box::new(last_run.pipeline(&split_set(&self.set)?)?);
        Ok(FoundPipeline::Whole(pipeline, last_run.folder(), Some(last_run.file())))
    }

    fn data_dir(&self) -> &Path {
        self.dir.as_deref().unwrap_or(Path::new(DATA))
    }

    fn names_nothing(&self) -> bool {
        self.lake.is_none() && self.pipeline.is_none() && self.set.is_empty()
    }
}

/// The run of a verb that only moves messages, kept with the runs of the pipeline that is `named` by its file, or by its name
/// where `turnstile up` ran it.
pub(super) fn track_beside(
    named: Option<&str>,
    process: &Process,
    moves: MessageMove,
    topic: &str,
) -> anyhow::Result<Option<TopicRun>> {
    let Some(named) = named else { return Ok(None) };
    let context = PipelineFlags::of(named).open(process, LakeAccess::Read)?;
    Ok(Some(TopicRun::start(&context, moves, topic)))
}

/// Whether `--pipeline` names a file.
fn is_file(text: &str) -> bool {
    text.ends_with(".toml") || Path::new(text).is_file()
}

/// The URL of a lake: a folder may be named without `file:`.
pub(super) fn location(text: &str) -> String {
    let is_scheme = |scheme: &str| !scheme.is_empty() && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric());
    match text.split_once(':') {
        Some((scheme, _)) if is_scheme(scheme) => text.to_owned(),
        _ => format!("file:{text}"),
    }
}

/// The folder that a local lake's folder is in.
fn folder_beside(url: &str) -> Option<PathBuf> {
    let folder = url.strip_prefix("file:")?;
    let folder = Path::new(folder.strip_prefix("//").unwrap_or(folder)).canonicalize().ok()?;
    Some(folder.parent()?.to_owned())
}

/// Of the ledgers that `turnstile up` and `turnstile stream` keep under `dir`, the one that was written to last.
fn newest_ledger(dir: &Path) -> Option<LedgerAt> {
    let lake = dir.join("lake");
    let written = |entry: std::fs::DirEntry| {
        let log = entry.path().join("log").metadata().ok()?;
        Some((log.modified().ok()?, entry.file_name().into_string().ok()?))
    };
    let pipelines = std::fs::read_dir(lake.join("_turnstile")).into_iter().flatten();
    let (_, pipeline) = pipelines.filter_map(|entry| written(entry.ok()?)).max()?;
    Some(LedgerAt { url: format!("file:{}", lake.display()), pipeline, options: Default::default() })
}

/// The names of the pipelines that have a ledger in `lake`.
///
/// # Errors
/// The store does not answer.
pub(super) async fn ledgers(lake: &Lake) -> anyhow::Result<Vec<String>> {
    let folders = async |folder: &str| lake.folders(folder).await.map_err(|e| flow::ledger_failed(e.into()));
    let mut names = Vec::new();
    // Other folders beside the ledgers are no pipelines': only a ledger has a log.
    for folder in folders("_turnstile").await? {
        if folders(&folder).await?.iter().any(|part| part.ends_with("/log")) {
            names.extend(folder.rsplit('/').next().map(str::to_owned));
        }
    }
    Ok(names)
}

/// The name of a lake's only pipeline.
fn only_pipeline(process: &Process, url: &str, options: turnstile_lake::StoreOptions) -> anyhow::Result<String> {
    let at = LedgerAt { url: url.to_owned(), pipeline: String::new(), options };
    let names = process.runtime.block_on(async { ledgers(&at.open().await?).await })?;
    match names.as_slice() {
        [name] => Ok(name.clone()),
        [] => Err(Failure::new(Exit::Failed, format!("the lake {url} has no ledger"))
            .hint("check that a pipeline has run, and that this is the URL of its lake")
            .into()),
        names => Err(Failure::new(Exit::Usage, format!("the lake {url} has several pipelines"))
            .hint(format!("name one with --pipeline: {}", names.join(", ")))
            .into()),
    }
}

fn nothing_named(dir: &Path) -> anyhow::Error {
    let fact =
        format!("no pipeline was named, and neither `turnstile up` nor `stream` has kept one in {}", dir.display());
    Failure::new(Exit::Usage, fact)
        .hint(
            "name a pipeline file, or the folder of `turnstile up` or `stream` with --dir; `turnstile stream … \
             --print-pipeline` prints the file of a stream with another lake",
        )
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PIPELINE: &str = include_str!("../../pipelines/mta-turnstile.toml");

    /// A folder as `turnstile up` leaves it, and a process.
    fn scene() -> (tempfile::TempDir, tokio::runtime::Runtime, Process) {
        let dir = tempfile::tempdir().unwrap();
        let lake = dir.path().join("lake");
        std::fs::create_dir_all(lake.join("_turnstile/other/log")).unwrap();
        std::fs::write(lake.join("_turnstile/other/log/1"), "").unwrap();
        std::fs::create_dir_all(lake.join("_turnstile/tmp")).unwrap();
        std::fs::write(lake.join("_turnstile/tmp/1"), "").unwrap();
        let set = [("lake.url".to_owned(), format!("file:{}", lake.display()))];
        LastRun::save(dir.path(), "p.toml", Path::new("/models"), PIPELINE, &set).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let process = Process::new(runtime.handle().clone());
        (dir, runtime, process)
    }

    fn flags(dir: Option<&Path>, lake: Option<String>, pipeline: Option<&str>) -> PipelineFlags {
        PipelineFlags { dir: dir.map(Path::to_owned), lake, pipeline: pipeline.map(str::to_owned), set: Vec::new() }
    }

    #[test]
    fn dir_lake_and_name_lead_to_the_pipeline_of_up_and_other_names_to_their_ledgers() {
        let (dir, _runtime, process) = scene();
        let dir = dir.path();
        let url = format!("file:{}", dir.join("lake").display());
        let folder = dir.join("lake").display().to_string();
        for flags in [
            flags(Some(dir), None, None),
            flags(Some(dir), None, Some("mta-turnstile")),
            flags(None, Some(url.clone()), Some("mta-turnstile")),
            flags(None, Some(folder), Some("mta-turnstile")),
        ] {
            let (pipeline, models) = flags.find(None, &process).unwrap().whole().unwrap();
            assert_eq!((pipeline.name.as_str(), &pipeline.lake.url), ("mta-turnstile", &url), "{flags:?}");
            assert_eq!(models, Path::new("/models"));
        }
        for flags in [
            flags(Some(dir), None, Some("other")),
            flags(None, Some(url.clone()), Some("other")),
            flags(None, Some(url.clone()), None),
        ] {
            let FoundPipeline::Ledger(at) = flags.find(None, &process).unwrap() else { panic!("{flags:?}") };
            assert_eq!((at.url, at.pipeline.as_str()), (url.clone(), "other"), "{flags:?}");
            let error = flags.open(&process, LakeAccess::Read).err().unwrap();
            assert!(error.to_string().contains("only the name of pipeline \"other\" is known"), "{error}");
            assert_eq!(error.downcast_ref::<Failure>().unwrap().exit, Exit::Usage);
        }
    }

    #[test]
    fn a_file_is_read_with_the_lake_that_is_named() {
        let (dir, _runtime, process) = scene();
        let file = dir.path().join("mine.toml");
        std::fs::write(&file, PIPELINE).unwrap();
        let name = file.to_str();
        let url = |flags: PipelineFlags| flags.find(None, &process).unwrap().whole().unwrap().0.lake.url;
        assert_eq!(url(flags(None, Some("s3://b/t".to_owned()), name)), "s3://b/t");
        assert_eq!(url(flags(None, Some("copy".to_owned()), name)), "file:copy");
        let in_dir = format!("file:{}", dir.path().join("lake").display());
        assert_eq!(url(flags(Some(dir.path()), None, name)), in_dir, "as `up FILE --dir DIR` runs it");
        let missing = flags(None, None, Some("nosuch.toml")).find(None, &process).err().unwrap();
        assert!(missing.to_string().contains("nosuch.toml"), "{missing}");
    }

    #[test]
    fn without_a_name_the_ledger_written_to_last_is_read() {
        let (dir, _runtime, process) = scene();
        let at = |args: PipelineArgs| args.ledger(&process).unwrap().pipeline;
        assert_eq!(at(PipelineArgs { pipeline_file: None, flags: flags(Some(dir.path()), None, None) }), "other");
        std::fs::remove_dir_all(dir.path().join("lake")).unwrap();
        let up = PipelineArgs { pipeline_file: None, flags: flags(Some(dir.path()), None, None) };
        assert_eq!(at(up), "mta-turnstile", "that of `up`, which has not committed yet");
        let empty = tempfile::tempdir().unwrap();
        let error = flags(Some(empty.path()), None, None).find(None, &process).err().unwrap();
        assert!(error.downcast_ref::<Failure>().unwrap().next_step().unwrap().contains("--print-pipeline"), "{error}");
    }
}
