//! Secrets that a setting refers to: in the environment, or in a file.

use turnstile_pipeline::PasswordSource;
use turnstile_values::Secret;

use crate::exit::Exit;
use crate::report::Failure;

/// Most bytes of a file that is said to hold a secret.
const SECRET_BYTES: usize = 4096;

/// The environment variables of Prefect's own clients, in the order in which they count.
const PREFECT_VARIABLES: [&str; 2] = ["PREFECT_API_KEY", "PREFECT_API_AUTH_STRING"];

/// Prefect's key, from where the pipeline says, or from where Prefect's own clients look.
///
/// # Errors
/// As [`read_secret`].
pub(crate) fn prefect_key(source: Option<&PasswordSource>) -> anyhow::Result<Option<Secret>> {
    let variable = |name: &&str| std::env::var(name).ok().filter(|key| !key.is_empty());
    match source {
        Some(source) => read_secret(source, "a key for Prefect").map(Some),
        None => Ok(PREFECT_VARIABLES.iter().find_map(variable).map(Secret::new)),
    }
}

/// The secret in `source`; `what` it is, such as `a token for the console`.
///
/// # Errors
/// There is none; the failure says where it was to be.
pub(crate) fn read_secret(source: &PasswordSource, what: &str) -> anyhow::Result<Secret> {
    let missing = |cause: anyhow::Error, hint: &str| {
        Failure::new(Exit::Config, format!("there is not {what}")).cause(cause).hint(hint)
    };
    let text = match source {
        // The error would repeat what is no text.
        PasswordSource::Environment(name) => std::env::var(name).map_err(|_| {
            let cause = anyhow::anyhow!("the environment variable {name} is not set, or is not UTF-8 text");
            missing(cause, "set it, or name a file instead")
        })?,
        PasswordSource::File(path) => {
            let text = std::fs::read_to_string(path).map_err(|e| {
                let cause = anyhow::Error::from(e).context(format!("{} cannot be read", path.display()));
                missing(cause, "write it into that file")
            })?;
            text.lines().next().unwrap_or_default().to_owned()
        }
    };
    if text.is_empty() || text.len() > SECRET_BYTES {
        let cause = anyhow::anyhow!("its content is empty, or too long to be one");
        return Err(missing(cause, "write it there").into());
    }
    Ok(Secret::new(text))
}
