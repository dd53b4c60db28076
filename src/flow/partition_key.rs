//! Which key the folders of a pipeline's files have: `<key>=YYYY-MM-DD/`.

use turnstile_lake::Slot;
use turnstile_pipeline::{PARTITION_KEY, Pipeline};

use crate::exit::Exit;
use crate::report::Failure;

/// The key of a pipeline whose newest slot is `slot`: that of the files which it has published, so that they all lie in
/// folders of one key; for a new pipeline the key that it is given, or the usual one.
///
/// # Errors
/// It is given another key than the one that its files have.
pub(crate) fn partition_key(pipeline: &Pipeline, slot: Option<&Slot>) -> anyhow::Result<String> {
    let given = pipeline.lake.partition.as_deref();
    match slot.and_then(Slot::partition_key) {
        Some(known) if given.is_some_and(|given| given != known) => {
            let given = given.unwrap_or_default();
            let fact = format!(
                "the files of {:?} are in folders {known}=…, and [lake] partition is \"{given}\"",
                pipeline.name
            );
            let hint = format!(
                "take `partition` out to continue with {known}; for folders {given}=… give the pipeline a new name, so \
                 that it reads its topic again"
            );
            Err(Failure::new(Exit::Config, fact).hint(hint).into())
        }
        Some(known) => Ok(known.to_owned()),
        None => Ok(given.unwrap_or(PARTITION_KEY).to_owned()),
    }
}
