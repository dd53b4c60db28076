//! `turnstile run`: runs a pipeline against Kafka.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args as ClapArgs;
use turnstile_pipeline::Pipeline;
use turnstile_values::human;

use super::listeners::Listeners;
use super::pipeline_file::load_pipeline_for_cluster;
use super::spark_address::spark_address;
use crate::console::PipelineFileText;
use crate::exit::Exit;
use crate::flow::{
    self, Context, EngineChoice, LakeAccess, OnStop, PortChoice, RejectedShare, RunOptions, Services, SparkRun,
    StopCondition,
};
use crate::process::Process;
use crate::progress::Printing;
use crate::report::{self, Failure};

/// Read a topic, aggregate it in event-time windows, publish every closed window exactly once.
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  turnstile run pipelines/mta-turnstile.toml
  turnstile run pipelines/mta-turnstile.toml --bootstrap broker:9092
  turnstile run pipelines/mta-registers.toml --drain        # read to the end, publish all windows, exit
  turnstile run pipelines/mta-stations.toml --engine spark --remote sc://spark:15002

A run resumes where the last one stopped. Ctrl-C commits what was read and leaves windows open.")]
pub(crate) struct RunArgs {
    /// The pipeline file.
    pipeline: PathBuf,
    /// Set a key of the pipeline file, such as `stream.commit="100 ms"`; may be given several times.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Brokers to start from, as host:port,…; goes before the pipeline file, its properties file and the environment.
    #[arg(long, value_name = "SERVERS")]
    bootstrap: Option<String>,
    #[command(flatten)]
    how: RunOptionArgs,
    #[command(flatten)]
    engine: EngineArgs,
    /// Fail when no broker has answered for this many seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = turnstile_kafka::DEFAULT_CONNECT_TIMEOUT.as_secs())]
    connect_timeout: u64,
}

/// On which engine a pipeline runs.
#[derive(Debug, ClapArgs)]
struct EngineArgs {
    /// What computes the windows: this process, or an Apache Spark cluster
    #[arg(long, value_enum, default_value_t)]
    engine: EngineChoice,
    /// The Spark Connect server: sc://HOST[:15002][/;KEY=VALUE;…] [env: SPARK_REMOTE]
    #[arg(long, value_name = "ADDRESS")]
    remote: Option<String>,
    /// What becomes of the query on the cluster when this process is ended: it stops, if nothing is said
    #[arg(long, value_enum, value_name = "WHAT")]
    on_stop: Option<OnStop>,
}

impl EngineArgs {
    /// Where it runs, if not in this process.
    fn spark(&self) -> anyhow::Result<Option<SparkRun>> {
        if self.engine == EngineChoice::Embedded {
            return match (&self.remote, self.on_stop) {
                (None, None) => Ok(None),
                (Some(_), _) => Err(Failure::new(Exit::Usage, "--remote is for --engine spark").into()),
                (None, Some(_)) => Err(Failure::new(Exit::Usage, "--on-stop is for --engine spark").into()),
            };
        }
        let address = spark_address(self.remote.as_deref())?.ok_or_else(|| {
            Failure::new(Exit::Usage, "--engine spark needs the address of a Spark Connect server")
                .hint("give --remote sc://HOST:15002, or set SPARK_REMOTE")
        })?;
        Ok(Some(SparkRun { address, on_stop: self.on_stop.unwrap_or(OnStop::Stop) }))
    }
}

/// How a pipeline runs, and when it ends.
#[derive(Debug, ClapArgs)]
pub(super) struct RunOptionArgs {
    /// Stop once everything that the topic contains now is read and committed; windows stay open.
    #[arg(long, conflicts_with = "drain")]
    until_end: bool,
    /// Like --until-end, and then close and publish the open windows.
    #[arg(long)]
    drain: bool,
    /// Take over the pipeline from a process that seems to be alive; that process stops at its next commit.
    #[arg(long)]
    takeover: bool,
    /// Continue if records were lost before they were read.
    #[arg(long)]
    accept_loss: bool,
    /// Print events as JSON lines.
    #[arg(long)]
    json: bool,
}

impl RunOptionArgs {
    /// Runs `pipeline` so, until it ends or shutdown.
    pub(super) fn run(
        &self,
        process: &Process,
        pipeline: Pipeline,
        folder: &Path,
        file: Option<PipelineFileText>,
        connect_timeout: Duration,
        spark: Option<SparkRun>,
    ) -> anyhow::Result<Exit> {
        let until = match (self.until_end, self.drain) {
            (true, _) => StopCondition::End,
            (_, true) => StopCondition::Drained,
            _ => StopCondition::Shutdown,
        };
        process.shutdown_on_signals()?;
        let context = Context::new(process, pipeline, folder, LakeAccess::Write);
        let printing = Printing::start(context.events(), self.json, schemas(context.pipeline()))?;
        // A run that ends by itself is one step of somebody's script; `warehouse run --once` is the next.
        let services = match until {
            StopCondition::Shutdown => context.block_on(Services::start(&context, PortChoice::AsConfigured))?,
            StopCondition::End | StopCondition::Drained => Services::default(),
        };
        let listeners = Listeners::start(&context, PortChoice::AsConfigured, file)?;
        listeners.url().into_iter().for_each(|url| eprintln!("console   {url}"));
        let (takeover, accept_loss) = (self.takeover, self.accept_loss);
        let options = RunOptions { until, takeover, accept_loss, connect_timeout, spark };
        run_pipeline(&context, &options, services, listeners, printing)
    }
}

pub(crate) fn run(args: RunArgs, process: &Process) -> anyhow::Result<Exit> {
    let spark = args.engine.spark()?;
    let mut pipeline = load_pipeline_for_cluster(&args.pipeline, &args.set)?;
    if let Some(servers) = args.bootstrap {
        pipeline.source.kafka.insert("bootstrap.servers".to_owned(), servers);
    }
    let timeout = Duration::from_secs(args.connect_timeout);
    let file = PipelineFileText::read(&args.pipeline);
    args.how.run(process, pipeline, &flow::folder_of(&args.pipeline), file, timeout, spark)
}

/// Runs with its events printed; the last line says where everything stands.
pub(super) fn run_pipeline(
    context: &Context,
    options: &RunOptions,
    services: Services,
    listeners: Listeners,
    printing: Printing,
) -> anyhow::Result<Exit> {
    let (result, asked) = context.block_on(async {
        let result = flow::run(context, options).await;
        // A run that ends by itself ends what runs beside it.
        let asked = context.shutdown().is_cancelled();
        context.shutdown().cancel();
        services.stop().await;
        (result, asked)
    });
    let progress = printing.end();
    listeners.end(context, &result, asked);
    let status = result?;
    if let Some(mut progress) = progress {
        progress.closing(&context.pipeline().name, &context.pipeline().lake.url, &status);
    }
    match status.rejected.as_ref().filter(|share| share.is_most()) {
        Some(share) => {
            warn_of(share);
            Ok(Exit::Rejected)
        }
        None => Ok(Exit::Done),
    }
}

/// The schemas of the message and of the aggregate, as the original prints them when it starts.
pub(super) fn schemas(pipeline: &Pipeline) -> String {
    format!("message\n{}aggregate\n{}", pipeline.message_schema_tree(), pipeline.output_schema_tree())
}

/// What a person must know of a run that took in little of what it read.
fn warn_of(share: &RejectedShare) {
    let RejectedShare { read, rejected, reason, of_reason, first } = share;
    let (read, rejected, of_reason) = (human::count(*read), human::count(*rejected), human::count(*of_reason));
    report::warn(&format!(
        "{rejected} of the {read} messages that this run read were rejected, {of_reason} of them for: {reason}"
    ));
    eprintln!("  the first: {first}");
    eprintln!(
        "  hint: `turnstile deadletter show` prints them; once the pipeline is right, `turnstile deadletter requeue` sends \
         them again"
    );
}
