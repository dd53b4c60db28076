//! The databases beside the embedded warehouse that a pipeline's tables go to.

use delivery::{Target, TargetError};
use pipeline::Pipeline;

use crate::exit::Exit;
use crate::report::Failure;

/// Opens the targets that the pipeline names. Nothing is asked of them yet.
pub(crate) fn open_targets(_pipeline: &Pipeline) -> anyhow::Result<Vec<Box<dyn Target>>> {
    Ok(Vec::new())
}

/// A target did not take a delivery.
pub(crate) fn target_failed(error: TargetError) -> anyhow::Error {
    let fact = error.to_string();
    let (exit, hint) = match &error {
        TargetError::Unreachable { .. } => {
            (Exit::Failed, "the next load tries again; the stream and the other tables go on".to_owned())
        }
        TargetError::Refused { hint, .. } => (Exit::Config, hint.clone()),
        TargetError::Moved { .. } => (Exit::Fenced, "load again".to_owned()),
        TargetError::Rows { .. } => (Exit::Lake, "nothing was changed there; load again".to_owned()),
    };
    let cause = std::error::Error::source(&error).map(ToString::to_string);
    let failure = Failure::new(exit, fact).hint(hint);
    match cause {
        Some(cause) => failure.cause(anyhow::anyhow!(cause)).into(),
        None => failure.into(),
    }
}

/// An error with its causes, in one line.
pub(crate) fn with_causes(error: &TargetError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
