//! Client settings from the environment: `TURNSTILE_KAFKA_SASL_PASSWORD` is `sasl.password`.

use std::ffi::OsString;

use super::error::WrongValue;
use super::{ClientSettings, SettingsError};

/// The beginning of the names of the variables that are client settings.
pub(super) const PREFIX: &str = "TURNSTILE_KAFKA_";

impl ClientSettings {
    /// The settings in the environment: `TURNSTILE_KAFKA_SASL_PASSWORD` is `sasl.password`, and
    /// `TURNSTILE_KAFKA_SASL_PASSWORD_FILE` names the file that holds it. Empty when there are none.
    ///
    /// # Errors
    /// Names the variable whose key is unknown or whose value is not taken.
    pub fn from_environment() -> Result<Self, SettingsError> {
        read(std::env::vars_os())
    }
}

/// Settings of all variables whose names begin with [`PREFIX`]. An empty variable counts as not set: compose files and
/// shells pass such on.
fn read(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Result<ClientSettings, SettingsError> {
    let mut settings = ClientSettings::empty("the environment".to_owned());
    let mut named: Vec<(String, OsString)> = variables
        .into_iter()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
        .filter(|(name, value)| name.starts_with(PREFIX) && !value.is_empty())
        .collect();
    // Which of several wrong ones is reported does not depend on their order in the environment.
    named.sort();
    for (name, value) in named {
        let key = key(&name);
        let value = value.into_string().map_err(|_| WrongValue::from("it is not UTF-8").at(&name, &key))?;
        settings.insert(key, value, name)?;
    }
    Ok(settings)
}

fn key(variable: &str) -> String {
    variable[PREFIX.len()..].to_lowercase().replace('_', ".")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(variables: &[(&str, &str)]) -> Result<ClientSettings, SettingsError> {
        read(variables.iter().map(|(name, value)| (name.into(), value.into())))
    }

    #[test]
    fn a_variable_is_the_key_of_its_name_and_an_empty_one_is_none() {
        let settings = read_all(&[
            ("TURNSTILE_KAFKA_BOOTSTRAP_SERVERS", "h:1"),
            ("TURNSTILE_KAFKA_SASL_MECHANISM", "PLAIN"),
            ("TURNSTILE_KAFKA_SASL_PASSWORD", ""),
            ("TURNSTILE_LOG", "debug"),
            ("PATH", "/bin"),
        ])
        .unwrap();
        let pairs: Vec<_> = settings.pairs().collect();
        assert_eq!(pairs, [("bootstrap.servers", "h:1"), ("sasl.mechanisms", "PLAIN")]);
    }

    #[test]
    fn a_wrong_variable_is_named_with_the_key_it_stands_for() {
        let error = read_all(&[("TURNSTILE_KAFKA_SASL_PASWORD", "hush")]).unwrap_err().to_string();
        assert_eq!(
            error,
            "TURNSTILE_KAFKA_SASL_PASWORD: unknown Kafka client key `sasl.pasword`; did you mean `sasl.password`?"
        );
    }

    #[test]
    fn a_variable_may_name_the_file_that_holds_a_secret() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "hush\n").unwrap();
        let path = file.path().display().to_string();
        let settings = read_all(&[("TURNSTILE_KAFKA_SASL_PASSWORD_FILE", &path)]).unwrap();
        assert_eq!(settings.pairs().collect::<Vec<_>>(), [("sasl.password", "hush")]);
        let error = read_all(&[("TURNSTILE_KAFKA_SASL_PASSWORD_FILE", "/nowhere")]).unwrap_err();
        let error = turnstile_values::human::error(&error);
        assert!(
            error.starts_with("TURNSTILE_KAFKA_SASL_PASSWORD_FILE: `sasl.password.file`: /nowhere cannot be read: "),
            "{error}"
        );
    }
}
