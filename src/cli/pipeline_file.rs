//! Pipeline files as verbs are given them: the file, `--set`, and client settings of the environment.

use std::path::Path;

use turnstile_kafka::ClientSettings;
use turnstile_lake::StoreOptions;
use turnstile_pipeline::{Pipeline, PipelineError};

use crate::exit::Exit;
use crate::flow;
use crate::report::Failure;

/// Reads a pipeline file.
pub(super) fn load_pipeline_with(path: &Path, set: &[(String, String)]) -> anyhow::Result<Pipeline> {
    Pipeline::from_path_with(path, set).map_err(pipeline_failure)
}

/// Reads a pipeline file for a verb that talks to its cluster: client settings in the environment override the file's.
pub(super) fn load_pipeline_for_cluster(path: &Path, set: &[String]) -> anyhow::Result<Pipeline> {
    let mut pipeline = load_pipeline_with(path, &split_set(set)?)?;
    add_environment(&mut pipeline)?;
    Ok(pipeline)
}

pub(super) fn add_environment(pipeline: &mut Pipeline) -> anyhow::Result<()> {
    let environment = ClientSettings::from_environment().map_err(|error| flow::client(error.into()))?;
    pipeline.source.kafka.extend(environment.pairs().map(|(key, value)| (key.to_owned(), value.to_owned())));
    Ok(())
}

pub(super) fn parse_pipeline(text: &str, name: &str, set: &[(String, String)]) -> anyhow::Result<Pipeline> {
    Pipeline::from_str_with(text, name, set).map_err(pipeline_failure)
}

pub(super) fn pipeline_failure(error: PipelineError) -> anyhow::Error {
    Failure::of(Exit::Config, error).into()
}

/// `KEY=VALUE` pairs of the command line.
pub(super) fn split_set(set: &[String]) -> anyhow::Result<Vec<(String, String)>> {
    set.iter()
        .map(|pair| match pair.split_once('=') {
            Some((key, value)) => Ok((key.trim().to_owned(), value.trim().to_owned())),
            // The text is not shown: without the sign, it may be a secret.
            None => Err(Failure::new(Exit::Usage, "an argument of --set is not KEY=VALUE")
                .hint("write it as in --set stream.commit='100 ms'")
                .into()),
        })
        .collect()
}

/// `--set` with `--lake`: options of the store. A secret is refused, as in the keys of a pipeline.
pub(super) fn store_set(set: &[String]) -> anyhow::Result<StoreOptions> {
    let options = split_set(set)?;
    if let Some((key, _)) = options.iter().find(|(key, _)| turnstile_pipeline::is_secret(key)) {
        let fact = format!("\"{key}\" is a secret, and every user of the machine can see a command's arguments");
        return Err(Failure::new(Exit::Config, fact)
            .hint("set the environment variable that the store's own tools use")
            .into());
    }
    Ok(options.into_iter().collect())
}
