//! Converts the rooms' errors into failures that a user can act on: fact, cause, next step, exit code.

use std::error::Error;

use turnstile_engine::{EngineError, StreamPlan};
use turnstile_kafka::diagnosis::DiagnosisError;
use turnstile_kafka::{ClientError, ReadError, SettingsError};
use turnstile_lake::maintenance::MaintenanceError;
use turnstile_lake::{LakeError, LedgerError};
use turnstile_registry::RegistryError;
use turnstile_spark::SparkError;
use turnstile_warehouse::WarehouseError;

use super::losses::range_lost;
use crate::exit::Exit;
use crate::report::Failure;

/// A client error: the broker, the topic or the settings.
pub(crate) fn client(error: ClientError) -> anyhow::Error {
    let (exit, hint) = match &error {
        ClientError::Settings(error) => (Exit::Config, Some(settings_hint(error))),
        ClientError::Unreachable { reason, .. } => {
            let usual = "start the broker, or check its address and --connect-timeout; nothing was lost";
            (Exit::Source, Some(turnstile_kafka::advice(&reason.to_string()).unwrap_or(usual)))
        }
        ClientError::Auth { reason, .. } => {
            let usual = "check security.protocol, sasl.* and ssl.* of the client settings; see docs/kafka.md";
            (Exit::Source, Some(turnstile_kafka::advice(&reason.to_string()).unwrap_or(usual)))
        }
        ClientError::TopicMissing { .. } => (
            Exit::SourceData,
            Some("create it with `turnstile topic create`, or list topics with `turnstile topic list`"),
        ),
        ClientError::TopicForbidden { .. } => (
            Exit::Source,
            Some("grant the user the permission (READ to read, WRITE to write), or use another user; nothing was lost"),
        ),
        ClientError::GroupForbidden { .. } => {
            (Exit::Source, Some("grant the user READ on the group, or set another group.id"))
        }
        ClientError::TopicExists { .. } => (Exit::Failed, Some("`turnstile topic describe` shows it")),
        ClientError::PartitionMissing { .. } => {
            (Exit::SourceData, Some("the topic has fewer partitions than were read before: was it recreated?"))
        }
        // The caller was waiting and was asked to stop: that is no failure.
        ClientError::Stopped => (Exit::Done, None),
        ClientError::Failed { .. } => {
            (Exit::Source, Some("`turnstile check PIPELINE.toml --connect` tries each step separately"))
        }
    };
    Failure::of(exit, error).maybe_hint(hint).into()
}

/// A step on the way to a topic failed.
pub(crate) fn diagnosis_failed(error: DiagnosisError) -> anyhow::Error {
    let hint = match error {
        DiagnosisError::Client(error) => return client(error),
        DiagnosisError::Unresolved { .. } => {
            "correct the host names in bootstrap.servers, or this machine's DNS settings"
        }
        DiagnosisError::Unconnected { .. } => {
            "start the broker, correct its address in bootstrap.servers, or open its port in the firewall"
        }
        DiagnosisError::GroupDenied { .. } | DiagnosisError::WriteDenied { .. } => {
            "grant the user that permission, or use another user"
        }
    };
    Failure::of(Exit::Source, error).hint(hint).into()
}

/// What to do about client settings that cannot be used.
fn settings_hint(error: &SettingsError) -> &'static str {
    match error {
        SettingsError::Unreadable { .. } => {
            "name a properties file with --config (or [source] properties), or a broker with --bootstrap"
        }
        SettingsError::Line { .. } => {
            "correct that line; the format is that of Java's properties files, see docs/kafka.md"
        }
        SettingsError::UnknownKey { .. } => {
            "correct the key or remove it; docs/kafka.md describes which keys of librdkafka and Java are accepted"
        }
        SettingsError::InvalidValue { .. } => "correct the value; docs/kafka.md has an example for each kind of login",
        SettingsError::NoServers { .. } => {
            "set it there, as TURNSTILE_KAFKA_BOOTSTRAP_SERVERS, or with --bootstrap where a verb has it"
        }
        SettingsError::Missing { .. } => {
            "set it there or in the environment; docs/kafka.md has an example for each kind of login"
        }
        SettingsError::Refused { .. } => {
            "change these keys so that they do not contradict each other; see docs/kafka.md"
        }
    }
}

/// A reader's error.
pub(crate) fn read_failed(error: ReadError) -> anyhow::Error {
    match error {
        ReadError::Client(error) => client(error),
        ReadError::OffsetOutOfRange { partition, position, earliest, .. } if position < earliest => {
            range_lost(&partition, position, earliest)
                .hint("what was read is committed; to continue with what is left, start with --accept-loss")
                .into()
        }
        ReadError::OffsetOutOfRange { .. } => Failure::of(Exit::SourceData, error)
            .hint("the unread messages are lost; `turnstile run --accept-loss` continues with what is left")
            .into(),
        ReadError::Fatal { .. } => Failure::of(Exit::Source, error).into(),
    }
}

/// What of a pipeline Spark cannot do.
pub(crate) fn refused_by_plan(name: &str, refused: &[String]) -> Failure {
    let fact = format!("the pipeline \"{name}\" does not run on Spark:\n  - {}", refused.join("\n  - "));
    Failure::new(Exit::Config, fact)
}

/// A Spark cluster failed, or said no.
pub(crate) fn spark_failed(error: SparkError) -> anyhow::Error {
    let away = error.is_of_the_connection() || matches!(error, SparkError::Refused { .. });
    let exit = if away { Exit::Source } else { Exit::Failed };
    let hint = error.hint();
    Failure::of(exit, error).maybe_hint(hint).into()
}

/// The schema registry gave no schema.
pub(crate) fn registry_failed(error: RegistryError) -> anyhow::Error {
    let (exit, hint) = match &error {
        RegistryError::Settings { .. } => (Exit::Config, "correct [source.registry] of the pipeline file"),
        RegistryError::Unreachable { .. } => {
            (Exit::Source, "start the registry, or correct [source.registry] url; run again: nothing was lost")
        }
        RegistryError::Denied { .. } => {
            (Exit::Source, "correct user and password of [source.registry]; run again: nothing was lost")
        }
        RegistryError::Refused { .. } => (
            Exit::Source,
            "is [source.registry] url the one that the registry's own clients use? Run again: nothing was lost",
        ),
    };
    Failure::of(exit, error).hint(hint).into()
}

/// The lake cannot be opened.
pub(crate) fn lake_failed(error: LakeError) -> anyhow::Error {
    if let LakeError::Missing { .. } = error {
        return Failure::of(Exit::Lake, error)
            .hint(
                "has it ever run, and with this lake.url? \
                 A relative file: path is relative to the working directory",
            )
            .into();
    }
    let exit = match error {
        LakeError::Store { .. } | LakeError::NotConditional { .. } => Exit::Lake,
        _ => Exit::Config,
    };
    Failure::new(exit, "the lake cannot be opened").cause(error).into()
}

/// The ledger refused to be opened for `plan`: what a person can do about a changed plan depends on what it keeps.
pub(crate) fn open_failed(error: LedgerError, plan: &StreamPlan) -> anyhow::Error {
    match (&error, plan.retained_after_drain()) {
        (LedgerError::PlanChanged { .. }, Some(kept)) => {
            let hint = format!(
                "give the pipeline a new name and let it read the topic again; draining does not help, because it leaves \
                 {kept}. A csv pipeline that was begun before empty fields were null goes on with `empty = \"text\"` in [source]"
            );
            Failure::of(Exit::Ledger, error).hint(hint).into()
        }
        _ => ledger_failed(error),
    }
}

/// A lake without a ledger of the pipeline.
pub(crate) fn no_ledger(lake: &str, pipeline: &str) -> anyhow::Error {
    Failure::new(Exit::Failed, format!("the lake {lake} has no ledger of {pipeline:?}"))
        .hint("check that it has run, and that this is the URL of its lake")
        .into()
}

/// The ledger refused.
pub(crate) fn ledger_failed(error: LedgerError) -> anyhow::Error {
    let exit = match &error {
        LedgerError::Fenced { .. } => Exit::Fenced,
        LedgerError::Store(_) | LedgerError::FileChanged { .. } => Exit::Lake,
        LedgerError::Name { .. } => Exit::Config,
        LedgerError::Unbalanced { .. } | LedgerError::Unfinished { .. } => Exit::Failed,
        _ => Exit::Ledger,
    };
    let hint = ledger_hint(&error);
    Failure::of(exit, error).maybe_hint(hint).into()
}

/// What to do about a ledger that refuses, where there is something to do.
fn ledger_hint(error: &LedgerError) -> Option<&'static str> {
    match error {
        LedgerError::Fenced { .. } => {
            Some("stop that process, or take over with `turnstile run --takeover`; nothing was lost")
        }
        LedgerError::Store(e) if e.retriable => {
            Some("start again when the store can be reached and has space; nothing was lost")
        }
        LedgerError::Store(_) => Some("free space or grant permission, then start again; nothing was lost"),
        LedgerError::PlanChanged { .. } => Some(
            "give the pipeline a new name and let it read the topic again; or close the open windows with the old \
             file (`turnstile run --drain`), unless that file counts registers, corrects late rows or detects \
             duplicates without the event time. A csv pipeline that was begun before empty fields were null goes on with \
             `empty = \"text\"` in [source]",
        ),
        LedgerError::NewerVersion { .. } => Some("run the newer turnstile that wrote it"),
        LedgerError::OtherPipeline { .. } => Some("give the pipeline another name or another lake"),
        LedgerError::FileChanged { .. } => {
            Some("move that file away and start again; the committed one is then published")
        }
        LedgerError::Corrupt { .. } => Some("docs/ledger.md, \"Repair\", says what can be done"),
        LedgerError::Unbalanced { .. } | LedgerError::Unfinished { .. } | LedgerError::Name { .. } => None,
    }
}

/// Maintenance did not come to its end.
pub(crate) fn maintenance_failed(error: MaintenanceError) -> anyhow::Error {
    let (exit, hint) = match error {
        MaintenanceError::Ledger(error) => return ledger_failed(error),
        MaintenanceError::Changed { .. } => (
            Exit::Difference,
            "`turnstile audit` names all that differ; docs/ledger.md, \"Repair\", says what can be done",
        ),
        MaintenanceError::Rows { .. } => {
            (Exit::Failed, "the lake is unchanged, and readers still read the original files")
        }
    };
    Failure::of(exit, error).hint(hint).into()
}

/// The engine stopped.
pub(crate) fn engine_failed(error: EngineError) -> anyhow::Error {
    let (exit, hint) = match &error {
        EngineError::Plan(_) => (Exit::Config, None),
        EngineError::Memory { .. } => {
            (Exit::Failed, Some("raise `[stream] memory`, or shorten the window or the watermark; nothing was lost"))
        }
        EngineError::Spill(_) => (
            Exit::Failed,
            Some(
                "raise `[stream] memory` or `spill`, or name a folder with more room as `spill_dir`; nothing was lost",
            ),
        ),
        EngineError::Window { .. } => (
            Exit::Failed,
            Some(
                "nothing was lost. The same messages cause the same error again; to go on without the groups that fail, \
                 set failed_groups = \"leave-out\" in [stream], or for one run add \
                 --set 'stream.failed_groups=\"leave-out\"': `turnstile audit` and `turnstile explain` name them",
            ),
        ),
        EngineError::State(_) => (Exit::Ledger, None),
        _ => (Exit::Failed, Some("nothing was lost: the messages since the last commit are read again")),
    };
    Failure::of(exit, error).maybe_hint(hint).into()
}

/// What to do when a file of the lake, which a query was reading, is not what the ledger says.
pub(crate) fn lake_file_hint(error: &(dyn Error + 'static)) -> Option<&'static str> {
    let mut causes = std::iter::successors(Some(error), |cause| (*cause).source());
    causes
        .any(|cause| matches!(cause.downcast_ref(), Some(WarehouseError::File { .. })))
        .then_some("`turnstile audit` says more")
}

/// The warehouse refused or failed.
pub(crate) fn warehouse_failed(error: WarehouseError) -> anyhow::Error {
    let (exit, hint): (Exit, String) = match &error {
        WarehouseError::Empty { .. } => {
            (Exit::Lake, "wait for the first window to close, or see `turnstile status`".to_owned())
        }
        WarehouseError::Store(_) => (Exit::Lake, "nothing was changed; the next load continues from there".to_owned()),
        WarehouseError::Ledger(_) => (Exit::Ledger, "`turnstile audit` shows more; nothing was loaded".to_owned()),
        WarehouseError::File { .. } => (
            Exit::Lake,
            "`turnstile audit` lists every file that differs from the ledger; nothing was loaded".to_owned(),
        ),
        WarehouseError::Damaged { .. } => {
            (Exit::Lake, "docs/warehouse.md, \"Starting over\", says how to load everything again".to_owned())
        }
        WarehouseError::NewerVersion { .. } => (Exit::Lake, "run the newer turnstile that wrote it".to_owned()),
        WarehouseError::Model(error) => (Exit::Config, error.hint.clone()),
        WarehouseError::Compute { .. } => (Exit::Failed, "correct the model; nothing was loaded".to_owned()),
        WarehouseError::Tests { .. } => {
            (Exit::Difference, "nothing was loaded, and the tables are unchanged; see load_runs".to_owned())
        }
        WarehouseError::Moved => (Exit::Fenced, "load again".to_owned()),
        WarehouseError::Changed { models } => (
            Exit::Config,
            format!(
                "rebuild its table with `turnstile models run --full-refresh {}`, of the same pipeline",
                models.join(" --full-refresh ")
            ),
        ),
        WarehouseError::Query(_) => (Exit::Failed, "`\\d` in `turnstile sql` lists tables and columns".to_owned()),
    };
    Failure::of(exit, error).hint(hint).into()
}
